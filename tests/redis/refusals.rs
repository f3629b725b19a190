//! Places that are not fit to keep locks, and what is said of them.

use std::net::TcpListener;

use lock_runtime::{Caller, CallerId, acquire_lock, release_lock, transfer_lock};
use servers::{Proxy, Redis, RedisCluster, Sentinels};

use crate::harness::{connected, refusal, seconds, soon, until, until_free, until_waiting};

/// What a user needs, as the documentation of the backend says it.
const NEEDED: &str = "~lock:* &lock:process:* +eval +evalsha +get +mget +set +del +exists +time \
     +zadd +zrem +zrange +zrank +zcard +hset +hget +hmget +hdel +pexpire +publish +subscribe \
     +info +scan";

pub(crate) fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no {word:?} in: {text}");
    }
    assert!(!text.contains("CANARY"), "a secret in: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_login_is_refused() {
    let server = Redis::options().password("CANARY-right").start();
    let address = format!("127.0.0.1:{}", server.port());
    let wrong = refusal(&format!("redis://:CANARY-wrong@{address}")).await;
    assert_says(&wrong, &["refused the login", &address]);
    let wrong = refusal(&format!("redis://nobody:CANARY-wrong@{address}")).await;
    assert_says(&wrong, &["refused the login", &address]);
    let missing = refusal(&format!("redis://{address}")).await;
    assert_says(&missing, &["asks for a password", &address]);
    let manager = connected(&server.url()).await;
    assert_says(&format!("{manager:?}"), &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_rights_are_enough() {
    let server = Redis::options()
        .user("locks", "CANARY-right", NEEDED)
        .start();
    let manager = connected(&server.url()).await;
    let guard = manager.lock("name").acquire().await.unwrap();
    let waiting = tokio::spawn(manager.lock("name").acquire());
    until_waiting(&manager, "name", 1).await;
    assert_eq!(manager.list("").await.unwrap().len(), 1);
    guard.release().await.unwrap();
    let guard = soon("handed over", waiting).await.unwrap().unwrap();
    assert!(guard.extend(seconds(60)).await.is_ok());
    assert_eq!(manager.lock("name").force_release().await.unwrap(), 1);
    let shared = manager.lock("shared").shared().acquire().await.unwrap();
    shared.release().await.unwrap();
    let permit = manager.lock("permits").permits(2).acquire().await.unwrap();
    permit.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_rights_are_enough_elsewhere() {
    let rights = format!("{NEEDED} +select +wait");
    let server = Redis::options()
        .user("locks", "CANARY-right", &rights)
        .start();
    let manager = connected(&format!("{}/3", server.url())).await;
    manager.lock("name").run(async || ()).await.unwrap();

    let rights = format!("{NEEDED} +cluster|slots");
    let node = Redis::options()
        .user("locks", "CANARY-right", &rights)
        .arguments(["--cluster-enabled", "yes"])
        .start();
    node.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    until("it serves", async || {
        node.try_command(&["GET", "key"]).is_ok()
    })
    .await;
    let manager = connected(&node.url().replace("redis:", "redis+cluster:")).await;
    let guard = manager.lock("name").acquire().await.unwrap();
    assert_eq!(manager.list("").await.unwrap().len(), 1);
    guard.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_is_named() {
    for (missing, when_connecting) in [
        ("+info", true),
        ("&lock:process:*", true),
        ("+evalsha", false),
        ("~lock:*", false),
    ] {
        let rules = NEEDED.replace(missing, "");
        let server = Redis::options()
            .user("locks", "CANARY-right", &rules)
            .start();
        let text = if when_connecting {
            refusal(&server.url()).await
        } else {
            let manager = connected(&server.url()).await;
            manager
                .lock("name")
                .acquire()
                .await
                .unwrap_err()
                .to_string()
        };
        assert_says(&text, &["no permission", "RedisBackend"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_may_throw_locks_away_is_refused() {
    let evicting = ["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"];
    let server = Redis::options().arguments(evicting).start();
    let text = refusal(&server.url()).await;
    assert_says(
        &text,
        &[
            "`maxmemory-policy`",
            "`allkeys-lru`",
            "`noeviction`",
            "`allow_eviction=true`",
        ],
    );
    connected(&format!("{}?allow_eviction=true", server.url())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_says_so() {
    let server = Redis::start();
    let manager = connected(&server.url()).await;
    let guard = manager.lock("held").acquire().await.unwrap();
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let error = soon("an error", manager.lock("name").acquire())
        .await
        .unwrap_err();
    assert_says(&error.to_string(), &["is full", "`maxmemory`"]);
    // What is held can still be given back.
    guard.release().await.unwrap();
    assert_eq!(server.command(&["EXISTS", "lock:{0}:name:/held"]), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_outlives_that_a_server_is_full() {
    let server = Redis::start();
    let manager = connected(&server.url()).await;
    let plain = manager.lock("plain").acquire().await.unwrap();
    let shared = manager.lock("shared").shared().acquire().await.unwrap();
    let beside = manager.lock("shared").shared().acquire().await.unwrap();
    let given = manager.lock("given").acquire().await.unwrap();
    let given = given.into_ticket().unwrap();
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    for guard in [&plain, &shared] {
        guard.extend(seconds(60)).await.unwrap();
    }
    shared.release().await.unwrap();
    let given = manager.lock("given").adopt(given).await.unwrap();
    assert_eq!(manager.lock("given").force_release().await.unwrap(), 1);
    assert!(given.release().await.unwrap_err().is_lost());
    // Nobody else enters, also where no token is needed.
    for request in [manager.lock("new").shared(), manager.lock("new").permits(2)] {
        let error = soon("an error", request.acquire()).await.unwrap_err();
        assert_says(&error.to_string(), &["is full"]);
    }
    beside.release().await.unwrap();
    plain.release().await.unwrap();
    assert_eq!(server.command(&["EXISTS", "lock:{0}:name:/plain"]), "0");
    assert_eq!(server.command(&["EXISTS", "lock:{0}:name:/shared"]), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_know_the_greeting_repeats_no_secret() {
    let server = Redis::options()
        .password("CANARY-right")
        .arguments(["--rename-command", "HELLO", "HIDDEN"])
        .start();
    let text = refusal(&server.url()).await;
    assert_says(&text, &["`HELLO`", "too old", "7.0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_too_many_clients_says_so() {
    let server = Redis::start();
    let manager = connected(&server.url()).await;
    server.command(&["CONFIG", "SET", "maxclients", "1"]);
    let text = refusal(&server.url()).await;
    assert_says(&text, &["`maxclients`"]);
    manager.lock("name").run(async || ()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_enough_replicas_says_so() {
    let server = Redis::start();
    let manager = connected(&server.url()).await;
    server.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let error = soon("an error", manager.lock("name").try_acquire())
        .await
        .unwrap_err();
    assert_says(&error.to_string(), &["`min-replicas-to-write`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_refused() {
    let master = Redis::start();
    let port = master.port().to_string();
    let replica = Redis::options()
        .arguments(["--replicaof", "127.0.0.1", &port])
        .start();
    let text = refusal(&replica.url()).await;
    assert_says(&text, &["is a replica", "`redis+sentinel:`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_becomes_a_replica_is_left() {
    let server = Redis::start();
    let manager = connected(&server.url()).await;
    server.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let error = soon("an error", manager.lock("name").try_acquire())
        .await
        .unwrap_err();
    assert_says(&error.to_string(), &["is a replica"]);
    server.command(&["REPLICAOF", "NO", "ONE"]);
    manager.lock("name").run(async || ()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_another_kind_is_refused() {
    let mut cluster = RedisCluster::start();
    let node = cluster.nodes()[0].url();
    assert_says(&refusal(&node).await, &["`redis+cluster:`"]);
    let server = Redis::start();
    let text = refusal(&server.url().replace("redis:", "redis+cluster:")).await;
    assert_says(&text, &["`redis:`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sentinel_is_no_server() {
    let mut sentinels = Sentinels::start();
    let sentinel = sentinels.sentinels()[0].url();
    assert_says(&refusal(&sentinel).await, &["`redis+sentinel:`"]);
    let url = sentinels.url();
    let (place, _name) = url.rsplit_once('/').unwrap();
    let text = refusal(&format!("{place}/another/0")).await;
    assert_says(&text, &["no Sentinel", "`another`"]);
}

/// Two passwords are asked for, and either may be missing or wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_sentinel_that_wants_a_password_says_whose_is_missing() {
    let mut sentinels = Sentinels::start();
    let sentinel = &sentinels.sentinels()[0];
    sentinel.command(&["ACL", "SETUSER", "default", "resetpass", ">CANARY-right"]);
    let port = sentinel.port();
    // Nobody asks the server for it, so that it does not matter.
    let url = format!("redis+sentinel://:CANARY-other@127.0.0.1:{port}/mymaster");
    let ways_out = ["a Sentinel, or the server", "`sentinel_password`"];
    let missing = refusal(&url).await;
    assert_says(&missing, &ways_out);
    assert_says(&missing, &["asks for a password"]);
    let wrong = refusal(&format!("{url}?sentinel_password=CANARY-wrong")).await;
    assert_says(&wrong, &ways_out);
    assert_says(&wrong, &["refused the login"]);
    connected(&format!("{url}?sentinel_password=CANARY-right")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_and_nobody_who_answers() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    let silent = refusal(&format!("redis://{address}")).await;
    assert_says(&silent, &["did not answer", &address.to_string()]);
    drop(nobody);
    let gone = refusal(&format!("redis://:CANARY@{address}")).await;
    assert_says(&gone, &["nobody listens", &address.to_string()]);
    let unknown = refusal("redis://:CANARY@no-such-host.invalid").await;
    assert_says(&unknown, &["no-such-host.invalid"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_that_wait_for_a_replica_wait_together() {
    let server = Redis::start();
    let proxy = Proxy::to(server.port());
    let url = format!("{}?wait_replicas=1&wait_timeout=500ms", server.url());
    let manager = connected(&proxy.url(&url)).await;
    let before = proxy.connections();
    let mut asking = Vec::new();
    for number in 0..16 {
        let name = format!("task:{number}");
        asking.push(tokio::spawn(manager.lock(name.as_str()).acquire()));
    }
    for asking in asking {
        let error = soon("an error", asking).await.unwrap().unwrap_err();
        assert_says(&error.to_string(), &["0 of 1 replicas"]);
    }
    assert_eq!(proxy.connections(), before, "given up");
    let statistics = server.command(&["INFO", "commandstats"]);
    let mut lines = statistics.lines();
    let waits = lines.find_map(|line| line.strip_prefix("cmdstat_wait:calls="));
    let waits = waits.and_then(|waits| waits.split(',').next()?.parse().ok());
    assert!((1..=8).contains(&waits.unwrap_or(0)), "{waits:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_that_a_replica_knows_of_count() {
    let server = Redis::start();
    let port = server.port().to_string();
    let replica = Redis::options()
        .arguments(["--replicaof", "127.0.0.1", &port])
        .start();
    until("it follows", async || {
        let said = replica.command(&["INFO", "replication"]);
        said.contains("master_link_status:up")
    })
    .await;
    let url = format!("{}?wait_replicas=1&wait_timeout=1s", server.url());
    let manager = connected(&url).await;
    let mut asking = Vec::new();
    for number in 0..64 {
        let name = format!("task:{number}");
        asking.push(tokio::spawn(manager.lock(name.as_str()).acquire()));
    }
    for (number, asking) in asking.into_iter().enumerate() {
        let guard = soon("granted", asking).await.unwrap().unwrap();
        let key = format!("lock:{{0}}:name:/task:{number}");
        assert_eq!(replica.command(&["EXISTS", &key]), "1");
        guard.release().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_too_few_replicas_know_of_is_given_back() {
    let server = Redis::start();
    let manager = connected(&format!(
        "{}?wait_replicas=1&wait_timeout=50ms",
        server.url()
    ))
    .await;
    let error = soon("an error", manager.lock("name").acquire())
        .await
        .unwrap_err();
    assert_says(&error.to_string(), &["0 of 1 replicas", "given back"]);
    until_free(&manager, "name").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_can_be_given_on_and_back_when_a_server_is_full() {
    let server = Redis::start();
    let manager = connected(&server.url()).await;
    let (alice, bob) = (CallerId::new("alice"), CallerId::new("bob"));
    let as_alice = Caller::new(&alice).scope(async {
        acquire_lock("turn", &alice).await.unwrap();
        server.command(&["CONFIG", "SET", "maxmemory", "1"]);
        transfer_lock("turn", &bob).await.unwrap();
    });
    manager.scope(as_alice).await;
    let as_bob = Caller::new(&bob).scope(async { release_lock("turn").await });
    manager.scope(as_bob).await.unwrap();
    assert_eq!(server.command(&["EXISTS", "lock:{0}:name:/turn"]), "0");
}
