//! How a result gets from the manager's thread to the one who asked, and what becomes of a grant
//! that nobody comes for: the next one is served after a short claim window.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};

use tokio::sync::oneshot;

use crate::clock::{Alarm, AlarmHandle, Clock, Moment};
use crate::error::LockError;
use crate::manager::{Hold, ManagerRef};
use crate::options::CLAIM_WINDOW;
use crate::sync::{Mutex, lock};

type Result = std::result::Result<Hold, LockError>;

/// The place where the result lies until it is taken.
#[derive(Default)]
struct Place(Mutex<State>);

#[derive(Default)]
struct State {
    result: Lying,
    waker: Option<Waker>,
}

#[derive(Default)]
enum Lying {
    /// It has not come yet.
    #[default]
    NotYet,
    Here(Result),
    /// It came, lay there for the claim window, and was given back.
    Missed,
    /// It was taken, or nobody wants it any more.
    Over,
}

/// The end of the one who asked. Dropping it says that nobody wants the result any more.
pub(super) struct Taker {
    place: Arc<Place>,
    _still_wanted: oneshot::Sender<()>,
}

/// The end of the manager's thread.
pub(super) struct Giver {
    place: Arc<Place>,
    /// What is given when the thread ends, or a backend panics, before there was a result.
    otherwise: Option<LockError>,
}

/// The two ends, and how the manager's thread learns that nobody wants the result any more.
pub(super) fn handover(otherwise: LockError) -> (Taker, Giver, oneshot::Receiver<()>) {
    let place = Arc::new(Place::default());
    let (still_wanted, given_up) = oneshot::channel();
    let taker = Taker {
        place: Arc::clone(&place),
        _still_wanted: still_wanted,
    };
    let giver = Giver {
        place,
        otherwise: Some(otherwise),
    };
    (taker, giver, given_up)
}

impl Taker {
    /// Waits for the result. `None` when it came, and nobody was there in time to take it.
    pub(super) async fn take(&self) -> Option<Result> {
        poll_fn(|cx| {
            let mut state = lock(&self.place.0);
            match std::mem::replace(&mut state.result, Lying::Over) {
                Lying::NotYet => {
                    state.result = Lying::NotYet;
                    state.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
                Lying::Here(result) => Poll::Ready(Some(result)),
                Lying::Missed | Lying::Over => Poll::Ready(None),
            }
        })
        .await
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        let left = std::mem::replace(&mut lock(&self.place.0).result, Lying::Over);
        // A grant that still lay there gives itself back.
        drop(left);
    }
}

impl Giver {
    /// Lays the result down; a grant that is not taken within the claim window is given back.
    pub(super) fn give(mut self, manager: &ManagerRef, result: Result) {
        self.otherwise = None;
        let is_grant = result.is_ok();
        let waker = self.lay_down(result);
        // Not before, or its time could be over without its having been there; and before foreign
        // code is told, which may panic.
        if is_grant {
            manager.unclaimed.add(&self.place);
        }
        wake(waker);
    }

    /// Who is to be told.
    fn lay_down(&self, result: Result) -> Option<Waker> {
        let mut state = lock(&self.place.0);
        if matches!(state.result, Lying::Over) {
            drop(state);
            // Nobody wants it: a grant gives itself back.
            drop(result);
            return None;
        }
        state.result = Lying::Here(result);
        state.waker.take()
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl Drop for Giver {
    fn drop(&mut self) {
        if let Some(error) = self.otherwise.take() {
            wake(self.lay_down(Err(error)));
        }
    }
}

/// The grants that nobody may have come for yet. It is an alarm of the manager's clock, so that a
/// grant that is taken at once, as most are, wakes nobody but the one who takes it.
pub(in crate::manager) struct Unclaimed {
    /// Where they lie, each with the end of its claim window, the first one first.
    places: Mutex<VecDeque<(Moment, Weak<Place>)>>,
    alarm: AlarmHandle,
    clock: Clock,
}

impl Unclaimed {
    pub(in crate::manager) fn new(clock: &Clock) -> Arc<Self> {
        Arc::new_cyclic(|unclaimed: &Weak<Self>| Self {
            places: Mutex::default(),
            alarm: clock.alarm(Weak::<Self>::clone(unclaimed)),
            clock: clock.clone(),
        })
    }

    fn add(&self, place: &Arc<Place>) {
        let end = self.clock.now() + CLAIM_WINDOW;
        let mut places = lock(&self.places);
        while places.front().is_some_and(|(_, place)| is_gone(place)) {
            places.pop_front();
        }
        // Some may be far behind one that nobody comes for.
        if places.len() == places.capacity() {
            places.retain(|(_, place)| !is_gone(place));
            // So much that it is long before they are looked through again.
            let room = places.len() + 16;
            places.reserve(room);
        }
        places.push_back((end, Arc::downgrade(place)));
        drop(places);
        self.alarm.set_earlier(end);
        // A manual clock that was moved in between would not ring again.
        let now = self.clock.now();
        if now >= end {
            self.ring(now);
        }
    }

    /// Takes out those whose claim window has ended.
    fn take_due(&self, now: Moment) -> Vec<Arc<Place>> {
        let mut due = Vec::new();
        let mut places = lock(&self.places);
        while let Some((end, place)) = places.front() {
            if *end > now {
                self.alarm.set_earlier(*end);
                break;
            }
            due.extend(place.upgrade());
            places.pop_front();
        }
        due
    }
}

/// Whoever asked has taken it, or has gone.
fn is_gone(place: &Weak<Place>) -> bool {
    place.strong_count() == 0
}

impl Alarm for Unclaimed {
    fn ring(&self, now: Moment) {
        for place in self.take_due(now) {
            // It is seen from outside when a grant is given back. One that panics must not keep
            // the others from that.
            let _panicked = catch_unwind(AssertUnwindSafe(|| place.take_back()));
        }
    }
}

impl Place {
    fn take_back(&self) {
        let mut state = lock(&self.0);
        if matches!(state.result, Lying::Here(_)) {
            let missed = std::mem::replace(&mut state.result, Lying::Missed);
            drop(state);
            drop(missed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn what_was_taken_is_forgotten_behind_what_still_lies_there() {
        let time = ManualClock::new();
        let unclaimed = Unclaimed::new(&time.clock());
        let lying = Arc::default();
        unclaimed.add(&lying);
        for _ in 0..10_000 {
            unclaimed.add(&Arc::default());
        }
        assert!(lock(&unclaimed.places).len() < 100);
        time.advance(CLAIM_WINDOW);
        assert!(lock(&unclaimed.places).is_empty());
    }
}
