//! Running the real `lockctl`, and waiting for what it brings about.

#![allow(dead_code, reason = "every test binary uses a part of it")]

pub(crate) mod daemon;
#[path = "../common/environment.rs"]
mod environment;
#[path = "../common/patience.rs"]
pub(crate) mod patience;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};
use std::str::FromStr;

/// A `lockctl` whose environment says nothing of locks, on locks in its own memory.
pub(crate) fn lockctl(arguments: &[&str]) -> Command {
    let mut command = without_store(&["--url", "memory:"]);
    command.args(arguments);
    command
}

/// A program that begins with no signal ignored, also when the tests run under `nohup`: `lockctl`
/// would pass that on to its command, as it should.
pub(crate) fn undisturbed(program: &str) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP,INT,QUIT,TERM", program]);
    command
}

/// A `lockctl` that is told of no store.
pub(crate) fn without_store(arguments: &[&str]) -> Command {
    let mut command = undisturbed(env!("CARGO_BIN_EXE_lockctl"));
    for variable in ["URL", "NAMESPACE", "TTL", "WAIT", "NAME", "TOKEN"] {
        command.env_remove(format!("LOCK_{variable}"));
    }
    command.env_remove("XDG_RUNTIME_DIR");
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A shell script under a lock.
pub(crate) fn run(script: &str) -> Command {
    lockctl(&["run", "task:1", "--", "sh", "-c", script])
}

pub(crate) fn code(output: &Output) -> i32 {
    output
        .status
        .code()
        .expect("lockctl itself ends by no signal")
}

pub(crate) fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

pub(crate) fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// A program that runs beside the test; it is killed when the test fails.
pub(crate) struct Running {
    pub(crate) child: Child,
    lines: BufReader<ChildStdout>,
    errors: ChildStderr,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let errors = child.stderr.take().unwrap();
        Self {
            child,
            lines,
            errors,
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// The next line that it writes.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The next line, which is the number of a process.
    pub(crate) fn number(&mut self) -> i32 {
        self.parsed()
    }

    /// The next line, which is a fencing token.
    pub(crate) fn token(&mut self) -> u64 {
        self.parsed()
    }

    fn parsed<T: FromStr>(&mut self) -> T {
        let line = self.line();
        let parsed = line.parse();
        parsed.unwrap_or_else(|_| panic!("{line:?}"))
    }

    pub(crate) fn signal(&self, signal: &str) {
        signal_to(self.pid(), signal);
    }

    /// Closes its output on the reader's side.
    pub(crate) fn read_no_more(self) -> (Child, ChildStderr) {
        (self.child, self.errors)
    }

    /// Its exit code when it has ended, and the rest of what it wrote and said.
    pub(crate) fn end(mut self) -> (Option<i32>, String, String) {
        let (mut text, mut errors) = (String::new(), String::new());
        self.lines.read_to_string(&mut text).unwrap();
        self.errors.read_to_string(&mut errors).unwrap();
        (self.child.wait().unwrap().code(), text, errors)
    }
}

pub(crate) fn signal_to(pid: i32, signal: &str) {
    let mut kill = Command::new("sh");
    kill.args(["-c", &format!("kill -{signal} {pid}")]);
    // One that has ended just now does not mind.
    let sent = kill.stderr(Stdio::null()).status().unwrap();
    assert!(sent.success() || !is_alive(pid));
}

/// Whether a process is there and has not ended.
pub(crate) fn is_alive(pid: i32) -> bool {
    !matches!(state(pid), None | Some('Z' | 'X'))
}

/// The letter that stands for a process's state.
pub(crate) fn state(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// The children of a process.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let list = list.unwrap_or_default();
    list.split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

/// The warden of a `lockctl run`.
pub(crate) fn warden(pid: i32) -> Option<i32> {
    children(pid).into_iter().find(|child| {
        fs::read(format!("/proc/{child}/cmdline")).is_ok_and(|line| {
            line.split(|byte| *byte == 0)
                .any(|part| part == b"__warden")
        })
    })
}
