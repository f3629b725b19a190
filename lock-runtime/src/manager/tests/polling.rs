//! A backend elsewhere that can do nothing but what every backend must: polling, and requests that
//! are late, lost, or never answered.

use super::stage::{STEP, Stage};
use super::store::{Kind, Store, Wire};
use super::*;
use crate::error::LockErrorKind;
use crate::options::{CLAIM_WINDOW, Wait};

#[test]
fn a_waiter_polls_until_the_name_is_free() {
    let stage = Stage::new();
    let guard = stage.acquire();
    let token = guard.fencing_token();
    let mut waiting = Task::pending(stage.manager.lock("a").acquire());
    let asked = stage.store.log(Kind::Acquire).len();
    stage.until("it does not poll", || {
        stage.store.log(Kind::Acquire).len() > asked + 3
    });
    assert!(waiting.poll().is_pending());
    run(guard.release()).unwrap();
    let next = waiting.wait_while_time_passes(&stage.time, STEP).unwrap();
    assert!(next.fencing_token() > token);
    run(next.release()).unwrap();
    stage.is_let_go();
}

#[test]
fn a_wait_ends_at_its_deadline_with_one_last_try() {
    const SHORT: Duration = Duration::from_millis(10);
    let stage = Stage::new();
    let guard = stage.acquire();
    let began = stage.time.clock().now();
    let waiting = Task::pending(stage.manager.lock("a").wait(seconds(3)).acquire());
    eventually("it does not ask", || stage.store.asked(Kind::Acquire) > 1);
    while stage.time.clock().now() - began < seconds(3) - SHORT {
        stage.time.advance(SHORT);
        thread::sleep(Duration::from_millis(1));
    }
    // Time stands still at the very deadline, and the answer comes.
    stage.time.advance(SHORT);
    let error = waiting.wait().unwrap_err();
    assert!(error.is_busy(), "{error}");
    let last = stage.store.log(Kind::Acquire).last().unwrap().at - began;
    assert_eq!(last, seconds(3));
    run(guard.release()).unwrap();
    stage.is_let_go();
}

#[test]
fn pauses_between_two_looks_have_a_limit() {
    let stage = Stage::new();
    let guard = stage.acquire();
    let waiting = Task::pending(stage.manager.lock("a").wait(Wait::Forever).acquire());
    stage.until("it does not poll", || {
        stage.store.log(Kind::Acquire).len() > 30
    });
    let looks = stage.store.log(Kind::Acquire);
    let mut pauses: Vec<_> = looks.windows(2).map(|two| two[1].at - two[0].at).collect();
    // Without a limit the last ones were minutes long. One may be late on a busy machine.
    let mut late = pauses.split_off(10);
    late.sort();
    let usual = late[late.len() / 2];
    assert!(usual <= Duration::from_millis(500) + STEP, "{usual:?}");
    drop((waiting, guard));
    stage.is_let_go();
}

#[test]
fn a_request_that_is_cancelled_leaves_nothing() {
    let stage = Stage::new();
    for wire in [Wire::Up, Wire::HoldsRequests, Wire::HoldsAnswers] {
        stage.store.set(Kind::Acquire, wire);
        let before = stage.store.log(Kind::Release).len();
        let mut asking = Task::new(stage.manager.lock("a").acquire());
        drop(asking.poll());
        drop(asking);
        stage.store.set(Kind::Acquire, Wire::Up);
        eventually("it is not undone", || {
            stage.store.log(Kind::Release).len() > before
        });
        stage.is_let_go();
    }
}

#[test]
fn a_grant_that_nobody_comes_for_is_given_back_after_the_claim_window() {
    let stage = Stage::new();
    // The answer may be there at once.
    let asking = loop {
        let mut asking = Task::new(stage.manager.lock("a").acquire());
        match asking.poll() {
            Poll::Pending => break asking,
            Poll::Ready(guard) => run(guard.unwrap().release()).unwrap(),
        }
    };
    eventually("it is not told", || asking.is_woken());
    let took = stage.until("it is not given back", || !stage.store.is_held("a"));
    assert!((CLAIM_WINDOW..seconds(5)).contains(&took), "{took:?}");
    // It is asked for again when somebody is there.
    run(asking.wait().unwrap().release()).unwrap();
    stage.is_let_go();
}

#[test]
fn a_waiter_that_is_cancelled_stops_asking() {
    let stage = Stage::new();
    let guard = stage.acquire();
    let waiting = Task::pending(stage.manager.lock("a").acquire());
    drop(waiting);
    run(guard.release()).unwrap();
    stage.is_let_go();
    let asked = stage.store.log(Kind::Acquire).len();
    for _ in 0..50 {
        stage.time.advance(STEP);
        thread::sleep(Duration::from_millis(1));
    }
    assert!(stage.store.log(Kind::Acquire).len() <= asked + 1);
    assert!(!stage.store.is_held("a"));
}

#[test]
fn a_backend_that_never_answers_is_an_error_in_time_and_is_undone_later() {
    let stage = Stage::new();
    for wire in [Wire::HoldsRequests, Wire::HoldsAnswers] {
        stage.store.set(Kind::Acquire, wire);
        let began = stage.time.clock().now();
        let asking = Task::pending(stage.manager.lock("a").acquire());
        let error = asking
            .wait_while_time_passes(&stage.time, STEP)
            .unwrap_err();
        assert!(error.is_unavailable() && error.may_be_held(), "{error}");
        assert!(stage.time.clock().now() - began < seconds(8));
        stage.store.set(Kind::Acquire, Wire::Up);
        stage.is_let_go();
    }
}

#[test]
fn a_grant_that_comes_after_its_own_lease_is_none() {
    let stage = Stage::new();
    stage.store.set(Kind::Acquire, Wire::HoldsAnswers);
    let asking = stage.manager.lock("a").ttl(seconds(2));
    let mut asking = Task::pending(asking.acquire());
    eventually("it does not ask", || stage.store.is_held("a"));
    stage.time.advance(seconds(2));
    assert!(asking.poll().is_pending());
    stage.store.set(Kind::Acquire, Wire::Up);
    let error = asking.wait().unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    stage.is_let_go();
}

#[test]
fn a_store_that_fails_is_an_error_and_the_request_is_undone() {
    let stage = Stage::new();
    stage.store.set(Kind::Acquire, Wire::Fails);
    let error = run(stage.manager.lock("a").acquire()).unwrap_err();
    assert_eq!(error.kind(), LockErrorKind::Unavailable);
    eventually("it is not undone", || {
        !stage.store.log(Kind::Release).is_empty()
    });
    stage.is_let_go();
}

#[test]
fn a_release_that_hangs_is_not_waited_for_longer_than_its_time_out() {
    for wire in [Wire::HoldsRequests, Wire::HoldsAnswers, Wire::Fails] {
        let stage = Stage::new();
        stage.store.set(Kind::Release, wire);
        let began = stage.time.clock().now();
        let ran = Task::new(stage.manager.lock("a").run(|| async { 7 }));
        let value = ran.wait_while_time_passes(&stage.time, STEP);
        assert_eq!(value.unwrap(), 7, "the body's result stands");
        let took = stage.time.clock().now() - began;
        assert!(took <= seconds(3), "{took:?}");
        stage.store.set(Kind::Release, Wire::Up);
        // One that failed without effect is left to its lease.
        stage.until("the lock is left behind", || !stage.store.is_held("a"));
    }
}

#[test]
fn a_renewal_that_is_under_way_does_not_arrive_after_the_release() {
    let stage = Stage::new();
    let guard = stage.acquire();
    stage.store.set(Kind::Renew, Wire::HoldsRequests);
    stage.time.advance(seconds(11));
    eventually("it is not renewed", || stage.store.asked(Kind::Renew) == 1);
    let mut releasing = Task::new(guard.release());
    for _ in 0..10 {
        assert!(releasing.poll().is_pending());
        thread::sleep(Duration::from_millis(1));
    }
    assert!(stage.store.log(Kind::Release).is_empty());
    stage.store.set(Kind::Renew, Wire::Up);
    releasing.wait().unwrap();
    stage.is_let_go();
    let renewed = stage.store.log(Kind::Renew).last().unwrap().did;
    assert!(renewed && stage.store.log(Kind::Release).len() == 1);
}

#[test]
fn a_guard_that_is_dropped_with_its_manager_is_released_all_the_same() {
    let time = ManualClock::new();
    let store = Store::new(time.clock());
    for _ in 0..20 {
        let connecting = LockManager::builder()
            .clock(time.clock())
            .backend(store.clone())
            .connect();
        let manager = run(connecting).unwrap();
        let guard = run(manager.lock("a").acquire()).unwrap();
        store.set(Kind::Release, Wire::HoldsRequests);
        drop((guard, manager));
        thread::sleep(Duration::from_millis(1));
        store.set(Kind::Release, Wire::Up);
        eventually("the lock is left behind", || !store.is_held("a"));
    }
}

#[test]
fn a_request_that_is_dropped_with_its_manager_is_undone_all_the_same() {
    let time = ManualClock::new();
    let store = Store::new(time.clock());
    for _ in 0..20 {
        let connecting = LockManager::builder()
            .clock(time.clock())
            .backend(store.clone())
            .connect();
        let manager = run(connecting).unwrap();
        store.set(Kind::Acquire, Wire::HoldsAnswers);
        let asking = Task::pending(manager.lock("a").acquire());
        eventually("it does not ask", || store.is_held("a"));
        drop((asking, manager));
        thread::sleep(Duration::from_millis(1));
        store.set(Kind::Acquire, Wire::Up);
        eventually("the lock is left behind", || !store.is_held("a"));
    }
}

#[test]
fn a_panic_in_the_body_releases_and_goes_on() {
    let stage = Stage::new();
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        run(stage
            .manager
            .lock("a")
            .run(|| async { panic!("in the body") }))
    }));
    let panic = ran.map(|_: Result<(), _>| ()).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"in the body"));
    stage.is_let_go();
    let guard = stage.acquire();
    run(guard.release()).unwrap();
}

#[test]
fn a_shutdown_waits_for_the_releases_that_are_on_their_way() {
    let stage = Stage::new();
    let guard = stage.acquire();
    stage.store.set(Kind::Release, Wire::HoldsRequests);
    drop(guard);
    let manager = stage.manager.clone();
    let mut shutdown = Task::new(async move { manager.shutdown(seconds(1)).await });
    assert!(shutdown.poll().is_pending());
    stage.store.set(Kind::Release, Wire::Up);
    assert_eq!(shutdown.wait_while_time_passes(&stage.time, STEP), 0);
    assert!(!stage.store.is_held("a"));
}

#[test]
fn a_shutdown_tells_those_who_wait_and_takes_back_what_they_asked() {
    let stage = Stage::new();
    let guard = stage.acquire();
    let waiting = Task::pending(stage.manager.lock("a").acquire());
    let manager = stage.manager.clone();
    let mut shutdown = Task::new(async move { manager.shutdown(seconds(1)).await });
    assert!(shutdown.poll().is_pending());
    let error = waiting.wait().unwrap_err();
    assert_eq!(error.kind(), LockErrorKind::Closed, "{error}");
    assert_eq!(shutdown.wait_while_time_passes(&stage.time, STEP), 1);
    assert!(!guard.is_held());
    drop(guard);
    stage.is_let_go();
}

#[test]
fn an_adoption_that_is_never_answered_is_an_error_in_time() {
    let stage = Stage::new();
    let ticket = stage.acquire().into_ticket().unwrap();
    stage.store.set(Kind::Adopt, Wire::HoldsAnswers);
    let adopting = Task::pending(stage.manager.lock("a").adopt(ticket));
    let error = adopting
        .wait_while_time_passes(&stage.time, STEP)
        .unwrap_err();
    assert!(error.is_unavailable() && error.may_be_held(), "{error}");
    stage.store.set(Kind::Adopt, Wire::Up);
    eventually("what was adopted is not given back", || {
        !stage.store.log(Kind::Release).is_empty()
    });
    stage.is_let_go();
}

#[test]
fn what_the_backend_cannot_do_is_refused_before_anything_is_sent() {
    let stage = Stage::new();
    let lock = || stage.manager.lock("a");
    for request in [
        lock().shared(),
        lock().permits(2),
        lock().at_least(seconds(1)),
    ] {
        let error = run(request.acquire()).unwrap_err();
        assert_eq!(error.kind(), LockErrorKind::Unsupported);
    }
    assert!(stage.store.log(Kind::Acquire).is_empty());
}

/// A thread that runs all tasks of a runtime asks nobody and waits for nobody.
#[tokio::test]
async fn sync_code_that_must_not_wait_is_told_for_what_it_would() {
    let stage = Stage::new();
    stage.store.set(Kind::Acquire, Wire::HoldsRequests);
    let (_time, embedded) = embedded();
    let _held = embedded.lock("a").acquire().await.unwrap();
    for (manager, says) in [
        (&stage.manager, "asking the store, even for a free lock"),
        (&embedded, "which a wait here would stop"),
    ] {
        let error = manager.lock("a").blocking().acquire().unwrap_err();
        assert_eq!(error.kind(), LockErrorKind::WouldBlock);
        assert!(error.to_string().contains(says), "{error}");
    }
    stage.store.set(Kind::Acquire, Wire::Up);
    stage.is_let_go();
}
