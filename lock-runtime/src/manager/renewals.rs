//! One task for all leases of a manager: renews them, and finds those that are lost.
//!
//! It is an alarm of the manager's clock. A lease that has an end, or a longest hold, is looked
//! at when something is due. A section of the embedded backend has neither; it is swept over now
//! and then to see whether its body is still polled.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::call::{First, first};
use super::hold::release_in_background;
use super::{Inner, ManagerRef};
use crate::clock::{Alarm, AlarmHandle, Clock, Moment};
use crate::error::{BackendError, LockError, Lost};
use crate::lease::Lease;
use crate::observe;
use crate::sync::{Mutex, lock};

/// How often sections without an end are looked at.
const SWEEP: Duration = Duration::from_secs(30);

pub(super) struct Renewals {
    watched: Mutex<Watched>,
    alarm: AlarmHandle,
    clock: Clock,
    manager: Weak<Inner>,
}

#[derive(Default)]
struct Watched {
    places: Vec<Option<Entry>>,
    free: Vec<usize>,
    /// When which place is looked at; the lease says whether the place is still its own.
    due: BinaryHeap<Reverse<(Moment, usize)>>,
    sweep_at: Option<Moment>,
}

struct Entry {
    lease: Arc<Lease>,
    /// When it was first looked at, which is not before it was granted.
    since: Moment,
    next: Moment,
    is_slow: bool,
}

impl Renewals {
    pub(super) fn new(clock: &Clock, manager: Weak<Inner>) -> Arc<Self> {
        Arc::new_cyclic(|renewals: &Weak<Self>| Self {
            watched: Mutex::default(),
            alarm: clock.alarm(Weak::<Self>::clone(renewals)),
            clock: clock.clone(),
            manager,
        })
    }

    /// Watches over a lease from now on.
    pub(super) fn watch(&self, lease: &Arc<Lease>) {
        if lease.watched_at().is_some() {
            return;
        }
        let now = self.clock.now();
        let next = first_look(lease, now);
        let mut watched = lock(&self.watched);
        // Two who are inside the same section may come here at once.
        if lease.watched_at().is_some() {
            return;
        }
        let place = watched.free.pop().unwrap_or(watched.places.len());
        if place == watched.places.len() {
            watched.places.push(None);
        }
        lease.set_watched_at(place);
        watched.places[place] = Some(Entry {
            lease: Arc::clone(lease),
            since: now,
            next,
            is_slow: false,
        });
        if next == Moment::NEVER {
            if watched.sweep_at.is_none() {
                watched.sweep_at = Some(now + SWEEP);
                self.alarm.set_earlier(now + SWEEP);
            }
        } else {
            watched.due.push(Reverse((next, place)));
            watched.sweep_out();
            self.alarm.set_earlier(next);
        }
    }

    /// How many looks it keeps.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        lock(&self.watched).due.len()
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
    pub(super) fn forget(&self, lease: &Lease) {
        let Some(place) = lease.watched_at() else {
            return;
        };
        let mut watched = lock(&self.watched);
        let entry = watched.places.get_mut(place);
        let its_own = entry.filter(|entry| {
            entry
                .as_ref()
                .is_some_and(|entry| entry.lease.owner() == lease.owner())
        });
        if let Some(entry) = its_own {
            *entry = None;
            watched.free.push(place);
        }
        if watched.free.len() == watched.places.len() {
            watched.clear();
        }
    }

    /// Marks these leases as lost, and every one that is watched over.
    pub(super) fn lose_all(&self, mut leases: Vec<Arc<Lease>>) -> Vec<Arc<Lease>> {
        let watched = lock(&self.watched);
        let entries = watched.places.iter().flatten();
        leases.extend(entries.map(|entry| Arc::clone(&entry.lease)));
        drop(watched);
        leases
            .into_iter()
            .filter(|lease| {
                let was_running = lease.is_running();
                lease.report_lost(Lost::ShutDown);
                was_running
            })
            .collect()
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
        Some(if next == Moment::NEVER {
            next
        } else {
            next.min(now + SWEEP)
        })
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
        lease.report_lost(cause);
        if let Some(cause) = lease.loss() {
            observe::lost(lease, cause);
        }
        release_in_background(manager, Arc::clone(lease));
    }

    /// Asks the backend to start the lease anew, on the manager's own thread.
    fn renew(&self, manager: &ManagerRef, lease: &Arc<Lease>) {
        let Ok(driver) = manager.driver() else {
            return;
        };
        let (manager, lease) = (manager.clone(), Arc::clone(lease));
        drop(driver.run(async move {
            let Ok(_under_way) = lease.renewal_gate().try_acquire() else {
                // The one before has not been answered yet, or a release is waiting.
                return;
            };
            if !lease.is_running() {
                return;
            }
            let ttl = lease.ttl();
            match renew_once(&manager, &lease, ttl).await {
                Ok(true) => {}
                Ok(false) => {
                    lease.report_lost(Lost::Expired);
                    observe::lost(&lease, Lost::Expired);
                }
                Err(error) => {
                    observe::renewal_failed(&lease, &error);
                    let again = manager.clock.now() + (ttl / 10).min(Duration::from_secs(1));
                    manager.renewals.look_again(&lease, again);
                }
            }
        }));
    }

    fn look_again(&self, lease: &Lease, at: Moment) {
        let Some(place) = lease.watched_at() else {
            return;
        };
        let mut watched = lock(&self.watched);
        let entry = watched.places.get_mut(place).and_then(Option::as_mut);
        if let Some(entry) = entry.filter(|entry| entry.lease.owner() == lease.owner()) {
            entry.next = entry.next.min(at);
            watched.due.push(Reverse((at, place)));
            self.alarm.set_earlier(at);
        }
    }

    /// Those whose time has come, and all of them when it is time for a sweep.
    fn due(&self, now: Moment) -> Vec<(Arc<Lease>, Moment)> {
        let mut watched = lock(&self.watched);
        let watched = &mut *watched;
        let mut due = Vec::new();
        while watched
            .due
            .peek()
            .is_some_and(|Reverse((at, _))| *at <= now)
        {
            let Some(Reverse((at, place))) = watched.due.pop() else {
                break;
            };
            let entry = watched.places.get_mut(place).and_then(Option::as_mut);
            if let Some(entry) = entry.filter(|entry| entry.next <= at) {
                entry.next = Moment::NEVER;
                due.push((Arc::clone(&entry.lease), entry.since));
            }
        }
        if watched.sweep_at.is_some_and(|at| at <= now) {
            watched.sweep_at = None;
            let resting = watched
                .places
                .iter()
                .flatten()
                .filter(|entry| entry.next == Moment::NEVER);
            due.extend(resting.map(|entry| (Arc::clone(&entry.lease), entry.since)));
        }
        due
    }

    /// Says once that a section runs for long.
    fn report_slow(&self, lease: &Lease, held: Duration) {
        let Some(place) = lease.watched_at() else {
            return;
        };
        let mut watched = lock(&self.watched);
        let entry = watched.places.get_mut(place).and_then(Option::as_mut);
        let entry = entry.filter(|entry| !entry.is_slow && entry.lease.owner() == lease.owner());
        let is_news = entry.is_some();
        if let Some(entry) = entry {
            entry.is_slow = true;
        }
        drop(watched);
        if is_news {
            observe::slow(lease, held);
        }
    }

    /// Sets the alarm for what is due next.
    fn set_alarm(&self, now: Moment) {
        let mut watched = lock(&self.watched);
        let sweeps = watched
            .places
            .iter()
            .flatten()
            .any(|entry| entry.next == Moment::NEVER);
        if sweeps && watched.sweep_at.is_none() {
            watched.sweep_at = Some(now + SWEEP);
        }
        let next = watched.due.peek().map(|Reverse((at, _))| *at);
        if let Some(at) = next.into_iter().chain(watched.sweep_at).min() {
            self.alarm.set_earlier(at);
        }
    }
}

impl Watched {
    /// Throws out looks that are no longer meant, when they are the greater part: sections that
    /// ended long before their time leave one each.
    fn sweep_out(&mut self) {
        if self.due.len() > 64 + 4 * self.places.len() {
            let places = &self.places;
            self.due.retain(|Reverse((at, place))| {
                let entry = places.get(*place).and_then(Option::as_ref);
                entry.is_some_and(|entry| entry.next == *at)
            });
        }
    }

    fn clear(&mut self) {
        const KEPT: usize = 1024;
        self.places.clear();
        self.free.clear();
        self.due.clear();
        self.places.shrink_to(KEPT);
        self.free.shrink_to(KEPT);
        self.due.shrink_to(KEPT);
    }
}

impl Alarm for Renewals {
    fn ring(&self, now: Moment) {
        let Some(manager) = self.manager.upgrade().map(ManagerRef::Shared) else {
            return;
        };
        for (lease, since) in self.due(now) {
            // It wakes and logs: one that panics must not keep the others from being looked at.
            let looked = catch_unwind(AssertUnwindSafe(|| {
                if now - since >= manager.defaults.slow_hold {
                    self.report_slow(&lease, now - since);
                }
                self.look(&manager, &lease, since, now)
            }));
            match looked {
                Ok(Some(Moment::NEVER)) => {}
                Ok(Some(next)) => self.look_again(&lease, next),
                Ok(None) => self.forget(&lease),
                Err(_) => self.look_again(&lease, now + Duration::from_secs(1)),
            }
        }
        self.set_alarm(now);
    }
}

impl ManagerRef {
    /// Starts a lease anew, with this length. `false` when the backend does not know it any more.
    pub(crate) async fn extend(
        &self,
        lease: &Arc<Lease>,
        ttl: Duration,
    ) -> Result<bool, LockError> {
        let (manager, asked) = (self.clone(), Arc::clone(lease));
        let renewed = self.call(move |_| {
            Box::pin(async move {
                // In turn with renewals, whose answer must not be mixed up with this one.
                let _renewal = asked.renewal_gate().acquire().await;
                if !asked.is_running() {
                    return Ok(false);
                }
                renew_once(&manager, &asked, ttl).await
            })
        });
        renewed.await.map_err(|error| error.about(lease.name()))
    }
}

/// One renewal, with its effect on the lease: to be called by whoever has the renewal gate.
///
/// The answer is waited for so long that there is time for another try; a request that is not
/// answered by then goes on alone.
async fn renew_once(
    manager: &ManagerRef,
    lease: &Arc<Lease>,
    ttl: Duration,
) -> Result<bool, BackendError> {
    let end = manager.end_of_lease(manager.clock.now(), ttl);
    if lease.can_run_out() && end < lease.deadline() {
        // Whatever becomes of the answer, the backend may count with the shorter time from now on.
        lease.prolong(end);
    }
    let limit = manager.defaults.request_timeout.min(ttl / 3);
    let mut reply = manager.backend.renew(lease, ttl);
    let answer = match first(&mut reply, manager.clock.sleep(limit)).await {
        First::Left(answer) => answer?,
        First::Right(()) => {
            if let Ok(driver) = manager.driver() {
                let rest = manager.clock.sleep(ttl);
                drop(driver.run(async move { drop(first(reply, rest).await) }));
            }
            return Err(BackendError::timed_out(limit));
        }
    };
    if answer {
        let is_new_length = lease.ttl() != ttl;
        lease.set_ttl(ttl);
        if lease.can_run_out() {
            lease.prolong(end);
        }
        if lease.can_run_out() && is_new_length {
            manager.renewals.lease_changed(lease);
        }
    }
    Ok(answer)
}

/// When a lease has to be looked at for the first time; `NEVER` when sweeping is enough.
fn first_look(lease: &Lease, now: Moment) -> Moment {
    let terms = lease.terms();
    let held_too_long = terms.max_hold.map_or(Moment::NEVER, |limit| now + limit);
    let renewal = if lease.can_run_out() && lease.is_renewed() {
        now + lease.ttl() / 3
    } else {
        Moment::NEVER
    };
    let next = held_too_long.min(renewal).min(lease.deadline());
    if next == Moment::NEVER {
        next
    } else {
        next.min(now + SWEEP)
    }
}
