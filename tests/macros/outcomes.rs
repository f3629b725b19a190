//! What a caller gets when the lock is lost.

use lock_runtime::{LockError, LockManager, locked};

use crate::{R, on_memory};

/// Takes the lock away from whoever holds it, as an operator would.
fn take_away(manager: &LockManager, name: &str) {
    let taken = manager.lock(name).blocking().force_release().unwrap();
    assert_eq!(taken, 1);
}

#[locked("lost", guard = held)]
fn loses(manager: &LockManager, way: u8) -> Result<u8, Failed> {
    take_away(manager, "lost");
    assert!(!held.is_held());
    match way {
        0 => return Ok(0),
        1 => Err(Failed::Own)?,
        _ => {}
    }
    Ok(2)
}

#[derive(Debug)]
enum Failed {
    Lock(LockError),
    Own,
}

impl From<LockError> for Failed {
    fn from(error: LockError) -> Self {
        Self::Lock(error)
    }
}

fn is_lost(result: &Result<u8, Failed>) -> bool {
    matches!(result, Err(Failed::Lock(error)) if error.is_lost())
}

#[test]
fn a_lost_lock_turns_every_ok_of_a_sync_body_into_lost() {
    let manager = LockManager::memory();
    manager.scope_sync(|| {
        assert!(is_lost(&loses(&manager, 0)), "an early return");
        assert!(is_lost(&loses(&manager, 2)), "the end of the body");
        assert!(
            matches!(loses(&manager, 1), Err(Failed::Own)),
            "its own error"
        );
    });
}

#[locked("lost", on_lost = finish)]
async fn finishes(manager: &LockManager, early: bool, ran: &mut u8) -> Result<u8, Failed> {
    take_away(manager, "lost");
    tokio::task::yield_now().await;
    *ran += 1;
    if early {
        return Ok(0);
    }
    Ok(1)
}

#[locked("lost")]
async fn is_dropped(manager: &LockManager, ran: &mut u8) -> Result<u8, Failed> {
    take_away(manager, "lost");
    tokio::task::yield_now().await;
    *ran += 1;
    Ok(1)
}

#[locked("lost", on_lost = finish, on_error = |error| u8::from(error.is_lost()) + 40)]
async fn answers(manager: &LockManager) -> u8 {
    take_away(manager, "lost");
    1
}

#[tokio::test]
async fn a_lost_lock_ends_an_async_body_or_its_result() {
    on_memory(async |manager| {
        let mut ran = 0;
        assert!(is_lost(&finishes(manager, true, &mut ran).await));
        assert!(is_lost(&finishes(manager, false, &mut ran).await));
        assert_eq!(ran, 2);
        assert!(is_lost(&is_dropped(manager, &mut ran).await));
        assert_eq!(ran, 2);
        assert_eq!(answers(manager).await, 41);
    })
    .await;
}

#[locked("kept")]
async fn keeps_its_error() -> R<u8> {
    Err(LockManager::memory()
        .lock("not valid")
        .try_acquire()
        .await
        .unwrap_err())
}

#[tokio::test]
async fn the_result_of_a_body_stands() {
    on_memory(async |_| {
        let error = keeps_its_error().await.unwrap_err();
        assert!(!error.is_busy() && !error.is_lost());
    })
    .await;
}
