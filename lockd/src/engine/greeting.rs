//! The greeting: a connection begins a session, or goes on with one.

use std::rc::Rc;

use lock_runtime::Moment;
use lock_runtime::wire::{ErrorCode, Hello, MAX_TEXT, Nonce, ToClient, VERSION, Welcome};

use super::messages::{Fault, invalid};
use super::saved::millis;
use super::session::{Session, SessionId, Who};
use super::{ConnectionId, Engine, Process};

impl Engine {
    pub(super) fn greet(&mut self, now: Moment, id: ConnectionId, hello: &Hello<'_>) {
        if hello.version != VERSION {
            let message = format!(
                "this lockd speaks version {VERSION} of the protocol, and not {}",
                hello.version
            );
            self.fault(id, None, (ErrorCode::Version, message));
            return self.close(id);
        }
        for text in [&hello.application, &hello.host] {
            if text.len() > MAX_TEXT {
                let message = format!("an application or host of more than {MAX_TEXT} bytes");
                self.fault(id, None, invalid(message));
                return self.close(id);
            }
        }
        let Some(peer) = self.connections.get(&id).map(|connection| connection.peer) else {
            return;
        };
        let who = Rc::new(Who {
            application: hello.application.clone().into_owned(),
            host: hello.host.clone().into_owned(),
            pid: peer.pid,
        });
        let resumed = match self.take_session(now, id, hello, peer.process, who) {
            Ok(resumed) => resumed,
            Err(fault) => {
                self.fault(id, None, fault);
                return self.close(id);
            }
        };
        let recovering = self.recovery.as_ref();
        let welcome = ToClient::Hello(Welcome {
            version: VERSION,
            server: concat!("lockd ", env!("CARGO_PKG_VERSION")).into(),
            encoding: hello.encoding,
            resumed,
            recovering_ms: recovering.map(|recovery| millis(recovery.left(now))),
        });
        self.say_now(id, &welcome);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.encoding = hello.encoding;
        }
    }

    /// Begins a session on a connection, or goes on with one. Says whether it was known.
    fn take_session(
        &mut self,
        now: Moment,
        connection: ConnectionId,
        hello: &Hello<'_>,
        process: Option<Process>,
        who: Rc<Who>,
    ) -> Result<bool, Fault> {
        let key = hello.session;
        let stolen = || {
            let message = "this session belongs to another process; draw a number of your own";
            (ErrorCode::Forbidden, message.to_owned())
        };
        let known = key.and_then(|key| self.by_key.get(&key).copied());
        if let Some(id) = known
            && let Some(session) = self.sessions.get_mut(&id)
        {
            if is_another(session.process, process) {
                return Err(stolen());
            }
            if hello.connection < session.generation {
                let message = "a later connection of this session has greeted already";
                return Err((ErrorCode::Forbidden, message.to_owned()));
            }
            session.generation = hello.connection;
            session.who = who;
            session.sites.clear();
            let before = session.connection.replace(connection);
            if let Some(before) = before {
                if let Some(old) = self.connections.get_mut(&before) {
                    old.session = None;
                }
                // What it may still have to say was said before this greeting.
                self.say_bye(before, "the session goes on on another connection");
            }
            self.attach(connection, id);
            return Ok(true);
        }
        let missing = key
            .zip(self.recovery.as_ref())
            .and_then(|(key, recovery)| recovery.missing(key));
        if missing.is_some_and(|missing| is_another(missing.process, process)) {
            return Err(stolen());
        }
        self.check_sessions(process)?;
        self.last_id += 1;
        let id = SessionId(self.last_id);
        let session = Session {
            key: key.unwrap_or_else(Nonce::random),
            can_return: key.is_some(),
            process,
            who,
            connection: Some(connection),
            generation: hello.connection,
            sites: Vec::new(),
            acquisitions: Vec::new(),
            waiting: 0,
            remembered: missing.map(|_| 0),
            lingers: missing.is_some_and(|missing| missing.lingers),
            last_grant: now,
        };
        self.by_key.insert(session.key, id);
        self.sessions.insert(id, session);
        if let Some(process) = process {
            let of_process = self.processes.entry(process).or_default();
            of_process.sessions.push(id);
        }
        self.attach(connection, id);
        Ok(missing.is_some())
    }

    /// Sessions outlive their connections: who hangs up and connects again and again has as many
    /// as it may have connections, and no more.
    fn check_sessions(&self, process: Option<Process>) -> Result<(), Fault> {
        let limit = self.limits.connections_per_process;
        let known = process.and_then(|process| self.processes.get(&process));
        if known.is_some_and(|known| known.sessions.len() >= limit) {
            let message = format!("this process has {limit} sessions that still hold something");
            return Err((ErrorCode::Limit, message));
        }
        Ok(())
    }

    fn attach(&mut self, connection: ConnectionId, session: SessionId) {
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.session = Some(session);
        }
    }
}

/// Whether these are two processes for sure. Where one of them could not be told, the secret
/// number of the session decides.
fn is_another(one: Option<Process>, other: Option<Process>) -> bool {
    one.zip(other).is_some_and(|(one, other)| one != other)
}
