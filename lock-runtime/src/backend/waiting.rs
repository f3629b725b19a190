//! The wait for a section in a store that keeps the queue itself: ask, sleep until there is a
//! reason to ask again, ask again.
//!
//! The store's answer to a question is the same whenever it is asked: the owner has the name, or
//! stands in its queue. So a question may be repeated, and a message that was lost, came twice or
//! came too early costs a question and nothing else. Reasons to ask again are a push of the store,
//! a new connection, the end of the holder's lease, the waiter's own deadline, and that a waiter
//! has to show now and then that it is alive.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::{Answer, Busy, Request};
use crate::clock::{Clock, Moment};
use crate::error::BackendError;
use crate::owner::OwnerId;
use crate::race::first;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, lock};

/// How often a waiter shows that it is alive.
pub(crate) const SHOWN_EVERY: Duration = Duration::from_millis(500);

/// A waiter that has not shown itself for so long is passed over, without losing its place: three
/// times as long as it may be silent, so that one lost message is none too many.
pub(crate) const SILENT_AFTER: Duration = Duration::from_millis(1_500);

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
    given_up: AtomicBool,
}

impl Waiters {
    /// There may be news for this one. Somebody else's, and one who waits no more, is nobody here.
    pub(crate) fn wake(&self, owner: OwnerId) {
        if let Some(waiter) = lock(&self.0).get(&owner) {
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
            waiter.given_up.store(true, Ordering::Release);
            waiter.reason.notify_one();
        }
    }

    /// Asks until the name is granted or refused, or the time of the request is up.
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
        mut ask: impl FnMut(Question) -> A,
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
            let answer = match ask(question).await {
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
            if place.waiter.given_up.load(Ordering::Acquire) {
                return outcome;
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

/// When a waiter asks again if nothing happens: when it has to show itself, or when the lease of
/// the holder ends, of which nobody tells.
fn next_question(now: Moment, busy: Busy) -> Moment {
    let lease_ends = busy.details().look_again.unwrap_or(Duration::MAX);
    now + SHOWN_EVERY.min(lease_ends.max(Duration::from_millis(1)))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::task::{Context, Waker};

    use super::*;
    use crate::backend::{Grant, Patience};
    use crate::clock::ManualClock;
    use crate::lease::{self, SharedTerms, Terms};
    use crate::name::LockName;
    use crate::options::Wait;
    use crate::owner::Process;

    type Answers = Vec<Result<Answer, Failure>>;

    /// A wait whose store answers what a test says, and how it was asked.
    struct Waiting {
        time: ManualClock,
        waiters: Arc<Waiters>,
        request: Request,
        questions: RefCell<Vec<(u64, Question)>>,
    }

    impl Waiting {
        fn of(wait: Wait) -> Self {
            let terms = SharedTerms::from(Terms::plain(wait));
            let lease = lease::make(None, 1, &Process::new(None), &terms, None, |name| {
                *name = LockName::new("task:42")?;
                Ok(())
            });
            Self {
                time: ManualClock::new(),
                waiters: Arc::default(),
                request: Request::new(lease.unwrap(), Patience::Wait(wait)),
                questions: RefCell::default(),
            }
        }

        /// Begins the wait; the store gives these answers, and the last of them again and again.
        fn begin(
            &self,
            mut answers: Answers,
        ) -> std::pin::Pin<Box<dyn Future<Output = Result<Answer, BackendError>> + '_>> {
            answers.reverse();
            let clock = self.time.clock();
            let started = clock.now();
            let ask = move |question| {
                let after = clock.now() - started;
                let after = u64::try_from(after.as_millis()).unwrap();
                self.questions.borrow_mut().push((after, question));
                std::future::ready(answers.pop().unwrap_or_else(|| Ok(busy())))
            };
            let waiters = Arc::clone(&self.waiters);
            Box::pin(waiters.wait(self.time.clock(), self.request.clone(), ask))
        }

        fn questions(&self) -> Vec<(u64, Question)> {
            self.questions.borrow().clone()
        }
    }

    fn busy() -> Answer {
        Answer::Busy(Busy::new())
    }

    fn granted() -> Answer {
        Answer::Granted(Grant::new(None))
    }

    fn unreachable() -> Failure {
        Failure::Passing(BackendError::new("unreachable"))
    }

    fn poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        let mut cx = Context::from_waker(Waker::noop());
        match std::pin::Pin::new(future).poll(&mut cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }

    #[test]
    fn a_try_asks_once() {
        let waiting = Waiting::of(Wait::NONE);
        let answer = poll(&mut waiting.begin(vec![])).unwrap();
        assert_eq!(answer.unwrap(), busy());
        assert_eq!(waiting.questions(), [(0, Question::Try)]);
    }

    #[test]
    fn a_waiter_shows_itself_and_looks_once_more_at_its_deadline() {
        let waiting = Waiting::of(Wait::For(Duration::from_millis(1_200)));
        let mut wait = waiting.begin(vec![]);
        let mut answer = poll(&mut wait);
        while answer.is_none() {
            waiting.time.advance(Duration::from_millis(100));
            answer = poll(&mut wait);
        }
        assert_eq!(answer.unwrap().unwrap(), busy());
        let asked = [
            (0, Question::Queue),
            (500, Question::Queue),
            (1_000, Question::Queue),
        ];
        assert_eq!(waiting.questions()[..3], asked);
        assert_eq!(waiting.questions()[3..], [(1_200, Question::Last)]);
    }

    #[test]
    fn a_push_is_a_reason_to_ask_also_when_it_comes_before_the_wait() {
        let waiting = Waiting::of(Wait::Forever);
        let waiters = Arc::clone(&waiting.waiters);
        let owner = waiting.request.owner().id();
        let mut wait = waiting.begin(vec![Ok(busy()), Ok(busy()), Ok(granted())]);
        assert!(poll(&mut wait).is_none());
        waiters.wake(owner);
        assert!(poll(&mut wait).is_none());
        waiters.wake_all();
        let answer = poll(&mut wait).unwrap().unwrap();
        let now = waiting.time.clock().now();
        assert_eq!(answer, Answer::Granted(Grant::new(None).counted_from(now)));
        assert!(lock(&waiters.0).is_empty());
    }

    #[test]
    fn a_lease_that_began_before_the_question_is_counted_from_then() {
        let waiting = Waiting::of(Wait::Forever);
        waiting.time.advance(Duration::from_secs(10));
        let now = waiting.time.clock().now();
        let earlier = now.saturating_sub(Duration::from_secs(3));
        for (said, counted) in [(earlier, earlier), (now + Duration::from_secs(3), now)] {
            let grant = Grant::new(None).counted_from(said);
            let answer = poll(&mut waiting.begin(vec![Ok(Answer::Granted(grant))])).unwrap();
            let expected = Grant::new(None).counted_from(counted);
            assert_eq!(answer.unwrap(), Answer::Granted(expected));
        }
    }

    #[test]
    fn the_end_of_a_lease_is_a_reason_to_ask() {
        let waiting = Waiting::of(Wait::Forever);
        let soon = Busy::new().look_again(Duration::from_millis(70));
        let mut wait = waiting.begin(vec![Ok(Answer::Busy(soon)), Ok(granted())]);
        assert!(poll(&mut wait).is_none());
        waiting.time.advance(Duration::from_millis(70));
        assert!(poll(&mut wait).is_some());
    }

    #[test]
    fn who_has_given_up_does_not_ask_again() {
        let waiting = Waiting::of(Wait::Forever);
        let mut wait = waiting.begin(vec![Ok(busy()), Ok(granted())]);
        assert!(poll(&mut wait).is_none());
        waiting.waiters.give_up(waiting.request.owner().id());
        assert_eq!(poll(&mut wait).unwrap().unwrap(), busy());
        assert_eq!(waiting.questions().len(), 1);
    }

    #[test]
    fn a_store_that_fails_is_asked_again_for_a_while() {
        let waiting = Waiting::of(Wait::NONE);
        let mut wait = waiting.begin((0..1_000).map(|_| Err(unreachable())).collect());
        let mut answer = poll(&mut wait);
        while answer.is_none() {
            waiting.time.advance(Duration::from_millis(10));
            answer = poll(&mut wait);
        }
        assert_eq!(answer.unwrap().unwrap_err().to_string(), "unreachable");
        let questions = waiting.questions();
        let (last, _) = questions.last().unwrap();
        assert!((4_000..5_000).contains(last), "{questions:?}");
        // It is not asked without a pause.
        assert!(questions.len() < 40, "{questions:?}");
    }

    #[test]
    fn an_effect_that_is_unknown_stays_so_whatever_fails_afterwards() {
        let lost = || Failure::Passing(BackendError::new("no answer").effect_unknown());
        let refusal = || Failure::Lasting(BackendError::new("no permission"));
        for (answers, is_unknown) in [
            (vec![Err(lost()), Err(refusal())], true),
            (vec![Err(lost()), Err(unreachable()), Err(refusal())], true),
            (vec![Err(unreachable()), Err(refusal())], false),
        ] {
            let waiting = Waiting::of(Wait::Forever);
            let mut wait = waiting.begin(answers);
            let mut answer = poll(&mut wait);
            while answer.is_none() {
                waiting.time.advance(Duration::from_millis(10));
                answer = poll(&mut wait);
            }
            let error = answer.unwrap().unwrap_err();
            assert_eq!(error.to_string(), "no permission");
            assert_eq!(error.is_effect_unknown(), is_unknown);
        }
    }

    #[test]
    fn a_store_that_refuses_for_good_is_not_asked_again() {
        let waiting = Waiting::of(Wait::Forever);
        let refusal = Failure::Lasting(BackendError::new("no permission"));
        let answer = poll(&mut waiting.begin(vec![Err(refusal)])).unwrap();
        assert_eq!(answer.unwrap_err().to_string(), "no permission");
    }
}
