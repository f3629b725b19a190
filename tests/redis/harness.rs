//! What the tests share: managers, names, and waiting for something to be so.

use std::time::{Duration, Instant};

use lock_runtime::{Guard, LockError, LockManager};
use tokio::task::JoinHandle;

/// Longer than anything here takes on the busiest machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

pub(crate) fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// A manager for this place: a process of its own, as far as Redis can tell.
pub(crate) async fn connected(url: &str) -> LockManager {
    let manager = try_connect(url).await;
    manager.unwrap_or_else(|error| panic!("{url}: {error}"))
}

pub(crate) async fn try_connect(url: &str) -> Result<LockManager, LockError> {
    LockManager::builder().url(url).connect().await
}

/// Why a place is refused.
pub(crate) async fn refusal(url: &str) -> String {
    match soon("connected or refused", try_connect(url)).await {
        Ok(_) => panic!("{url} was connected"),
        Err(error) => error.to_string(),
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(ms(5)).await;
    }
}

/// Waits until so many queue for a name.
pub(crate) async fn until_waiting(manager: &LockManager, name: &str, number: usize) {
    let what = format!("{number} waiting");
    until(&what, async || {
        let info = manager.lock(name).info().await;
        info.is_ok_and(|info| info.waiting == number)
    })
    .await;
}

/// Waits until nobody holds a name.
pub(crate) async fn until_free(manager: &LockManager, name: &str) {
    until("free", async || {
        let info = manager.lock(name).info().await;
        info.is_ok_and(|info| !info.is_locked() && info.waiting == 0)
    })
    .await;
}

/// The output of something that should come to its end by itself.
pub(crate) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("never: {what}"),
    }
}

/// The guard of somebody who waits and comes to its turn.
pub(crate) async fn entered(what: &str, waiting: JoinHandle<Result<Guard, LockError>>) -> Guard {
    soon(what, waiting).await.unwrap().unwrap()
}

/// Somebody who waits comes to its turn, and gives it back.
pub(crate) async fn enters_and_leaves(what: &str, waiting: JoinHandle<Result<Guard, LockError>>) {
    entered(what, waiting).await.release().await.unwrap();
}
