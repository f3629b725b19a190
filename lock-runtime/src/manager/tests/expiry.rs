//! Leases that end: by themselves, by their limits, or by an operator.

use std::cell::Cell;
use std::rc::Rc;

use super::*;
use crate::error::LockError;

/// Runs a body that counts its polls and never ends, and says when it was dropped.
struct Body {
    task: Task<Result<(), LockError>>,
    polls: Rc<Cell<usize>>,
    is_dropped: Rc<Cell<bool>>,
}

struct OnDrop(Rc<Cell<bool>>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

impl Body {
    fn start(request: crate::LockRequest) -> Self {
        let (polls, is_dropped) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
        let (counted, on_drop) = (Rc::clone(&polls), OnDrop(Rc::clone(&is_dropped)));
        let task = Task::pending(request.run(move || {
            std::future::poll_fn(move |_| {
                let _kept = &on_drop;
                counted.set(counted.get() + 1);
                Poll::<()>::Pending
            })
        }));
        Self {
            task,
            polls,
            is_dropped,
        }
    }

    /// It is woken, and dropped without being polled once more.
    fn is_lost(&mut self, why: &str) {
        assert!(self.task.is_woken(), "nobody says that it is lost: {why}");
        let polls = self.polls.get();
        let error = self.task.now().unwrap_err();
        assert!(
            error.is_lost() && error.to_string().contains(why),
            "{error}"
        );
        assert!(self.is_dropped.get());
        assert_eq!(self.polls.get(), polls);
    }
}

#[test]
fn a_lease_that_is_not_renewed_ends_at_exactly_its_end() {
    let (time, manager) = embedded();
    let guard = run(manager.lock("a").ttl(seconds(10)).renew(false).acquire()).unwrap();
    let mut waiting = Task::pending(manager.lock("a").acquire());
    time.advance(seconds(10) - NANO);
    assert!(guard.is_held() && !waiting.is_woken());
    assert_eq!(guard.expires_in(), Some(NANO));
    time.advance(NANO);
    assert!(!guard.is_held() && waiting.is_woken());
    let next = waiting.now().unwrap();
    assert!(next.fencing_token() > guard.fencing_token());
    assert!(run(guard.release()).unwrap_err().is_lost());
    assert!(next.is_held(), "a late release frees nobody's lock");
}

#[test]
fn a_body_whose_lease_ends_is_dropped_and_not_polled_once_more() {
    let (time, manager) = embedded();
    let mut body = Body::start(manager.lock("a").ttl(seconds(10)).renew(false));
    time.advance(seconds(10) - NANO);
    assert!(body.task.poll().is_pending());
    time.advance(NANO);
    assert!(is_free(&manager, "a"));
    body.is_lost("its lease ended");
}

#[test]
fn a_lease_that_is_renewed_does_not_end() {
    let (time, manager) = embedded();
    let mut body = Body::start(manager.lock("a").ttl(seconds(10)));
    for _ in 0..100 {
        time.advance(seconds(25));
        assert!(body.task.poll().is_pending());
    }
    drop(body);
    assert!(is_free(&manager, "a"));
}

#[test]
fn extending_starts_the_lease_anew() {
    let (time, manager) = embedded();
    let guard = run(manager.lock("a").ttl(seconds(10)).renew(false).acquire()).unwrap();
    let held = guard.watch();
    time.advance(seconds(9));
    let guard = run(async move {
        guard.extend(seconds(20)).await.unwrap();
        guard
    });
    time.advance(seconds(20) - NANO);
    assert!(held.is_held());
    time.advance(NANO);
    assert!(!held.is_held());
    assert!(is_free(&manager, "a"));
    let guard = run(async move {
        assert!(guard.extend(seconds(20)).await.unwrap_err().is_lost());
        guard
    });
    drop(guard);
    assert!(
        is_free(&manager, "a"),
        "extending a lost lock does not bring it back"
    );
}

#[test]
fn a_body_that_is_held_too_long_loses_its_lock() {
    let (time, manager) = embedded();
    let mut body = Body::start(manager.lock("a").max_hold(seconds(60)));
    time.advance(seconds(60) - NANO);
    assert!(!is_free(&manager, "a"));
    assert!(body.task.poll().is_pending());
    time.advance(NANO);
    assert!(is_free(&manager, "a"));
    body.is_lost("max_hold");
}

#[test]
fn a_guard_that_is_held_too_long_loses_its_lock() {
    let (time, manager) = embedded();
    let guard = run(manager.lock("a").max_hold(seconds(60)).acquire()).unwrap();
    let mut lost = Task::pending({
        let watch = guard.watch();
        async move { watch.lost().await }
    });
    time.advance(seconds(60));
    assert!(lost.is_woken() && lost.now().is_lost());
    assert!(is_free(&manager, "a"));
    assert!(run(guard.release()).unwrap_err().is_lost());
}

#[test]
fn a_body_that_is_woken_and_not_polled_loses_its_lock() {
    let time = ManualClock::new();
    let manager = LockManager::builder()
        .clock(time.clock())
        .memory()
        .max_idle(seconds(120))
        .build()
        .unwrap();
    let mut body = Body::start(manager.lock("a"));
    for _ in 0..100 {
        time.advance(seconds(30));
        if body.task.is_woken() {
            assert!(body.task.poll().is_pending(), "one that is polled keeps it");
        }
    }
    assert!(body.polls.get() > 10, "nobody looks whether it is polled");
    // From now on nobody polls it: it keeps the lock for `max_idle`, and little longer.
    time.advance(seconds(119));
    assert!(!is_free(&manager, "a"));
    time.advance(seconds(120));
    assert!(is_free(&manager, "a"));
    body.is_lost("max_idle");
}

#[test]
fn a_backend_that_does_not_know_its_leases_has_idle_bodies_looked_for_too() {
    let time = ManualClock::new();
    let manager = LockManager::builder()
        .clock(time.clock())
        .backend(crate::backend::testing::AlwaysFree::default())
        .max_idle(seconds(120))
        .build()
        .unwrap();
    let mut body = Body::start(manager.lock("a"));
    for _ in 0..10 {
        time.advance(seconds(30));
    }
    body.is_lost("max_idle");
}

#[test]
fn a_body_that_is_slow_in_one_poll_keeps_its_lock() {
    let (time, manager) = embedded();
    let inside = time.clone();
    let ran = run(manager.lock("a").ttl(seconds(1)).run(move || async move {
        inside.advance(seconds(1000));
        7
    }));
    assert_eq!(ran.unwrap(), 7);
}

#[test]
fn a_body_that_waits_and_is_then_slow_in_one_poll_is_not_idle() {
    let (time, manager) = embedded();
    let (inside, looked) = (time.clone(), manager.clone());
    let mut task = Task::pending(manager.lock("a").run(move || async move {
        super::inside::yield_once().await;
        // Two looks, further apart than `max_idle`, while this very poll goes on.
        inside.advance(seconds(400));
        inside.advance(seconds(400));
        !is_free(&looked, "a")
    }));
    time.advance(seconds(31));
    assert!(task.now().unwrap(), "it is being polled");
}

#[test]
fn sync_code_does_not_wait_for_ever() {
    let (_time, manager) = embedded();
    let forever = manager.lock("a").wait(crate::Wait::Forever);
    let error = forever.blocking().acquire().unwrap_err();
    assert!(error.to_string().contains("for ever"), "{error}");
}

#[test]
fn a_slow_body_whose_lease_is_not_renewed_returns_the_loss() {
    let (time, manager) = embedded();
    let request = manager.lock("a").ttl(seconds(1)).renew(false);
    let ran = run(request.run(move || async move { time.advance(seconds(1)) }));
    assert!(ran.unwrap_err().is_lost());
}

#[test]
fn a_forced_release_drops_the_body_and_serves_the_queue() {
    let (_time, manager) = embedded();
    let mut body = Body::start(manager.lock("a"));
    let mut waiting = Task::pending(manager.lock("a").acquire());
    assert_eq!(run(manager.lock("a").force_release()).unwrap(), 1);
    assert!(waiting.is_woken());
    let next = waiting.now().unwrap();
    body.is_lost("by force");
    assert!(next.is_held(), "who was forced out frees nobody's lock");
    assert_eq!(run(manager.lock("b").force_release()).unwrap(), 0);
}

#[test]
fn a_name_stays_busy_for_at_least_so_long_once_its_body_has_begun() {
    let (time, manager) = embedded();
    run(manager.lock("a").at_least(seconds(10)).run(|| async {})).unwrap();
    time.advance(seconds(10) - NANO);
    assert!(info(&manager, "a").is_locked());
    let error = run(manager.lock("a").wait(crate::Wait::NONE).acquire()).unwrap_err();
    assert!(error.to_string().contains("resting"), "{error}");
    time.advance(NANO);
    assert!(is_free(&manager, "a"));
}

#[test]
fn short_sections_with_a_limit_leave_no_looks_behind() {
    let (time, manager) = embedded();
    let _kept = run(manager.lock("kept").max_hold(seconds(60)).acquire()).unwrap();
    for _ in 0..10_000 {
        let limited = manager.lock("a").max_hold(seconds(60)).blocking();
        limited.run(|| ()).unwrap();
        time.advance(NANO);
    }
    let looks = manager.inner().renewals.kept();
    assert!(looks <= 128, "{looks} looks are kept");
}
