//! Masters die, and replicas take over.

use lock_runtime::LockManager;
use servers::{RedisCluster, Sentinels};

use crate::harness::{connected, seconds, soon, until, until_waiting};

/// Enters as soon as somebody grants; says with which token.
async fn enter(manager: &LockManager, name: &str) -> u64 {
    let mut token = None;
    until("granted", async || {
        let granted = manager.lock(name).wait(seconds(2)).acquire().await;
        let Ok(guard) = granted else { return false };
        token = guard.fencing_token();
        guard.release().await.is_ok()
    })
    .await;
    token.unwrap().get()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sentinels_lead_to_the_new_master() {
    let mut sentinels = Sentinels::start();
    // A replica knows of every grant, so that it survives the master.
    let manager = connected(&format!(
        "{}?wait_replicas=1&wait_timeout=1s",
        sentinels.url()
    ))
    .await;
    let guard = manager
        .lock("held")
        .ttl(seconds(120))
        .acquire()
        .await
        .unwrap();
    let before = enter(&manager, "name").await;
    sentinels.master().kill();
    let after = enter(&manager, "name").await;
    assert!(after > before);
    assert!(guard.is_held());
    assert!(manager.lock("held").try_acquire().await.unwrap().is_none());
    guard.release().await.unwrap();
    soon("free", manager.lock("held").acquire())
        .await
        .unwrap()
        .release()
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_goes_on_without_a_master() {
    let mut cluster = RedisCluster::start();
    let manager = connected(&cluster.url()).await;
    let names = [
        "one", "two", "three", "four", "five", "six", "seven", "eight",
    ];
    let mut before = Vec::new();
    for name in names {
        before.push(enter(&manager, name).await);
    }
    cluster.nodes()[0].kill();
    for (name, before) in names.iter().zip(before) {
        assert!(enter(&manager, name).await > before, "{name}");
    }
    assert_eq!(manager.list("").await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiters_in_a_cluster_are_woken() {
    let cluster = RedisCluster::start();
    // What a replica has to know is asked of the node that has the name.
    let with_replicas = format!("{}?wait_replicas=1&wait_timeout=1s", cluster.url());
    let (one, two) = (
        connected(&with_replicas).await,
        connected(&cluster.url()).await,
    );
    for name in ["one", "two", "three", "four"] {
        let holder = one.lock(name).acquire().await.unwrap();
        let waiting = tokio::spawn(two.lock(name).acquire());
        until_waiting(&one, name, 1).await;
        holder.release().await.unwrap();
        let guard = soon("handed over", waiting).await.unwrap().unwrap();
        let listed = one.list("").await.unwrap();
        assert_eq!(listed.len(), 1, "{listed:?}");
        guard.release().await.unwrap();
    }
}
