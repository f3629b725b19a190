//! What is left of locks that nobody holds: nothing.

use std::sync::Arc;
use std::time::Duration;

use servers::{Etcd, Proxy};

use crate::support::{SHORT, is_free, keys, manager, managers, until, until_waiting};

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_names_leave_nothing() {
    const TASKS: usize = 50;
    const NAMES: usize = 200;
    let server = Etcd::start();
    let manager = Arc::new(manager(&server.url(), "many").await);
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let manager = Arc::clone(&manager);
        tasks.spawn(async move {
            for name in 0..NAMES {
                let name = format!("name:{task}:{name}");
                manager.lock(name.as_str()).run(async || ()).await?;
            }
            Ok::<_, lock_runtime::LockError>(())
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.expect("no panic").expect("free");
    }
    assert_eq!(keys(&server, ""), Vec::<String>::new());
    // As many leases as were in use at once, and not one for each name.
    let leases = server.control(&["lease", "list"]);
    assert!(leases.lines().count() <= TASKS + 5, "{leases}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_waits_leaves_nothing() {
    const WAITERS: usize = 50;
    let server = Etcd::start();
    let (holder, other) = managers(&server.url(), "crowd").await;
    let guard = holder.lock("name").acquire().await.expect("free");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..WAITERS {
        tasks.spawn(other.lock("name").run(async || ()));
    }
    until_waiting(&holder, "name", WAITERS).await;
    guard.release().await.expect("still held");
    while let Some(task) = tasks.join_next().await {
        task.expect("no panic").expect("its turn");
    }
    assert_eq!(keys(&server, ""), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_requests_leave_nothing() {
    let server = Etcd::start();
    let (holder, other) = managers(&server.url(), "refused").await;
    let guard = holder.lock("name").acquire().await.expect("free");
    for _ in 0..100 {
        assert!(!is_free(&other, "name").await.expect("it answers"));
        let request = other.lock("name").at_least(60 * SHORT).wait(Duration::ZERO);
        assert!(request.acquire().await.is_err());
        let request = other.lock("name").wait(Duration::from_millis(1));
        assert!(request.acquire().await.is_err());
    }
    assert_eq!(keys(&server, "").len(), 1);
    until("no lease is left for nothing", async || {
        server.control(&["lease", "list"]).lines().count() <= 6
    })
    .await;
    guard.release().await.expect("still held");
    assert_eq!(keys(&server, ""), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_cancelled_before_it_knew_of_its_place_waits_no_more() {
    let server = Etcd::start();
    let proxy = Proxy::to(server.port());
    let holder = manager(&server.url(), "cancelled").await;
    let other = manager(&proxy.url(&server.url()), "cancelled").await;
    let guard = holder.lock("name").ttl(SHORT).acquire().await;
    let guard = guard.expect("free");
    proxy.to_client().delay(Duration::from_millis(500));
    let waiting = tokio::spawn(other.lock("name").ttl(SHORT).acquire());
    until_waiting(&holder, "name", 1).await;
    waiting.abort();
    until_waiting(&holder, "name", 0).await;
    proxy.mend();
    guard.release().await.expect("still held");
    // The lease that keeps the places of a process alive, too: nobody waits there.
    until("its leases have ended", async || {
        server
            .control(&["lease", "list"])
            .contains("found 0 leases")
    })
    .await;
    assert_eq!(keys(&server, ""), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_manager_that_is_gone_has_left_ends_by_itself() {
    let server = Etcd::start();
    let (gone, holder) = managers(&server.url(), "gone").await;
    let guard = holder.lock("held").ttl(SHORT).acquire().await;
    let waiting = tokio::spawn(gone.lock("held").ttl(SHORT).acquire());
    until_waiting(&holder, "held", 1).await;
    let released = gone.lock("name").ttl(SHORT).run(async || ());
    released.await.expect("free");
    waiting.abort();
    gone.shutdown(Duration::from_secs(5)).await;
    drop((gone, holder, guard));
    until("its leases have ended", async || {
        server
            .control(&["lease", "list"])
            .contains("found 0 leases")
    })
    .await;
    assert_eq!(keys(&server, ""), Vec::<String>::new());
}
