//! What the tests share: managers, and waiting for something to be so.

use std::time::{Duration, Instant};

use lock_runtime::LockManager;

/// Longer than anything here takes on the busiest machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The shortest lease that every store gives.
pub(crate) const SHORT: Duration = Duration::from_secs(1);

/// A lease, or a wait, that no test lives to see the end of.
pub(crate) const LONG: Duration = Duration::from_secs(600);

pub(crate) const fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// A manager of its own, as if it were a process.
pub(crate) async fn connected(url: &str, namespace: &str) -> LockManager {
    let builder = LockManager::builder().url(url).namespace(namespace);
    let manager = builder.connect().await;
    manager.unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(ms(3)).await;
    }
}

/// Waits until so many queue for a name.
pub(crate) async fn until_waiting(manager: &LockManager, name: &str, number: usize) {
    until(&format!("{number} wait for `{name}`"), async || {
        let info = manager.lock(name).info().await;
        info.is_ok_and(|info| info.waiting == number)
    })
    .await;
}

/// Whether a name can be entered. Looking does not leave it busy.
pub(crate) async fn is_free(manager: &LockManager, name: &str) -> bool {
    let entered = manager.lock(name).run_if_available(async || ()).await;
    entered.unwrap().is_some()
}

/// The output of something that should come to its end by itself.
pub(crate) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("never: {what}"),
    }
}
