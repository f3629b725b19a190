//! effect-distributed-lock: what was seen to go wrong in it, and does not here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lock_runtime::{DEFAULT_RELEASE_TIMEOUT, LockErrorKind, LockManager, ManualClock};

use crate::harness::{manual, seconds, soon, until, until_waiting};
use crate::store::{Seen, Store};

#[tokio::test]
async fn a_contender_with_a_short_lease_does_not_enter_beside_a_long_one() {
    let (time, manager) = manual();
    let holder = manager.lock("resource").ttl(seconds(30)).renew(false);
    let holder = holder.acquire().await.unwrap();
    let contender = || manager.lock("resource").ttl(seconds(1)).try_acquire();
    for _ in 0..29 {
        time.advance(seconds(1));
        assert!(contender().await.unwrap().is_none());
    }
    assert!(holder.is_held());
    time.advance(seconds(1));
    assert!(!holder.is_held());
    assert!(contender().await.unwrap().is_some());
}

#[tokio::test]
async fn a_client_whose_clock_is_ahead_does_not_enter() {
    let (time, store, manager) = Store::connected().await;
    let ahead = ManualClock::new();
    ahead.advance(seconds(31));
    let contender = store.connect(ahead.clock()).await;

    let holder = manager.lock("resource").ttl(seconds(30)).renew(false);
    let holder = holder.acquire().await.unwrap();
    for _ in 0..100 {
        ahead.advance(seconds(31));
        let refused = contender.lock("resource").try_acquire().await.unwrap();
        assert!(refused.is_none());
    }
    // Only the store's own clock frees it.
    time.advance(seconds(30));
    assert!(!holder.is_held());
    let entered = contender.lock("resource").try_acquire().await.unwrap();
    assert!(entered.is_some());
}

#[tokio::test]
async fn two_hundred_cancelled_requests_leave_nothing_behind() {
    let (_time, manager) = manual();
    let (_time, store, remote) = Store::connected().await;
    // So that many are cancelled between taking effect and being answered.
    store.slow_down();
    for number in 0..200 {
        for manager in [&manager, &remote] {
            let guard = match number % 2 {
                0 => None,
                _ => manager.lock("resource").try_acquire().await.unwrap(),
            };
            let request = manager.lock("resource").acquire();
            let cancelled = tokio::time::timeout(Duration::from_micros(number * 5), request);
            drop(cancelled.await);
            drop(guard);
            // The next guard of the remote store needs the releases of this round to have come.
            let started = std::time::Instant::now();
            while manager.lock("resource").is_locked().await.unwrap() {
                assert!(started.elapsed() < seconds(20), "leaked in round {number}");
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
        }
    }
    assert_eq!(manager.list("").await.unwrap(), []);
    assert!(
        store.seen(Seen::Asked).len() >= 200,
        "it was put to the test"
    );
}

#[tokio::test]
async fn when_the_store_dies_the_holder_is_told_within_its_lease() {
    for silent in [false, true] {
        let (time, store, manager) = Store::connected().await;
        let request = manager.lock("resource").ttl(seconds(30));
        let guard = request.acquire().await.unwrap();
        let watch = guard.watch();
        let told = tokio::spawn(async move { watch.lost().await });
        break_down(&store, silent);
        time.advance(seconds(29));
        assert!(guard.is_held(), "the lease goes on without renewal");
        time.advance(seconds(1));
        assert!(!guard.is_held());
        assert!(soon("told", told).await.unwrap().is_lost());
        let released = soon("released", guard.release()).await;
        assert!(released.unwrap_err().is_lost());
    }
}

#[tokio::test]
async fn when_the_store_dies_a_release_does_not_hang() {
    for silent in [false, true] {
        let (time, store, manager) = Store::connected().await;
        let guard = manager.lock("resource").acquire().await.unwrap();
        break_down(&store, silent);
        let released = tokio::spawn(guard.release());
        until("sent", || store.seen(Seen::Released).len() == 1).await;
        time.advance(DEFAULT_RELEASE_TIMEOUT);
        // The body's result stands: what could not be delivered is reported elsewhere.
        assert!(soon("released", released).await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn when_the_store_is_down_an_acquire_is_an_error() {
    for silent in [false, true] {
        let (time, store, manager) = Store::connected().await;
        break_down(&store, silent);
        let acquiring = {
            let manager = manager.clone();
            tokio::spawn(async move { manager.lock("resource").acquire().await.map(drop) })
        };
        until("refused", || {
            time.advance(Duration::from_millis(100));
            acquiring.is_finished()
        })
        .await;
        let refused = acquiring.await.unwrap().unwrap_err();
        assert_eq!(refused.kind(), LockErrorKind::Unavailable);
        assert_eq!(refused.may_be_held(), silent, "{refused}");
    }
}

fn break_down(store: &Store, silent: bool) {
    if silent {
        store.fall_silent();
    } else {
        store.set_down(true);
    }
}

#[tokio::test]
async fn a_newcomer_does_not_pass_those_who_wait() {
    let manager = LockManager::memory();
    let reader = manager.lock("resource").shared().acquire().await.unwrap();
    let writer = tokio::spawn(manager.lock("resource").acquire());
    until_waiting(&manager, "resource", 1).await;
    let newcomer = manager.lock("resource").shared().try_acquire();
    assert!(newcomer.await.unwrap().is_none());
    reader.release().await.unwrap();
    drop(soon("entered", writer).await.unwrap().unwrap());
}

#[tokio::test]
async fn thirty_two_contenders_get_the_same_number_of_turns() {
    const CONTENDERS: usize = 32;
    const TURNS: usize = 20 * CONTENDERS;
    let manager = LockManager::memory();
    let taken = Arc::new(AtomicUsize::new(0));
    let start = manager.lock("resource").acquire().await.unwrap();
    let contenders: Vec<_> = (0..CONTENDERS)
        .map(|_| {
            let (manager, taken) = (manager.clone(), Arc::clone(&taken));
            tokio::spawn(async move {
                let mut own = 0;
                loop {
                    let _guard = manager.lock("resource").acquire().await.unwrap();
                    if taken.fetch_add(1, Ordering::SeqCst) >= TURNS {
                        return own;
                    }
                    own += 1;
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    until_waiting(&manager, "resource", CONTENDERS).await;
    start.release().await.unwrap();
    let mut turns = Vec::new();
    for contender in contenders {
        turns.push(soon("finished", contender).await.unwrap());
    }
    let (fewest, most) = (turns.iter().min().unwrap(), turns.iter().max().unwrap());
    assert!(most - fewest <= 1, "{turns:?}");
}

#[tokio::test]
async fn a_renewal_on_its_way_does_not_revive_a_released_lock() {
    let (time, store, manager) = Store::connected().await;
    let request = manager.lock("resource").ttl(seconds(30));
    let guard = request.acquire().await.unwrap();
    store.hold_renewals(true);
    time.advance(seconds(10));
    until("renewing", || {
        store.history() == [Seen::Asked, Seen::Renewed]
    })
    .await;

    let released = tokio::spawn(guard.release());
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(!store.history().contains(&Seen::Released), "it overtook");
    }
    store.hold_renewals(false);
    soon("released", released).await.unwrap().unwrap();
    assert_eq!(
        store.history(),
        [Seen::Asked, Seen::Renewed, Seen::Released]
    );
    time.advance(seconds(300));
    assert_eq!(store.history().len(), 3, "nothing is renewed any more");
    assert!(
        manager
            .lock("resource")
            .try_acquire()
            .await
            .unwrap()
            .is_some()
    );
}
