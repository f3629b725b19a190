//! @lilith/distributed-lock: the handle.

use std::time::Duration;

use lock_runtime::{LockErrorKind, LockManager, Wait};

use crate::harness::{manual, seconds, soon, until, until_waiting};
use crate::store::{Seen, Store};

#[tokio::test]
async fn acquire_gives_a_handle_or_an_error_of_acquisition() {
    let (time, manager) = manual();
    let handle = manager.lock("key").ttl(seconds(5)).acquire().await.unwrap();
    let request = manager.lock("key").wait(seconds(2));
    let refused = tokio::spawn(request.acquire());
    until_waiting(&manager, "key", 1).await;
    time.advance(seconds(2));
    let refused = soon("refused", refused).await.unwrap().unwrap_err();
    assert_eq!(refused.kind(), LockErrorKind::Busy);
    assert!(refused.is_transient() && !refused.body_may_have_run());
    handle.release().await.unwrap();
}

#[tokio::test]
async fn try_acquire_asks_once() {
    let (_time, store, manager) = Store::connected().await;
    let _handle = manager.lock("key").acquire().await.unwrap();
    assert!(manager.lock("key").try_acquire().await.unwrap().is_none());
    assert_eq!(store.seen(Seen::Asked).len(), 2);
}

#[tokio::test]
async fn a_lock_that_is_waited_for_is_had_as_soon_as_it_is_free() {
    let (_time, manager) = manual();
    let handle = manager.lock("key").acquire().await.unwrap();
    let request = manager.lock("key").wait(seconds(30)).ttl(seconds(5));
    let waiting = tokio::spawn(request.acquire());
    until_waiting(&manager, "key", 1).await;
    handle.release().await.unwrap();
    let handle = soon("had", waiting).await.unwrap().unwrap();
    assert!(manager.lock("key").is_locked().await.unwrap());
    handle.release().await.unwrap();
    assert!(!manager.lock("key").is_locked().await.unwrap());
}

#[tokio::test]
async fn pauses_between_two_looks_do_not_grow_without_limit() {
    const ENOUGH: u32 = 2_000;
    let (time, store, manager) = Store::connected().await;
    let _handle = manager.lock("key").acquire().await.unwrap();
    let request = manager.lock("key").wait(Wait::Forever);
    let _waiting = tokio::spawn(request.acquire());
    for _ in 0..40 {
        let before = store.seen(Seen::Asked).len();
        // A second is enough, once the waiter pauses; it may still be on its way to that. A pause
        // that doubles is longer than all these seconds long before the last look.
        let mut passed = 0;
        while store.seen(Seen::Asked).len() == before {
            assert!(passed < ENOUGH, "{passed} s, and it has not looked again");
            time.advance(seconds(1));
            passed += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test]
async fn the_last_look_is_at_the_deadline() {
    let (time, store, manager) = Store::connected().await;
    let start = time.clock().now();
    let _handle = manager.lock("key").acquire().await.unwrap();
    let request = manager.lock("key").wait(Duration::from_millis(1_234));
    let waiting = tokio::spawn(request.acquire());
    until("refused", || {
        time.advance(Duration::from_millis(1));
        waiting.is_finished()
    })
    .await;
    assert!(waiting.await.unwrap().unwrap_err().is_busy());
    let last = *store.seen(Seen::Asked).last().unwrap();
    assert!(last - start >= Duration::from_millis(1_234));
}

#[tokio::test]
async fn a_handle_says_what_it_is_a_handle_of() {
    let (_time, manager) = manual();
    let request = manager.lock("key").ttl(seconds(5)).renew(false);
    let handle = request.acquire().await.unwrap();
    assert_eq!(handle.name().unwrap().as_str(), "key");
    assert!(handle.fencing_token().is_some());
    assert_eq!(handle.expires_in(), Some(seconds(5)));
    assert!(handle.is_held());
    let owner = handle.owner().unwrap();
    assert!(owner.is_this_process() && owner.file.ends_with("lilith.rs"));

    let info = manager.lock("key").info().await.unwrap();
    let section = info.section().unwrap();
    assert_eq!(section.token, handle.fencing_token());
    assert_eq!(section.owner, owner);
    assert_eq!(section.expires_in, Some(seconds(5)));
    assert_eq!(section.held_for, Duration::ZERO);
}

#[tokio::test]
async fn a_handle_is_held_only_while_its_lease_is() {
    let (time, manager) = manual();
    let request = manager.lock("key").ttl(seconds(5)).renew(false);
    let handle = request.acquire().await.unwrap();
    time.advance(seconds(5));
    assert!(!handle.is_held());
    assert_eq!(handle.expires_in(), Some(Duration::ZERO));
}

#[tokio::test]
async fn extending_takes_a_time_within_the_limits() {
    let (_time, manager) = manual();
    let handle = manager.lock("key").acquire().await.unwrap();
    for wrong in [Duration::ZERO, seconds(86_401)] {
        let refused = handle.extend(wrong).await.unwrap_err();
        assert_eq!(refused.kind(), LockErrorKind::InvalidOption);
    }
    assert!(handle.is_held());
    handle.extend(seconds(60)).await.unwrap();
}

#[tokio::test]
async fn a_handle_that_is_no_longer_valid_says_so() {
    let (time, manager) = manual();
    let request = manager.lock("key").ttl(seconds(5)).renew(false);
    let handle = request.acquire().await.unwrap();
    time.advance(seconds(6));
    assert_eq!(
        handle.extend(seconds(5)).await.unwrap_err().kind(),
        LockErrorKind::Lost
    );
    assert_eq!(
        handle.release().await.unwrap_err().kind(),
        LockErrorKind::Lost
    );
}

#[tokio::test]
async fn every_grant_has_a_token_larger_than_those_before() {
    let (_time, manager) = manual();
    let mut last = None;
    for key in ["a", "b", "a", "c", "a"] {
        let handle = manager.lock(key).acquire().await.unwrap();
        assert!(handle.fencing_token() > last);
        last = handle.fencing_token();
    }
    let shared = manager.lock("a").shared().acquire().await.unwrap();
    assert_eq!(shared.fencing_token(), None);
}

#[tokio::test]
async fn a_handle_in_code_meets_the_annotation() {
    #[lock_runtime::locked("key:{id}", try)]
    async fn annotated(id: u32) -> Result<u32, lock_runtime::LockError> {
        Ok(id)
    }
    let manager = LockManager::memory();
    let handle = manager.lock("key:7").acquire().await.unwrap();
    let refused = manager.scope(annotated(7)).await.unwrap_err();
    assert!(refused.is_busy());
    assert_eq!(manager.scope(annotated(8)).await.unwrap(), 8);
    handle.release().await.unwrap();
    assert_eq!(manager.scope(annotated(7)).await.unwrap(), 7);
}
