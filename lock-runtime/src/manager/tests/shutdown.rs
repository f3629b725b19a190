//! Shutting a manager down.

use super::*;
use crate::MemoryBackend;
use crate::error::LockErrorKind;

fn shut_down(manager: &LockManager, limit: Duration) -> Task<usize> {
    let manager = manager.clone();
    Task::new(async move { manager.shutdown(limit).await })
}

#[test]
fn with_nothing_running_it_ends_at_once_and_nothing_is_granted_any_more() {
    let (_time, manager) = embedded();
    run(manager.lock("a").run(|| async {})).unwrap();
    assert_eq!(shut_down(&manager, seconds(10)).now(), 0);
    let error = run(manager.lock("a").acquire()).unwrap_err();
    assert_eq!(error.kind(), LockErrorKind::Closed);
    assert_eq!(shut_down(&manager, seconds(10)).now(), 0);
}

#[test]
fn it_waits_for_sections_that_end_by_themselves() {
    let (time, manager) = embedded();
    let guard = run(manager.lock("a").acquire()).unwrap();
    let mut shutdown = shut_down(&manager, seconds(10));
    assert!(shutdown.poll().is_pending());
    time.advance(seconds(9));
    assert!(shutdown.poll().is_pending());
    run(guard.release()).unwrap();
    time.advance(Duration::from_millis(10));
    assert!(shutdown.is_woken());
    assert_eq!(shutdown.now(), 0);
}

#[test]
fn bodies_that_still_run_lose_their_lock_and_are_dropped() {
    let (time, manager) = embedded();
    let mut body = Task::pending(manager.lock("a").run(forever));
    let guard = run(manager.lock("b").acquire()).unwrap();
    let mut shutdown = shut_down(&manager, seconds(10));
    assert!(shutdown.poll().is_pending());
    assert!(body.poll().is_pending());
    time.advance(seconds(10));
    assert_eq!(shutdown.now(), 2);
    assert!(body.is_woken());
    assert!(body.now().unwrap_err().is_lost());
    assert!(!guard.is_held());
    assert!(is_free(&manager, "a") && is_free(&manager, "b"));
    drop(guard);
    assert_eq!(shut_down(&manager, Duration::ZERO).now(), 0);
}

#[test]
fn those_who_wait_are_told_that_it_is_closed() {
    let (time, manager) = embedded();
    let guard = run(manager.lock("a").acquire()).unwrap();
    let mut waiting = Task::pending(manager.lock("a").acquire());
    let mut asked = Task::new(manager.lock("a").acquire());
    let mut shutdown = shut_down(&manager, seconds(10));
    assert!(shutdown.poll().is_pending());
    assert!(waiting.is_woken());
    for task in [&mut waiting, &mut asked] {
        let error = task.now().unwrap_err();
        assert_eq!(error.kind(), LockErrorKind::Closed, "{error}");
    }
    assert_eq!(info(&manager, "a").waiting, 0);
    drop(guard);
    time.advance(seconds(1));
    assert_eq!(shutdown.now(), 0);
    assert!(is_free(&manager, "a"));
}

#[test]
fn one_who_came_too_late_for_a_grant_does_not_queue_again() {
    let time = ManualClock::new();
    let store = MemoryBackend::new(time.clock());
    let manager = || {
        let builder = LockManager::builder().clock(time.clock());
        builder.backend(store.clone()).build().unwrap()
    };
    let (closing, beside) = (manager(), manager());
    let guard = run(beside.lock("a").acquire()).unwrap();
    let mut late = Task::pending(closing.lock("a").wait(crate::Wait::Forever).acquire());
    let mut next = Task::pending(beside.lock("a").acquire());
    drop(guard);
    time.advance(seconds(1));
    let next = next.now().unwrap();
    assert_eq!(shut_down(&closing, seconds(10)).now(), 0);
    let error = late.now().unwrap_err();
    assert_eq!(error.kind(), LockErrorKind::Closed, "{error}");
    assert_eq!(info(&beside, "a").waiting, 0);
    drop(next);
    assert!(is_free(&beside, "a"));
}

#[test]
fn a_sync_body_that_still_runs_loses_its_lock() {
    let (time, manager) = embedded();
    let inner = manager.clone();
    let ran = manager.lock("a").blocking().run(move || {
        let mut shutdown = shut_down(&inner, seconds(10));
        assert!(shutdown.poll().is_pending());
        time.advance(seconds(10));
        assert_eq!(shutdown.now(), 1);
        assert!(is_free(&inner, "a"));
    });
    assert!(ran.unwrap_err().is_lost());
}
