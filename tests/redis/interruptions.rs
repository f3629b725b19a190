//! The connection breaks, or falls silent, in each phase of a section.

use std::time::Instant;

use lock_runtime::{LockErrorKind, LockManager};
use servers::{Proxy, Redis};

use crate::harness::{
    connected, enters_and_leaves, ms, seconds, soon, until, until_free, until_waiting,
};

/// A server, a manager that is connected to it by a way that can be disturbed, and another one.
async fn stage() -> (Redis, Proxy, LockManager, LockManager) {
    let server = Redis::start();
    let proxy = Proxy::to(server.port());
    let disturbed = connected(&proxy.url(&server.url())).await;
    let other = connected(&server.url()).await;
    // Redis knows the scripts by now, and does not have to ask for them.
    let guard = other.lock("warm").acquire().await.unwrap();
    guard.release().await.unwrap();
    (server, proxy, disturbed, other)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_could_not_be_sent_is_sent_over_the_next_connection() {
    let (_server, proxy, manager, _other) = stage().await;
    proxy.cut();
    let asking = tokio::spawn(manager.lock("name").acquire());
    until("out of reach", async || {
        manager.lock("name").info().await.is_err()
    })
    .await;
    proxy.mend();
    let guard = soon("granted", asking).await.unwrap().unwrap();
    guard.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_whose_answer_is_lost_is_asked_for_again() {
    let (_server, proxy, manager, other) = stage().await;
    proxy.to_client().black_hole();
    let asking = tokio::spawn(manager.lock("name").acquire());
    until("granted, and not told", async || {
        other.lock("name").is_locked().await.unwrap()
    })
    .await;
    proxy.cut();
    proxy.mend();
    let guard = soon("told", asking).await.unwrap().unwrap();
    let seen = other.lock("name").info().await.unwrap();
    assert_eq!(seen.section().unwrap().token, guard.fencing_token());
    guard.release().await.unwrap();
    until_free(&other, "name").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_keeps_its_place() {
    let (_server, proxy, manager, other) = stage().await;
    let holder = other.lock("name").acquire().await.unwrap();
    let first = tokio::spawn(manager.lock("name").acquire());
    until_waiting(&other, "name", 1).await;
    let second = tokio::spawn(other.lock("name").acquire());
    until_waiting(&other, "name", 2).await;
    proxy.reset();
    until("connected again", async || {
        manager.lock("name").info().await.is_ok()
    })
    .await;
    holder.release().await.unwrap();
    let first = soon("the first", first).await.unwrap().unwrap();
    assert!(!second.is_finished());
    first.release().await.unwrap();
    enters_and_leaves("the second", second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_waiter_delays_the_others_by_moments() {
    let (_server, proxy, manager, other) = stage().await;
    let holder = other.lock("name").ttl(seconds(60)).acquire().await.unwrap();
    let _dead = tokio::spawn(manager.lock("name").wait(seconds(3600)).acquire());
    until_waiting(&other, "name", 1).await;
    let alive = tokio::spawn(other.lock("name").ttl(seconds(60)).acquire());
    until_waiting(&other, "name", 2).await;
    proxy.cut();
    holder.release().await.unwrap();
    enters_and_leaves("the one that is alive", alive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_waiter_does_not_say_how_many_permits_there_are() {
    let (_server, proxy, manager, other) = stage().await;
    let holder = other.lock("name").ttl(seconds(60)).acquire().await.unwrap();
    let two = manager.lock("name").permits(2).wait(seconds(3600));
    let silent = tokio::spawn(two.acquire());
    until_waiting(&other, "name", 1).await;
    let three = || other.lock("name").permits(3).try_acquire();
    let error = three().await.unwrap_err();
    assert_eq!(error.kind(), LockErrorKind::Conflict);
    proxy.cut();
    until("it is silent", async || three().await.is_ok()).await;
    holder.release().await.unwrap();
    let guard = three().await.unwrap().unwrap();
    // It comes back, and has kept its place.
    proxy.mend();
    guard.release().await.unwrap();
    let guard = soon("granted", silent).await.unwrap().unwrap();
    guard.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_section_outlives_a_cut_connection() {
    let (_server, proxy, manager, other) = stage().await;
    let guard = manager
        .lock("name")
        .ttl(seconds(3))
        .acquire()
        .await
        .unwrap();
    let started = Instant::now();
    while started.elapsed() < seconds(7) {
        proxy.cut();
        tokio::time::sleep(ms(200)).await;
        proxy.mend();
        tokio::time::sleep(ms(800)).await;
        assert!(guard.is_held());
        assert!(other.lock("name").try_acquire().await.unwrap().is_none());
    }
    guard.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_whose_answer_is_lost_is_a_release() {
    let (_server, proxy, manager, other) = stage().await;
    for at_once in [true, false] {
        let guard = manager.lock("name").acquire().await.unwrap();
        proxy.to_client().black_hole();
        let releasing = tokio::spawn(guard.release());
        until_free(&other, "name").await;
        if at_once {
            proxy.cut();
        }
        proxy.mend();
        soon("released", releasing).await.unwrap().unwrap();
        until("connected again", async || {
            manager.lock("name").info().await.is_ok()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_could_not_be_sent_is_sent_later() {
    let (_server, proxy, manager, other) = stage().await;
    let guard = manager
        .lock("name")
        .ttl(seconds(600))
        .acquire()
        .await
        .unwrap();
    proxy.cut();
    // The body's result stands: what could not be delivered goes on in the background.
    soon("gone on", guard.release()).await.unwrap();
    assert!(other.lock("name").is_locked().await.unwrap());
    proxy.mend();
    until_free(&other, "name").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_way_is_replaced_within_seconds() {
    let (_server, proxy, manager, _other) = stage().await;
    let before = proxy.connections();
    proxy.black_hole();
    let asking = tokio::spawn(manager.lock("name").wait(seconds(20)).acquire());
    until("another connection is tried", async || {
        proxy.connections() > before
    })
    .await;
    // What was connected stays dead; what is connected from now on is not.
    proxy.mend();
    enters_and_leaves("granted", asking).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_holder_is_told_before_another_enters() {
    let (_server, proxy, manager, other) = stage().await;
    for _ in 0..3 {
        let ttl = ms(1_500);
        let guard = manager.lock("name").ttl(ttl).acquire().await.unwrap();
        let token = guard.fencing_token().unwrap();
        let watch = guard.watch();
        let told = tokio::spawn(async move {
            watch.lost().await;
            Instant::now()
        });
        proxy.black_hole();
        let next = soon("the next", other.lock("name").acquire())
            .await
            .unwrap();
        let entered = Instant::now();
        assert!(!guard.is_held(), "two hold it");
        assert!(
            soon("told", told).await.unwrap() <= entered,
            "told too late"
        );
        assert!(next.fencing_token().unwrap() > token);
        proxy.mend();
        // A late release frees nobody else's section.
        assert!(guard.release().await.unwrap_err().is_lost());
        until("connected again", async || {
            manager.lock("name").info().await.is_ok()
        })
        .await;
        assert!(next.is_held());
        assert!(manager.lock("name").try_acquire().await.unwrap().is_none());
        next.release().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_forced_out_while_away_is_told_when_it_is_back() {
    let (_server, proxy, manager, other) = stage().await;
    let guard = manager
        .lock("name")
        .ttl(seconds(3600))
        .acquire()
        .await
        .unwrap();
    proxy.cut();
    assert_eq!(other.lock("name").force_release().await.unwrap(), 1);
    proxy.mend();
    until("told", async || !guard.is_held()).await;
    assert!(guard.release().await.unwrap_err().is_lost());
}

/// What was sent to a server that stood still is done when it goes on, long after the client has
/// given up on it.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_arrives_late_leaves_nothing() {
    let mut server = Redis::start();
    let manager = connected(&server.url()).await;
    let other = connected(&server.url()).await;
    for wait in [seconds(0), seconds(60)] {
        server.pause();
        let asking = tokio::spawn(manager.lock("name").ttl(seconds(3600)).wait(wait).acquire());
        // Long enough for the connection to be given up.
        tokio::time::sleep(ms(2_500)).await;
        asking.abort();
        assert!(asking.await.unwrap_err().is_cancelled());
        server.resume();
        until("it goes on", async || {
            other.lock("name").info().await.is_ok()
        })
        .await;
        until_free(&other, "name").await;
        // Nor does anything come later.
        let guard = soon("entered", other.lock("name").acquire()).await.unwrap();
        guard.release().await.unwrap();
    }
}

/// What was sent over a connection that was given up arrives after what was sent over the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_overtaken_by_its_release_leaves_nothing() {
    let (server, proxy, manager, other) = stage().await;
    let holder = other.lock("name").acquire().await.unwrap();
    let before = proxy.connections();
    proxy.to_server().delay(seconds(8));
    let request = manager.lock("name").ttl(seconds(3600)).wait(seconds(60));
    let asking = tokio::spawn(request.acquire());
    until("it is given up", async || proxy.connections() > before).await;
    proxy.to_server().pass();
    until_waiting(&other, "name", 1).await;
    asking.abort();
    until_waiting(&other, "name", 0).await;
    holder.release().await.unwrap();
    // Nobody asks anything now, but for the request that is still on its way.
    let asked = scripts_run(&server);
    until("it arrives", async || scripts_run(&server) > asked).await;
    let entered = other.lock("name").try_acquire().await.unwrap();
    assert!(entered.is_some(), "granted to somebody who has gone");
}

fn scripts_run(server: &Redis) -> u64 {
    let statistics = server.command(&["INFO", "commandstats"]);
    let mut lines = statistics.lines();
    let line = lines.find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    let calls = line.and_then(|line| line.split(',').next()?.parse().ok());
    calls.unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_says_where_and_why() {
    let (_server, proxy, manager, _other) = stage().await;
    proxy.cut();
    let error = soon("an error", manager.lock("name").try_acquire())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), LockErrorKind::Unavailable);
    let text = error.to_string();
    let place = format!("Redis at `127.0.0.1:{}`", proxy.port());
    assert!(text.contains(&place), "{text}");
}
