//! Identity locks: to whom a lock is assigned, and who may change that.

use std::time::Duration;

use super::record::Record;
use super::request::{Effects, Party, TokenSource};
use super::{Refusal, Table};
use crate::caller::CallerId;
use crate::clock::Moment;
use crate::name::LockName;
use crate::owner::Owner;

pub(super) struct Assignment {
    pub(super) holder: CallerId,
    pub(super) since: Moment,
    /// `Moment::NEVER` when it does not end by itself.
    pub(super) ends: Moment,
    /// The length that `ends` came from, for the next holder.
    pub(super) ttl: Option<Duration>,
}

/// On whose word an assignment changes.
#[derive(Clone, Copy, Debug)]
pub enum Giver<'a> {
    /// A caller: refused when somebody else holds the lock.
    Caller(&'a CallerId),
    /// A caller who must hold the lock.
    Holder(&'a CallerId),
    /// Whoever holds it.
    Operator,
}

/// The section that a change is made from, when it is a section of the same lock.
#[derive(Clone, Copy, Debug)]
pub struct Within(pub Owner);

impl<H: Party, T: TokenSource> Table<H, T> {
    /// Assigns a lock. Again to the same caller is fine, and starts its time anew.
    pub fn assign(
        &mut self,
        now: Moment,
        name: &LockName,
        (to, ttl): (&CallerId, Option<Duration>),
        giver: Giver<'_>,
        within: Option<Within>,
        effects: &mut Effects<H>,
    ) -> Result<(), Refusal> {
        self.change(now, name, effects, |record| {
            record.check_within(within)?;
            let holder = record.holder();
            if holder.is_some_and(|holder| holder != to) && !matches!(giver, Giver::Operator) {
                return Err(not_your_turn(holder));
            }
            let since = match &record.assignment {
                Some(assignment) if assignment.holder == *to => assignment.since,
                _ => now,
            };
            record.set_assignment(now, since, to, ttl);
            Ok(())
        })
    }

    /// Moves a lock from one caller to another in one step.
    pub fn transfer(
        &mut self,
        now: Moment,
        name: &LockName,
        to: &CallerId,
        giver: Giver<'_>,
        within: Option<Within>,
        effects: &mut Effects<H>,
    ) -> Result<(), Refusal> {
        self.change(now, name, effects, |record| {
            record.check_within(within)?;
            record.check_giver(giver)?;
            // A turn that had a time keeps having one.
            let ttl = record
                .assignment
                .as_ref()
                .and_then(|assignment| assignment.ttl);
            record.set_assignment(now, now, to, ttl);
            Ok(())
        })
    }

    /// Takes a lock back from its holder. One that nobody holds stays as it is.
    pub fn unassign(
        &mut self,
        now: Moment,
        name: &LockName,
        giver: Giver<'_>,
        within: Option<Within>,
        effects: &mut Effects<H>,
    ) -> Result<(), Refusal> {
        self.change(now, name, effects, |record| {
            record.check_within(within)?;
            if record.assignment.is_some() {
                record.check_giver(giver)?;
                record.assignment = None;
            }
            Ok(())
        })
    }

    /// Changes the assignment of a lock, which may be the first that is known of it; then who
    /// may enter is decided anew.
    fn change(
        &mut self,
        now: Moment,
        name: &LockName,
        effects: &mut Effects<H>,
        act: impl FnOnce(&mut Record<H>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        self.know(name);
        self.with(now, name, effects, |record, tokens, effects| {
            act(record)?;
            record.send_away(effects);
            record.dispatch(now, tokens, effects);
            Ok(())
        })
        .unwrap_or(Ok(()))
    }
}

impl<H: Party> Record<H> {
    fn holder(&self) -> Option<&CallerId> {
        self.assignment
            .as_ref()
            .map(|assignment| &assignment.holder)
    }

    fn set_assignment(&mut self, now: Moment, since: Moment, to: &CallerId, ttl: Option<Duration>) {
        self.assignment = Some(Box::new(Assignment {
            holder: to.clone(),
            since,
            ends: ttl.map_or(Moment::NEVER, |ttl| now + ttl),
            ttl,
        }));
    }

    fn check_giver(&self, giver: Giver<'_>) -> Result<(), Refusal> {
        let holder = self.holder();
        let allowed = match giver {
            Giver::Operator => true,
            Giver::Holder(caller) => holder == Some(caller),
            Giver::Caller(caller) => holder.is_none_or(|holder| holder == caller),
        };
        if allowed {
            Ok(())
        } else {
            Err(not_your_turn(holder))
        }
    }

    /// A change that is made from inside a section counts only while that section is held.
    fn check_within(&self, within: Option<Within>) -> Result<(), Refusal> {
        match within {
            Some(Within(owner)) if !self.has_section(owner) => Err(Refusal::SectionLost),
            _ => Ok(()),
        }
    }
}

fn not_your_turn(holder: Option<&CallerId>) -> Refusal {
    Refusal::NotYourTurn {
        holder: holder.cloned(),
    }
}
