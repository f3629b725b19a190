//! One connection to the daemon, with which anything can be done.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

use crate::daemon::LONG;

pub(crate) struct Peer(BufReader<UnixStream>);

impl Peer {
    pub(crate) fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).expect("the daemon listens");
        stream.set_read_timeout(Some(LONG)).expect("set");
        stream.set_write_timeout(Some(LONG)).expect("set");
        // Most of them read little, and there are thousands.
        Self(BufReader::with_capacity(1024, stream))
    }

    pub(crate) fn greeted(socket: &Path) -> Self {
        let mut peer = Self::connect(socket);
        peer.say(&json!({"hello": {"version": 1, "application": "test"}}));
        let welcome = peer.hear();
        assert!(welcome["hello"].is_object(), "{welcome}");
        peer
    }

    /// A peer that speaks the compact encoding.
    pub(crate) fn compact(socket: &Path) -> Self {
        let mut peer = Self::connect(socket);
        peer.say(&json!({"hello": {"version": 1, "encoding": "postcard"}}));
        let welcome = peer.hear();
        assert_eq!(welcome["hello"]["encoding"], "postcard", "{welcome}");
        peer
    }

    pub(crate) fn stream(&mut self) -> &mut UnixStream {
        self.0.get_mut()
    }

    pub(crate) fn say(&mut self, message: &Value) {
        self.push(format!("{message}\n").as_bytes());
    }

    #[track_caller]
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        assert!(self.takes(bytes), "the connection has ended");
    }

    /// Sends bytes. Says whether the daemon still took them all.
    #[track_caller]
    pub(crate) fn takes(&mut self, bytes: &[u8]) -> bool {
        match self.stream().write_all(bytes) {
            Ok(()) => true,
            Err(error) if is_end(error.kind()) => false,
            Err(error) => panic!("the daemon neither reads nor hangs up: {error}"),
        }
    }

    #[track_caller]
    pub(crate) fn hear(&mut self) -> Value {
        self.hear_or_end().expect("the connection has ended")
    }

    #[track_caller]
    pub(crate) fn hear_or_end(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_str(&line).expect("JSON")),
            Err(error) if is_end(error.kind()) => None,
            Err(error) => panic!("nothing was heard: {error}"),
        }
    }

    /// The next answer to this request, whatever else is said before it.
    #[track_caller]
    pub(crate) fn answer(&mut self, id: u64) -> Value {
        loop {
            let heard = self.hear();
            let message = heard
                .as_object()
                .and_then(|message| message.values().next());
            if message.is_some_and(|message| message["id"] == id) {
                return heard;
            }
        }
    }

    /// Everything that is said until the daemon hangs up.
    #[track_caller]
    pub(crate) fn hear_out(&mut self) -> String {
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            Ok(_) => {}
            Err(error) if is_end(error.kind()) => {}
            Err(error) => panic!("the daemon does not hang up: {error}"),
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn is_end(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

/// A request for a lock as a line. The number is the request's and the owner's.
pub(crate) fn acquire(name: &str, number: u64, wait_ms: u64, mode: &str) -> String {
    format!(
        "{{\"acquire\":{{\"id\":{number},\"name\":\"{name}\",\"owner\":\"{number:048x}\",\
         \"ttl_ms\":60000,\"wait_ms\":{wait_ms},\"mode\":\"{mode}\"}}}}\n"
    )
}

pub(crate) fn release(name: &str, number: u64) -> String {
    format!("{{\"release\":{{\"id\":{number},\"name\":\"{name}\",\"owner\":\"{number:048x}\"}}}}\n")
}
