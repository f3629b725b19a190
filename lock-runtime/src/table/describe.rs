//! What can be seen of a lock.

use std::time::Duration;

use super::Table;
use super::known::Known;
use super::record::{Grant, Record};
use super::request::{Effects, Party, TokenSource};
use crate::caller::CallerId;
use crate::clock::Moment;
use crate::info::{LockInfo, SectionInfo, WaiterInfo};
use crate::name::LockName;

/// What is known of one lock, with times of the table's clock.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Description {
    /// Holder, since when, and until when.
    pub assignment: Option<(CallerId, Moment, Moment)>,
    /// The sections that run.
    pub sections: Vec<SectionInfo>,
    /// How long the name stays busy although nobody runs.
    pub resting: Option<Duration>,
    /// How many wait.
    pub waiting: usize,
}

impl<H: Party, T: TokenSource> Table<H, T> {
    /// What is known of a lock.
    pub fn describe(
        &mut self,
        now: Moment,
        name: &LockName,
        effects: &mut Effects<H>,
    ) -> Description {
        self.with(now, name, effects, |record, _, _| record.describe(now))
            .unwrap_or_default()
    }

    /// The first of those who wait for a lock, in order, as far as is known without a further look
    /// at time.
    pub fn queue(&self, now: Moment, name: &LockName) -> Vec<WaiterInfo> {
        let known = self
            .locks
            .find(name.hash64(), |known| known.name() == name)
            .and_then(Known::as_record);
        let waiters = known.into_iter().flat_map(|record| record.queue.iter());
        let first = waiters.take(LockInfo::MAX_QUEUE);
        let described = first.map(|(_, waiter)| {
            WaiterInfo::new(waiter.party.describe(), waiter.mode, now - waiter.since)
        });
        described.collect()
    }

    /// Everybody who has a section, and since when.
    pub fn sections(&self) -> impl Iterator<Item = (&H, Moment)> {
        self.locks.iter().flat_map(Known::sections)
    }

    /// Every name that something is known of, in no order.
    pub fn names(&self) -> impl Iterator<Item = &LockName> {
        self.locks.iter().map(Known::name)
    }
}

impl<H: Party> Record<H> {
    fn describe(&self, now: Moment) -> Description {
        let rests = self.grants.iter().filter(|grant| grant.party.is_none());
        Description {
            assignment: self
                .assignment
                .as_ref()
                .map(|assignment| (assignment.holder.clone(), assignment.since, assignment.ends)),
            sections: self
                .grants
                .iter()
                .filter_map(|grant| self.describe_grant(now, grant))
                .collect(),
            resting: rests.map(|grant| grant.ends - now).max(),
            waiting: self.queue.len(),
        }
    }

    pub(super) fn describe_grant(&self, now: Moment, grant: &Grant<H>) -> Option<SectionInfo> {
        let owner = grant.party.as_ref()?.describe();
        let section = SectionInfo::new(owner, grant.mode, grant.token, now - grant.since);
        Some(if grant.ends == Moment::NEVER {
            section
        } else {
            section.expires_in(grant.ends - now)
        })
    }
}
