//! The programs that are measured: the daemon, and a server that sends back what it gets.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::task::{LocalSet, spawn_local};

/// A program that listens at a socket, killed when this is dropped.
pub(crate) struct Program {
    child: Child,
    base: TempDir,
}

impl Program {
    pub(crate) fn daemon(options: &[&str]) -> Self {
        let base = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockd"));
        command.args(["--log", "error", "--socket"]);
        command.arg(socket_in(&base)).arg("--state");
        command.arg(base.path().join("state").join("l.state"));
        Self::start(command.args(options), base)
    }

    pub(crate) fn echo() -> Self {
        let base = tempfile::tempdir().expect("a folder");
        let mut command = this_program();
        command.arg("--echo").arg(socket_in(&base));
        Self::start(&mut command, base)
    }

    fn start(command: &mut Command, base: TempDir) -> Self {
        for variable in ["LOCKD_SOCKET", "LOCKD_LOG", "LISTEN_FDS", "NOTIFY_SOCKET"] {
            command.env_remove(variable);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let out = child.stdout.take().expect("piped");
        let program = Self { child, base };
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).expect("text");
        assert!(!line.is_empty(), "it has ended at once");
        program
    }

    pub(crate) fn socket(&self) -> PathBuf {
        socket_in(&self.base)
    }

    /// How long its main thread has been on a processor: the measure that a busy machine disturbs
    /// least.
    pub(crate) fn busy(&self) -> Duration {
        let path = format!("/proc/{}/schedstat", self.child.id());
        let text = fs::read_to_string(path).expect("it lives");
        let nanoseconds = text.split_whitespace().next();
        let nanoseconds = nanoseconds.and_then(|number| number.parse().ok());
        Duration::from_nanos(nanoseconds.expect("the kernel counts"))
    }

    /// How much memory it has, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(path).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number
            .and_then(|number| number.parse::<u64>().ok())
            .expect("it lives")
            * 1024
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The longest path of a socket is short: the folder is its own.
fn socket_in(base: &TempDir) -> PathBuf {
    base.path().join("run").join("l.sock")
}

pub(crate) fn this_program() -> Command {
    Command::new(std::env::current_exe().expect("it is known"))
}

/// Sends everything back, as much at a time as there is, in the runtime that the daemon has.
pub(crate) fn echo(socket: &Path) {
    let folder = socket.parent().expect("a folder");
    fs::create_dir_all(folder).expect("it is made");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let serve = async {
        let listener = UnixListener::bind(socket).expect("free");
        println!("it listens");
        std::io::stdout().flush().expect("written");
        loop {
            let (mut stream, _) = listener.accept().await.expect("somebody");
            spawn_local(async move {
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..read]).await.is_err() {
                        break;
                    }
                }
            });
        }
    };
    runtime.block_on(LocalSet::new().run_until(serve))
}
