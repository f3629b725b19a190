//! Masters die, and replicas take over.

use std::time::Instant;

use lock_runtime::{Guard, LockManager};
use servers::{Redis, RedisCluster, Sentinels};

use crate::harness::{connected, seconds, soon, until, until_waiting};

/// Enters as soon as somebody grants; says with which token.
pub(crate) async fn enter(manager: &LockManager, name: &str) -> u64 {
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

/// Where names are, as the backend counts.
const BUCKET_OF_TASK_1: u64 = 0;
const BUCKET_OF_TASK_2: u64 = 181;
const BUCKET_OF_U: u64 = 246;

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

/// The keys of a shard are out of reach; what the others keep is held and renewed.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_shard_costs_the_others_nothing() {
    let mut cluster = RedisCluster::start();
    let manager = connected(&cluster.url()).await;
    let key_of = |bucket: u64| format!("lock:{{{bucket}}}:token");
    let silent = cluster.master_of(&key_of(BUCKET_OF_TASK_1)).port();
    let mut names = Vec::new();
    for (name, bucket) in [("task:2", BUCKET_OF_TASK_2), ("\u{fc}", BUCKET_OF_U)] {
        if cluster.master_of(&key_of(bucket)).port() != silent {
            names.push(name);
        }
    }
    assert!(!names.is_empty(), "all in one shard");
    let mut guards = Vec::new();
    for name in names {
        let request = manager.lock(name).ttl(seconds(12));
        guards.push(request.acquire().await.unwrap());
    }
    for node in cluster.nodes() {
        let said = node.command(&["INFO", "replication"]);
        let follows = said.contains(&format!("master_port:{silent}\r"));
        if node.port() == silent || follows {
            node.pause();
        }
    }
    let started = Instant::now();
    while started.elapsed() < seconds(30) {
        let error = manager.lock("task:1").try_acquire().await;
        assert!(error.is_err(), "the shard is silent");
        assert!(
            guards.iter().all(|guard: &Guard| guard.is_held()),
            "{:?}",
            started.elapsed()
        );
    }
    for guard in guards {
        guard.release().await.unwrap();
    }
}

/// A master that stands still, and stays where it was as far as those know who do not ask anew.
#[tokio::test(flavor = "multi_thread")]
async fn the_successor_of_a_silent_master_is_found() {
    let mut cluster = RedisCluster::start();
    let manager = connected(&cluster.url()).await;
    let before = enter(&manager, "task:1").await;
    let key = format!("lock:{{{BUCKET_OF_TASK_1}}}:token");
    cluster.master_of(&key).pause();
    assert!(enter(&manager, "task:1").await > before);
}

/// The node over which a process hears dies, and its successor is one that the process has nothing
/// to do with.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_forced_out_is_told_whichever_node_has_gone() {
    let mut cluster = RedisCluster::start();
    let manager = connected(&cluster.url()).await;
    let nodes = cluster.nodes();
    let channels = |node: &Redis| {
        let said = node.try_command(&["PUBSUB", "CHANNELS", "lock:process:*"]);
        said.unwrap_or_default()
    };
    let heard_over = nodes.iter().position(|node| !channels(node).is_empty());
    let heard_over = heard_over.expect("one of them");
    let channel = channels(&nodes[heard_over]);
    let mut held = None;
    for number in 0..100 {
        let name = format!("task:{number}");
        let request = manager.lock(name.as_str()).ttl(seconds(3600));
        let guard = request.acquire().await.unwrap();
        let keys = nodes[heard_over].command(&["KEYS", "lock:{*}:name:*"]);
        if !keys.lines().any(|key| key.ends_with(&format!("/{name}"))) {
            held = Some((name, guard));
            break;
        }
    }
    let (name, guard) = held.expect("not all in one shard");
    let other = connected(&cluster.url()).await;
    cluster.nodes()[heard_over].kill();
    // Until the place of the node is taken.
    for number in 0..100 {
        enter(&other, &format!("another:{number}")).await;
    }
    until("it hears again", async || {
        let mut nodes = cluster.nodes().iter();
        nodes.any(|node| channels(node).contains(&channel))
    })
    .await;
    assert!(guard.is_held());
    assert_eq!(other.lock(name.as_str()).force_release().await.unwrap(), 1);
    until("told", async || !guard.is_held()).await;
}
