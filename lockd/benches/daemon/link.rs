//! A connection that does as little as a client can.

use std::borrow::Cow;
use std::path::Path;

use lock_runtime::wire::{
    Acquire, Encoding, Hello, MAX_REPLY, ToClient, ToDaemon, VERSION, next_frame,
};
use lock_runtime::{Mode, Owner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

pub(crate) struct Link {
    stream: UnixStream,
    encoding: Encoding,
    received: Vec<u8>,
}

impl Link {
    /// To the server that sends back what it gets.
    pub(crate) async fn to_echo(socket: &Path, encoding: Encoding) -> Self {
        Self {
            stream: UnixStream::connect(socket).await.expect("it listens"),
            encoding,
            received: Vec::new(),
        }
    }

    /// To the daemon.
    pub(crate) async fn to_daemon(socket: &Path, encoding: Encoding) -> Self {
        let mut link = Self::to_echo(socket, Encoding::Json).await;
        let mut greeting = Vec::new();
        let hello = ToDaemon::Hello(Hello {
            version: VERSION,
            application: Cow::from("bench"),
            host: Cow::from(""),
            encoding,
            session: None,
            connection: 0,
        });
        Encoding::Json.write(&hello, &mut greeting);
        link.send(&greeting).await;
        link.hear(|frame| {
            let welcome = Encoding::Json.read(frame).expect("a message");
            assert!(matches!(welcome, ToClient::Hello(_)), "{welcome:?}");
        })
        .await;
        link.encoding = encoding;
        link
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("it is taken");
    }

    /// Reads until something whole has come, and hands on every frame of it.
    pub(crate) async fn hear(&mut self, mut each: impl FnMut(&[u8])) {
        loop {
            let mut start = 0;
            let rest = |start: usize| &self.received[start..];
            while let Some(frame) =
                next_frame(rest(start), 0, self.encoding, MAX_REPLY).expect("frames")
            {
                each(&rest(start)[frame.message]);
                start += frame.end;
            }
            self.received.drain(..start);
            if start > 0 {
                return;
            }
            self.received.reserve(64 * 1024);
            let read = self.stream.read_buf(&mut self.received).await;
            assert!(read.expect("it lives") > 0, "it has hung up");
        }
    }

    /// The next message, as far as `look` wants to know.
    pub(crate) async fn message<R>(&mut self, look: impl Fn(ToClient<'_>) -> R) -> R {
        let encoding = self.encoding;
        let mut heard = None;
        self.hear(|frame| {
            heard = Some(look(encoding.read(frame).expect("a message")));
        })
        .await;
        heard.expect("it was heard")
    }

    /// Sends one request whose answer is a grant.
    pub(crate) async fn acquire(&mut self, request: &Request) {
        self.send(&request.acquire).await;
        self.is_granted().await;
    }

    pub(crate) async fn is_granted(&mut self) {
        let is_granted = |message: ToClient<'_>| matches!(message, ToClient::Granted { .. });
        assert!(self.message(is_granted).await, "something else was said");
    }
}

/// What is said of one lock, ready to be sent.
pub(crate) struct Request {
    pub(crate) acquire: Vec<u8>,
    pub(crate) claim: Vec<u8>,
    pub(crate) release: Vec<u8>,
}

impl Request {
    /// The id is all that an answer says of its request.
    pub(crate) fn new(encoding: Encoding, id: u64, name: &str, terms: Terms) -> Self {
        let owner = Owner::random();
        let name = Cow::from(name);
        let namespace = Cow::from("");
        let acquire = ToDaemon::Acquire(Acquire {
            id,
            name: name.clone(),
            namespace: namespace.clone(),
            owner,
            mode: Mode::Exclusive,
            ttl_ms: terms.ttl_ms,
            wait_ms: Some(terms.wait_ms),
            at_least_ms: 0,
            auth: None,
            linger: false,
            site: None,
        });
        let claim = ToDaemon::Claim {
            id,
            name: name.clone(),
            namespace: namespace.clone(),
            owner,
        };
        let release = ToDaemon::Release {
            id,
            name,
            namespace,
            owner,
            body_ran: true,
        };
        let write = |message| {
            let mut bytes = Vec::new();
            encoding.write(&message, &mut bytes);
            bytes
        };
        Self {
            acquire: write(acquire),
            claim: write(claim),
            release: write(release),
        }
    }
}

/// For how long a lock is wanted, and waited for, in milliseconds.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) ttl_ms: u64,
    pub(crate) wait_ms: u64,
}

/// Taken if it is free, for longer than anything is measured.
pub(crate) const AT_ONCE: Terms = Terms {
    ttl_ms: 600_000,
    wait_ms: 0,
};

/// Waited for.
pub(crate) const IN_TURN: Terms = Terms {
    ttl_ms: 600_000,
    wait_ms: 600_000,
};
