//! What the options do to a call. That a lock does what it is told is tested elsewhere.

use std::time::Duration;

use lock_runtime::{LockError, LockManager, locked};

use crate::{R, name_of, on_memory, on_memory_sync};

#[locked("job", try, on_busy = |error| Ok(format!("{} {column}", error.is_busy())))]
async fn skips(column: &str) -> R<String> {
    Ok(column.to_owned())
}

#[locked("job", try, on_busy = skipped)]
fn skips_sync() -> Result<u8, LockError> {
    Ok(1)
}

fn skipped(error: LockError) -> Result<u8, LockError> {
    assert!(error.to_string().starts_with("Could not acquire lock: job"));
    Ok(0)
}

#[locked("{name}", try, on_error = |error| usize::from(error.is_busy()) + 10)]
async fn counts(name: &str) -> usize {
    name.len()
}

#[locked("{name}", wait = "0s", on_busy = |_| 1, on_error = |_| 2)]
fn counts_sync(name: &str) -> u8 {
    if name.is_empty() {
        return 3;
    }
    0
}

#[locked("log", try, on_error = drop)]
async fn returns_nothing(ran: &mut bool) {
    *ran = true;
}

#[tokio::test]
async fn a_busy_lock_is_answered_by_a_function() {
    on_memory(async |manager| {
        assert_eq!(skips("a").await.unwrap(), "a");
        assert_eq!(skips_sync().unwrap(), 1);
        assert_eq!(counts("job").await, 3);
        let guard = manager.lock("job").acquire().await.unwrap();
        assert_eq!(skips("a").await.unwrap(), "true a");
        assert_eq!(skips_sync().unwrap(), 0);
        assert_eq!(counts("job").await, 11);
        assert_eq!(counts_sync("job"), 1);
        guard.release().await.unwrap();
        let too_long = "x".repeat(600);
        assert_eq!(counts(&too_long).await, 10);
        assert_eq!(counts_sync(&too_long), 2);
        assert_eq!(counts_sync("job"), 0);

        let guard = manager.lock("log").acquire().await.unwrap();
        let mut ran = false;
        returns_nothing(&mut ran).await;
        assert!(!ran);
        guard.release().await.unwrap();
        returns_nothing(&mut ran).await;
        assert!(ran);
    })
    .await;
}

struct Service {
    locks: LockManager,
    patience: Duration,
}

impl Service {
    #[locked("own", manager = self.locks, guard = held)]
    async fn on_own_manager(&self) -> R<bool> {
        assert_eq!(name_of(held), "own");
        self.locks.lock("own").is_locked().await
    }

    #[locked("own", manager = self.locks)]
    fn on_own_manager_sync(&self) -> R<bool> {
        self.locks.lock("own").blocking().is_locked()
    }

    #[locked("slow", wait = self.patience, ttl = self.patience + TTL, max_hold = TTL, guard = held)]
    async fn computed(&self) -> R<String> {
        Ok(name_of(held))
    }

    #[locked("slow", wait = self.patience)]
    fn computed_sync(&self) -> R {
        Ok(())
    }
}

const TTL: Duration = Duration::from_secs(60);

#[tokio::test]
async fn expressions_see_the_parameters() {
    on_memory(async |manager| {
        let service = Service {
            locks: LockManager::memory(),
            patience: Duration::from_millis(1),
        };
        assert!(service.on_own_manager().await.unwrap());
        assert!(service.on_own_manager_sync().unwrap());
        assert_eq!(service.computed().await.unwrap(), "slow");
        let guard = manager.lock("slow").acquire().await.unwrap();
        assert!(service.computed().await.unwrap_err().is_busy());
        guard.release().await.unwrap();
    })
    .await;
}

#[test]
fn expressions_of_sync_functions_see_the_parameters() {
    on_memory_sync(|manager| {
        let service = Service {
            locks: LockManager::memory(),
            patience: Duration::from_millis(1),
        };
        service.computed_sync().unwrap();
        let guard = manager.lock("slow").blocking().acquire().unwrap();
        assert!(service.computed_sync().unwrap_err().is_busy());
        drop(guard);
    });
}

const SEATS: u32 = 2;

#[locked("pool", permits = SEATS, try)]
async fn takes_a_seat() -> R {
    Ok(())
}

#[locked("doc", shared, try)]
async fn reads() -> R {
    Ok(())
}

#[locked("again", reentrant)]
async fn reenters(depth: u8) -> R<u8> {
    if depth == 0 {
        return Ok(0);
    }
    Ok(Box::pin(reenters(depth - 1)).await? + 1)
}

#[locked("again")]
async fn does_not_reenter(depth: u8) -> R<u8> {
    if depth == 0 {
        return Ok(0);
    }
    Ok(Box::pin(does_not_reenter(depth - 1)).await? + 1)
}

#[tokio::test]
async fn modes_reach_the_runtime() {
    on_memory(async |manager| {
        let seat = || manager.lock("pool").permits(SEATS).acquire();
        let first = seat().await.unwrap();
        takes_a_seat().await.unwrap();
        let second = seat().await.unwrap();
        assert!(takes_a_seat().await.unwrap_err().is_busy());
        first.release().await.unwrap();
        second.release().await.unwrap();

        let reader = manager.lock("doc").shared().acquire().await.unwrap();
        reads().await.unwrap();
        reader.release().await.unwrap();
        let writer = manager.lock("doc").acquire().await.unwrap();
        assert!(reads().await.unwrap_err().is_busy());
        writer.release().await.unwrap();

        assert_eq!(reenters(2).await.unwrap(), 2);
        does_not_reenter(1).await.unwrap_err();
    })
    .await;
}

#[locked("scheduled", try, at_least = "1h")]
async fn scheduled() -> R {
    Ok(())
}

#[tokio::test]
async fn at_least_keeps_the_name_busy() {
    let manager = LockManager::memory();
    manager
        .scope(async {
            scheduled().await.unwrap();
            assert!(scheduled().await.unwrap_err().is_busy());
        })
        .await;
}
