//! The lock table: one deterministic state machine, without I/O, clock, task or lock.
//!
//! Time is a parameter, and what has to be told to others is returned as [`Effect`]s. The
//! embedded backend and the daemon are shells around it; a simulator drives it directly.
//!
//! The methods come in families:
//!
//! * sections: [`Table::acquire`], [`Table::claim`], [`Table::renew`], [`Table::release`],
//!   [`Table::cancel`], [`Table::adopt`], [`Table::force_release`]; and for a name that nobody
//!   else asks for, in short, [`Table::take_free`] and [`Table::return_untouched`];
//! * assignments: [`Table::assign`], [`Table::transfer`], [`Table::unassign`];
//! * looking: [`Table::describe`], [`Table::queue`], [`Table::names`], [`Table::find`], [`Table::assignment`];
//! * going on after a restart of the shell: [`Table::reinstate`], [`Table::rest`],
//!   [`Table::restore_assignment`];
//! * time: [`Table::settle`], and [`Table::advance`], to be called at [`Table::next_look`] at the latest.
//!
//! Each of them first lets everything happen to its lock that is due by `now`, so that a driver
//! that calls `advance` late is late with news, and never wrong.

mod assignment;
mod describe;
mod due;
mod known;
#[cfg(test)]
mod model;
mod queue;
mod record;
mod request;
mod restore;
mod schedule;
mod spare;

use std::fmt;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;

pub use assignment::{Giver, Within};
pub use describe::Description;
pub use request::{
    Acquired, Ask, Effect, Effects, Entry, NotHeld, Party, Place, Refusal, TokenSource, Way,
};

pub use restore::{Assigned, Found};

use crate::clock::Moment;
use crate::error::Lost;
use crate::fencing::FencingToken;
use crate::name::LockName;
use crate::owner::Owner;
use known::{Alone, Known};
use record::Record;
use schedule::Schedule;
use spare::Spare;

/// All locks of one shell, or of one shard of it.
///
/// `H` is how the shell knows an acquisition; `T` is where fencing tokens come from.
pub struct Table<H, T> {
    locks: HashTable<Known<H>>,
    spare: Spare<H>,
    schedule: Schedule,
    tokens: T,
}

impl<H: Party, T: TokenSource> Table<H, T> {
    /// An empty table that takes its tokens from there.
    pub fn new(tokens: T) -> Self {
        Self {
            locks: HashTable::new(),
            spare: Spare::default(),
            schedule: Schedule::default(),
            tokens,
        }
    }

    /// Grants a section, queues the request, or refuses it.
    ///
    /// A request of an owner that has a section of the name already is the same request again,
    /// and gets the same grant. `party` is made when it is known which way the request goes.
    pub fn acquire(
        &mut self,
        now: Moment,
        ask: &Ask<'_>,
        party: impl FnOnce(Way) -> H,
        effects: &mut Effects<H>,
    ) -> Result<Acquired, Refusal> {
        let slot = self.locks.entry(
            ask.name.hash64(),
            |known| known.name() == ask.name,
            |known| known.name().hash64(),
        );
        match slot {
            Slot::Vacant(slot) => {
                let mut record = self.spare.take(ask.name);
                let acquired = record.acquire(now, ask, party, &self.tokens);
                if acquired.is_ok() {
                    self.schedule.renew(&mut record);
                    slot.insert(Known::Record(record));
                } else {
                    // A refusal leaves no record behind, and nothing else happened to it.
                    self.spare.keep(record);
                }
                acquired
            }
            Slot::Occupied(mut slot) => {
                let record = slot.get_mut().grow(&mut self.spare);
                record.settle(now, &self.tokens, effects);
                let acquired = record.acquire(now, ask, party, &self.tokens);
                self.schedule.renew(record);
                // Settling may have emptied the record, and then a refusal leaves it empty.
                if record.is_empty() {
                    let known = slot.remove().0;
                    self.drop_record(known);
                }
                acquired
            }
        }
    }

    /// Grants an exclusive section without an end and without a rest, if nothing at all is known
    /// of the name. `None` when something is: then [`acquire`](Self::acquire) decides.
    #[inline]
    pub fn take_free(
        &mut self,
        since: Moment,
        name: &LockName,
        party: impl FnOnce() -> H,
    ) -> Option<FencingToken> {
        let slot = self.locks.entry(
            name.hash64(),
            |known| known.name() == name,
            |known| known.name().hash64(),
        );
        let Slot::Vacant(slot) = slot else {
            return None;
        };
        let token = self.tokens.next();
        slot.insert(Known::Alone(Alone {
            name: name.clone(),
            party: party(),
            token,
            since,
        }));
        Some(token)
    }

    /// Ends the section of a party, if nothing else has become known of the name since it was
    /// taken. `false` when something has: then [`release`](Self::release) decides.
    #[inline]
    pub fn return_untouched(
        &mut self,
        name: &LockName,
        is_its_own: impl FnOnce(&H) -> bool,
    ) -> bool {
        let found = self
            .locks
            .find_entry(name.hash64(), |known| known.name() == name);
        let Ok(slot) = found else {
            return false;
        };
        match slot.get() {
            Known::Alone(alone) if is_its_own(&alone.party) => {
                slot.remove();
                self.give_back_room();
                true
            }
            _ => false,
        }
    }

    /// Takes up a grant that came out of the queue; from now on the lease runs.
    pub fn claim(
        &mut self,
        now: Moment,
        name: &LockName,
        owner: Owner,
        effects: &mut Effects<H>,
    ) -> Result<Option<FencingToken>, NotHeld> {
        self.with(now, name, effects, |record, _, _| record.claim(now, owner))
            .unwrap_or(Err(NotHeld))
    }

    /// Starts a lease anew, with another length if one is given.
    pub fn renew(
        &mut self,
        now: Moment,
        name: &LockName,
        owner: Owner,
        ttl: Option<std::time::Duration>,
        effects: &mut Effects<H>,
    ) -> Result<(), NotHeld> {
        self.with(now, name, effects, |record, _, _| {
            record.renew(now, owner, ttl)
        })
        .unwrap_or(Err(NotHeld))
    }

    /// Ends a section. `body_ran` says whether the name has to rest for `at_least`.
    ///
    /// Time is asked for only where something depends on it: most locks are nobody else's wish.
    pub fn release(
        &mut self,
        now: impl FnOnce() -> Moment,
        name: &LockName,
        owner: Owner,
        body_ran: bool,
        effects: &mut Effects<H>,
    ) -> Result<(), NotHeld> {
        let found = self
            .locks
            .find_entry(name.hash64(), |known| known.name() == name);
        let Ok(mut slot) = found else {
            return Err(NotHeld);
        };
        let record = slot.get_mut().grow(&mut self.spare);
        if record.is_timeless() {
            record.take_out(owner)?;
            if record.is_empty() {
                let known = slot.remove().0;
                self.drop_record(known);
                self.give_back_room();
            }
            return Ok(());
        }
        let now = now();
        self.with(now, name, effects, |record, tokens, effects| {
            record.release(now, owner, body_ran)?;
            record.dispatch(now, tokens, effects);
            Ok(())
        })
        .unwrap_or(Err(NotHeld))
    }

    /// Takes a request back, whether it still waits or was granted meanwhile.
    pub fn cancel(
        &mut self,
        now: Moment,
        name: &LockName,
        place: Place,
        owner: Owner,
        effects: &mut Effects<H>,
    ) {
        self.with(now, name, effects, |record, tokens, effects| {
            if !record.leave_queue(place, owner) {
                // Not in the queue any more: granted, timed out, or refused. Only a grant is
                // still there to be given back.
                let _refused_before = record.release(now, owner, false);
            }
            record.dispatch(now, tokens, effects);
        });
    }

    /// Takes the request of an owner out of the queue, wherever it stands there, and tells it so.
    pub fn withdraw(
        &mut self,
        now: Moment,
        name: &LockName,
        owner: Owner,
        effects: &mut Effects<H>,
    ) -> Result<(), NotHeld> {
        self.with(now, name, effects, |record, tokens, effects| {
            record.withdraw(now, owner, effects)?;
            record.dispatch(now, tokens, effects);
            Ok(())
        })
        .unwrap_or(Err(NotHeld))
    }

    /// Takes the requests of some parties out of every queue, and tells them so.
    pub fn send_away(
        &mut self,
        now: Moment,
        is_chosen: impl Fn(&H) -> bool,
        effects: &mut Effects<H>,
    ) {
        let records = self.locks.iter().filter_map(Known::as_record);
        let waited_for = records.filter(|record| !record.queue.is_empty());
        let names: Vec<LockName> = waited_for.map(|record| record.name.clone()).collect();
        for name in names {
            self.with(now, &name, effects, |record, tokens, effects| {
                record.withdraw_all(now, &is_chosen, effects);
                record.dispatch(now, tokens, effects);
            });
        }
    }

    /// Goes on with a section under a new owner; the giver's ends. The token stays.
    pub fn adopt(
        &mut self,
        now: Moment,
        name: &LockName,
        giver: Owner,
        taker: (Owner, H),
        ttl: Option<std::time::Duration>,
        effects: &mut Effects<H>,
    ) -> Result<Option<FencingToken>, NotHeld> {
        self.with(now, name, effects, |record, _, effects| {
            record.adopt(now, giver, taker, ttl, effects)
        })
        .unwrap_or(Err(NotHeld))
    }

    /// Ends every section of a name, and its rest, whoever the owners are. Says how many ended.
    pub fn force_release(
        &mut self,
        now: Moment,
        name: &LockName,
        effects: &mut Effects<H>,
    ) -> usize {
        self.with(now, name, effects, |record, tokens, effects| {
            let ended = record.force_release(Lost::ForcedOut, effects);
            record.dispatch(now, tokens, effects);
            ended
        })
        .unwrap_or(0)
    }

    /// Lets everything happen that is due by now.
    pub fn advance(&mut self, now: Moment, effects: &mut Effects<H>) {
        while let Some((at, name)) = self.schedule.take_due(now) {
            let Ok(mut slot) = self
                .locks
                .find_entry(name.hash64(), |known| *known.name() == name)
            else {
                continue;
            };
            let Known::Record(record) = slot.get_mut() else {
                continue;
            };
            if !self.schedule.is_current(record, at) {
                continue;
            }
            record.settle(now, &self.tokens, effects);
            self.schedule.renew(record);
            if record.is_empty() {
                let known = slot.remove().0;
                self.drop_record(known);
            }
        }
        self.give_back_room();
    }

    /// Lets everything happen to one lock that is due by now.
    pub fn settle(&mut self, now: Moment, name: &LockName, effects: &mut Effects<H>) {
        self.with(now, name, effects, |_, _, _| ());
    }

    /// When something is due next.
    pub fn next_look(&self) -> Option<Moment> {
        self.schedule.first()
    }

    /// Does something with the record of a name, if there is one, and drops it when it is empty.
    fn with<R>(
        &mut self,
        now: Moment,
        name: &LockName,
        effects: &mut Effects<H>,
        act: impl FnOnce(&mut Record<H>, &T, &mut Effects<H>) -> R,
    ) -> Option<R> {
        let mut slot = self
            .locks
            .find_entry(name.hash64(), |known| known.name() == name)
            .ok()?;
        let record = slot.get_mut().grow(&mut self.spare);
        record.settle(now, &self.tokens, effects);
        let result = act(record, &self.tokens, effects);
        self.schedule.renew(record);
        if record.is_empty() {
            let known = slot.remove().0;
            self.drop_record(known);
        }
        if self.schedule.is_bloated() {
            let locks = &self.locks;
            self.schedule.compact(|name, at| {
                locks
                    .find(name.hash64(), |known| known.name() == name)
                    .and_then(Known::as_record)
                    .is_some_and(|record| record.look_at == at)
            });
        }
        self.give_back_room();
        Some(result)
    }

    /// Keeps a record that was taken out of the table for another name.
    fn drop_record(&mut self, known: Known<H>) {
        if let Known::Record(record) = known {
            self.schedule.forget(&record);
            self.spare.keep(record);
        }
    }

    /// A table that was once large does not stay large.
    #[inline]
    fn give_back_room(&mut self) {
        const SMALL: usize = 1024;
        let (used, room) = (self.locks.len(), self.locks.capacity());
        if room > SMALL && used < room / 8 {
            self.shrink();
        }
    }

    #[cold]
    fn shrink(&mut self) {
        self.locks
            .shrink_to(self.locks.len() * 2, |known| known.name().hash64());
        self.schedule.give_back_room();
    }
}

impl<H, T> fmt::Debug for Table<H, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("locks", &self.locks.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
