//! A daemon that a test plays by hand.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::PATIENCE;
use crate::wire::{
    Acquire, Encoding, Hello, MAX_REQUEST, SiteInfo, ToClient, ToDaemon, VERSION, Welcome,
    next_frame,
};

/// A socket in a folder of its own.
pub(super) struct Daemon {
    folder: PathBuf,
    listener: UnixListener,
}

impl Daemon {
    pub(super) fn start() -> Self {
        let folder = folder();
        let listener = UnixListener::bind(folder.join("lockd.sock")).unwrap();
        Self { folder, listener }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.join("lockd.sock")
    }

    /// Somebody who connects, and has not been greeted.
    pub(super) fn accept_silently(&self) -> Peer {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Peer {
            stream,
            encoding: Encoding::Json,
            received: Vec::new(),
            greeting: None,
            sites: Vec::new(),
        }
    }

    /// Somebody who connects and is greeted.
    pub(super) fn accept(&self, resumed: bool) -> Peer {
        let mut peer = self.accept_silently();
        peer.hear_greeting();
        peer.welcome(Encoding::Postcard, resumed);
        peer
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// A new folder for a test.
pub(super) fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("lockd-{:016x}", rand::random::<u64>()));
    std::fs::create_dir(&folder).unwrap();
    folder
}

/// The daemon's end of a connection. Dropping it cuts the connection.
pub(super) struct Peer {
    stream: UnixStream,
    encoding: Encoding,
    received: Vec<u8>,
    pub(super) greeting: Option<Hello<'static>>,
    /// The places that were named so far.
    pub(super) sites: Vec<SiteInfo<'static>>,
}

impl Peer {
    pub(super) fn hear_greeting(&mut self) {
        match self.hear() {
            ToDaemon::Hello(hello) => self.greeting = Some(hello),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn welcome(&mut self, encoding: Encoding, resumed: bool) {
        self.say(&ToClient::Hello(Welcome {
            version: VERSION,
            server: "lockd of a test".into(),
            encoding,
            resumed,
            recovering_ms: None,
        }));
        self.encoding = encoding;
    }

    /// The next message that is no site.
    pub(super) fn hear(&mut self) -> ToDaemon<'static> {
        loop {
            match self.hear_anything() {
                ToDaemon::Site(site) => self.sites.push(site),
                message => return message,
            }
        }
    }

    pub(super) fn hear_anything(&mut self) -> ToDaemon<'static> {
        loop {
            let frame = next_frame(&self.received, 0, self.encoding, MAX_REQUEST).unwrap();
            if let Some(frame) = frame {
                // A test's messages live as long as the test.
                let message = self.received[frame.message].to_vec().leak();
                self.received.drain(..frame.end);
                return self.encoding.read(message).unwrap();
            }
            assert!(self.read() > 0, "the client hung up");
        }
    }

    fn read(&mut self) -> usize {
        let mut buffer = [0; 4096];
        let read = self.stream.read(&mut buffer).expect("a message in time");
        self.received.extend_from_slice(&buffer[..read]);
        read
    }

    pub(super) fn hear_acquire(&mut self) -> Acquire<'static> {
        match self.hear() {
            ToDaemon::Acquire(acquire) => acquire,
            other => panic!("{other:?}"),
        }
    }

    /// A release: its number, and whether the body has run.
    pub(super) fn hear_release(&mut self, name: &str) -> (u64, bool) {
        match self.hear() {
            ToDaemon::Release {
                id,
                name: found,
                body_ran,
                ..
            } if found == name => (id, body_ran),
            other => panic!("{other:?}"),
        }
    }

    /// The client hangs up without another word.
    pub(super) fn hear_end(&mut self) {
        assert_eq!(self.read(), 0);
        assert!(self.received.is_empty());
    }

    /// The client hangs up, after it may have given something back.
    pub(super) fn hear_end_past_releases(&mut self) {
        while self.read() > 0 {}
        while !self.received.is_empty() {
            let message = self.hear();
            assert!(matches!(message, ToDaemon::Release { .. }), "{message:?}");
        }
    }

    pub(super) fn say(&mut self, message: &ToClient<'_>) {
        let mut bytes = Vec::new();
        self.encoding.write(message, &mut bytes);
        self.say_bytes(&bytes);
    }

    pub(super) fn say_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }
}

/// A socket that nobody listens at any more.
pub(super) fn leave_behind(path: &Path) {
    drop(UnixListener::bind(path).unwrap());
}
