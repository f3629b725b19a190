//! What the tests here have in common.

use std::time::{Duration, Instant};

use lock_runtime::{Guard, LockError, LockManager};
use servers::{Etcd, Proxy};
use tokio::task::JoinHandle;

/// The shortest lease of a server that is alone.
pub(crate) const SHORT: Duration = Duration::from_secs(1);

/// A lease that no test lives to see the end of.
pub(crate) const LONG: Duration = Duration::from_secs(3_600);

/// How long anything may take that has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A manager of its own, as if it were a process, in a namespace of the test's own.
pub(crate) async fn manager(url: &str, namespace: &str) -> LockManager {
    let builder = LockManager::builder().url(url).namespace(namespace);
    let connected = builder.ttl(LONG).wait(PATIENCE).connect().await;
    connected.expect("a manager")
}

/// Two of them, as if they were two processes.
pub(crate) async fn managers(url: &str, namespace: &str) -> (LockManager, LockManager) {
    let one = manager(url, namespace).await;
    (one, manager(url, namespace).await)
}

/// A manager that first goes a slow way to the shared server, and then a quick one; and one that is
/// undisturbed.
pub(crate) async fn two_ways(namespace: &str) -> (Proxy, Proxy, LockManager, LockManager) {
    let server = Etcd::shared();
    let (slow, quick) = (Proxy::to(server.port()), Proxy::to(server.port()));
    let url = format!(
        "etcd://127.0.0.1:{},127.0.0.1:{}",
        slow.port(),
        quick.port()
    );
    let disturbed = manager(&url, namespace).await;
    (
        slow,
        quick,
        disturbed,
        manager(&server.url(), namespace).await,
    )
}

/// Somebody who waits comes to its turn.
pub(crate) async fn enters(what: &str, waiting: JoinHandle<Result<Guard, LockError>>) -> Guard {
    let guard = soon(what, waiting).await.expect("no panic");
    guard.expect("its turn")
}

/// The same, and gives it back.
pub(crate) async fn enters_and_leaves(what: &str, waiting: JoinHandle<Result<Guard, LockError>>) {
    let released = enters(what, waiting).await.release().await;
    released.expect("still held");
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < limit, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until so many wait for a name.
pub(crate) async fn until_waiting(manager: &LockManager, name: &str, waiting: usize) {
    until(&format!("{waiting} wait for `{name}`"), async || {
        let info = manager.lock(name).info().await;
        info.is_ok_and(|info| info.waiting == waiting)
    })
    .await;
}

/// Whether a name can be entered. Looking does not leave it busy.
pub(crate) async fn is_free(manager: &LockManager, name: &str) -> Result<bool, LockError> {
    match manager.lock(name).try_acquire().await? {
        None => Ok(false),
        Some(guard) => guard.release().await.map(|()| true),
    }
}

/// Waits until a name can be entered.
pub(crate) async fn until_free(manager: &LockManager, name: &str) {
    until(&format!("`{name}` is free"), async || {
        is_free(manager, name).await.is_ok_and(|is_free| is_free)
    })
    .await;
}

/// The keys of the locks that a server holds.
pub(crate) fn keys(server: &Etcd, prefix: &str) -> Vec<String> {
    let keys = server.control(&["get", prefix, "--prefix", "--keys-only"]);
    let lines = keys.lines().filter(|line| !line.is_empty());
    lines.map(str::to_owned).collect()
}

/// Waits for a future that has to end by itself.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(PATIENCE, future).await;
    ended.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}
