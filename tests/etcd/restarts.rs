//! A server that is killed and comes back, or stands still: nothing is lost, and nobody gets in.

use lock_runtime::{LockErrorKind, Wait};
use servers::Etcd;

use crate::support::{
    LONG, SHORT, enters_and_leaves, is_free, manager, managers, soon, until, until_free,
    until_waiting,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_section_outlives_a_server_that_is_killed() {
    let mut server = Etcd::start();
    let (holder, other) = managers(&server.url(), "kill").await;
    let guard = holder.lock("held").acquire().await.expect("free");
    server.kill();
    server.start_again();
    assert!(guard.is_held());
    assert!(!is_free(&other, "held").await.expect("it answers again"));
    let token = guard.fencing_token().expect("a token");
    guard.release().await.expect("still held");
    let successor = other.lock("held").acquire().await.expect("free");
    assert!(successor.fencing_token().expect("a token") > token);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_section_that_is_renewed_outlives_a_short_silence() {
    let mut server = Etcd::start();
    let holder = manager(&server.url(), "short").await;
    let ttl = 10 * SHORT;
    let guard = holder.lock("held").ttl(ttl).acquire().await.expect("free");
    server.pause();
    tokio::time::sleep(ttl / 2).await;
    server.resume();
    tokio::time::sleep(ttl).await;
    assert!(guard.is_held(), "half a lease of silence lost the section");
    guard.release().await.expect("still held");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_enters_after_the_server_was_killed() {
    let mut server = Etcd::start();
    let (holder, other) = managers(&server.url(), "queue").await;
    let guard = holder.lock("held").acquire().await.expect("free");
    let waiting = tokio::spawn(other.lock("held").acquire());
    until_waiting(&holder, "held", 1).await;
    server.kill();
    server.start_again();
    guard.release().await.expect("still held");
    enters_and_leaves("the waiter enters", waiting).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_for_too_long_is_told_of() {
    let mut server = Etcd::start();
    let manager = manager(&server.url(), "away").await;
    server.kill();
    let asked = manager.lock("name").wait(Wait::NONE).acquire();
    let error = soon("an error", asked).await.expect_err("nobody is there");
    assert_eq!(error.kind(), LockErrorKind::Unavailable);
    let text = error.to_string();
    assert!(text.contains(&server.port().to_string()), "{text}");
    server.start_again();
    until_free(&manager, "name").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_is_told_before_a_server_that_stood_still_lets_another_in() {
    let server = Etcd::start();
    let (holder, other) = managers(&server.url(), "still").await;
    let guard = holder.lock("name").ttl(2 * SHORT).acquire().await;
    let guard = guard.expect("free");
    let waiting = tokio::spawn(other.lock("name").ttl(LONG).wait(Wait::Forever).acquire());
    until_waiting(&other, "name", 1).await;
    let mut server = server;
    server.pause();
    until("the holder is told", async || !guard.is_held()).await;
    assert!(
        !waiting.is_finished(),
        "somebody entered a server that stood still"
    );
    server.resume();
    let successor = soon("the waiter enters", waiting).await.expect("no panic");
    let successor = successor.expect("its turn");
    assert!(!guard.is_held());
    assert!(successor.fencing_token() > guard.fencing_token());
    assert!(guard.release().await.is_err_and(|error| error.is_lost()));
    assert!(!is_free(&other, "name").await.expect("it answers"));
}
