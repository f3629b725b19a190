//! One task for all leases of a manager: renews them, and finds those that are lost.
//!
//! It is an alarm of the manager's clock. A lease that has an end, or a longest hold, is watched
//! over: it is looked at when something is due. A section of the embedded backend has neither; all
//! of them are swept over now and then to see whether their bodies are still polled.

mod renew;
mod watched;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::hold::release_in_background;
use super::{Inner, ManagerRef};
use crate::clock::{Alarm, AlarmHandle, Clock, Moment};
use crate::error::Lost;
use crate::lease::Lease;
use crate::observe;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, lock};
use watched::Watched;

/// When a lease is renewed of which little was granted.
const SOON: Duration = Duration::from_millis(50);

/// How often sections without an end are looked at.
const SWEEP: Duration = Duration::from_secs(30);

pub(super) struct Renewals {
    watched: Mutex<Watched>,
    /// When the next sweep is; `NEVER` when there may be nothing to be swept over.
    sweep_at: Mutex<Moment>,
    /// Whether a sweep is to come.
    sweeps: AtomicBool,
    /// Whether the backend has a list of its leases, to be swept over.
    has_list: bool,
    alarm: AlarmHandle,
    clock: Clock,
    manager: Weak<Inner>,
}

impl Renewals {
    pub(super) fn new(clock: &Clock, has_list: bool, manager: Weak<Inner>) -> Arc<Self> {
        Arc::new_cyclic(|renewals: &Weak<Self>| Self {
            watched: Mutex::default(),
            sweep_at: Mutex::new(Moment::NEVER),
            sweeps: AtomicBool::new(false),
            has_list,
            alarm: clock.alarm(Weak::<Self>::clone(renewals)),
            clock: clock.clone(),
            manager,
        })
    }

    /// A lease was granted: one that may end by itself is watched over from now on.
    #[inline]
    pub(super) fn granted(&self, lease: &Arc<Lease>) {
        if lease.can_run_out() || lease.terms().max_hold.is_some() {
            self.watch_closely(lease);
        }
    }

    /// A body waits, and may do so for long: somebody looks after it from now on.
    #[inline]
    pub(super) fn watch(&self, lease: &Arc<Lease>) {
        if !self.has_list {
            self.watch_closely(lease);
        } else if !self.sweeps.load(Ordering::SeqCst) {
            self.sweep_later();
        }
    }

    fn watch_closely(&self, lease: &Arc<Lease>) {
        if lease.watched_at().is_some() {
            return;
        }
        let now = self.clock.now();
        let next = first_look(lease, now);
        let mut watched = lock(&self.watched);
        // Two who are inside the same section may come here at once.
        if lease.watched_at().is_none() {
            watched.add(lease, now, next);
            self.alarm.set_earlier(next);
        }
    }

    #[cold]
    fn sweep_later(&self) {
        let at = self.clock.now() + SWEEP;
        let mut sweep_at = lock(&self.sweep_at);
        self.sweeps.store(true, Ordering::SeqCst);
        if at < *sweep_at {
            *sweep_at = at;
            self.alarm.set_earlier(at);
        }
    }

    /// How many looks it keeps.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        lock(&self.watched).looks()
    }

    /// A lease has another length from now on: it may have to be looked at sooner.
    fn lease_changed(&self, lease: &Lease) {
        let now = self.clock.now();
        let renewal = if lease.is_renewed() {
            now + lease.ttl() / 3
        } else {
            Moment::NEVER
        };
        self.look_again(lease, renewal.min(lease.deadline()));
    }

    /// The lease has ended.
    #[inline]
    pub(super) fn forget(&self, lease: &Lease) {
        if lease.watched_at().is_some() {
            lock(&self.watched).remove(lease);
        }
    }

    /// Marks these leases as lost, and every one that is watched over.
    pub(super) fn lose_all(&self, mut leases: Vec<Arc<Lease>>) -> Vec<Arc<Lease>> {
        leases.extend(lock(&self.watched).leases().cloned());
        leases.retain(|lease| lease.lose(Lost::ShutDown));
        leases.iter().for_each(|lease| lease.announce_loss());
        leases
    }

    /// Looks at a lease whose time has come. Returns when to look again, or `None` for never.
    fn look(
        &self,
        manager: &ManagerRef,
        lease: &Arc<Lease>,
        since: Moment,
        now: Moment,
    ) -> Option<Moment> {
        if !lease.is_running() {
            return None;
        }
        let held_too_long = lease
            .terms()
            .max_hold
            .map_or(Moment::NEVER, |limit| since + limit);
        let idle_since = lease.probe_body(now);
        let stop = if now >= held_too_long {
            Some(Lost::HeldTooLong)
        } else {
            let is_idle = idle_since.is_some_and(|at| now - at >= manager.defaults.max_idle);
            is_idle.then_some(Lost::Idle)
        };
        // A lease with an end runs out by itself; one without has to be ended.
        let is_over = now >= lease.deadline() || (!lease.can_run_out() && stop.is_some());
        if is_over {
            self.give_up(manager, lease, stop.unwrap_or(Lost::Expired));
            return None;
        }
        let mut next = lease.deadline();
        if stop.is_none() {
            next = next.min(held_too_long);
            if lease.can_run_out() && lease.is_renewed() {
                next = next.min(self.renew_in_time(manager, lease, now));
            }
        }
        // Nobody is looked at more seldom than a sweep comes by.
        Some(next.min(now + SWEEP))
    }

    /// Renews a lease of which a third is over. Returns when the next third is.
    fn renew_in_time(&self, manager: &ManagerRef, lease: &Arc<Lease>, now: Moment) -> Moment {
        let two_thirds = lease.ttl() / 3 * 2;
        if lease.deadline() - now > two_thirds {
            return lease.deadline().saturating_sub(two_thirds);
        }
        self.renew(manager, lease);
        now + lease.ttl() / 3
    }

    fn give_up(&self, manager: &ManagerRef, lease: &Arc<Lease>, cause: Lost) {
        let is_news = lease.lose(cause);
        // One that is being polled at this very moment gives it back itself. Before anybody is
        // woken or told: that is foreign code, which may panic.
        if cause != Lost::Idle || !lease.is_polled() {
            release_in_background(manager, Arc::clone(lease));
        }
        if is_news {
            lease.announce_loss();
        }
        if let Some(cause) = lease.loss() {
            observe::lost(lease, cause);
        }
    }

    fn look_again(&self, lease: &Lease, at: Moment) {
        if lock(&self.watched).look_again(lease, at) {
            self.alarm.set_earlier(at);
        }
    }

    /// Looks at a lease, whatever that does: it wakes and logs, and one that panics must not keep
    /// the others from being looked at. Returns when to look again, or `None` for never.
    fn look_safely(
        &self,
        manager: &ManagerRef,
        lease: &Arc<Lease>,
        since: Moment,
        now: Moment,
    ) -> Option<Moment> {
        let looked = catch_unwind(AssertUnwindSafe(|| {
            let held = now - since;
            if held >= manager.defaults.slow_hold && lease.tell_slowness() {
                observe::slow(lease, held);
            }
            self.look(manager, lease, since, now)
        }));
        looked.unwrap_or(Some(now + Duration::from_secs(1)))
    }

    /// Looks at every section without an end, and comes again while there is any.
    fn sweep(&self, manager: &ManagerRef, now: Moment) {
        {
            let mut sweep_at = lock(&self.sweep_at);
            if *sweep_at > now {
                return;
            }
            *sweep_at = Moment::NEVER;
            // Before the look: who enters after it sees that there is no sweep to come.
            self.sweeps.store(false, Ordering::SeqCst);
        }
        let sections = manager.backend.embedded_leases(manager.id);
        let endless = sections
            .iter()
            .filter(|(lease, _)| lease.watched_at().is_none());
        let mut found = false;
        for (lease, since) in endless {
            found |= self.look_safely(manager, lease, *since, now).is_some();
        }
        if found {
            self.sweep_later();
        }
    }
}

impl Alarm for Renewals {
    fn ring(&self, now: Moment) {
        let Some(manager) = self.manager.upgrade().map(ManagerRef::Shared) else {
            return;
        };
        let due = lock(&self.watched).take_due(now);
        for (lease, since) in due {
            match self.look_safely(&manager, &lease, since, now) {
                Some(next) => self.look_again(&lease, next),
                None => self.forget(&lease),
            }
        }
        self.sweep(&manager, now);
        let next = lock(&self.watched).next_look();
        let next = next.into_iter().chain([*lock(&self.sweep_at)]).min();
        if let Some(at) = next.filter(|at| *at != Moment::NEVER) {
            self.alarm.set_earlier(at);
        }
    }
}

/// When a lease has to be looked at for the first time.
fn first_look(lease: &Lease, now: Moment) -> Moment {
    let terms = lease.terms();
    let held_too_long = terms.max_hold.map_or(Moment::NEVER, |limit| now + limit);
    let renewal = if lease.can_run_out() && lease.is_renewed() {
        now + first_renewal(lease, lease.deadline() - now)
    } else {
        Moment::NEVER
    };
    let next = held_too_long.min(renewal).min(lease.deadline());
    next.min(now + SWEEP)
}

/// After which time a lease is renewed for the first time that has so much left: when a third of it
/// is over. One that was granted for a moment is renewed soon, but not for a body that is done
/// before.
fn first_renewal(lease: &Lease, left: Duration) -> Duration {
    let third = lease.ttl() / 3;
    if left > third * 2 {
        third
    } else {
        SOON.min(left / 3)
    }
}
