//! The program `lockd`, as a process that can be killed, stopped and started again.

#[path = "../common/environment.rs"]
mod environment;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::client::{LONG, eventually};
use environment::without_environment;

/// A daemon in a folder of its own, which is nobody else's. It is killed at the latest when this
/// is dropped.
pub(crate) struct Daemon {
    child: Option<Child>,
    socket: PathBuf,
    base: TempDir,
}

impl Daemon {
    pub(crate) fn start() -> Self {
        let base = tempfile::tempdir().expect("a folder");
        let mut daemon = Self {
            child: None,
            socket: base.path().join("run").join("l.sock"),
            base,
        };
        daemon.start_again();
        daemon
    }

    /// Starts it, with the state that the last one left. Comes back when it serves.
    pub(crate) fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let log = File::options().create(true).append(true).open(self.log());
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockd"));
        let mut child = without_environment(&mut command)
            .arg("--socket")
            .arg(&self.socket)
            .arg("--state")
            .arg(self.base.path().join("state").join("l.state"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.expect("a log"))
            .spawn()
            .expect("it starts");
        let said = lines(child.stdout.take().expect("piped"));
        self.child = Some(child);
        let first = said.recv_timeout(LONG).expect("it says that it is ready");
        assert!(first.starts_with("lockd listens on unix:"), "{first}");
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn url(&self) -> String {
        format!("unix:{}", self.socket.display())
    }

    /// A folder that is gone with the daemon.
    pub(crate) fn folder(&self) -> &Path {
        self.base.path()
    }

    /// Kills it, as `kill -9` does. Comes back when it is dead.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("killed");
        child.wait().expect("it is dead");
    }

    /// Stops it where it stands, or lets it go on.
    pub(crate) fn freeze(&self, is_frozen: bool) {
        freeze(self.child.as_ref().expect("it runs"), is_frozen);
    }

    fn log(&self) -> PathBuf {
        self.base.path().join("log")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
        if thread::panicking() {
            let log = std::fs::read_to_string(self.log()).unwrap_or_default();
            eprintln!("the log of lockd:\n{log}");
        }
    }
}

/// Stops a process where it stands, or lets it go on. Comes back when it stands.
pub(crate) fn freeze(child: &Child, is_frozen: bool) {
    let pid = Pid::from_child(child);
    if !is_frozen {
        return kill_process(pid, Signal::CONT).expect("sent");
    }
    kill_process(pid, Signal::STOP).expect("sent");
    // A signal takes effect in each thread when that gets to it.
    let threads = format!("/proc/{}/task", child.id());
    eventually("all its threads stand still", || {
        let threads = std::fs::read_dir(&threads).expect("shown");
        threads.flatten().all(|thread| {
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit(") ")
                .next()
                .is_some_and(|rest| rest.starts_with('T'))
        })
    });
}

/// What a process prints, line by line, until it ends.
pub(crate) fn lines(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}
