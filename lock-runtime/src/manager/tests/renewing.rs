//! A backend elsewhere whose leases are renewed, or cannot be.

use std::cell::Cell;
use std::rc::Rc;

use super::stage::{STEP, Stage};
use super::store::{Kind, Wire};
use super::*;
use crate::options::Wait;

#[test]
fn a_lease_is_renewed_for_as_long_as_the_body_runs() {
    let stage = Stage::new();
    let guard = stage.acquire();
    let took = stage.until("it is not renewed", || {
        stage.store.log(Kind::Renew).len() >= 5
    });
    assert!((seconds(45)..seconds(60)).contains(&took), "{took:?}");
    assert!(guard.is_held() && stage.store.is_held("a"));
    run(guard.release()).unwrap();
    stage.is_let_go();
    let renewed = stage.store.log(Kind::Renew).len();
    for _ in 0..20 {
        stage.time.advance(seconds(5));
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(stage.store.log(Kind::Renew).len(), renewed, "after the end");
}

#[test]
fn renewals_that_fail_until_the_end_lose_the_lock_before_the_next_can_have_it() {
    for wire in [Wire::Fails, Wire::HoldsRequests, Wire::HoldsAnswers] {
        let stage = Stage::new();
        let guard = stage.acquire();
        let granted = stage.time.clock().now();
        stage.store.set(Kind::Renew, wire);
        let watch = guard.watch();
        let seen = stage.clone();
        let mut lost = Task::pending(async move {
            let error = watch.lost().await;
            (error, seen.time.clock().now())
        });
        let waiting = Task::pending(stage.manager.lock("a").wait(Wait::Forever).acquire());
        stage.until("it is not lost", || lost.is_woken());
        let (error, when) = lost.now();
        assert!(error.is_lost(), "{error}");
        assert!(when - granted <= seconds(30), "{:?}", when - granted);
        assert!(when - granted >= seconds(29), "{:?}", when - granted);
        assert!(!guard.is_held());
        stage.store.set(Kind::Renew, Wire::Up);
        let next = waiting.wait_while_time_passes(&stage.time, STEP).unwrap();
        assert!(next.fencing_token() > guard.fencing_token());
        let asked = stage.store.log(Kind::Acquire);
        let given_at = asked.iter().filter(|entry| entry.did).nth(1).unwrap().at;
        // The holder was told within one step of the clock.
        assert!(
            given_at + STEP >= when,
            "given at {given_at:?}, lost at {when:?}"
        );
        assert!(run(guard.release()).unwrap_err().is_lost());
        run(next.release()).unwrap();
        stage.is_let_go();
    }
}

#[test]
fn a_renewal_that_fails_once_is_tried_again_in_time() {
    let stage = Stage::new();
    let guard = stage.acquire();
    stage.store.set(Kind::Renew, Wire::Fails);
    for _ in 0..15 {
        stage.time.advance(seconds(1));
        thread::sleep(Duration::from_millis(1));
    }
    stage.store.set(Kind::Renew, Wire::Up);
    let before = stage.store.log(Kind::Renew).len();
    stage.until("it is not tried again", || {
        stage.store.log(Kind::Renew).len() > before + 2
    });
    assert!(guard.is_held() && stage.store.is_held("a"));
    run(guard.release()).unwrap();
}

#[test]
fn a_shorter_lease_is_renewed_in_its_own_time() {
    let stage = Stage::new();
    let guard = stage.acquire();
    let guard = run(async move {
        guard.extend(seconds(3)).await.unwrap();
        guard
    });
    let renewed = stage.store.log(Kind::Renew).len();
    stage.until("it is not renewed", || {
        stage.store.log(Kind::Renew).len() > renewed + 5
    });
    assert!(guard.is_held() && stage.store.is_held("a"));
    run(guard.release()).unwrap();
    stage.is_let_go();
}

#[test]
fn an_extension_that_is_not_answered_is_counted_with_its_shorter_end() {
    let stage = Stage::new();
    let guard = stage.acquire();
    let before = guard.expires_in().unwrap();
    stage.store.set(Kind::Renew, Wire::HoldsAnswers);
    let watch = guard.watch();
    let extending = Task::pending(async move {
        let _not_answered = guard.extend(Duration::from_millis(300)).await;
        guard
    });
    stage.until("the extension is not sent", || {
        stage.store.asked(Kind::Renew) > 0
    });
    // The backend may have given it away by then, and the one who holds it has to know.
    assert!(before > seconds(20));
    let began = stage.time.clock().now();
    while watch.is_held() {
        assert!(
            stage.time.clock().now() - began < seconds(2),
            "it still counts with the longer time"
        );
        stage.time.advance(STEP);
    }
    stage.store.set(Kind::Renew, Wire::Up);
    drop(extending.wait_while_time_passes(&stage.time, STEP));
    stage.is_let_go();
}

#[test]
fn a_body_is_dropped_when_its_lease_cannot_be_renewed() {
    let stage = Stage::new();
    let has_begun = Rc::new(Cell::new(false));
    let begins = Rc::clone(&has_begun);
    let request = stage.manager.lock("a").ttl(seconds(3));
    let mut body = Task::new(request.run(|| async move {
        begins.set(true);
        forever().await;
    }));
    let start = Instant::now();
    while !has_begun.get() {
        assert!(body.poll().is_pending() && start.elapsed() < PATIENCE);
        thread::park_timeout(Duration::from_millis(1));
    }
    stage.store.set(Kind::Renew, Wire::Fails);
    stage.until("it is not lost", || !stage.store.is_held("a"));
    assert!(body.is_woken());
    assert!(body.now().unwrap_err().is_lost());
    stage.is_let_go();
}

#[test]
fn a_lease_of_which_little_was_granted_is_renewed_soon() {
    let stage = Stage::new();
    stage.store.keep_for(seconds(2));
    let guard = stage.acquire();
    assert!(guard.expires_in().unwrap() <= seconds(2));
    // Not at once: most bodies are done before.
    assert_eq!(stage.store.asked(Kind::Renew), 0);
    let took = stage.until("it is not renewed", || {
        !stage.store.log(Kind::Renew).is_empty()
    });
    assert!(took <= seconds(1), "{took:?}");
    eventually("it has a whole lease", || {
        guard.expires_in().unwrap() > seconds(20)
    });
    stage.until("it is not renewed again", || {
        stage.store.log(Kind::Renew).len() > 3
    });
    assert!(guard.is_held() && stage.store.is_held("a"));
    run(guard.release()).unwrap();
    stage.is_let_go();
}

#[test]
fn a_lease_of_which_little_was_granted_is_lost_when_that_is_over() {
    for wire in [Wire::Fails, Wire::HoldsRequests] {
        let stage = Stage::new();
        stage.store.keep_for(seconds(2));
        stage.store.set(Kind::Renew, wire);
        let guard = stage.acquire();
        let took = stage.until("it is not lost", || !guard.is_held());
        // By its owner's clock it is over before it is by the store's.
        assert!(took <= seconds(2), "{took:?}");
        assert!(run(guard.release()).unwrap_err().is_lost());
        stage.store.set(Kind::Renew, Wire::Up);
    }
}

#[test]
fn a_ticket_of_a_lease_of_which_little_was_granted_lasts_as_long_as_any() {
    let stage = Stage::new();
    stage.store.keep_for(seconds(2));
    let ticket = stage.acquire().into_ticket().unwrap();
    eventually("it is not renewed", || {
        !stage.store.log(Kind::Renew).is_empty()
    });
    stage.time.advance(seconds(25));
    let adopted = run(stage.manager.lock("a").adopt(ticket)).unwrap();
    run(adopted.release()).unwrap();
    stage.is_let_go();
}

#[test]
fn a_ticket_of_a_lease_that_is_not_to_be_renewed_ends_with_it() {
    let stage = Stage::new();
    let request = stage.manager.lock("a").renew(false).ttl(seconds(4));
    let guard = run(request.acquire()).unwrap();
    stage.time.advance(seconds(3));
    let ticket = guard.into_ticket().unwrap();
    stage.time.advance(seconds(1));
    assert!(
        run(stage.manager.lock("a").adopt(ticket))
            .unwrap_err()
            .is_lost()
    );
    assert_eq!(stage.store.asked(Kind::Renew), 0);
}

#[test]
fn a_short_lease_whose_renewal_fails_is_tried_again_within_it() {
    let stage = Stage::new();
    stage.store.keep_for(seconds(1));
    stage.store.set(Kind::Renew, Wire::Fails);
    let guard = stage.acquire();
    stage.until("it is not tried again", || {
        stage.store.asked(Kind::Renew) >= 3
    });
    stage.store.set(Kind::Renew, Wire::Up);
    stage.until("it is not renewed", || {
        guard.expires_in().unwrap_or_default() > seconds(20) || !guard.is_held()
    });
    assert!(guard.is_held());
    run(guard.release()).unwrap();
    stage.is_let_go();
}
