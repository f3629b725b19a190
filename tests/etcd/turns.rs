//! Who gets a turn, for how long, and how often.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lock_runtime::{LockError, LockManager, Wait};
use servers::{Etcd, Proxy};
use tokio::task::JoinSet;

use crate::support::{LONG, SHORT, manager, soon, until, until_waiting};

async fn pair(namespace: &str) -> [LockManager; 2] {
    let url = Etcd::shared().url();
    [
        manager(&url, namespace).await,
        manager(&url, namespace).await,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_with_leases_of_all_lengths_exclude_each_other() {
    let managers = pair("mixed").await;
    let (inside, last) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut tasks = JoinSet::new();
    for (task, ttl) in [SHORT, LONG, 2 * SHORT, 30 * SHORT].into_iter().enumerate() {
        let manager = managers[task % 2].clone();
        let (inside, last) = (Arc::clone(&inside), Arc::clone(&last));
        tasks.spawn(async move {
            for _ in 0..20 {
                let request = manager.lock("name").ttl(ttl).wait(Wait::Forever);
                let guard = request.acquire().await?;
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two are inside");
                let token = guard.fencing_token().expect("a token").get();
                assert!(last.swap(token, Ordering::SeqCst) < token, "a token fell");
                tokio::time::sleep(Duration::from_millis(1)).await;
                inside.fetch_sub(1, Ordering::SeqCst);
                guard.release().await?;
            }
            Ok::<_, LockError>(())
        });
    }
    while let Some(task) = soon("everybody is done", tasks.join_next()).await {
        task.expect("no panic").expect("its turn");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_longer_than_its_lease_gets_a_whole_one() {
    let [holder, other] = pair("whole").await;
    let guard = holder.lock("name").acquire().await.expect("free");
    let request = other.lock("name").ttl(SHORT).renew(false);
    let waiting = tokio::spawn(request.wait(Wait::Forever).acquire());
    until_waiting(&holder, "name", 1).await;
    tokio::time::sleep(3 * SHORT).await;
    guard.release().await.expect("held");
    let guard = soon("the waiter enters", waiting).await.expect("no panic");
    let guard = guard.expect("its turn");
    tokio::time::sleep(SHORT / 2).await;
    assert!(
        guard.is_held(),
        "its lease was counted from before its turn"
    );
    guard.release().await.expect("held");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_waited_for_about_as_long_as_its_lease_gets_a_whole_one() {
    const TTL: Duration = Duration::from_secs(4);
    let [holder, other] = pair("rested").await;
    let mut waiting = Vec::new();
    for tenths in [8, 13] {
        let name = format!("name:{tenths}");
        let guard = holder.lock(name.as_str()).acquire().await.expect("free");
        let request = other.lock(name.as_str()).ttl(TTL).renew(false);
        let waiter = tokio::spawn(request.wait(Wait::Forever).acquire());
        until_waiting(&holder, &name, 1).await;
        waiting.push((guard, waiter, TTL * tenths / 10));
    }
    let begun = Instant::now();
    let mut held = Vec::new();
    for (guard, waiter, after) in waiting {
        tokio::time::sleep(after.saturating_sub(begun.elapsed())).await;
        guard.release().await.expect("held");
        let guard = soon("the waiter enters", waiter).await.expect("no panic");
        let guard = guard.expect("its turn");
        held.push(tokio::spawn(async move {
            tokio::time::sleep(TTL / 2).await;
            guard.is_held()
        }));
    }
    for is_held in held {
        assert!(is_held.await.expect("no panic"), "a part was used up");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_was_used_before_is_whole_for_who_does_not_renew_it() {
    const TTL: Duration = Duration::from_secs(6);
    let [manager, _] = pair("used").await;
    let request = || manager.lock("name").ttl(TTL).renew(false);
    request().run(async || ()).await.expect("free");
    tokio::time::sleep(TTL * 31 / 100).await;
    let guard = request().acquire().await.expect("free");
    tokio::time::sleep(TTL * 84 / 100).await;
    assert!(guard.is_held(), "a part of the lease was used up");
    guard.release().await.expect("held");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rest_that_was_prepared_too_early_is_prepared_anew() {
    let server = Etcd::start();
    let proxy = Proxy::to(server.port());
    let other = manager(&server.url(), "early").await;
    let slow = manager(&proxy.url(&server.url()), "early").await;
    proxy.to_server().delay(Duration::from_millis(500));
    let request = slow.lock("name").at_least(SHORT);
    let waiting = tokio::spawn(request.acquire());
    // It has seen that the name is free, and comes too late.
    until("it prepares to enter", async || {
        let leases = server.control(&["lease", "list"]);
        !leases.contains("found 0 leases")
    })
    .await;
    let guard = other.lock("name").acquire().await.expect("free");
    until_waiting(&other, "name", 1).await;
    proxy.mend();
    tokio::time::sleep(5 * SHORT).await;
    guard.release().await.expect("held");
    let guard = soon("the waiter enters", waiting).await.expect("no panic");
    guard.expect("its turn").release().await.expect("held");
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_gets_about_as_many_turns() {
    const TASKS: usize = 8;
    let managers = pair("fair").await;
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let manager = managers[task % 2].clone();
        tasks.spawn(async move {
            let mut turns = 0_u32;
            while begun.elapsed() < Duration::from_secs(3) {
                let request = manager.lock("name").wait(Wait::Forever);
                request.run(async || ()).await.expect("its turn");
                turns += 1;
            }
            turns
        });
    }
    let turns = soon("everybody is done", tasks.join_all()).await;
    let (fewest, most) = (turns.iter().min(), turns.iter().max());
    let (fewest, most) = (fewest.expect("turns"), most.expect("turns"));
    assert!(*fewest * 3 >= *most, "{turns:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sections_are_renewed_at_once() {
    const SECTIONS: usize = 300;
    let [manager, _] = pair("many").await;
    let mut guards = Vec::new();
    for number in 0..SECTIONS {
        let name = format!("name:{number}");
        let request = manager.lock(name.as_str()).ttl(4 * SHORT);
        guards.push(request.acquire().await.expect("free"));
    }
    tokio::time::sleep(10 * SHORT).await;
    let held = guards.iter().filter(|guard| guard.is_held()).count();
    assert_eq!(held, SECTIONS);
    for guard in guards {
        guard.release().await.expect("held");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_do_not_keep_each_other_out() {
    const READERS: usize = 40;
    let managers = pair("readers").await;
    let writer = managers[0].lock("name").acquire().await.expect("free");
    let mut tasks = JoinSet::new();
    for reader in 0..READERS {
        tasks.spawn(managers[reader % 2].lock("name").shared().acquire());
    }
    until_waiting(&managers[0], "name", READERS).await;
    writer.release().await.expect("held");
    let mut guards = Vec::new();
    while let Some(task) = soon("everybody reads", tasks.join_next()).await {
        guards.push(task.expect("no panic").expect("its turn"));
    }
    let info = managers[1].lock("name").info().await.expect("it answers");
    assert_eq!((info.sections.len(), info.waiting), (READERS, 0));
    let ended = managers[0].lock("name").force_release().await;
    assert_eq!(ended.expect("it answers"), READERS);
}
