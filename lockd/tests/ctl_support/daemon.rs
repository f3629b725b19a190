//! The real `lockd`, for the real `lockctl`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::environment::without_environment;
use super::{Running, code, stderr, stdout, without_store};

/// A daemon in a folder of its own; it ends with the test.
pub(crate) struct Daemon {
    folder: TempDir,
    options: Vec<&'static str>,
    running: Option<Running>,
}

impl Daemon {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// One with these options. Everybody may pass the folders that lead to its socket.
    pub(crate) fn with(options: &[&'static str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for folder in [folder.path().to_owned(), folder.path().join("run")] {
            let _made = std::fs::create_dir(&folder);
            let all_may_pass = std::fs::Permissions::from_mode(0o711);
            std::fs::set_permissions(&folder, all_may_pass).unwrap();
        }
        let mut daemon = Self {
            folder,
            options: options.to_vec(),
            running: None,
        };
        daemon.start_again();
        daemon
    }

    /// A place for what a test notes.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn url(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("run/lockd.sock")
    }

    /// A `lockctl` that is told of this daemon.
    pub(crate) fn lockctl(&self, arguments: &[&str]) -> Command {
        let mut command = without_store(arguments);
        command.env("LOCK_URL", self.url());
        command
    }

    /// What `lockctl` says; it has to succeed.
    #[track_caller]
    pub(crate) fn says(&self, arguments: &[&str]) -> String {
        let output = self.lockctl(arguments).output().unwrap();
        assert_eq!(code(&output), 0, "{arguments:?}: {}", stderr(&output));
        assert_eq!(stderr(&output), "", "{arguments:?}");
        stdout(&output).to_owned()
    }

    /// What `lockctl` says with --json, in one line.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let text = self.says(&[arguments, &["--json"]].concat());
        assert_eq!(text.lines().count(), 1, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// How many wait for a lock.
    pub(crate) fn waiting(&self, name: &str) -> u64 {
        self.json(&["show", name])["waiting"].as_u64().unwrap()
    }

    /// A shell script under a lock, which runs beside the test.
    pub(crate) fn run(&self, options: &[&str], name: &str, script: &str) -> Running {
        let mut command = self.lockctl(&["run"]);
        command.args(options);
        command.args([name, "--", "sh", "-c", script]);
        command.stdin(std::process::Stdio::piped());
        Running::start(command)
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.child.kill().unwrap();
            running.child.wait().unwrap();
        }
    }

    /// After it was killed.
    pub(crate) fn start_again(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockd"));
        without_environment(&mut command);
        command.arg("--socket").arg(self.socket());
        command.arg("--state").arg(state(self.folder.path()));
        // Nobody reads what it logs.
        command.args(["--log", "off"]).args(&self.options);
        let mut running = Running::start(command);
        assert_eq!(running.line(), format!("lockd listens on {}", self.url()));
        self.running = Some(running);
    }
}

fn state(folder: &Path) -> PathBuf {
    folder.join("state/lockd.state")
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}
