//! Whose acquisitions are, what becomes of them when their owners go, and what a restart has to
//! know of them.

use lock_runtime::__daemon::LockName;
use lock_runtime::{Moment, Owner};

use super::durable::Rest;
use super::messages::Speaker;
use super::session::{Acquisition, Belongs, Holder, SessionId, Stage};
use super::{ConnectionId, Engine, Process};

impl Engine {
    pub(super) fn take_in(&mut self, id: SessionId, holder: &Holder) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.add(id, holder);
        }
    }

    pub(super) fn set_stage(&mut self, holder: &Holder, stage: Stage) {
        let before = holder.0.stage.get();
        if before.is_running() != stage.is_running() {
            if stage.is_running() {
                self.running += 1;
            } else {
                self.running -= 1;
            }
        }
        if before == Stage::Waiting {
            self.waiting.remove(&holder.0.owner);
        }
        let session = holder.0.session();
        match session.and_then(|id| self.sessions.get_mut(&id)) {
            Some(session) => session.set_stage(&holder.0, stage),
            None => holder.0.stage.set(stage),
        }
    }

    /// A session has spoken of an acquisition: it is its own from now on, on this connection.
    pub(super) fn affirm(&mut self, by: Speaker, holder: &Holder) {
        holder.0.affirmed.set(Some(by.connection));
        if holder.0.session() == Some(by.session) {
            return;
        }
        self.part(holder);
        self.take_in(by.session, holder);
        if holder.0.stage.get().is_running() {
            self.remember(by.now, holder);
        }
    }

    /// Takes an acquisition from whoever has it.
    pub(super) fn part(&mut self, holder: &Holder) {
        match holder.0.belongs.get() {
            Belongs::Nobody => {}
            Belongs::Alone => {
                holder.0.belongs.set(Belongs::Nobody);
                self.alone -= 1;
                self.forget_the_lingering();
            }
            Belongs::Session(id) => {
                let Some(session) = self.sessions.get_mut(&id) else {
                    return holder.0.belongs.set(Belongs::Nobody);
                };
                session.remove(&holder.0);
                if session.connection.is_none() && session.acquisitions.is_empty() {
                    self.drop_session(id);
                }
            }
        }
    }

    pub(super) fn stand_alone(&mut self, holder: &Holder) {
        // First: its session, which may be gone with it, has left something behind.
        self.alone += 1;
        self.part(holder);
        holder.0.belongs.set(Belongs::Alone);
    }

    /// An acquisition is over.
    pub(super) fn let_go(&mut self, holder: &Holder) {
        self.set_stage(holder, Stage::Over);
        self.part(holder);
    }

    /// Makes sure that a restart knows of leases that end at this moment, and of the last token.
    /// Says which snapshot has to be on disk before anybody is told, if one has to.
    pub(super) fn cover(&mut self, lease_ends: Moment) -> Option<u64> {
        self.durable.cover(self.tokens.0.get(), lease_ends)
    }

    /// Makes sure that a restart knows that the session may hold something, before anybody is
    /// told that it does.
    pub(super) fn remember(&mut self, now: Moment, holder: &Holder) {
        let lingers = holder.0.lingers;
        let Some(number) = self.remember_soon(holder, lingers) else {
            return;
        };
        self.durable.wait_for(number);
        if let Some(session) = holder.0.session().and_then(|id| self.sessions.get_mut(&id)) {
            session.last_grant = now;
        }
    }

    pub(super) fn remember_lingering(&mut self, holder: &Holder) {
        if let Some(number) = self.remember_soon(holder, true) {
            self.durable.wait_for(number);
        }
    }

    /// Makes sure that a restart will know that the session may hold something. Says with which
    /// snapshot it does. Whoever queues is written down while it waits, and not when it is granted.
    pub(super) fn remember_soon(&mut self, holder: &Holder, lingers: bool) -> Option<u64> {
        let session = self.sessions.get_mut(&holder.0.session()?)?;
        let lingers = lingers || session.lingers;
        if let Some(number) = session.remembered
            && lingers == session.lingers
        {
            return Some(number);
        }
        session.lingers = lingers;
        let number = self.durable.remember(session.key, session.process, lingers);
        session.remembered = Some(number);
        Some(number)
    }

    /// Makes sure that a restart knows for how long the name is busy at least.
    pub(super) fn keep_rest(&mut self, now: Moment, holder: &Holder) {
        let Acquisition {
            name,
            owner,
            mode,
            at_least,
            ..
        } = &*holder.0;
        if at_least.is_zero() {
            return;
        }
        let rest = Rest {
            mode: *mode,
            until: now + *at_least,
            length: *at_least,
        };
        self.durable.rests.insert((name.clone(), owner.id()), rest);
        self.durable.changed();
    }

    /// What has not begun leaves no rest.
    pub(super) fn forget_rest(&mut self, holder: &Holder) {
        if !holder.0.at_least.is_zero() {
            let key = (holder.0.name.clone(), holder.0.owner.id());
            self.durable.rests.remove(&key);
            self.durable.changed_by_the_way();
        }
    }

    /// A section goes on under another owner, and so does what comes after it.
    pub(super) fn move_rest(&mut self, name: &LockName, from: Owner, to: Owner) {
        let key = (name.clone(), from.id());
        if let Some(rest) = self.durable.rests.remove(&key) {
            let key = (name.clone(), to.id());
            self.durable.rests.insert(key, rest);
            self.durable.changed();
        }
    }

    /// The connection of a session has ended, and its process perhaps not.
    pub(super) fn connection_lost(&mut self, now: Moment, id: SessionId, connection: ConnectionId) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if session.connection != Some(connection) {
            return;
        }
        session.connection = None;
        let is_gone_for_good = !session.can_return;
        let waiting: Vec<Holder> = session
            .acquisitions
            .iter()
            .filter(|holder| is_gone_for_good && holder.0.stage.get() != Stage::Held)
            .cloned()
            .collect();
        for holder in waiting {
            self.end_of_owner(now, &holder);
        }
        if let Some(session) = self.sessions.get(&id)
            && session.acquisitions.is_empty()
        {
            self.drop_session(id);
        }
    }

    /// A session is over: so is everything that it has, but for what outlives a dead process.
    pub(super) fn end_session(&mut self, now: Moment, id: SessionId, is_dead: bool) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let connection = session.connection.take();
        if let Some(connection) = connection
            && let Some(connection) = self.connections.get_mut(&connection)
        {
            connection.session = None;
        }
        for holder in session.acquisitions.clone() {
            if is_dead && holder.0.lingers && holder.0.stage.get() == Stage::Held {
                self.stand_alone(&holder);
            } else {
                self.end_of_owner(now, &holder);
            }
        }
        self.drop_session(id);
        if let Some(connection) = connection {
            self.close(connection);
        }
    }

    /// The owner is gone: its request is taken back, or its section ends. Its body may have run.
    pub(super) fn end_of_owner(&mut self, now: Moment, holder: &Holder) {
        let body_ran = holder.0.stage.get() == Stage::Held;
        self.end_acquisition(now, holder, body_ran);
    }

    pub(super) fn drop_session(&mut self, id: SessionId) {
        let Some(session) = self.sessions.remove(&id) else {
            return;
        };
        self.by_key.remove(&session.key);
        if let Some(recovery) = &mut self.recovery
            && recovery.missing(session.key).is_some()
        {
            // It has not said what it holds: it may still come back and do so.
            return self.forget_session_of_process(id, session.process);
        }
        if !(session.lingers && self.alone > 0) {
            self.durable.forget(session.key);
        }
        self.forget_session_of_process(id, session.process);
    }

    pub(super) fn forget_session_of_process(&mut self, id: SessionId, process: Option<Process>) {
        let Some(process) = process else {
            return;
        };
        if let Some(of_process) = self.processes.get_mut(&process) {
            of_process.sessions.retain(|session| *session != id);
        }
        self.forget_process(process);
    }

    /// Nothing stands alone any more: sessions that are gone have left nothing behind.
    pub(super) fn forget_the_lingering(&mut self) {
        if self.alone == 0 && self.recovery.is_none() {
            let by_key = &self.by_key;
            self.durable
                .sessions
                .retain(|key, remembered| !remembered.lingers || by_key.contains_key(key));
        }
    }
}
