//! Three servers of which one fails: another leads, and no section and no place is lost.

use std::time::Duration;

use lock_runtime::{LockErrorKind, Wait};
use servers::EtcdCluster;

use crate::support::{is_free, manager, managers, soon, until, until_free, until_waiting};

/// A lease that outlives an election.
const TTL: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_killed_is_followed() {
    let mut cluster = EtcdCluster::start();
    let (holder, other) = managers(&cluster.url(), "kill").await;
    let guard = holder.lock("name").ttl(TTL).acquire().await.expect("free");
    let token = guard.fencing_token();
    let waiting = tokio::spawn(other.lock("name").wait(Wait::Forever).acquire());
    until_waiting(&holder, "name", 1).await;
    cluster.leader().kill();
    until("the cluster answers again", async || {
        is_free(&other, "another")
            .await
            .is_ok_and(|is_free| is_free)
    })
    .await;
    assert!(guard.is_held(), "an election lost the section");
    assert!(!waiting.is_finished());
    guard.release().await.expect("still held");
    let successor = soon("the waiter enters", waiting).await.expect("no panic");
    let successor = successor.expect("its turn");
    assert!(successor.fencing_token() > token);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stands_still_is_followed() {
    let mut cluster = EtcdCluster::start();
    let (holder, other) = managers(&cluster.url(), "still").await;
    let guard = holder.lock("name").ttl(TTL).acquire().await.expect("free");
    let waiting = tokio::spawn(other.lock("name").wait(Wait::Forever).acquire());
    until_waiting(&holder, "name", 1).await;
    let leader = cluster.leader();
    leader.pause();
    until("the cluster answers again", async || {
        is_free(&other, "another")
            .await
            .is_ok_and(|is_free| is_free)
    })
    .await;
    assert!(guard.is_held(), "an election lost the section");
    assert!(!waiting.is_finished());
    guard.release().await.expect("still held");
    let successor = soon("the waiter enters", waiting).await.expect("no panic");
    let successor = successor.expect("its turn");
    // What was handed over has a lease of its own then: the one of those who wait is so short that
    // it is over by the count of the old leader, who may end it.
    until("a whole lease", async || {
        successor.expires_in() > Some(TTL / 2)
    })
    .await;
    // The old one finds out that it leads no more, and changes nothing.
    for member in cluster.members() {
        member.resume();
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(successor.is_held());
    assert!(!is_free(&holder, "name").await.expect("it answers"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_section_outlives_a_leader_that_stands_still() {
    let mut cluster = EtcdCluster::start();
    // The leader is the one that is spoken to.
    let leader = format!("127.0.0.1:{}", cluster.leader().port());
    let url = cluster.url();
    let (scheme, hosts) = url.split_once("//").expect("a URL");
    let others = hosts.split(',').filter(|host| *host != leader);
    let hosts: Vec<_> = [leader.as_str()].into_iter().chain(others).collect();
    let holder = manager(&format!("{scheme}//{}", hosts.join(",")), "short").await;
    let ttl = Duration::from_secs(6);
    let guard = holder.lock("name").ttl(ttl).acquire().await.expect("free");
    // Until nothing but its renewals finds out.
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.leader().pause();
    tokio::time::sleep(2 * ttl).await;
    assert!(guard.is_held(), "its renewal waited for one server");
    guard.release().await.expect("still held");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_away_is_passed_over() {
    let mut cluster = EtcdCluster::start();
    cluster.members()[0].kill();
    let manager = manager(&cluster.url(), "away").await;
    until_free(&manager, "name").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_nobody_enters() {
    let mut cluster = EtcdCluster::start();
    let manager = manager(&cluster.url(), "quorum").await;
    let guard = manager.lock("held").ttl(Duration::from_secs(5)).acquire();
    let guard = guard.await.expect("free");
    let [one, two, _] = cluster.members() else {
        panic!("three members");
    };
    one.kill();
    two.kill();
    let asked = manager.lock("name").wait(Duration::ZERO).acquire();
    let error = soon("an error", asked).await.expect_err("no quorum");
    assert_eq!(error.kind(), LockErrorKind::Unavailable, "{error}");
    until("the holder is told", async || !guard.is_held()).await;
}
