//! What a shell that was started anew puts back, and what it has to keep to be able to.

use std::time::Duration;

use super::Table;
use super::assignment::Assignment;
use super::known::Known;
use super::record::Record;
use super::request::{Ask, Effects, NotHeld, Party, TokenSource};
use crate::caller::CallerId;
use crate::clock::Moment;
use crate::fencing::FencingToken;
use crate::name::LockName;
use crate::options::Mode;
use crate::owner::Owner;

/// To whom a lock is assigned, and for how long.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assigned {
    /// The caller.
    pub holder: CallerId,
    /// Since when.
    pub since: Moment,
    /// Until when; `Moment::NEVER` when it does not end by itself.
    pub ends: Moment,
    /// The length that `ends` came from, for the next holder.
    pub ttl: Option<Duration>,
}

/// A section that the table knows.
#[derive(Debug)]
pub struct Found<'a, H> {
    /// How the shell knows it.
    pub party: &'a H,
    /// The fencing token, where it has one.
    pub token: Option<FencingToken>,
}

impl<H: Party, T: TokenSource> Table<H, T> {
    /// The section of an owner, if it has one.
    pub fn find(&self, name: &LockName, owner: Owner) -> Option<Found<'_, H>> {
        let known = self
            .locks
            .find(name.hash64(), |known| known.name() == name)?;
        known.as_record()?.find(owner)
    }

    /// A section that was granted has to be taken up until then; nothing of it has begun.
    pub fn await_claim(&mut self, now: Moment, name: &LockName, owner: Owner, until: Moment) {
        let mut nobody_is_told = Effects::new();
        self.with(now, name, &mut nobody_is_told, |record, _, _| {
            record.await_claim(owner, until);
        });
    }

    /// When the last section ends that runs, unless it is renewed.
    pub fn latest_end(&self) -> Option<Moment> {
        let records = self.locks.iter().filter_map(Known::as_record);
        let grants = records.flat_map(|record| &record.grants);
        let running = grants.filter(|grant| grant.party.is_some());
        running.map(|grant| grant.ends).max()
    }

    /// To whom a lock is assigned, due or not.
    pub fn assignment(&self, name: &LockName) -> Option<Assigned> {
        let known = self
            .locks
            .find(name.hash64(), |known| known.name() == name)?;
        let assignment = known.as_record()?.assignment.as_ref()?;
        Some(Assigned {
            holder: assignment.holder.clone(),
            since: assignment.since,
            ends: assignment.ends,
            ttl: assignment.ttl,
        })
    }

    /// Puts a section back that was granted before, with its token, and starts its lease anew.
    ///
    /// An owner that has it already is fine. Whether it may be put back is the shell's to know:
    /// here it only has to fit beside what runs.
    ///
    /// # Errors
    ///
    /// When the name is another's by now.
    pub fn reinstate(
        &mut self,
        now: Moment,
        ask: &Ask<'_>,
        (token, since): (Option<FencingToken>, Moment),
        party: H,
        effects: &mut Effects<H>,
    ) -> Result<(), NotHeld> {
        self.know(ask.name);
        self.with(now, ask.name, effects, |record, _, _| {
            record.reinstate(now, ask, token, since, party)
        })
        .unwrap_or(Err(NotHeld))
    }

    /// Lets a name rest until a moment: a section was granted before, and ended.
    pub fn rest(&mut self, now: Moment, name: &LockName, mode: Mode, until: Moment) {
        self.know(name);
        let mut nobody_is_told = Effects::new();
        self.with(now, name, &mut nobody_is_told, |record, _, _| {
            record.rest(mode, until);
        });
    }

    /// Puts an assignment back.
    pub fn restore_assignment(&mut self, now: Moment, name: &LockName, assigned: &Assigned) {
        self.know(name);
        let mut nobody_is_told = Effects::new();
        self.with(now, name, &mut nobody_is_told, |record, _, _| {
            record.assignment = Some(Box::new(Assignment {
                holder: assigned.holder.clone(),
                since: assigned.since,
                ends: assigned.ends,
                ttl: assigned.ttl,
            }));
        });
    }

    /// Makes an empty record of a name of which nothing is known.
    pub(super) fn know(&mut self, name: &LockName) {
        self.locks
            .entry(
                name.hash64(),
                |known| known.name() == name,
                |known| known.name().hash64(),
            )
            .or_insert_with(|| Known::Record(self.spare.take(name)));
    }
}

impl<H: Party> Record<H> {
    fn find(&self, owner: Owner) -> Option<Found<'_, H>> {
        let grant = self.grant_of(owner)?;
        let party = grant.party.as_ref()?;
        Some(Found {
            party,
            token: grant.token,
        })
    }

    fn await_claim(&mut self, owner: Owner, until: Moment) {
        if let Some(grant) = self.grant_of_mut(owner) {
            grant.claimed = false;
            grant.ends = until;
        }
    }
}
