//! The program `lockd`: what its operator sees.

#[path = "../common/environment.rs"]
mod environment;

use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use serde_json::json;
use tempfile::TempDir;

use crate::client::{Client, LONG, eventually, folder};
use environment::without_environment;

const LOCKD: &str = env!("CARGO_BIN_EXE_lockd");

/// The program, killed at the latest when the test ends.
struct Program {
    child: Child,
    out: BufReader<ChildStdout>,
    socket: PathBuf,
}

fn command(base: &TempDir) -> Command {
    let mut command = Command::new(LOCKD);
    with_places(&mut command, base);
    command
}

fn with_places(command: &mut Command, base: &TempDir) {
    command
        .arg("--socket")
        .arg(base.path().join("run").join("l.sock"))
        .arg("--state")
        .arg(base.path().join("state").join("l.state"));
    without_environment(command);
}

impl Program {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        out.read_line(&mut line).expect("it says something");
        let socket = line
            .strip_prefix("lockd listens on unix:")
            .unwrap_or_else(|| panic!("it said `{line}`"));
        let socket = PathBuf::from(socket.trim_end());
        Self { child, out, socket }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("sent");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn fails(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.output().expect("it runs");
    (status.code(), String::from_utf8(stderr).expect("text"))
}

#[test]
fn it_says_where_it_listens_and_ends_when_it_is_told_to() {
    for signal in [Signal::TERM, Signal::INT] {
        let base = folder();
        let program = Program::start(&mut command(&base));
        assert_eq!(program.socket, base.path().join("run").join("l.sock"));
        let mut client = Client::greeted(&program.socket);
        program.signal(Signal::HUP);
        client.say(&json!({"ping": {"id": 1}}));
        assert!(client.hear()["pong"].is_object());
        program.signal(signal);
        assert!(client.hear()["bye"].is_object());
        let socket = program.socket.clone();
        assert_eq!(end(program), (Some(0), String::new()));
        assert!(!socket.exists());
    }
}

/// Waits for the end. Returns the exit code, and what else it printed.
fn end(mut program: Program) -> (Option<i32>, String) {
    let mut rest = String::new();
    program.out.read_to_string(&mut rest).expect("text");
    (program.child.wait().expect("it ends").code(), rest)
}

#[test]
fn a_second_one_says_who_has_the_socket() {
    let base = folder();
    let program = Program::start(&mut command(&base));
    let (code, said) = fails(&mut command(&base));
    assert_eq!(code, Some(1), "{said}");
    let expected = format!("in use by process {}", program.child.id());
    assert!(said.contains(&expected), "{said}");
    Client::greeted(&program.socket);
}

#[test]
fn a_killed_one_is_followed_by_the_next() {
    let base = folder();
    let program = Program::start(&mut command(&base));
    let mut client = Client::greeted(&program.socket);
    assert!(client.acquire("a", 1)["granted"].is_object());
    program.signal(Signal::KILL);
    let socket = program.socket.clone();
    drop(program);
    assert!(socket.exists(), "it could not remove it");
    let program = Program::start(&mut command(&base));
    Client::greeted(&program.socket);
    drop(program);

    let state = base.path().join("state").join("l.state");
    std::fs::remove_file(&state).expect("it is there");
    let (code, said) = fails(&mut command(&base));
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("is missing") && said.contains("--reset-state"),
        "{said}"
    );
    let program = Program::start(command(&base).arg("--reset-state"));
    Client::greeted(&program.socket);
}

#[test]
fn mistakes_have_their_own_exit_code() {
    let base = folder();
    for mistake in [
        &["--mode", "0777"][..],
        &["--nonsense"],
        &["--log", "lockd=nonsense"],
        &["extra"],
    ] {
        let (code, said) = fails(command(&base).args(mistake));
        assert_eq!(code, Some(2), "{mistake:?}: {said}");
    }
    let (code, said) = fails(Command::new(LOCKD).args(["--socket", "/nowhere/at/all/l.sock"]));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("make that first"), "{said}");
}

#[test]
fn it_takes_the_socket_that_the_service_manager_passes_and_tells_it_what_it_does() {
    let base = folder();
    let socket = base.path().join("l.sock");
    let listener = UnixListener::bind(&socket).expect("free");
    let manager_path = base.path().join("notify");
    let manager = UnixDatagram::bind(&manager_path).expect("free");
    manager.set_read_timeout(Some(LONG)).expect("set");
    let hear = || {
        let mut text = [0; 256];
        let length = manager.recv(&mut text).expect("it says something");
        String::from_utf8_lossy(&text[..length]).trim().to_owned()
    };

    // The number of the process has to be in its environment: only a shell knows it in time.
    let script = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\" 3<&0 </dev/null";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, LOCKD, "--state"]);
    command.arg(base.path().join("l.state"));
    without_environment(&mut command);
    command
        .env("NOTIFY_SOCKET", &manager_path)
        .stdin(OwnedFd::from(listener.try_clone().expect("a duplicate")));
    let program = Program::start(&mut command);
    assert_eq!(program.socket, socket);
    assert_eq!(hear(), "READY=1");
    Client::greeted(&socket);
    program.signal(Signal::TERM);
    assert_eq!(hear(), "STOPPING=1");
    assert_eq!(end(program), (Some(0), String::new()));
    assert!(socket.exists(), "it is the service manager's");
    UnixStream::connect(&socket).expect("the service manager still listens");
}

#[test]
fn without_descriptors_it_neither_dies_nor_spins_and_goes_on_afterwards() {
    let base = folder();
    let mut command = Command::new(LOCKD);
    with_places(&mut command, &base);
    let program = Program::start(&mut command);
    let mut served = Client::greeted(&program.socket);
    let pid = Pid::from_raw(program.child.id().cast_signed());
    // None that is not open yet.
    let none = Rlimit {
        current: Some(3),
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    let before = prlimit(pid, Resource::Nofile, none).expect("set");
    let waiting = UnixStream::connect(&program.socket).expect("the queue has room");

    let began = ticks(program.child.id());
    std::thread::sleep(Duration::from_secs(1));
    let spent = ticks(program.child.id()) - began;
    assert!(spent < 50, "it spent {spent} of 100 ticks doing nothing");
    served.say(&json!({"ping": {"id": 1}}));
    assert!(served.hear()["pong"].is_object());
    prlimit(pid, Resource::Nofile, before).expect("set again");
    let mut waiting = Client::over(waiting);
    waiting.say(&json!({"hello": {"version": 1}}));
    assert!(waiting.hear()["hello"].is_object());
}

#[test]
fn with_few_descriptors_it_refuses_connections_and_still_saves() {
    let base = folder();
    let script = "ulimit -n 90; exec \"$0\" \"$@\"";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, LOCKD]);
    with_places(&mut command, &base);
    let program = Program::start(&mut command);
    let mut served = Client::greeted(&program.socket);
    let mut crowd: Vec<Client> = (0..60).map(|_| Client::connect(&program.socket)).collect();
    // The last of them has heard that it is one too many.
    let refused = crowd.last_mut().expect("a client").hear();
    assert_eq!(refused["error"]["code"], "limit", "{refused}");
    // What has to be on disk before it is answered.
    assert!(served.acquire("a", 1)["granted"].is_object());
    drop(crowd);
    eventually("there is room again", || {
        let mut client = Client::connect(&program.socket);
        client.say(&json!({"hello": {"version": 1}}));
        client
            .hear_or_end()
            .is_some_and(|said| said["hello"].is_object())
    });
}

/// The time that a process has spent, in hundredths of a second.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("shown");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .expect("a name")
        .split(' ')
        .collect();
    let number = |field: usize| fields[field - 2].parse::<u64>().expect("a number");
    number(14) + number(15)
}

#[test]
fn its_help_and_version_need_nothing() {
    for (argument, word) in [("--help", "Exit codes:"), ("--version", "lockd 0")] {
        let output = Command::new(LOCKD).arg(argument).output().expect("it runs");
        assert!(output.status.success());
        let said = String::from_utf8(output.stdout).expect("text");
        assert!(said.contains(word), "{said}");
    }
}
