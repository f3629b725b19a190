//! Laravel `Cache::lock` and paradoxical-locking: what was seen of the leases of their locks, and
//! is not so here.

use std::time::{Duration, Instant};

use crate::harness::{is_free, ms, soon, until, until_waiting};
use crate::store::Store;

/// Seconds are floored by others: a lease of 1.9 s is one of 1 s.
pub(crate) async fn a_lease_is_not_rounded_down_to_whole_seconds(store: Store) {
    const TTL: Duration = ms(1_900);
    let room = store.room();
    let (proxy, url) = room.server.way();
    let (manager, other) = (room.manager_at(&url).await, room.manager().await);
    let asked = Instant::now();
    let request = manager.lock("resource").ttl(TTL).renew(false);
    let guard = request.acquire().await.unwrap();
    // It gives nothing back when it sees that its time is over.
    proxy.cut();
    until("the lease has ended", async || {
        is_free(&other, "resource").await
    })
    .await;
    assert!(asked.elapsed() >= TTL, "after {:?}", asked.elapsed());
    assert!(!guard.is_held());
}

/// Others take the lease for the time that is left; here it counts from the entry.
pub(crate) async fn a_grant_out_of_the_queue_has_its_whole_lease(store: Store) {
    const TTL: Duration = ms(2_000);
    let room = store.room();
    let (manager, waiter) = (room.manager().await, room.manager().await);
    let guard = manager.lock("resource").acquire().await.unwrap();
    let request = waiter.lock("resource").ttl(TTL).renew(false);
    let waiting = tokio::spawn(request.acquire());
    until_waiting(&manager, "resource", 1).await;
    // Longer than its lease.
    tokio::time::sleep(TTL + ms(500)).await;
    guard.release().await.unwrap();
    let next = soon("granted", waiting).await.unwrap().unwrap();
    let left = manager.lock("resource").info().await.unwrap();
    let left = left.section().unwrap().expires_in.unwrap();
    // etcd counts in whole seconds.
    assert!(left >= TTL / 2, "{left:?} are left");
    next.release().await.unwrap();
}
