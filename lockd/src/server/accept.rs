//! Lets connections in.

use std::io;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;

use lock_runtime::wire::{Encoding, ErrorCode, ToClient};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::Instant;

use super::connection::Connection;
use super::driver::Driver;
use super::peer::{Credentials, Gate, Watches};

/// How long to wait when the system has no room for another connection.
const BREATH: Duration = Duration::from_millis(100);

/// How many descriptors connections leave for everything else.
const SPARE: u64 = 24;

/// Errors that come closer together than this are told once.
const BURST: Duration = Duration::from_secs(10);

/// What a connection is served with.
#[derive(Clone, Debug)]
pub(super) struct Doorkeeper {
    pub(super) driver: Rc<Driver>,
    pub(super) gate: Rc<Gate>,
    pub(super) watches: Rc<Watches>,
}

impl Doorkeeper {
    /// Lets connections in, without end. To be called in a local set.
    ///
    /// # Cancel safety
    ///
    /// A connection that was accepted is served.
    pub(super) async fn serve(&self, listener: UnixListener) {
        let mut warned: Option<Instant> = None;
        loop {
            match listener.accept().await {
                Ok((stream, _)) if is_one_too_many(&stream) => {
                    let message = "lockd may open no more files; raise its limit of them";
                    say_last(&stream, ErrorCode::Limit, message);
                    if warned.is_none_or(|since| since.elapsed() > BURST) {
                        tracing::warn!("no connection can be accepted: {message}");
                    }
                    warned = Some(Instant::now());
                }
                Ok((stream, _)) => self.receive(stream),
                // The peer has gone again, or a signal came.
                Err(error) if is_passing(&error) => {}
                Err(error) => {
                    // Out of descriptors or memory, most likely. Who waits in the queue keeps
                    // the listener ready: without a pause this would spin.
                    if warned.is_none_or(|since| since.elapsed() > BURST) {
                        tracing::warn!(%error, "no connection can be accepted; trying on");
                    }
                    warned = Some(Instant::now());
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    fn receive(&self, stream: UnixStream) {
        let peer = match Credentials::of(&stream) {
            Ok(peer) => peer,
            Err(error) => {
                tracing::warn!(%error, "it cannot be told who has connected; refused");
                return;
            }
        };
        match self.gate.admits_at_once(&peer) {
            Some(admitted) => self.answer(stream, &peer, admitted),
            None => {
                let doorkeeper = self.clone();
                tokio::task::spawn_local(async move {
                    let gate = Rc::clone(&doorkeeper.gate);
                    let admitted = gate.admits_after_look_up(&peer).await;
                    doorkeeper.answer(stream, &peer, admitted);
                });
            }
        }
    }

    fn answer(&self, stream: UnixStream, peer: &Credentials, admitted: bool) {
        if admitted {
            self.admit(stream, peer);
        } else {
            refuse(&stream, peer.uid);
        }
    }

    fn admit(&self, stream: UnixStream, credentials: &Credentials) {
        let (mut peer, descriptor) = credentials.peer(&stream);
        if let Some((process, descriptor)) = peer.process.zip(descriptor)
            && let Err(error) = self.watches.watch(process, descriptor)
        {
            // The engine must not count on news that never comes.
            tracing::warn!(pid = peer.pid, %error, "the end of a process cannot be seen");
            peer.process = None;
        }
        tokio::task::spawn_local(Connection::new(&self.driver, stream, peer));
    }
}

/// Whether the next attempt may be made at once.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::CONNABORTED | Errno::INTR | Errno::AGAIN)
    )
}

/// Whether so few descriptors are left that the state could not be written any more. The lowest
/// free one is given out, so that its number says how many are in use.
fn is_one_too_many(stream: &UnixStream) -> bool {
    let used = u64::from(stream.as_raw_fd().unsigned_abs());
    let most = getrlimit(Resource::Nofile).current;
    most.is_some_and(|most| used + SPARE > most)
}

/// Refuses a user.
fn refuse(stream: &UnixStream, uid: u32) {
    tracing::debug!(uid, "refused a user who is not allowed here");
    let message = format!(
        "user {uid} may not use this lockd; its operator allows users with --allow-uid and \
         --allow-group"
    );
    say_last(stream, ErrorCode::Forbidden, &message);
}

/// Says why it hangs up.
fn say_last(stream: &UnixStream, code: ErrorCode, message: &str) {
    let error = ToClient::Error {
        id: None,
        code,
        message: message.into(),
    };
    let mut line = Vec::new();
    Encoding::Json.write(&error, &mut line);
    // A socket that nothing was sent on takes a line. One that does not has no reader.
    if let Err(error) = stream.try_write(&line) {
        tracing::debug!(%error, "the refusal was not taken");
    }
}
