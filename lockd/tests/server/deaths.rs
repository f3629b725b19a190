//! Clients as processes of their own: their ends, and users who are not allowed.
//!
//! A child is this very test program again, told by its environment what to do.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lockd::server::{Allowed, Server, SocketSource};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::client::{Client, acquire, daemon, eventually, folder, settings};

const SOCKET: &str = "LOCKD_TEST_SOCKET";

/// What a child does: it holds a lock until it is killed. In an ordinary run this does nothing.
#[test]
fn child_that_holds_a_lock() {
    let Some(socket) = std::env::var_os(SOCKET) else {
        return;
    };
    let mut client = Client::connect(Path::new(&socket));
    let hello = json!({"hello": {
        "version": 1,
        "session": "00000000000000000000000000000001",
    }});
    // Who is refused may be told so, and hung up on, before it says anything.
    let said = writeln!(client.stream(), "{hello}");
    let welcome = client.hear();
    println!("child: {welcome}");
    if welcome["hello"].is_object() {
        said.expect("it was heard");
        println!("child: {}", client.acquire("a", 1));
        // Until it is killed, or the daemon is gone.
        while client.hear_or_end().is_some() {}
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts a child. Returns it, and what it hears.
fn child(socket: &Path, user: Option<u32>) -> (Killed, impl Iterator<Item = Value> + use<>) {
    // Another user need not be able to reach where this program is.
    let folder = folder();
    let mut program = std::env::current_exe().expect("this program");
    if user.is_some() {
        let copy = folder.path().join("child");
        std::fs::copy(&program, &copy).expect("copied");
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).expect("changed");
        program = copy;
    }
    let mut command = Command::new(program);
    command
        .args(["--exact", "deaths::child_that_holds_a_lock", "--nocapture"])
        .env(SOCKET, socket)
        .current_dir("/")
        .stdout(Stdio::piped());
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    let mut child = spawn(&mut command);
    let said = BufReader::new(child.stdout.take().expect("piped"));
    let heard = said.lines().filter_map(move |line| {
        // The folder has to stay until the program runs.
        let _folder = &folder;
        let line = line.expect("text");
        let said = line.split_once("child: ")?.1;
        Some(serde_json::from_str(said).expect("JSON"))
    });
    (Killed(child), heard)
}

/// A program that was just copied cannot be started while another thread's child, which is not
/// yet the program that it will be, has it open for writing too.
fn spawn(command: &mut Command) -> Child {
    let mut started = None;
    eventually("the child starts", || match command.spawn() {
        Ok(child) => {
            started = Some(child);
            true
        }
        Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => false,
        Err(error) => panic!("it does not start: {error}"),
    });
    started.expect("it has started")
}

#[test]
fn a_killed_process_frees_its_locks_at_once() {
    let (_base, server) = daemon();
    let (mut holder, mut heard) = child(server.path(), None);
    assert!(heard.next().expect("a welcome")["hello"].is_object());
    assert!(heard.next().expect("an answer")["granted"].is_object());
    let mut next = Client::greeted(server.path());
    assert!(next.acquire("a", 2)["busy"].is_object());
    next.say(&acquire("a", 3, 50_000));
    next.hears_nothing();
    holder.0.kill().expect("killed");
    // Its lease is a minute long; the client waits for half of that.
    assert!(next.hear()["granted"].is_object());
}

#[test]
fn a_process_that_dies_while_the_daemon_is_down_frees_its_locks_too() {
    let (base, server) = daemon();
    let (mut holder, mut heard) = child(server.path(), None);
    heard.next().expect("a welcome");
    assert!(heard.next().expect("an answer")["granted"].is_object());
    server.stop().expect("it ends well");
    holder.0.kill().expect("killed");
    holder.0.wait().expect("waited for");
    let server = Server::start(settings(&base)).expect("it goes on");
    let mut next = Client::greeted(server.path());
    next.say(&acquire("a", 2, 50_000));
    // Its lease is a minute long; the client waits for half of that.
    assert!(next.hear()["granted"].is_object());
}

#[test]
fn a_process_that_lives_while_the_daemon_is_down_keeps_its_locks() {
    let (base, server) = daemon();
    let (mut holder, mut heard) = child_that_stays(server.path());
    heard.next().expect("a welcome");
    assert!(heard.next().expect("an answer")["granted"].is_object());
    server.stop().expect("it ends well");
    let server = Server::start(settings(&base)).expect("it goes on");
    let mut next = Client::greeted(server.path());
    next.say(&acquire("a", 2, 50_000));
    next.hears_nothing();
    // Its end is seen although it has not come back.
    holder.0.kill().expect("killed");
    assert!(next.hear()["granted"].is_object());
}

/// A child that lives on when its connection ends: it is stopped once it has its lock.
fn child_that_stays(socket: &Path) -> (Killed, impl Iterator<Item = Value> + use<>) {
    let (child, heard) = child(socket, None);
    let heard: Vec<Value> = heard.take(2).collect();
    assert_eq!(heard.len(), 2);
    kill_process(Pid::from_child(&child.0), Signal::STOP).expect("stopped");
    (child, heard.into_iter())
}

#[test]
fn users_who_are_not_allowed_are_told_so_and_others_served() {
    const NOBODY: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        // Nobody else can become another user; the rule itself has tests of its own.
        return;
    }
    for allowed in [false, true] {
        let base = folder();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(base.path(), open.clone()).expect("changed");
        let run: PathBuf = base.path().join("run");
        std::fs::create_dir(&run).expect("made");
        std::fs::set_permissions(&run, open).expect("changed");
        let mut settings = settings(&base);
        settings.socket = SocketSource::Path {
            path: run.join("l.sock"),
            mode: 0o666,
            group: None,
        };
        if allowed {
            settings.allowed = Allowed {
                uids: vec![NOBODY],
                gids: Vec::new(),
            };
        }
        let server = Server::start(settings).expect("it starts");
        let (_child, mut heard) = child(server.path(), Some(NOBODY));
        let first = heard.next().expect("an answer");
        if allowed {
            assert!(first["hello"].is_object(), "{first}");
        } else {
            assert_eq!(first["error"]["code"], json!("forbidden"), "{first}");
            assert_eq!(first["error"]["id"], Value::Null);
            assert!(heard.next().is_none(), "the connection is closed");
        }
    }
}
