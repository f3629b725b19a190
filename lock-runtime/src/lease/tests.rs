use std::sync::atomic::{AtomicUsize, Ordering as StdOrdering};
use std::task::{Wake, Waker};

use super::*;
use crate::clock::ManualClock;
use crate::error::Lost;
use crate::manager::LockManager;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn lease() -> Arc<Lease> {
    let manager = LockManager::builder()
        .clock(ManualClock::new().clock())
        .memory()
        .build()
        .unwrap();
    let guard = manager.lock("a").blocking().acquire().unwrap();
    let leases = manager.inner().backend.embedded_leases(manager.inner().id);
    drop(guard);
    let (used, _) = &leases[0];
    let mut lease = Lease::new(used.manager(), &used.process, &used.terms);
    lease.name.clone_from(used.name());
    Arc::new(lease)
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, StdOrdering::SeqCst);
    }
}

impl Count {
    fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    fn get(&self) -> usize {
        self.0.load(StdOrdering::SeqCst)
    }
}

#[test]
fn it_is_lost_at_its_deadline_and_not_before() {
    let lease = lease();
    let deadline = Moment::from_nanos(1_000);
    lease.grant(None, deadline);
    assert_eq!(lease.check(|| Moment::from_nanos(999)), None);
    assert!(lease.is_running());
    assert_eq!(lease.check(|| deadline), Some(Lost::Expired));
    assert!(!lease.is_running());
}

#[test]
fn one_without_an_end_does_not_look_at_the_clock() {
    let lease = lease();
    lease.grant(None, Moment::NEVER);
    assert_eq!(lease.check(|| panic!("it looked")), None);
}

#[test]
fn the_first_cause_of_a_loss_stays() {
    for cause in super::state::CAUSES {
        let lease = lease();
        lease.grant(None, Moment::NEVER);
        lease.report_lost(cause);
        lease.report_lost(Lost::Expired);
        assert_eq!(lease.loss(), Some(cause));
        assert!(!lease.end());
    }
}

#[test]
fn one_that_was_lost_before_its_grant_was_seen_stays_lost() {
    let lease = lease();
    lease.report_lost(Lost::ForcedOut);
    lease.grant(None, Moment::NEVER);
    assert_eq!(
        (lease.is_running(), lease.loss()),
        (false, Some(Lost::ForcedOut))
    );
}

#[test]
fn one_that_has_ended_is_not_lost_any_more() {
    let lease = lease();
    lease.grant(None, Moment::NEVER);
    assert!(lease.end() && !lease.end());
    lease.report_lost(Lost::Expired);
    assert_eq!(lease.loss(), None);
}

#[test]
fn nobody_enters_again_after_the_last_one_left() {
    let lease = lease();
    assert!(lease.enter_again());
    assert!(!lease.leave());
    assert!(lease.leave());
    assert!(!lease.enter_again());
}

#[test]
fn everybody_inside_is_woken_when_it_is_lost_and_nobody_who_left() {
    let lease = lease();
    lease.grant(None, Moment::NEVER);
    let gates = [(); 2].map(|()| Arc::new(Semaphore::new(1)));
    let counts = [(); 3].map(|()| Arc::new(Count::default()));
    assert!(lease.body_waits(&counts[0].waker()));
    lease.inner_body_waits(&gates[0], &counts[1].waker());
    lease.inner_body_waits(&gates[1], &counts[2].waker());
    lease.body_left(Some(&gates[0]));
    lease.report_lost(Lost::ForcedOut);
    assert_eq!(counts.each_ref().map(|count| count.get()), [1, 0, 1]);
}

#[test]
fn a_body_is_idle_from_the_first_look_that_it_does_not_answer() {
    let lease = lease();
    let at = |second| Moment::from_nanos(0) + seconds(second);
    assert_eq!(
        lease.probe_body(at(1)),
        None,
        "it does not wait for anything"
    );
    let count = Arc::new(Count::default());
    lease.body_waits(&count.waker());
    assert_eq!(lease.probe_body(at(2)), Some(at(2)));
    assert_eq!(lease.probe_body(at(3)), Some(at(2)));
    assert_eq!(count.get(), 2);
    lease.body_polled();
    assert_eq!(lease.probe_body(at(4)), Some(at(4)));
}

#[test]
fn a_lease_that_is_kept_for_later_keeps_no_task_alive() {
    let manager = LockManager::builder()
        .clock(ManualClock::new().clock())
        .memory()
        .build()
        .unwrap();
    let count = Arc::new(Count::default());
    let waker = count.waker();
    let mut body = Box::pin(manager.lock("a").run(std::future::pending::<()>));
    let polled = body
        .as_mut()
        .poll(&mut std::task::Context::from_waker(&waker));
    assert!(polled.is_pending());
    drop((body, waker));
    assert_eq!(
        Arc::strong_count(&count),
        1,
        "the waker of a task that is over"
    );
}

#[test]
fn a_lease_that_was_used_before_is_like_a_new_one() {
    let manager = LockManager::builder()
        .clock(ManualClock::new().clock())
        .memory()
        .build()
        .unwrap();
    let take = || manager.lock("a").reentrant().blocking();
    let token = take().acquire().unwrap().fencing_token();
    let lost = take().acquire().unwrap();
    assert_eq!(take().force_release().unwrap(), 1);
    assert!(lost.release_blocking().unwrap_err().is_lost());
    let guard = take().acquire().unwrap();
    assert!(guard.is_held() && guard.fencing_token() > token);
    drop(guard);
    assert_eq!(take().run(|| take().run(|| 7)).unwrap().unwrap(), 7);
}
