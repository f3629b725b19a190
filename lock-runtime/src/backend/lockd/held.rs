//! The sections that this session has, to be reclaimed on a new connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::convert::{key, ms, ms_at_most};
use crate::clock::Moment;
use crate::fencing::FencingToken;
use crate::lease::{self, Lease};
use crate::options::{MIN_TTL, Mode};
use crate::owner::Owner;
use crate::wire::{Reclaim, ToDaemon};

/// A lease has at most so many renewals without an answer.
const MAX_RENEWALS: u8 = 8;

/// A section that the daemon has granted, and that has not been given back yet.
pub(super) struct Section {
    pub(super) lease: Arc<Lease>,
    mode: Mode,
    token: Option<FencingToken>,
    site: Option<u32>,
    /// When its grant was heard of, which is after it was made: a rest that is counted from here
    /// is not too short.
    since: Moment,
    /// Whether its release has been asked for.
    pub(super) is_releasing: bool,
    /// How many of its renewals have no answer yet.
    renewals: u8,
}

/// The sections of a session.
#[derive(Default)]
pub(super) struct Held(HashMap<Owner, Section>);

impl Held {
    pub(super) fn insert(
        &mut self,
        lease: Arc<Lease>,
        (mode, token): (Mode, Option<FencingToken>),
        site: Option<u32>,
        since: Moment,
    ) {
        let section = Section {
            lease,
            mode,
            token,
            site,
            since,
            is_releasing: false,
            renewals: 0,
        };
        self.0.insert(section.lease.owner(), section);
    }

    pub(super) fn remove(&mut self, owner: Owner) -> Option<Section> {
        self.0.remove(&owner)
    }

    pub(super) fn get(&self, owner: Owner) -> Option<&Section> {
        self.0.get(&owner)
    }

    /// The release of a section has been asked for.
    pub(super) fn releasing(&mut self, owner: Owner) {
        if let Some(section) = self.0.get_mut(&owner) {
            section.is_releasing = true;
        }
    }

    /// One more renewal is asked for. `false` when too many have no answer yet.
    pub(super) fn renewing(&mut self, owner: Owner) -> bool {
        let Some(section) = self.0.get_mut(&owner) else {
            return true;
        };
        let may = section.renewals < MAX_RENEWALS;
        section.renewals += u8::from(may);
        may
    }

    /// A renewal was answered, or is given up.
    pub(super) fn renewed(&mut self, owner: Owner) {
        if let Some(section) = self.0.get_mut(&owner) {
            section.renewals = section.renewals.saturating_sub(1);
        }
    }

    /// Whose sections are to be reclaimed.
    ///
    /// One whose release is under way is among them: a daemon that was started anew has to know of
    /// it to let the name rest, and to say that it was held. One whose lease has run out is not:
    /// it may be another's by now, and a daemon that was started anew would not know.
    pub(super) fn to_reclaim(&self, now: Moment) -> Vec<Owner> {
        let mut sections: Vec<_> = self
            .0
            .iter()
            // What is lost is not wanted back: its release is still to come, or on its way.
            .filter(|(_, section)| section.lease.loss().is_none() && !section.has_run_out(now))
            .map(|(owner, section)| (section.since, *owner))
            .collect();
        sections.sort_unstable_by_key(|(since, owner)| (*since, owner.id()));
        sections.into_iter().map(|(_, owner)| owner).collect()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Section {
    /// Whether its lease has ended, told or not.
    fn has_run_out(&self, now: Moment) -> bool {
        self.lease.can_run_out() && self.lease.deadline() <= now
    }

    /// The lease to reclaim it with: a whole one where it is renewed, else what is left of it.
    pub(super) fn lease_left(&self, now: Moment) -> Duration {
        let ttl = self.lease.ttl();
        if self.lease.is_renewed() || !self.lease.can_run_out() {
            return ttl;
        }
        (self.lease.deadline() - now).clamp(MIN_TTL.min(ttl), ttl)
    }

    pub(super) fn reclaim(&self, id: u64, ttl: Duration, now: Moment) -> ToDaemon<'_> {
        let lease = &self.lease;
        let (name, namespace) = key(lease.name());
        ToDaemon::Reclaim(Reclaim {
            id,
            name,
            namespace,
            owner: lease.owner(),
            mode: self.mode,
            token: self.token,
            ttl_ms: ms(ttl),
            at_least_ms: ms(lease.at_least()),
            held_ms: ms_at_most(now - self.since),
            linger: lease.lingers(),
            site: self.site,
        })
    }

    /// The daemon has started the lease anew, after it was asked at that moment.
    ///
    /// The deadline is left alone while a renewal has no answer: that one may be for a shorter
    /// lease, and arrive later.
    pub(super) fn reclaimed(&self, asked_at: Moment, ttl: Duration) {
        let lease = &self.lease;
        // Whoever renews has the gate from before it sets the deadline until after its answer.
        let Ok(_nobody_renews) = lease.renewal_gate().try_acquire() else {
            return;
        };
        if self.is_releasing || self.renewals > 0 || !lease.is_renewed() || !lease.can_run_out() {
            return;
        }
        let end = lease::end_by_owners_clock(asked_at, ttl);
        // One that had run out before it was asked for stays lost.
        if lease.deadline() > asked_at && end > lease.deadline() {
            lease.prolong(end);
        }
    }
}
