//! What stays in the store when everything is over: nothing that grows.

use lock_runtime::{Caller, CallerId, LockManager, acquire_lock, release_lock};
use servers::{Proxy, Redis};

use crate::harness::{connected, ms, seconds, until};

/// All keys, but for the one counter of tokens.
fn keys(server: &Redis) -> Vec<String> {
    let keys = server.command(&["KEYS", "*"]);
    let keys = keys.lines().filter(|key| *key != "lock:{0}:token");
    keys.map(str::to_owned).collect()
}

async fn until_empty(server: &Redis) {
    until("nothing is left", async || keys(server).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_names_leave_nothing() {
    let server = Redis::start();
    let manager = connected(&server.url()).await;
    let mut tasks = Vec::new();
    for task in 0..50 {
        let manager = manager.clone();
        tasks.push(tokio::spawn(async move {
            for number in 0..200 {
                let name = format!("task:{task}:{number}");
                manager.lock(name.as_str()).run(async || ()).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(keys(&server), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_section_leaves_nothing() {
    let server = Redis::start();
    let manager = connected(&server.url()).await;
    let contend =
        |name: &'static str, mode: fn(lock_runtime::LockRequest) -> lock_runtime::LockRequest| {
            let manager = manager.clone();
            async move {
                let mut tasks = Vec::new();
                for _ in 0..20 {
                    let request = mode(manager.lock(name));
                    tasks.push(tokio::spawn(request.run(|| tokio::time::sleep(ms(2)))));
                }
                for task in tasks {
                    task.await.unwrap().unwrap();
                }
            }
        };
    contend("exclusive", |request| request).await;
    contend("shared", lock_runtime::LockRequest::shared).await;
    contend("permits", |request| request.permits(3)).await;
    contend("resting", |request| request.at_least(ms(10))).await;
    until_empty(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assignment_that_is_taken_back_leaves_a_mark_that_ends() {
    let server = Redis::start();
    let manager = connected(&server.url()).await;
    let alice = CallerId::new("alice");
    manager
        .scope(Caller::new(&alice).scope(async {
            acquire_lock("turn", &alice).await.unwrap();
            release_lock("turn").await.unwrap();
        }))
        .await;
    assert_all_end(&server);
    let names = keys(&server);
    assert!(
        names.iter().all(|key| key.contains(":change:")),
        "{names:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_requests_leave_nobody() {
    let server = Redis::start();
    let manager = connected(&server.url()).await;
    let holder = manager.lock("name").acquire().await.unwrap();
    for number in 0..200 {
        let asking = manager.lock("name").acquire();
        drop(tokio::time::timeout(std::time::Duration::from_micros(number * 20), asking).await);
    }
    until("nobody waits", async || waiting(&manager).await == 0).await;
    holder.release().await.unwrap();
    manager.lock("name").run(async || ()).await.unwrap();
    assert_all_end(&server);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_abandoned_ends_by_itself() {
    let server = Redis::start();
    let proxy = Proxy::to(server.port());
    let manager = connected(&proxy.url(&server.url())).await;
    let mut held = Vec::new();
    for name in ["one", "two"] {
        let request = manager.lock(name).ttl(seconds(1)).renew(false);
        held.push(request.acquire().await.unwrap());
        tokio::spawn(manager.lock(name).wait(seconds(60)).acquire());
        until("it waits", async || waiting_for(&manager, name).await == 1).await;
    }
    // A process that is out of reach from now on is as good as dead.
    proxy.cut();
    assert_all_end(&server);
}

async fn waiting(manager: &LockManager) -> usize {
    waiting_for(manager, "name").await
}

async fn waiting_for(manager: &LockManager, name: &str) -> usize {
    manager.lock(name).info().await.unwrap().waiting
}

/// Whatever is still there ends by itself.
fn assert_all_end(server: &Redis) {
    for key in keys(server) {
        let left: i64 = server.command(&["PTTL", &key]).parse().unwrap();
        // It may have ended meanwhile.
        assert_ne!(left, -1, "{key} stays for ever");
    }
}
