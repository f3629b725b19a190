//! Requests that change to whom a lock is assigned.

use std::time::Duration;

use lock_runtime::__daemon::{Effects, Giver, LockName, Refusal, Within};
use lock_runtime::wire::{Assign, By, ErrorCode, Nonce, ToClient, Transfer, Unassign};
use lock_runtime::{CallerId, Moment, Owner};

use super::Engine;
use super::durable::Kept;
use super::messages::{Fault, Speaker, invalid};
use super::reading::{caller_of, name_of};
use super::session::Holder;

/// The longest time that an assignment may be given.
const MAX_ASSIGNED: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// One change of one lock, as it was asked for.
struct Change {
    id: u64,
    attempt: Nonce,
    name: LockName,
    by: Giving,
    within: Option<Within>,
}

/// [`By`] with its caller kept.
enum Giving {
    Caller(CallerId),
    Holder(CallerId),
    Operator,
}

impl Giving {
    fn new(by: &By<'_>) -> Result<Self, Fault> {
        Ok(match by {
            By::Caller(caller) => Self::Caller(caller_of(caller)?),
            By::Holder(caller) => Self::Holder(caller_of(caller)?),
            By::Operator => Self::Operator,
        })
    }

    fn giver(&self) -> Giver<'_> {
        match self {
            Self::Caller(caller) => Giver::Caller(caller),
            Self::Holder(caller) => Giver::Holder(caller),
            Self::Operator => Giver::Operator,
        }
    }
}

impl Change {
    fn new(
        (id, attempt): (u64, Nonce),
        sent: (&str, &str),
        by: &By<'_>,
        within: Option<Owner>,
    ) -> Result<Self, Fault> {
        Ok(Self {
            id,
            attempt,
            name: name_of(sent)?,
            by: Giving::new(by)?,
            within: within.map(Within),
        })
    }
}

impl Engine {
    pub(super) fn assign(&mut self, speaker: Speaker, said: &Assign<'_>) -> Result<(), Fault> {
        let sent = (&*said.namespace, &*said.name);
        let change = Change::new((said.id, said.attempt), sent, &said.by, said.within)?;
        let to = caller_of(&said.to)?;
        self.check_assignments(&change.name)?;
        let ttl = said.ttl_ms.map(Duration::from_millis);
        if ttl.is_some_and(|ttl| ttl.is_zero() || ttl > MAX_ASSIGNED) {
            return Err(invalid(
                "ttl_ms of an assignment is between 1 and the milliseconds of 366 days; leave it \
                 out for one that does not end by itself",
            ));
        }
        self.change(speaker, &change, |engine, now, effects| {
            let (giver, within) = (change.by.giver(), change.within);
            let table = &mut engine.table;
            table.assign(now, &change.name, (&to, ttl), giver, within, effects)
        });
        Ok(())
    }

    pub(super) fn transfer(&mut self, speaker: Speaker, said: &Transfer<'_>) -> Result<(), Fault> {
        let sent = (&*said.namespace, &*said.name);
        let change = Change::new((said.id, said.attempt), sent, &said.by, said.within)?;
        let to = caller_of(&said.to)?;
        self.check_assignments(&change.name)?;
        self.change(speaker, &change, |engine, now, effects| {
            let (giver, within) = (change.by.giver(), change.within);
            let table = &mut engine.table;
            table.transfer(now, &change.name, &to, giver, within, effects)
        });
        Ok(())
    }

    pub(super) fn unassign(&mut self, speaker: Speaker, said: &Unassign<'_>) -> Result<(), Fault> {
        let sent = (&*said.namespace, &*said.name);
        let change = Change::new((said.id, said.attempt), sent, &said.by, said.within)?;
        self.change(speaker, &change, |engine, now, effects| {
            let (giver, within) = (change.by.giver(), change.within);
            let table = &mut engine.table;
            table.unassign(now, &change.name, giver, within, effects)
        });
        Ok(())
    }

    fn check_assignments(&self, name: &LockName) -> Result<(), Fault> {
        let (kept, limit) = (&self.durable.assignments, self.limits.assignments);
        if kept.len() < limit || kept.contains_key(name) {
            return Ok(());
        }
        let message = format!("{limit} locks are assigned already; take some back first");
        Err((ErrorCode::Limit, message))
    }

    /// Makes a change, unless the same attempt has been made before, and answers.
    fn change(
        &mut self,
        speaker: Speaker,
        change: &Change,
        make: impl FnOnce(&mut Self, Moment, &mut Effects<Holder>) -> Result<(), Refusal>,
    ) {
        let id = change.id;
        let kept = self.durable.assignments.get(&change.name);
        let is_done = kept.is_some_and(|kept| kept.attempt == change.attempt)
            || self.durable.is_done(change.attempt);
        if is_done {
            return self.say(speaker.connection, &ToClient::Done { id });
        }
        let mut effects = Effects::new();
        let made = make(self, speaker.now, &mut effects);
        if made.is_ok() {
            self.durable.note_attempt(speaker.now, change.attempt);
            self.keep_assignment(&change.name, change.attempt);
        }
        match made {
            Ok(()) => self.say(speaker.connection, &ToClient::Done { id }),
            Err(refusal) => self.say_refusal(speaker.connection, id, refusal),
        }
        self.tell(speaker.now, effects);
    }

    /// Makes sure that a restart knows to whom the lock is assigned, before anybody else does.
    fn keep_assignment(&mut self, name: &LockName, attempt: Nonce) {
        match self.table.assignment(name) {
            Some(assigned) => {
                let kept = Kept { assigned, attempt };
                self.durable.assignments.insert(name.clone(), kept);
            }
            None => {
                self.durable.assignments.remove(name);
            }
        }
        self.durable.changed();
    }
}
