//! What was seen to go wrong in other locks on Redis, and does not here. A holder whose server is
//! killed, an acquire with the server down and the eight processes are in `restarts` and
//! `processes`; cancelled requests are in `leftovers`.

use lock_runtime::{LockManager, ManualClock};
use servers::Redis;

use crate::harness::{connected, ms, seconds, soon};

#[tokio::test(flavor = "multi_thread")]
async fn a_contender_with_a_short_lease_does_not_enter_beside_a_long_one() {
    let server = Redis::start();
    let (manager, contender) = (
        connected(&server.url()).await,
        connected(&server.url()).await,
    );
    let request = manager.lock("resource").ttl(seconds(30)).renew(false);
    let holder = request.acquire().await.unwrap();
    let contending = contender.lock("resource").ttl(seconds(1)).wait(seconds(3));
    let error = soon("refused", contending.acquire()).await.unwrap_err();
    assert!(error.is_busy() && holder.is_held());
    holder.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_clock_is_ahead_does_not_enter() {
    let server = Redis::start();
    let manager = connected(&server.url()).await;
    let ahead = ManualClock::new();
    ahead.advance(seconds(31));
    let contender = LockManager::builder()
        .clock(ahead.clock())
        .url(server.url());
    let contender = contender.connect().await.unwrap();
    let holder = manager
        .lock("resource")
        .ttl(seconds(30))
        .acquire()
        .await
        .unwrap();
    for _ in 0..100 {
        ahead.advance(seconds(31));
        assert!(
            contender
                .lock("resource")
                .try_acquire()
                .await
                .unwrap()
                .is_none()
        );
    }
    holder.release().await.unwrap();
    assert!(
        contender
            .lock("resource")
            .try_acquire()
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_comes_free_shortly_before_the_deadline_is_had() {
    let server = Redis::start();
    let (manager, waiter) = (
        connected(&server.url()).await,
        connected(&server.url()).await,
    );
    for freed_at in [850, 751] {
        let guard = manager.lock("import").acquire().await.unwrap();
        let waiting = tokio::spawn(waiter.lock("import").wait(seconds(1)).acquire());
        tokio::time::sleep(ms(freed_at)).await;
        guard.release().await.unwrap();
        soon("had", waiting)
            .await
            .unwrap()
            .unwrap()
            .release()
            .await
            .unwrap();
    }
}

/// Others take the lease for the time that is left; here it counts from the entry.
#[tokio::test(flavor = "multi_thread")]
async fn a_grant_out_of_the_queue_has_its_whole_lease() {
    let server = Redis::start();
    let (manager, waiter) = (
        connected(&server.url()).await,
        connected(&server.url()).await,
    );
    let guard = manager.lock("resource").acquire().await.unwrap();
    let request = waiter.lock("resource").ttl(seconds(2)).renew(false);
    let waiting = tokio::spawn(request.acquire());
    // Longer than its lease.
    tokio::time::sleep(ms(2_500)).await;
    guard.release().await.unwrap();
    let next = soon("granted", waiting).await.unwrap().unwrap();
    let left = waiter.lock("resource").info().await.unwrap();
    let left = left.section().unwrap().expires_in.unwrap();
    assert!(left > ms(1_000), "{left:?} are left");
    next.release().await.unwrap();
}
