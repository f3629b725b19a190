//! effect-distributed-lock: leases that live, and errors that say what happened.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lock_runtime::backend::testing::LosesAfter;
use lock_runtime::{
    AuthPolicy, LockErrorKind, LockManager, ManualClock, MemoryBackend, Ticket, Wait,
};
use tokio::sync::Notify;

use crate::harness::{manual, seconds, soon, until, until_waiting};
use crate::store::{Seen, Store};

#[tokio::test]
async fn with_lock_waits_without_a_limit_when_that_is_said() {
    let (time, manager) = manual();
    let guard = manager.lock("resource").acquire().await.unwrap();
    let waiting = {
        let manager = manager.clone();
        tokio::spawn(async move {
            let request = manager.lock("resource").wait(Wait::Forever);
            request.run(|| async { "done" }).await
        })
    };
    until_waiting(&manager, "resource", 1).await;
    time.advance(seconds(30 * 86_400));
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    guard.release().await.unwrap();
    assert_eq!(soon("run", waiting).await.unwrap().unwrap(), "done");
}

#[tokio::test]
async fn with_lock_if_available_gives_the_result_or_nothing() {
    let manager = LockManager::memory();
    let ran = AtomicBool::new(false);
    let run = || {
        manager
            .lock("resource")
            .run_if_available(|| async { ran.store(true, Ordering::SeqCst) })
    };
    let guard = manager.lock("resource").acquire().await.unwrap();
    assert_eq!(run().await.unwrap(), None);
    assert!(!ran.load(Ordering::SeqCst));
    drop(guard);
    assert_eq!(run().await.unwrap(), Some(()));
}

#[tokio::test]
async fn a_guard_releases_at_the_end_of_its_scope() {
    let manager = LockManager::memory();
    {
        let _guard = manager.lock("resource").acquire().await.unwrap();
        assert!(manager.lock("resource").is_locked().await.unwrap());
    }
    assert!(!manager.lock("resource").is_locked().await.unwrap());
}

#[tokio::test]
async fn a_lease_is_renewed_at_a_third_of_its_length() {
    let (time, store, manager) = Store::connected().await;
    let start = time.clock().now();
    let request = manager.lock("resource").ttl(seconds(30));
    let guard = request.acquire().await.unwrap();
    time.advance(seconds(10) - Duration::from_nanos(1));
    for number in 1..=5 {
        assert_eq!(store.seen(Seen::Renewed).len(), number - 1);
        time.advance(Duration::from_nanos(1));
        until("renewed", || store.seen(Seen::Renewed).len() == number).await;
        // The answer has to be on its way back before time goes on.
        until("prolonged", || guard.expires_in() > Some(seconds(29))).await;
        time.advance(seconds(10) - Duration::from_nanos(1));
    }
    let at: Vec<u64> = store
        .seen(Seen::Renewed)
        .iter()
        .map(|at| (*at - start).as_secs())
        .collect();
    assert_eq!(at, [10, 20, 30, 40, 50]);
    assert!(guard.is_held(), "long after the thirty seconds");
    soon("released", guard.release()).await.unwrap();
}

#[tokio::test]
async fn a_lock_that_is_lost_ends_the_body_and_is_reported_by_kind() {
    let time = ManualClock::new();
    let manager = LockManager::builder()
        .clock(time.clock())
        .backend(LosesAfter::new(1))
        .connect()
        .await
        .unwrap();
    let began = Arc::new(Notify::new());
    let ran_on = Arc::new(AtomicBool::new(false));
    let running = {
        let (manager, began, ran_on) = (manager.clone(), Arc::clone(&began), Arc::clone(&ran_on));
        tokio::spawn(async move {
            let body = async || {
                began.notify_one();
                std::future::pending::<()>().await;
                ran_on.store(true, Ordering::SeqCst);
            };
            manager.lock("resource").ttl(seconds(30)).run(body).await
        })
    };
    soon("begun", began.notified()).await;
    until("told", || {
        time.advance(seconds(1));
        running.is_finished()
    })
    .await;
    let lost = running.await.unwrap().unwrap_err();
    assert_eq!(lost.kind(), LockErrorKind::Lost);
    assert!(lost.to_string().starts_with("Lock lost: resource"));
    assert!(!ran_on.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_body_whose_lock_is_lost_is_not_polled_once_more() {
    let (time, manager) = manual();
    let (began, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let ran_on = Arc::new(AtomicBool::new(false));
    let request = manager.lock("resource").ttl(seconds(10)).renew(false);
    let running = {
        let (began, go_on) = (Arc::clone(&began), Arc::clone(&go_on));
        let ran_on = Arc::clone(&ran_on);
        tokio::spawn(request.run(async move || {
            began.notify_one();
            go_on.notified().await;
            ran_on.store(true, Ordering::SeqCst);
        }))
    };
    soon("begun", began.notified()).await;
    go_on.notify_one();
    time.advance(seconds(10));
    assert!(soon("told", running).await.unwrap().unwrap_err().is_lost());
    assert!(!ran_on.load(Ordering::SeqCst));
}

#[tokio::test]
async fn so_many_permits_are_given_and_not_one_more() {
    let manager = LockManager::memory();
    let permit = || manager.lock("pool").permits(3).try_acquire();
    let (first, second, third) = (permit().await, permit().await, permit().await);
    let guards = [first.unwrap(), second.unwrap(), third.unwrap()];
    assert!(guards.iter().all(Option::is_some));
    assert!(permit().await.unwrap().is_none());
    drop(guards);
    assert!(permit().await.unwrap().is_some());
}

#[tokio::test]
async fn another_number_of_permits_is_an_error_that_says_both() {
    let manager = LockManager::memory();
    let _three = manager.lock("pool").permits(3).acquire().await.unwrap();
    let refused = manager.lock("pool").permits(5).acquire().await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), LockErrorKind::Conflict);
    let text = refused.to_string();
    assert!(text.contains('3') && text.contains('5'), "{text}");
    let none = manager.lock("other").permits(0).acquire().await;
    assert_eq!(none.unwrap_err().kind(), LockErrorKind::InvalidOption);
}

#[tokio::test]
async fn options_that_do_not_go_together_are_refused_and_not_ignored() {
    let manager = LockManager::memory();
    let required = AuthPolicy::Required;
    let requests = [
        manager.lock("a").permits(2).auth_as(required, "alice"),
        manager.lock("a").and("b").auth_as(required, "alice"),
        manager.lock("a").max_hold(Duration::ZERO),
        manager.lock("a").wait(seconds(86_401)),
    ];
    for request in requests {
        let text = format!("{request:?}");
        let refused = request.acquire().await.unwrap_err();
        assert_eq!(refused.kind(), LockErrorKind::InvalidOption, "{text}");
    }
    let several = manager.lock("a").and("b").info().await.unwrap_err();
    assert_eq!(several.kind(), LockErrorKind::InvalidOption);
}

#[tokio::test]
async fn a_lock_taken_elsewhere_is_gone_on_with() {
    let (_time, manager) = manual();
    drop(manager.lock("upload:6").acquire().await.unwrap());
    let guard = manager.lock("upload:7").acquire().await.unwrap();
    let token = guard.fencing_token();
    let ticket = guard.into_ticket().unwrap();
    assert!(!format!("{ticket:?}").contains("secret"));
    let sent = serde_json::to_string(&ticket).unwrap();
    assert!(manager.lock("upload:7").is_locked().await.unwrap());

    let ticket: Ticket = serde_json::from_str(&sent).unwrap();
    let wrong = manager.lock("upload:8").adopt(ticket.clone()).await;
    assert_eq!(wrong.unwrap_err().kind(), LockErrorKind::InvalidOption);
    let taken = manager.lock("upload:7").adopt(ticket.clone()).await;
    let taken = taken.unwrap();
    assert_eq!(taken.fencing_token(), token);
    assert!(
        manager
            .lock("upload:7")
            .try_acquire()
            .await
            .unwrap()
            .is_none()
    );
    let twice = manager.lock("upload:7").adopt(ticket).await.unwrap_err();
    assert!(twice.is_lost());
    taken.release().await.unwrap();
    assert!(!manager.lock("upload:7").is_locked().await.unwrap());
}

#[tokio::test]
async fn a_waiter_is_woken_by_the_release_and_does_not_look_again() {
    // The clock stands still: whoever pauses between two looks waits for ever.
    let (_time, manager) = manual();
    let guard = manager.lock("resource").acquire().await.unwrap();
    let waiting = {
        let manager = manager.clone();
        tokio::spawn(async move { manager.lock("resource").acquire().await })
    };
    until_waiting(&manager, "resource", 1).await;
    guard.release().await.unwrap();
    drop(soon("woken", waiting).await.unwrap().unwrap());
}

#[tokio::test]
async fn a_store_is_shared_by_all_of_its_clients() {
    let time = ManualClock::new();
    let store = MemoryBackend::new(time.clock());
    let client = || {
        let builder = LockManager::builder().clock(time.clock());
        builder.backend(store.clone()).build().unwrap()
    };
    let (one, other) = (client(), client());
    let guard = one.lock("resource").acquire().await.unwrap();
    assert!(other.lock("resource").is_locked().await.unwrap());
    let info = other.lock("resource").info().await.unwrap();
    assert_eq!(info.section().unwrap().owner, guard.owner().unwrap());
}
