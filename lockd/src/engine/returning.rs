//! Sections that go on: with their owner on a new connection, after a restart, or under another.

use std::cell::Cell;
use std::time::Duration;

use lock_runtime::__daemon::{Ask, Effects, Entry, LockName};
use lock_runtime::wire::{Adopt, Reclaim, ToClient};
use lock_runtime::{FencingToken, Mode, Moment, Owner};

use super::Engine;
use super::messages::{Fault, Speaker};
use super::reading::{Sent, at_least_of, name_of, ttl_of};
use super::session::{Holder, Stage};

impl Engine {
    pub(super) fn detach(
        &mut self,
        by: Speaker,
        id: u64,
        sent: Sent<'_>,
        owner: Owner,
    ) -> Result<(), Fault> {
        let name = name_of(sent)?;
        let found = self.find(by.now, &name, owner);
        let found = found.filter(|holder| holder.0.stage.get() == Stage::Held);
        if let Some(holder) = &found {
            self.remember_lingering(holder);
            let ttl = holder.0.ttl.get();
            self.start_lease_anew(by.now, holder, ttl);
            self.stand_alone(holder);
        }
        let held = found.is_some();
        self.say(by.connection, &ToClient::Held { id, held });
        Ok(())
    }

    pub(super) fn reclaim(&mut self, by: Speaker, said: &Reclaim<'_>) -> Result<(), Fault> {
        let name = name_of((&said.namespace, &said.name))?;
        let ttl = ttl_of(said.ttl_ms)?;
        let at_least = at_least_of(said.at_least_ms)?;
        let held = match self.find(by.now, &name, said.owner) {
            Some(holder) => {
                self.affirm(by, &holder);
                self.set_stage(&holder, Stage::Held);
                self.start_lease_anew(by.now, &holder, ttl);
                true
            }
            None if self.may_come_back(by, &name, said) => {
                let site = (said.id, said.site);
                // Whoever has adopted it does not know of the rest.
                let rest = self.durable.rests.get(&(name.clone(), said.owner.id()));
                let at_least = at_least.max(rest.map_or(at_least, |rest| rest.length));
                let holder = self.holder(by, site, name, said.owner, |acquisition| {
                    acquisition.mode = said.mode;
                    acquisition.at_least = at_least;
                    acquisition.lingers = said.linger;
                    acquisition.ttl = Cell::new(ttl);
                });
                let since = by.now.saturating_sub(Duration::from_millis(said.held_ms));
                self.reinstate(by, &holder, since, said.token)
            }
            None => false,
        };
        let id = said.id;
        self.say(by.connection, &ToClient::Held { id, held });
        Ok(())
    }

    /// Whether somebody can have held this when the daemon was started anew.
    pub(super) fn may_come_back(&self, by: Speaker, name: &LockName, said: &Reclaim<'_>) -> bool {
        let Some(recovery) = &self.recovery else {
            return false;
        };
        let session = self.sessions.get(&by.session);
        let was_there = session.is_some_and(|s| recovery.missing(s.key).is_some());
        let is_plausible = match (said.mode, said.token) {
            (Mode::Exclusive, Some(token)) => token.get() <= recovery.last_token,
            (Mode::Exclusive, None) => false,
            (_, token) => token.is_none(),
        };
        let was_forced_out =
            recovery.is_forced(name) || self.durable.forced_out.contains_key(&said.owner.id());
        was_there && is_plausible && !was_forced_out
    }

    pub(super) fn reinstate(
        &mut self,
        by: Speaker,
        holder: &Holder,
        since: Moment,
        token: Option<FencingToken>,
    ) -> bool {
        let acquisition = &*holder.0;
        let ttl = acquisition.ttl.get();
        let ask = Ask {
            name: &acquisition.name,
            owner: acquisition.owner,
            mode: acquisition.mode,
            ttl: Some(ttl),
            wait_until: None,
            entry: Entry::Plain,
            at_least: acquisition.at_least,
        };
        let mut effects = Effects::new();
        let back = self
            .table
            .reinstate(by.now, &ask, (token, since), holder.clone(), &mut effects);
        self.tell(by.now, effects);
        if back.is_err() {
            return false;
        }
        self.take_in(by.session, holder);
        self.set_stage(holder, Stage::Held);
        self.cover(by.now + ttl);
        self.remember(by.now, holder);
        true
    }

    /// The session has said on this connection what it has: the rest of it goes.
    pub(super) fn settled(&mut self, by: Speaker, id: u64) {
        let Some(session) = self.sessions.get(&by.session) else {
            return;
        };
        let key = session.key;
        let unspoken_of: Vec<Holder> = session
            .acquisitions
            .iter()
            .filter(|holder| holder.0.affirmed.get() != Some(by.connection))
            .cloned()
            .collect();
        for holder in unspoken_of {
            self.end_of_owner(by.now, &holder);
        }
        if let Some(recovery) = &mut self.recovery {
            recovery.is_back(key);
            self.recover(by.now);
        }
        self.say(by.connection, &ToClient::Done { id });
    }

    pub(super) fn adopt(&mut self, by: Speaker, said: &Adopt<'_>) -> Result<(), Fault> {
        let name = name_of((&said.namespace, &said.name))?;
        let ttl = ttl_of(said.ttl_ms)?;
        if let Some(holder) = self.find(by.now, &name, said.owner) {
            // The same again: its answer was lost.
            holder.0.request.set(said.id);
            if self.is_known_already(by, said.id, &name, said.owner) {
                return Ok(());
            }
        }
        let given = self.find(by.now, &name, said.giver);
        let Some(given) = given.filter(|holder| holder.0.stage.get() == Stage::Held) else {
            let id = said.id;
            self.say(by.connection, &ToClient::Held { id, held: false });
            return Ok(());
        };
        self.check_limits(by, false)?;
        let site = (said.id, said.site);
        let holder = self.holder(by, site, name.clone(), said.owner, |acquisition| {
            acquisition.mode = given.0.mode;
            acquisition.at_least = given.0.at_least;
            acquisition.lingers = said.linger;
            acquisition.ttl = Cell::new(ttl);
        });
        let mut effects = Effects::new();
        let taker = (said.owner, holder.clone());
        let adopted = self
            .table
            .adopt(by.now, &name, said.giver, taker, Some(ttl), &mut effects);
        self.tell(by.now, effects);
        match adopted {
            Ok(token) => {
                self.take_in(by.session, &holder);
                self.set_stage(&holder, Stage::Held);
                self.move_rest(&name, said.giver, said.owner);
                self.granted(by.now, by.now + ttl, &holder, said.id, token, false);
            }
            Err(_) => {
                let id = said.id;
                self.say(by.connection, &ToClient::Held { id, held: false });
            }
        }
        Ok(())
    }
}
