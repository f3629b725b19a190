//! What is said to whom, and when it may be said.

use lock_runtime::__daemon::{Effect, Effects, Party, Refusal};
use lock_runtime::wire::{ErrorCode, ToClient};
use lock_runtime::{CLAIM_WINDOW, Lost, Moment};

use super::connection::Connection;
use super::session::{Holder, Stage};
use super::{ConnectionId, Engine, looking};

impl Engine {
    /// A connection that has news since it was last named here: output, or its closing.
    pub fn woken(&mut self) -> Option<ConnectionId> {
        loop {
            let id = self.woken.pop_front()?;
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.is_woken = false;
                return Some(id);
            }
        }
    }

    /// What may be sent on a connection now.
    #[must_use]
    pub fn output(&self, connection: ConnectionId) -> &[u8] {
        self.connections
            .get(&connection)
            .map_or(&[], Connection::output)
    }

    /// So many bytes of the output were sent.
    pub fn written(&mut self, connection: ConnectionId, bytes: usize) {
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.written(bytes);
        }
    }

    /// Whether a connection is to be closed once its output is sent, which is all of it. One that
    /// is not known any more is.
    #[must_use]
    pub fn is_closing(&self, connection: ConnectionId) -> bool {
        self.connections
            .get(&connection)
            .is_none_or(|connection| connection.is_closing && !connection.is_held_back())
    }

    /// A snapshot is on disk: what waited for it may be said.
    pub fn saved(&mut self, now: Moment, number: u64) {
        self.durable.saved(number);
        self.start_claim_windows(now, number);
        let waiting = std::mem::take(&mut self.held_back);
        for id in waiting {
            let Some(connection) = self.connections.get_mut(&id) else {
                continue;
            };
            connection.let_go(number);
            if connection.is_held_back() {
                self.held_back.push(id);
            }
            self.wake(id);
        }
    }

    /// Says something on a connection, after everything that is not on disk yet and that it may
    /// depend on.
    pub(super) fn say(&mut self, id: ConnectionId, message: &ToClient<'_>) {
        let awaited = self.durable.awaited();
        self.say_with(id, |connection| connection.say_in_turn(message, awaited));
    }

    /// Says something that depends on nothing that is not on disk yet.
    pub(super) fn say_now(&mut self, id: ConnectionId, message: &ToClient<'_>) {
        self.say_with(id, |connection| connection.say_now(message));
    }

    pub(super) fn say_with(&mut self, id: ConnectionId, say: impl FnOnce(&mut Connection)) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if connection.is_closing {
            return;
        }
        let was_held_back = connection.is_held_back();
        say(connection);
        if connection.is_held_back() && !was_held_back {
            self.held_back.push(id);
        }
        if connection.waiting() > self.limits.output {
            // It does not read, so that there is nothing to tell it.
            connection.throw_away();
            connection.is_closing = true;
        }
        self.wake(id);
    }

    pub(super) fn wake(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id)
            && !connection.is_woken
        {
            connection.is_woken = true;
            self.woken.push_back(id);
        }
    }

    pub(super) fn close(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.is_closing = true;
            connection.received = Vec::new();
            self.wake(id);
        }
    }

    pub(super) fn say_bye(&mut self, id: ConnectionId, reason: &str) {
        let reason = reason.into();
        // After everything that it was about to be told.
        let bye = ToClient::Bye { reason };
        self.say_with(id, |connection| connection.say_in_turn(&bye, None));
        self.close(id);
    }

    pub(super) fn refuse_connection(&mut self, id: ConnectionId, why: &str) {
        self.fault(id, None, (ErrorCode::Limit, why.to_owned()));
        self.close(id);
    }

    /// Tells those whom it concerns what has become of their acquisitions.
    pub(super) fn tell(&mut self, now: Moment, effects: Effects<Holder>) {
        for effect in effects {
            match effect {
                Effect::Granted(holder) => self.granted_from_queue(now, &holder),
                Effect::Refused(holder, refusal) => {
                    let request = holder.0.request.get();
                    let connection = self.connection_of(&holder);
                    self.let_go(&holder);
                    if let Some(connection) = connection {
                        self.say_refusal(connection, request, refusal);
                    }
                }
                Effect::Lost(holder, cause) => {
                    let was_held = holder.0.stage.get() == Stage::Held;
                    let connection = self.connection_of(&holder);
                    self.let_go(&holder);
                    if cause == Lost::ForcedOut {
                        self.durable.force_out(now, holder.owner().id());
                    }
                    if !was_held {
                        // Nothing of it has begun, so that nothing has to rest.
                        self.forget_rest(&holder);
                    }
                    // Whoever has not taken its grant up learns of it when it wants to.
                    if let Some(connection) = connection.filter(|_| was_held) {
                        let owner = holder.0.owner;
                        self.say(connection, &ToClient::Lost { owner, cause });
                    }
                }
            }
        }
    }

    /// A grant that nobody is told of before it is on disk is not passed over until then.
    pub(super) fn hold_for_the_disk(&mut self, now: Moment, holder: &Holder) {
        let acquisition = &*holder.0;
        if let Some(number) = self.durable.awaited() {
            let (name, owner) = (&acquisition.name, acquisition.owner);
            self.table.await_claim(now, name, owner, Moment::NEVER);
            self.untold.push((number, holder.clone()));
        }
    }

    /// Those who are told of their grants now have their time to claim them from now on.
    fn start_claim_windows(&mut self, now: Moment, saved: u64) {
        if self.untold.is_empty() {
            return;
        }
        for (number, holder) in std::mem::take(&mut self.untold) {
            if number > saved {
                self.untold.push((number, holder));
            } else if holder.0.stage.get() == Stage::Granted {
                let (name, owner) = (&holder.0.name, holder.0.owner);
                self.table.await_claim(now, name, owner, now + CLAIM_WINDOW);
                self.cover(now + CLAIM_WINDOW);
            }
        }
    }

    pub(super) fn granted_from_queue(&mut self, now: Moment, holder: &Holder) {
        let acquisition = &*holder.0;
        let found = self.table.find(&acquisition.name, acquisition.owner);
        // It may be over already, when the daemon stood still.
        let token = found.and_then(|found| found.token);
        self.set_stage(holder, Stage::Granted);
        self.cover(now + CLAIM_WINDOW);
        self.remember(now, holder);
        self.keep_rest(now, holder);
        self.hold_for_the_disk(now, holder);
        if let Some(connection) = self.connection_of(holder) {
            let granted = ToClient::Granted {
                id: acquisition.request.get(),
                token,
                mode: acquisition.mode,
                queued: true,
            };
            self.say(connection, &granted);
        }
    }

    pub(super) fn connection_of(&self, holder: &Holder) -> Option<ConnectionId> {
        self.sessions.get(&holder.0.session()?)?.connection
    }

    pub(super) fn say_refusal(&mut self, connection: ConnectionId, id: u64, refusal: Refusal) {
        looking::with_refusal(id, &refusal, |message| self.say(connection, message));
    }
}
