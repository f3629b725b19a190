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
        Self::with(Terms::plain(wait))
    }

    fn with(terms: Terms) -> Self {
        let wait = terms.wait;
        let terms = SharedTerms::from(terms);
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
        let ask = move |question, _| {
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

#[cfg(any(feature = "redis", feature = "postgres"))]
mod handed {
    use super::*;

    fn token() -> Option<FencingToken> {
        FencingToken::new(7)
    }

    #[test]
    fn a_name_that_was_handed_over_is_not_asked_for_again() {
        let waiting = Waiting::of(Wait::Forever);
        let (waiters, owner) = (Arc::clone(&waiting.waiters), waiting.request.owner().id());
        let mut wait = waiting.begin(vec![]);
        assert!(poll(&mut wait).is_none());
        let asked = waiting.time.clock().now();
        waiting.time.advance(Duration::from_millis(300));
        waiters.hand(owner, token(), asked);
        // Of what the store had seen when it handed it over, and for as long as it keeps it.
        let grant = Grant::new(token()).counted_from(asked).lasting(HANDED_FOR);
        assert_eq!(poll(&mut wait).unwrap().unwrap(), Answer::Granted(grant));
        assert_eq!(waiting.questions(), [(0, Question::Queue)]);
        drop(wait);
        // Nobody is handed anything who does not wait.
        waiters.hand(owner, token(), asked);
    }

    #[test]
    fn what_was_handed_over_too_long_ago_is_asked_for() {
        let waiting = Waiting::of(Wait::Forever);
        let (waiters, owner) = (Arc::clone(&waiting.waiters), waiting.request.owner().id());
        let mut wait = waiting.begin(vec![Ok(busy()), Ok(busy()), Ok(granted())]);
        assert!(poll(&mut wait).is_none());
        let asked = waiting.time.clock().now();
        // It has asked again since, and stands in the queue anew: the message is from before that.
        waiting
            .time
            .advance(HANDED_FOR - LEFT_TO_RENEW + Duration::from_nanos(1));
        assert!(poll(&mut wait).is_none());
        waiters.hand(owner, token(), asked);
        let now = waiting.time.clock().now();
        let answer = poll(&mut wait).unwrap().unwrap();
        assert_eq!(answer, Answer::Granted(Grant::new(None).counted_from(now)));
        assert_eq!(waiting.questions().len(), 3);
    }

    #[test]
    fn what_was_handed_over_before_it_had_its_place_is_asked_for() {
        let waiting = Waiting::of(Wait::Forever);
        let (waiters, owner) = (Arc::clone(&waiting.waiters), waiting.request.owner().id());
        let mut wait = waiting.begin(vec![Ok(busy()), Ok(busy()), Ok(granted())]);
        assert!(poll(&mut wait).is_none());
        let asked = waiting.time.clock().now();
        // It was ended by force, and the waiter has asked again since.
        waiting.time.advance(Duration::from_millis(1));
        waiters.wake(owner);
        assert!(poll(&mut wait).is_none());
        waiters.hand(owner, token(), asked);
        let now = waiting.time.clock().now();
        let answer = poll(&mut wait).unwrap().unwrap();
        assert_eq!(answer, Answer::Granted(Grant::new(None).counted_from(now)));
    }

    #[test]
    fn what_was_handed_over_for_a_question_of_the_future_is_asked_for() {
        let waiting = Waiting::of(Wait::Forever);
        let (waiters, owner) = (Arc::clone(&waiting.waiters), waiting.request.owner().id());
        let mut wait = waiting.begin(vec![Ok(busy()), Ok(granted())]);
        assert!(poll(&mut wait).is_none());
        let now = waiting.time.clock().now();
        waiters.hand(owner, token(), now + Duration::from_nanos(1));
        let answer = poll(&mut wait).unwrap().unwrap();
        assert_eq!(answer, Answer::Granted(Grant::new(None).counted_from(now)));
    }

    #[test]
    fn what_was_handed_to_one_who_has_given_up_is_not_taken() {
        let waiting = Waiting::of(Wait::Forever);
        let (waiters, owner) = (Arc::clone(&waiting.waiters), waiting.request.owner().id());
        let mut wait = waiting.begin(vec![]);
        assert!(poll(&mut wait).is_none());
        waiters.hand(owner, token(), waiting.time.clock().now());
        waiters.give_up(owner);
        assert_eq!(poll(&mut wait).unwrap().unwrap(), busy());
    }

    #[test]
    fn a_name_is_handed_to_those_alone_who_can_have_it_for_a_moment() {
        let of = |change: fn(&mut Terms)| {
            let mut terms = Terms::plain(Wait::Forever);
            change(&mut terms);
            may_be_handed(&Waiting::with(terms).request)
        };
        assert!(of(|_| {}));
        assert!(!of(|terms| terms.renewed = false));
        assert!(!of(|terms| terms.at_least = Duration::from_millis(1)));
        assert!(!of(|terms| terms.linger = true));
        assert!(!of(
            |terms| terms.ttl = HANDED_FOR - Duration::from_millis(1)
        ));
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
