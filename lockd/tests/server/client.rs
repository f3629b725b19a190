//! A client that says lines of JSON, and a daemon for it.

#[path = "../common/patience.rs"]
mod patience;

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use lockd::engine::Limits;
use lockd::server::{Allowed, Server, Settings, SocketSource, StatePlace};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) use patience::{LONG, eventually};

/// So long that a wrong answer would have come; what passes by accident passes on a slow machine.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

/// A client on one connection.
pub(crate) struct Client {
    reader: BufReader<UnixStream>,
}

impl Client {
    /// Connects, and says who it is.
    pub(crate) fn greeted(socket: &Path) -> Self {
        let mut client = Self::connect(socket);
        client.say(&json!({"hello": {"version": 1, "application": "test"}}));
        let welcome = client.hear();
        assert!(welcome["hello"]["server"].is_string(), "{welcome}");
        client
    }

    /// Connects.
    pub(crate) fn connect(socket: &Path) -> Self {
        Self::over(UnixStream::connect(socket).expect("the daemon listens"))
    }

    pub(crate) fn over(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(LONG)).expect("set");
        stream.set_write_timeout(Some(LONG)).expect("set");
        Self {
            reader: BufReader::new(stream),
        }
    }

    pub(crate) fn stream(&mut self) -> &mut UnixStream {
        self.reader.get_mut()
    }

    pub(crate) fn say(&mut self, message: &Value) {
        let line = format!("{message}\n");
        self.stream().write_all(line.as_bytes()).expect("written");
    }

    /// The next message.
    #[track_caller]
    pub(crate) fn hear(&mut self) -> Value {
        self.hear_or_end().expect("the connection has ended")
    }

    /// The next message; `None` when the connection has ended.
    #[track_caller]
    pub(crate) fn hear_or_end(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_str(&line).expect("JSON")),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("nothing was heard: {error}"),
        }
    }

    /// Makes sure that nothing is said for a while.
    #[track_caller]
    pub(crate) fn hears_nothing(&mut self) {
        self.stream().set_read_timeout(Some(SHORT)).expect("set");
        let mut line = String::new();
        let heard = self.reader.read_line(&mut line);
        self.stream().set_read_timeout(Some(LONG)).expect("set");
        let error = heard.expect_err("something was said, or the connection has ended");
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
    }

    /// Asks for a lock and hears the answer.
    #[track_caller]
    pub(crate) fn acquire(&mut self, name: &str, number: u64) -> Value {
        self.say(&acquire(name, number, 0));
        self.hear()
    }
}

/// A request for a lock. The number is the request's and the owner's.
pub(crate) fn acquire(name: &str, number: u64, wait_ms: u64) -> Value {
    json!({"acquire": {
        "id": number,
        "name": name,
        "owner": owner(number),
        "ttl_ms": 60_000,
        "wait_ms": wait_ms,
    }})
}

pub(crate) fn release(name: &str, number: u64) -> Value {
    json!({"release": {"id": number, "name": name, "owner": owner(number)}})
}

fn owner(number: u64) -> String {
    format!("{number:048x}")
}

/// What a daemon in a folder is started with.
pub(crate) fn settings(base: &TempDir) -> Settings {
    Settings {
        socket: SocketSource::Path {
            path: base.path().join("run").join("l.sock"),
            mode: 0o600,
            group: None,
        },
        state: StatePlace::File(base.path().join("state").join("l.state")),
        reset_state: false,
        allowed: Allowed::default(),
        limits: Limits::default(),
    }
}

/// A daemon in a folder of its own.
pub(crate) fn daemon() -> (TempDir, Server) {
    let base = folder();
    let server = Server::start(settings(&base)).expect("it starts");
    (base, server)
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}
