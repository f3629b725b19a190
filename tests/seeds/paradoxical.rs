//! paradoxical-io: the minimal interface, under a clock that the test moves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lock_runtime::backend::testing::{AlwaysBusy, AlwaysFree};
use lock_runtime::{LockError, LockErrorKind, LockManager, Lost, Wait};

use crate::harness::{manual, seconds, soon, until};
use crate::store::{Seen, Store};

const MICROSECOND: Duration = Duration::from_micros(1);

/// The seed's `tryAcquire(key, timeoutSeconds)`: a lease that nothing renews.
async fn try_acquire(
    manager: &LockManager,
    key: &str,
    ttl: Duration,
) -> Result<Option<lock_runtime::Guard>, LockError> {
    let request = manager.lock(key).ttl(ttl).renew(false);
    request.try_acquire().await
}

#[tokio::test]
async fn a_lock_is_had_or_it_is_not_and_released_it_is_free() {
    let (_time, manager) = manual();
    let lock = try_acquire(&manager, "order:1", seconds(30)).await.unwrap();
    let lock = lock.expect("it was free");
    let other = try_acquire(&manager, "order:1", seconds(30)).await.unwrap();
    assert!(other.is_none());
    let elsewhere = try_acquire(&manager, "order:2", seconds(30)).await.unwrap();
    assert!(elsewhere.is_some());
    lock.release().await.unwrap();
    let again = try_acquire(&manager, "order:1", seconds(30)).await.unwrap();
    assert!(again.is_some());
}

#[tokio::test]
async fn a_free_lock_is_not_called_busy_where_the_store_cannot_be_waited_for() {
    let (_time, _store, manager) = Store::connected().await;
    // This thread runs all tasks, and the store is somewhere else.
    let request = manager.lock("order:1").blocking();
    match request.try_acquire() {
        Err(refused) => {
            assert_eq!(refused.kind(), LockErrorKind::WouldBlock);
            assert!(!refused.is_busy());
        }
        // The answer was there before this thread would have had to wait for it.
        Ok(lock) => assert!(lock.is_some(), "it is free"),
    }
    // It is given back in the background. Who found it busy would look again when the clock moves.
    while manager.lock("order:1").is_locked().await.unwrap() {
        tokio::task::yield_now().await;
    }
    let elsewhere = move || manager.lock("order:1").blocking().acquire();
    let lock = tokio::task::spawn_blocking(elsewhere).await.unwrap();
    assert!(lock.unwrap().is_held());
}

#[tokio::test]
async fn a_lease_of_ten_seconds_is_free_at_exactly_ten_seconds_and_not_a_microsecond_before() {
    let (time, manager) = manual();
    let _lease = try_acquire(&manager, "order:1", seconds(10)).await.unwrap();
    time.advance(seconds(10) - MICROSECOND);
    let before = try_acquire(&manager, "order:1", seconds(10)).await.unwrap();
    assert!(before.is_none());
    time.advance(MICROSECOND);
    let at = try_acquire(&manager, "order:1", seconds(10)).await.unwrap();
    assert!(at.is_some());
}

#[tokio::test]
async fn a_lease_is_not_rounded_down_to_whole_seconds() {
    let (time, manager) = manual();
    time.advance(Duration::from_millis(700));
    for ttl in [seconds(3), Duration::from_millis(2_999)] {
        let lease = try_acquire(&manager, "order:1", ttl).await.unwrap();
        assert!(lease.is_some());
        time.advance(ttl - MICROSECOND);
        let before = try_acquire(&manager, "order:1", ttl).await.unwrap();
        assert!(before.is_none(), "{ttl:?}");
        time.advance(MICROSECOND);
        assert!(!manager.lock("order:1").is_locked().await.unwrap());
    }
}

#[tokio::test]
async fn a_late_release_does_not_free_the_successor() {
    let (time, manager) = manual();
    let late = try_acquire(&manager, "order:1", seconds(10)).await.unwrap();
    time.advance(seconds(10));
    let successor = try_acquire(&manager, "order:1", seconds(10)).await.unwrap();
    let successor = successor.expect("the lease has ended");

    let told = late.unwrap().release().await.unwrap_err();
    assert!(told.is_lost() && told.body_may_have_run());
    assert!(successor.is_held());
    let third = try_acquire(&manager, "order:1", seconds(10)).await.unwrap();
    assert!(third.is_none());
}

#[tokio::test]
async fn a_timeout_of_zero_is_an_error_and_not_a_lock_that_excludes_nobody() {
    let (_time, manager) = manual();
    let refused = try_acquire(&manager, "order:1", Duration::ZERO).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), LockErrorKind::InvalidOption);
    assert!(refused.to_string().contains("ttl"), "{refused}");
}

#[tokio::test]
async fn nothing_is_left_of_locks_that_have_ended() {
    let (time, manager) = manual();
    let mut kept = Vec::new();
    for number in 0..100 {
        let key = format!("order:{number}");
        let lease = try_acquire(&manager, &key, seconds(10)).await.unwrap();
        // Half of them are never released.
        if number % 2 == 0 {
            drop(lease);
        } else {
            kept.push(lease);
        }
    }
    assert_eq!(manager.list("order:").await.unwrap().len(), 50);
    time.advance(seconds(10));
    assert_eq!(manager.list("").await.unwrap(), []);
}

#[tokio::test]
async fn a_double_that_is_always_free_gives_everybody_the_lock() {
    let manager = LockManager::builder().backend(AlwaysFree::default());
    let manager = manager.build().unwrap();
    let first = manager.lock("key").try_acquire().await.unwrap();
    let second = manager.lock("key").try_acquire().await.unwrap();
    let (first, second) = (first.unwrap(), second.unwrap());
    assert!(first.fencing_token() < second.fencing_token());
    second.release().await.unwrap();
    first.release().await.unwrap();
}

#[tokio::test]
async fn a_double_that_is_always_busy_gives_nobody_the_lock() {
    let manager = LockManager::builder().backend(AlwaysBusy);
    let manager = manager.build().unwrap();
    assert!(manager.lock("key").try_acquire().await.unwrap().is_none());
    let refused = manager.lock("key").acquire().await.unwrap_err();
    assert!(refused.is_busy());
    let skipped = manager.lock("key").run_if_available(|| async { 1 });
    assert_eq!(skipped.await.unwrap(), None);
}

#[tokio::test]
async fn the_guard_pattern_runs_the_body_or_says_that_it_did_not() {
    let (_time, manager) = manual();
    let run = || {
        manager
            .lock("resource:123")
            .run_if_available(|| async { 7 })
    };
    assert_eq!(run().await.unwrap(), Some(7));
    let _guard = manager.lock("resource:123").acquire().await.unwrap();
    assert_eq!(run().await.unwrap(), None);
}

#[tokio::test]
async fn a_counter_that_is_read_and_written_under_the_lock_counts_everybody() {
    let manager = LockManager::memory();
    let counter = AtomicU64::new(0);
    let increment = || async {
        let body = || async {
            let value = counter.load(Ordering::SeqCst);
            tokio::task::yield_now().await;
            counter.store(value + 1, Ordering::SeqCst);
        };
        let request = manager.lock("counter:1").wait(seconds(10));
        request.run(body).await.unwrap();
    };
    let (_, _, _, _) = tokio::join!(increment(), increment(), increment(), increment());
    assert_eq!(counter.into_inner(), 4);
}

#[tokio::test]
async fn a_backend_of_five_methods_is_waited_for_by_looking_again() {
    let (time, store, manager) = Store::connected().await;
    let guard = manager.lock("order:1").acquire().await.unwrap();
    let waiting = {
        let manager = manager.clone();
        tokio::spawn(async move { manager.lock("order:1").wait(Wait::Forever).acquire().await })
    };
    // Once for the guard, once at the start; then it looks again as time goes by.
    until("asked again", || {
        time.advance(Duration::from_millis(100));
        store.seen(Seen::Asked).len() > 2
    })
    .await;
    assert!(!waiting.is_finished());
    soon("released", guard.release()).await.unwrap();
    until("granted", || {
        time.advance(Duration::from_millis(100));
        waiting.is_finished()
    })
    .await;
    drop(waiting.await.unwrap().unwrap());
}

#[tokio::test]
async fn a_lease_that_has_ended_is_reported_as_lost_to_whoever_uses_it() {
    let (time, manager) = manual();
    let lease = try_acquire(&manager, "order:1", seconds(3)).await.unwrap();
    let lease = lease.unwrap();
    time.advance(seconds(3));
    let told = soon("told", lease.lost()).await;
    assert!(told.is_lost());
    assert!(told.to_string().contains(&Lost::Expired.to_string()));
}
