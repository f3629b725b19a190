//! Connections that are cut, that swallow, and that lose answers, in every phase.

use std::time::Duration;

use lock_runtime::Wait;
use servers::{Etcd, Proxy};

use crate::support::{
    SHORT, enters_and_leaves, is_free, keys, manager, soon, two_ways, until, until_free,
    until_waiting,
};

/// Managers: one whose way to the shared server can be disturbed, and one that is undisturbed.
async fn pair(namespace: &str) -> (Proxy, lock_runtime::LockManager, lock_runtime::LockManager) {
    let server = Etcd::shared();
    let proxy = Proxy::to(server.port());
    let disturbed = manager(&proxy.url(&server.url()), namespace).await;
    let other = manager(&server.url(), namespace).await;
    (proxy, disturbed, other)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_comes_back_after_a_cut() {
    let (proxy, disturbed, other) = pair("cut-queue").await;
    let guard = other.lock("name").acquire().await.expect("free");
    let waiting = tokio::spawn(disturbed.lock("name").acquire());
    until_waiting(&other, "name", 1).await;
    proxy.cut();
    tokio::time::sleep(Duration::from_millis(300)).await;
    proxy.mend();
    guard.release().await.expect("still held");
    enters_and_leaves("the waiter enters", waiting).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_comes_back_after_a_release_that_it_did_not_hear_of() {
    let (proxy, disturbed, other) = pair("cut-deaf").await;
    let guard = other.lock("name").acquire().await.expect("free");
    let waiting = tokio::spawn(disturbed.lock("name").acquire());
    until_waiting(&other, "name", 1).await;
    proxy.black_hole();
    guard.release().await.expect("still held");
    tokio::time::sleep(Duration::from_millis(300)).await;
    proxy.mend();
    enters_and_leaves("the waiter enters", waiting).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_waiter_is_followed_soon() {
    let (proxy, disturbed, other) = pair("cut-dead").await;
    let guard = other.lock("name").acquire().await.expect("free");
    let dead = tokio::spawn(disturbed.lock("name").wait(Wait::Forever).acquire());
    until_waiting(&other, "name", 1).await;
    let next = tokio::spawn(other.lock("name").acquire());
    until_waiting(&other, "name", 2).await;
    proxy.black_hole();
    guard.release().await.expect("still held");
    let guard = soon("the next one enters", next).await.expect("no panic");
    assert!(!dead.is_finished());
    guard
        .expect("its turn")
        .release()
        .await
        .expect("still held");
    proxy.mend();
    enters_and_leaves("who was cut off enters", dead).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_section_is_renewed_after_a_cut() {
    let (proxy, disturbed, other) = pair("cut-held").await;
    let ttl = 6 * SHORT;
    let guard = disturbed.lock("name").ttl(ttl).acquire().await;
    let guard = guard.expect("free");
    for _ in 0..3 {
        proxy.cut();
        tokio::time::sleep(ttl / 6).await;
        proxy.mend();
        tokio::time::sleep(ttl / 3).await;
        assert!(guard.is_held(), "a short cut lost the section");
    }
    assert!(!is_free(&other, "name").await.expect("it answers"));
    guard.release().await.expect("still held");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_black_hole_loses_the_section_before_another_has_it() {
    let (proxy, disturbed, other) = pair("hole").await;
    let guard = disturbed.lock("name").ttl(2 * SHORT).acquire().await;
    let guard = guard.expect("free");
    let token = guard.fencing_token();
    let watch = guard.watch();
    let waiting = tokio::spawn(other.lock("name").wait(Wait::Forever).acquire());
    until_waiting(&other, "name", 1).await;
    proxy.black_hole();
    let successor = soon("somebody follows", waiting).await.expect("no panic");
    assert!(!watch.is_held(), "two hold the name");
    let successor = successor.expect("its turn");
    assert!(successor.fencing_token() > token);
    assert!(guard.release().await.is_err_and(|error| error.is_lost()));
    proxy.mend();
    // What was on its way finds the successor's section, and leaves it alone.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(successor.is_held());
    assert!(!is_free(&other, "name").await.expect("it answers"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_was_cut_is_made_up_for() {
    let (proxy, disturbed, other) = pair("cut-release").await;
    let guard = disturbed.lock("name").acquire().await.expect("free");
    proxy.cut();
    let releasing = tokio::spawn(guard.release());
    tokio::time::sleep(Duration::from_millis(300)).await;
    proxy.mend();
    let released = soon("it is released", releasing).await.expect("no panic");
    released.expect("it was held");
    until_free(&other, "name").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_whose_answer_is_lost_counts() {
    let (proxy, disturbed, other) = pair("lost-release").await;
    let guard = disturbed.lock("name").acquire().await.expect("free");
    proxy.to_client().black_hole();
    let releasing = tokio::spawn(guard.release());
    until_free(&other, "name").await;
    proxy.cut();
    proxy.mend();
    let released = soon("it is released", releasing).await.expect("no panic");
    released.expect("it was held");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_whose_answer_is_lost_is_found_again() {
    let (proxy, disturbed, other) = pair("lost-grant").await;
    // With a lease at hand, so that the next request is the one that enters.
    disturbed
        .lock("other")
        .run(async || ())
        .await
        .expect("free");
    proxy.to_client().black_hole();
    let asking = tokio::spawn(disturbed.lock("name").acquire());
    // Whoever tries to enter to see that may be in the way.
    until("it took effect", async || {
        let locked = other.lock("name").is_locked().await;
        locked.expect("it answers")
    })
    .await;
    proxy.cut();
    proxy.mend();
    let guard = soon("it is granted", asking).await.expect("no panic");
    let guard = guard.expect("its own section");
    assert!(guard.is_held());
    guard.release().await.expect("still held");
    until_free(&other, "name").await;
}

/// A request over a slow way comes when it has long been taken back over another.
async fn comes_late(name: &str, is_held: bool) {
    let server = Etcd::shared();
    let (slow, quick, disturbed, other) = two_ways("late").await;
    // With a lease at hand, so that the next request is the one that counts.
    let first = disturbed.lock("first").run(async || ());
    first.await.expect("free");
    let guard = if is_held {
        Some(other.lock(name).acquire().await.expect("free"))
    } else {
        None
    };
    // Who waits already keeps the places of this process alive.
    let before = is_held.then(|| tokio::spawn(disturbed.lock(name).acquire()));
    if is_held {
        until_waiting(&other, name, 1).await;
    }
    slow.to_server().delay(Duration::from_secs(5));
    let asking = tokio::spawn(disturbed.lock(name).acquire());
    tokio::time::sleep(Duration::from_millis(300)).await;
    // The client goes on over the quick way, and takes the request back there.
    slow.to_client().half_close();
    asking.abort();
    tokio::time::sleep(Duration::from_secs(7)).await;
    let info = other.lock(name).info().await.expect("it answers");
    assert_eq!(info.waiting, usize::from(is_held), "{info:?}");
    drop(guard);
    if let Some(before) = before {
        let before = soon("who waited enters", before).await.expect("no panic");
        before.expect("its turn").release().await.expect("held");
    }
    until_free(&other, name).await;
    let left = keys(server, &format!("locks/late/{name} "));
    assert!(
        left.iter().all(|key| key.contains(" withdrawn/")),
        "{left:?}"
    );
    assert!(slow.connections() == 1 && quick.connections() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_comes_after_its_release_does_not_enter() {
    comes_late("entering", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_comes_after_its_release_does_not_queue() {
    comes_late("queueing", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_comes_late_does_not_bring_back_what_was_taken_back() {
    let (slow, quick, disturbed, other) = two_ways("late-change").await;
    // Its transaction is on the slow way, and what it has read is not.
    slow.to_client().delay(Duration::from_millis(500));
    let assigning = disturbed.acquire_lock("name", "alice");
    let assigning = tokio::spawn(async move { assigning.await });
    tokio::time::sleep(Duration::from_millis(250)).await;
    slow.to_server().delay(Duration::from_secs(6));
    tokio::time::sleep(Duration::from_secs(1)).await;
    slow.to_client().half_close();
    let assigned = soon("it is assigned", assigning).await.expect("no panic");
    assigned.expect("free");
    let holder = async || {
        let info = other.lock("name").info().await.expect("it answers");
        info.holder.map(|holder| holder.to_string())
    };
    assert_eq!(holder().await.as_deref(), Some("alice"));
    other
        .release_lock("name")
        .as_operator()
        .await
        .expect("assigned");
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(holder().await, None);
    assert!(slow.connections() == 1 && quick.connections() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_whose_answer_was_lost_is_kept() {
    let (proxy, disturbed, other) = pair("lost-place").await;
    let guard = other.lock("name").acquire().await.expect("free");
    // With what is known of the name at hand, so that the next request is the one for a place.
    let before = tokio::spawn(disturbed.lock("name").acquire());
    until_waiting(&other, "name", 1).await;
    proxy.to_client().black_hole();
    let waiting = tokio::spawn(disturbed.lock("name").acquire());
    until_waiting(&other, "name", 2).await;
    proxy.cut();
    // The watch is there again before the waiter is.
    tokio::time::sleep(Duration::from_millis(600)).await;
    proxy.mend();
    until_waiting(&other, "name", 2).await;
    before.abort();
    until_waiting(&other, "name", 1).await;
    let next = tokio::spawn(other.lock("name").acquire());
    until_waiting(&other, "name", 2).await;
    // So long that places are given up of which this process knows nothing.
    tokio::time::sleep(Duration::from_secs(13)).await;
    assert!(!waiting.is_finished());
    guard.release().await.expect("still held");
    let guard = soon("who came first enters", waiting).await;
    let guard = guard.expect("no panic").expect("its turn");
    assert!(!next.is_finished(), "it was passed");
    guard.release().await.expect("still held");
    enters_and_leaves("the next one enters", next).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_while_the_connection_is_cut_leaves_nothing() {
    let (proxy, disturbed, other) = pair("cancelled").await;
    for round in 0..10_u64 {
        let asking = tokio::spawn(disturbed.lock("name").acquire());
        tokio::time::sleep(Duration::from_millis(round)).await;
        proxy.reset();
        asking.abort();
    }
    until_free(&other, "name").await;
    until_waiting(&other, "name", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_come_one_by_one_are_understood() {
    let (proxy, disturbed, other) = pair("slices").await;
    proxy.to_client().slice();
    proxy.to_server().slice();
    let guard = disturbed.lock("name").acquire().await.expect("free");
    assert!(!is_free(&other, "name").await.expect("it answers"));
    guard.release().await.expect("still held");
}
