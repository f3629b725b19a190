//! Bytes that come in: frames, and which message goes where.

use std::rc::Rc;

use lock_runtime::__daemon::Code;
use lock_runtime::Moment;
use lock_runtime::wire::{
    Encoding, ErrorCode, MAX_HELLO, MAX_REQUEST, MAX_TEXT, SiteInfo, ToClient, ToDaemon, next_frame,
};

use super::session::SessionId;
use super::{ConnectionId, Engine, MAX_MALFORMED};

/// How much of a connection is handled before it is the turn of the others: so many messages, or
/// one that looks at every name.
const TURN: u32 = 256;

/// How many places in the code one connection may name.
const MAX_SITES: usize = 10_000;

/// Why a message is refused: what kind of fault it has, and what is wrong.
pub(super) type Fault = (ErrorCode, String);

/// A fault of something that is out of its limits.
pub(super) fn invalid(message: impl ToString) -> Fault {
    (ErrorCode::Invalid, message.to_string())
}

/// Who speaks, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speaker {
    pub(super) connection: ConnectionId,
    pub(super) session: SessionId,
    pub(super) now: Moment,
}

impl Engine {
    /// Bytes have come in. Those of a connection that is closing are ignored.
    pub fn received(&mut self, now: Moment, connection: ConnectionId, bytes: &[u8]) {
        let Some(known) = self.connections.get_mut(&connection) else {
            return;
        };
        let mut before = std::mem::take(&mut known.received);
        // What waits for its turn has ends of lines in it.
        let was_behind = std::mem::take(&mut known.is_behind);
        let seen = if was_behind { 0 } else { before.len() };
        let is_whole = if before.is_empty() {
            let used = self.frames(now, connection, bytes, 0);
            before.extend_from_slice(&bytes[used..]);
            used > 0
        } else {
            before.extend_from_slice(bytes);
            let used = self.frames(now, connection, &before, seen);
            before.drain(..used);
            used > 0
        };
        let limit = self.limits.unfinished;
        let Some(known) = self.connections.get_mut(&connection) else {
            return;
        };
        if known.is_closing {
            return;
        }
        known.unfinished_since = match known.unfinished_since {
            _ if before.is_empty() => None,
            Some(since) if !is_whole => Some(since),
            _ => Some(now),
        };
        if known.unfinished_since.is_some() && !known.is_timed {
            known.is_timed = true;
            self.unfinished.push_back((now + limit, connection));
        }
        if before.capacity() > before.len() + MAX_HELLO {
            before.shrink_to_fit();
        }
        known.received = before;
    }

    /// Handles every frame that is there in whole. Says how many bytes they had.
    fn frames(&mut self, now: Moment, id: ConnectionId, received: &[u8], mut seen: usize) -> usize {
        let mut used = 0;
        let mut budget = TURN;
        while let Some(connection) = self.connections.get(&id)
            && !connection.is_closing
        {
            if budget == 0 {
                self.go_on_later(id);
                break;
            }
            let limit = match connection.session {
                None => MAX_HELLO,
                Some(_) => MAX_REQUEST,
            };
            let encoding = connection.encoding;
            let rest = &received[used..];
            match next_frame(rest, seen, encoding, limit) {
                Ok(Some(frame)) => {
                    let cost = self.frame(now, id, encoding, &rest[frame.message]);
                    budget = budget.saturating_sub(cost);
                    used += frame.end;
                    seen = 0;
                }
                Ok(None) => break,
                Err(error) => {
                    self.fault(id, None, (ErrorCode::Malformed, error.to_string()));
                    self.close(id);
                }
            }
        }
        used
    }

    /// Handles a message. Says how much of the connection's turn it took.
    fn frame(&mut self, now: Moment, id: ConnectionId, encoding: Encoding, frame: &[u8]) -> u32 {
        if encoding == Encoding::Json && frame.trim_ascii().is_empty() {
            return 1;
        }
        let message: ToDaemon<'_> = match encoding.read(frame) {
            Ok(message) => message,
            Err(error) => {
                self.malformed(id, encoding, frame, &error.to_string());
                return 1;
            }
        };
        let cost = match &message {
            ToDaemon::List { .. } => TURN,
            _ => 1,
        };
        let connection = self.connections.get(&id);
        let session = connection.and_then(|connection| connection.session);
        match (session, message) {
            (None, ToDaemon::Hello(hello)) => self.greet(now, id, &hello),
            (None, _) => {
                let message = "the first message of a connection is its greeting: \
                               {\"hello\":{\"version\":1}}";
                self.fault(id, None, (ErrorCode::Malformed, message.to_owned()));
                self.close(id);
            }
            (Some(session), message) => {
                let speaker = Speaker {
                    connection: id,
                    session,
                    now,
                };
                self.handle(speaker, message);
            }
        }
        cost
    }

    /// Tells a peer what is wrong with a message; it had no effect.
    pub(super) fn fault(&mut self, connection: ConnectionId, id: Option<u64>, fault: Fault) {
        let (code, message) = fault;
        let message = message.into();
        self.say_now(connection, &ToClient::Error { id, code, message });
    }

    fn malformed(&mut self, id: ConnectionId, encoding: Encoding, frame: &[u8], error: &str) {
        let request = (encoding == Encoding::Json)
            .then(|| number_of(frame))
            .flatten();
        self.fault(id, request, (ErrorCode::Malformed, error.to_owned()));
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.malformed += 1;
        // A client of the compact encoding was built with the daemon: it makes no slips.
        if connection.malformed >= MAX_MALFORMED
            || encoding == Encoding::Postcard
            || connection.session.is_none()
        {
            self.close(id);
        }
    }

    fn handle(&mut self, speaker: Speaker, message: ToDaemon<'_>) {
        let (id, handled) = match message {
            ToDaemon::Acquire(acquire) => (acquire.id, self.acquire(speaker, &acquire)),
            ToDaemon::Adopt(adopt) => (adopt.id, self.adopt(speaker, &adopt)),
            ToDaemon::Assign(assign) => (assign.id, self.assign(speaker, &assign)),
            ToDaemon::Claim {
                id,
                name,
                namespace,
                owner,
            } => (id, self.claim(speaker, id, (&namespace, &name), owner)),
            ToDaemon::Detach {
                id,
                name,
                namespace,
                owner,
            } => (id, self.detach(speaker, id, (&namespace, &name), owner)),
            ToDaemon::ForceRelease {
                id,
                name,
                namespace,
            } => (id, self.force_release(speaker, id, (&namespace, &name))),
            ToDaemon::Goodbye {} => return self.goodbye(speaker),
            ToDaemon::Hello(_) => {
                let message = "a connection is greeted once".to_owned();
                return self.fault(speaker.connection, None, (ErrorCode::Malformed, message));
            }
            ToDaemon::Inspect {
                id,
                name,
                namespace,
            } => (id, self.inspect(speaker, id, (&namespace, &name))),
            ToDaemon::List {
                id,
                namespace,
                prefix,
                after,
            } => {
                self.list(speaker, id, namespace.as_deref(), &prefix, after.as_ref());
                return;
            }
            ToDaemon::Ping { id } => {
                return self.say_now(speaker.connection, &ToClient::Pong { id });
            }
            ToDaemon::Reclaim(reclaim) => (reclaim.id, self.reclaim(speaker, &reclaim)),
            ToDaemon::Release {
                id,
                name,
                namespace,
                owner,
                body_ran,
            } => {
                let released = self.release(speaker, id, (&namespace, &name), owner, body_ran);
                (id, released)
            }
            ToDaemon::Renew { id, leases } => (id, self.renew(speaker, id, &leases)),
            ToDaemon::Settled { id } => return self.settled(speaker, id),
            ToDaemon::Site(site) => {
                if let Err(fault) = self.site(speaker, &site) {
                    self.fault(speaker.connection, None, fault);
                }
                return;
            }
            ToDaemon::Transfer(transfer) => (transfer.id, self.transfer(speaker, &transfer)),
            ToDaemon::Unassign(unassign) => (unassign.id, self.unassign(speaker, &unassign)),
        };
        if let Err(fault) = handled {
            self.fault(speaker.connection, Some(id), fault);
        }
    }

    fn site(&mut self, speaker: Speaker, site: &SiteInfo<'_>) -> Result<(), Fault> {
        let texts = [site.function.as_deref().unwrap_or_default(), &site.file];
        if texts.iter().any(|text| text.len() > MAX_TEXT) {
            return Err(invalid(format!(
                "a function or file of more than {MAX_TEXT} bytes"
            )));
        }
        let Some(session) = self.sessions.get_mut(&speaker.session) else {
            return Ok(());
        };
        let code = Rc::new(Code {
            function: site.function.as_deref().map(str::to_owned),
            file: site.file.clone().into_owned(),
            line: site.line,
        });
        let number = usize::try_from(site.number).unwrap_or(usize::MAX);
        let next = session.sites.len();
        match session.sites.get_mut(number) {
            Some(place) => *place = code,
            None if number >= MAX_SITES => {
                let message = format!("more than {MAX_SITES} sites; leave `site` out instead");
                return Err((ErrorCode::Limit, message));
            }
            None if number == next => session.sites.push(code),
            None => {
                return Err(invalid(format!(
                    "site {number} is not the next one, which is {next}"
                )));
            }
        }
        Ok(())
    }

    fn goodbye(&mut self, speaker: Speaker) {
        self.end_session(speaker.now, speaker.session, false);
        self.close(speaker.connection);
    }

    /// There is more to be handled, and others come first: the shell calls
    /// [`Engine::received`] again, with nothing new.
    fn go_on_later(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.is_behind = true;
            self.wake(id);
        }
    }

    /// Whether messages of a connection wait for their turn: then [`Engine::received`] is to be
    /// called with whatever is new, or with nothing.
    #[must_use]
    pub fn is_behind(&self, connection: ConnectionId) -> bool {
        let connection = self.connections.get(&connection);
        connection.is_some_and(|connection| connection.is_behind)
    }
}

/// The number of a request that could not be understood in whole, for its sender to know which.
fn number_of(frame: &[u8]) -> Option<u64> {
    let value: serde_json::Value = serde_json::from_slice(frame).ok()?;
    let message = value.as_object()?.values().next()?;
    message.get("id")?.as_u64()
}
