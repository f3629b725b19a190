//! The wait for a section in a store that keeps the queue itself: ask, sleep until there is a
//! reason to ask again, ask again.
//!
//! The store's answer to a question is the same whenever it is asked: the owner has the name, or
//! stands in its queue. So a question may be repeated, and a message that was lost, came twice or
//! came too early costs a question and nothing else. Reasons to ask again are a push of the store,
//! a new connection, the end of the holder's lease, the waiter's own deadline, and that a waiter
//! has to show now and then that it is alive.
//!
//! A push may also say that the store has handed the name to a waiter, so that its body begins
//! without another question. The store then keeps it for a moment only, unless it is renewed: it
//! does not know yet whether the waiter has heard of it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::{Answer, Busy, Grant, Request};
use crate::clock::{Clock, Moment};
use crate::error::BackendError;
#[cfg(any(feature = "redis", feature = "postgres"))]
use crate::fencing::FencingToken;
use crate::owner::OwnerId;
use crate::race::first;
use crate::sync::{Mutex, lock};

/// How often a waiter shows that it is alive.
pub(crate) const SHOWN_EVERY: Duration = Duration::from_millis(500);

/// A waiter that has not shown itself for so long is passed over, without losing its place: three
/// times as long as it may be silent, so that one lost message is none too many.
pub(crate) const SILENT_AFTER: Duration = Duration::from_millis(1_500);

/// A name that was handed to a waiter stays handed for so long, by the store's clock, unless its
/// lease is renewed meanwhile.
pub(crate) const HANDED_FOR: Duration = SILENT_AFTER;

/// So many are handed a name at once: each of them has to renew it within that time.
#[cfg(any(feature = "redis", feature = "postgres"))]
pub(crate) const MOST_HANDED: usize = 16;

/// So much of that has to be left, so that the lease can be renewed in time.
pub(crate) const LEFT_TO_RENEW: Duration = Duration::from_millis(500);

/// A store that fails is asked again until the wait is over, but for at least so long: it may be
/// started anew meanwhile. A little less than what a manager waits for its backend by default, so
/// that the clearer one of two errors comes first.
const WORTH_ASKING: Duration = Duration::from_secs(4);

/// The first pause after a failure, and the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How a waiter asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Question {
    /// For the first time, and so that nothing is left behind unless it is granted at once.
    Try,
    /// To be granted the name, or to have a place in its queue from now on.
    Queue,
    /// For the last time: granted now, or out of the queue.
    Last,
}

/// Why a question was not answered.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The store may answer when it is asked again: it cannot be reached, or is just starting.
    Passing(BackendError),
    /// It would say the same again.
    Lasting(BackendError),
}

/// Those who wait here, to be woken by what the store says.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Mutex<HashMap<OwnerId, Arc<Waiter>>>);

#[derive(Debug, Default)]
struct Waiter {
    reason: Notify,
    standing: Mutex<Standing>,
}

/// What was said to a waiter.
#[derive(Debug, Default)]
struct Standing {
    has_given_up: bool,
    /// When it asked last and was answered with a place in the queue.
    queued_at: Option<Moment>,
    /// What the store has handed to it.
    handed: Option<Grant>,
}

impl Waiter {
    /// Takes what was handed to it, if there is time left to renew it. What was handed over before
    /// the store gave it its place in the queue is gone.
    fn take_handed(&self, now: Moment) -> Option<Grant> {
        let mut standing = lock(&self.standing);
        let grant = standing.handed.take()?;
        let (asked, queued_at) = (grant.counted_from?, standing.queued_at?);
        let is_of_this_place = (queued_at..=now).contains(&asked);
        (is_of_this_place && now + LEFT_TO_RENEW <= asked + HANDED_FOR).then_some(grant)
    }
}

impl Waiters {
    /// There may be news for this one. Somebody else's, and one who waits no more, is nobody here.
    pub(crate) fn wake(&self, owner: OwnerId) {
        if let Some(waiter) = lock(&self.0).get(&owner) {
            waiter.reason.notify_one();
        }
    }

    /// The store has handed the name to this one, for [`HANDED_FOR`].
    ///
    /// `asked` is the moment of the last question that the store had seen then, which has to come
    /// from the store together with what it says: messages and answers may overtake each other. The
    /// lease is counted from there, so that one that comes too late is of no use.
    #[cfg(any(feature = "redis", feature = "postgres"))]
    pub(crate) fn hand(&self, owner: OwnerId, token: Option<FencingToken>, asked: Moment) {
        if let Some(waiter) = lock(&self.0).get(&owner) {
            let grant = Grant::new(token).counted_from(asked).lasting(HANDED_FOR);
            lock(&waiter.standing).handed = Some(grant);
            waiter.reason.notify_one();
        }
    }

    /// Something may have been missed.
    pub(crate) fn wake_all(&self) {
        for waiter in lock(&self.0).values() {
            waiter.reason.notify_one();
        }
    }

    /// This one does not ask any more; a question that is under way is still answered. To be said
    /// before its place in the queue is given back, or it would queue anew.
    pub(crate) fn give_up(&self, owner: OwnerId) {
        if let Some(waiter) = lock(&self.0).get(&owner) {
            lock(&waiter.standing).has_given_up = true;
            waiter.reason.notify_one();
        }
    }

    /// Asks until the name is granted or refused, or the time of the request is up. `ask` is told
    /// at which moment it asks.
    ///
    /// # Errors
    ///
    /// The last failure of the store: a lasting one at once, a passing one when the wait is over.
    /// Its effect is unknown if that of any question was.
    ///
    /// # Cancel safety
    ///
    /// A place in the queue, or a grant, may be left behind: it is given back by a release.
    pub(crate) async fn wait<A>(
        self: Arc<Self>,
        clock: Clock,
        request: Request,
        mut ask: impl FnMut(Question, Moment) -> A,
    ) -> Result<Answer, BackendError>
    where
        A: Future<Output = Result<Answer, Failure>>,
    {
        let started = clock.now();
        let deadline = request.wait_until(started).filter(|end| *end > started);
        let worth_asking_until = deadline.unwrap_or(started).max(started + WORTH_ASKING);
        let place = self.enter(request.owner().id());
        let mut pause = FIRST_PAUSE;
        let mut may_be_granted = false;
        loop {
            let asked = clock.now();
            let question = match deadline {
                None => Question::Try,
                Some(deadline) if asked >= deadline => Question::Last,
                Some(_) => Question::Queue,
            };
            let answer = match ask(question, asked).await {
                Ok(Answer::Granted(grant)) => {
                    // The store had seen this question when it granted, so the lease is counted
                    // from it, unless it began even earlier.
                    let began = grant.counted_from.unwrap_or(asked).min(asked);
                    return Ok(Answer::Granted(grant.counted_from(began)));
                }
                Ok(Answer::Busy(busy)) if question == Question::Queue => Ok(busy),
                Ok(answer) => return Ok(answer),
                Err(failure) => {
                    let (error, is_passing) = match failure {
                        Failure::Passing(error) => (error, true),
                        Failure::Lasting(error) => (error, false),
                    };
                    // A question before this one may have been granted all the same.
                    may_be_granted |= error.is_effect_unknown();
                    let error = if may_be_granted {
                        error.effect_unknown()
                    } else {
                        error
                    };
                    if !is_passing || clock.now() >= worth_asking_until {
                        return Err(error);
                    }
                    Err(error)
                }
            };
            let now = clock.now();
            let (again, outcome) = match answer {
                Ok(busy) => {
                    lock(&place.waiter.standing).queued_at = Some(asked);
                    pause = FIRST_PAUSE;
                    let end = deadline.unwrap_or(now);
                    (
                        next_question(now, busy.clone()).min(end),
                        Ok(Answer::Busy(busy)),
                    )
                }
                Err(error) => {
                    let jittered = pause.mul_f64(rand::random_range(0.5..1.0));
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    (now + jittered, Err(error))
                }
            };
            let reason = place.waiter.reason.notified();
            let _ = first(reason, clock.sleep_until(again)).await;
            if lock(&place.waiter.standing).has_given_up {
                return outcome;
            }
            if let Some(grant) = place.waiter.take_handed(clock.now()) {
                return Ok(Answer::Granted(grant));
            }
        }
    }

    fn enter(self: &Arc<Self>, owner: OwnerId) -> Place {
        let waiter = match lock(&self.0).entry(owner) {
            // The same request again: both are woken, and both get the same answer.
            Entry::Occupied(there) => Arc::clone(there.get()),
            Entry::Vacant(free) => Arc::clone(free.insert(Arc::default())),
        };
        Place {
            waiters: Arc::clone(self),
            owner,
            waiter,
        }
    }
}

/// A place among those who wait here, until it is dropped.
struct Place {
    waiters: Arc<Waiters>,
    owner: OwnerId,
    waiter: Arc<Waiter>,
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.waiters.0).remove(&self.owner);
    }
}

/// Whether a request may be answered by handing the name to its waiter, for a moment at first. Not
/// where the name has to rest although nobody may ever have heard of the grant, not where nobody
/// renews the lease, and not where the lease has to outlive a process that dies in that moment.
pub(crate) fn may_be_handed(request: &Request) -> bool {
    let lease = request.lease();
    let is_for_a_moment = request.ttl() < HANDED_FOR || !lease.is_renewed();
    !is_for_a_moment && lease.at_least().is_zero() && !lease.lingers()
}

/// When a waiter asks again if nothing happens: when it has to show itself, or when the lease of
/// the owner ends, of which nobody tells.
fn next_question(now: Moment, busy: Busy) -> Moment {
    let lease_ends = busy.details().look_again.unwrap_or(Duration::MAX);
    now + SHOWN_EVERY.min(lease_ends.max(Duration::from_millis(1)))
}

#[cfg(test)]
mod tests;
