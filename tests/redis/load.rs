//! How much is asked of the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use lock_runtime::LockManager;
use servers::{Proxy, Redis};

use crate::harness::{connected, ms, seconds, soon, until, until_waiting};

/// How many scripts were run since they were counted last.
fn scripts(server: &Redis) -> u64 {
    let statistics = server.command(&["INFO", "commandstats"]);
    server.command(&["CONFIG", "RESETSTAT"]);
    let calls = |command: &str| {
        let line = statistics
            .lines()
            .find_map(|line| line.strip_prefix(command))?;
        line.split(',').next()?.parse::<u64>().ok()
    };
    calls("cmdstat_evalsha:calls=").unwrap_or(0) + calls("cmdstat_eval:calls=").unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_are_renewed_together() {
    const LEASES: u64 = 1_000;
    let server = Redis::start();
    let manager = connected(&server.url()).await;
    let mut guards = Vec::new();
    for number in 0..LEASES {
        let name = format!("task:{number}");
        guards.push(
            manager
                .lock(name.as_str())
                .ttl(seconds(6))
                .acquire()
                .await
                .unwrap(),
        );
    }
    scripts(&server);
    let started = Instant::now();
    tokio::time::sleep(seconds(7)).await;
    let calls = scripts(&server);
    // Each was renewed every two seconds, or less often on a machine that is busy.
    let rounds = started.elapsed().as_secs().div_ceil(2) + 1;
    assert!(
        calls <= rounds * LEASES / 4,
        "{calls} calls in {rounds} rounds"
    );
    assert!(guards.iter().all(|guard| guard.is_held()));
    println!(
        "{calls} calls renewed {LEASES} leases for {:?}",
        started.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn waiters_show_themselves_together() {
    const WAITERS: usize = 500;
    let server = Redis::start();
    let manager = connected(&server.url()).await;
    let holder = manager
        .lock("name")
        .ttl(seconds(60))
        .acquire()
        .await
        .unwrap();
    let mut waiters = Vec::new();
    for _ in 0..WAITERS {
        let waiting = manager.lock("name").wait(seconds(60));
        waiters.push(tokio::spawn(waiting.run(async || ())));
    }
    until_waiting(&manager, "name", WAITERS).await;
    scripts(&server);
    let started = Instant::now();
    tokio::time::sleep(seconds(3)).await;
    let (calls, took) = (scripts(&server), started.elapsed());
    // Alone, each of them would ask twice a second.
    let alone = took.as_secs_f64() * 2.0 * WAITERS as f64;
    assert!((calls as f64) < alone / 2.0, "{calls} calls in {took:?}");
    println!("{calls} calls showed {WAITERS} waiters for {took:?}");
    // They were not forgotten meanwhile.
    holder.release().await.unwrap();
    for waiter in waiters {
        soon("served", waiter).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_served_once_each_and_in_order() {
    const WAITERS: usize = 50;
    let server = Redis::start();
    let manager = connected(&server.url()).await;
    let holder = manager.lock("name").acquire().await.unwrap();
    let turns = Arc::new(AtomicUsize::new(0));
    let mut waiters = Vec::new();
    for number in 0..WAITERS {
        let (waiting, turns) = (manager.clone(), Arc::clone(&turns));
        waiters.push(tokio::spawn(async move {
            let guard = waiting.lock("name").acquire().await.unwrap();
            assert_eq!(turns.fetch_add(1, Ordering::SeqCst), number, "out of turn");
            tokio::time::sleep(ms(1)).await;
            guard.release().await.unwrap();
        }));
        until_waiting(&manager, "name", number + 1).await;
    }
    scripts(&server);
    holder.release().await.unwrap();
    for waiter in waiters {
        soon("served", waiter).await.unwrap();
    }
    println!("{} scripts for {WAITERS} turns", scripts(&server));
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_gets_turns() {
    const TURNS: usize = 400;
    let server = Redis::start();
    let taken = Arc::new(AtomicUsize::new(0));
    let mut workers = Vec::new();
    for _ in 0..8 {
        let manager = connected(&server.url()).await;
        let taken = Arc::clone(&taken);
        workers.push(tokio::spawn(async move {
            let mut turns = 0;
            while taken.load(Ordering::SeqCst) < TURNS {
                let guard = manager.lock("name").acquire().await.unwrap();
                turns += 1;
                taken.fetch_add(1, Ordering::SeqCst);
                guard.release().await.unwrap();
            }
            turns
        }));
    }
    let mut turns: Vec<usize> = Vec::new();
    for worker in workers {
        turns.push(soon("its turns", worker).await.unwrap());
    }
    println!("turns: {turns:?}");
    // First come, first served: nobody is passed over again and again.
    assert!(
        turns.iter().all(|turns| *turns >= TURNS / 8 / 4),
        "{turns:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_opens_a_connection_to_wait() {
    let server = Redis::start();
    let manager = connected(&server.url()).await;
    let before = connections(&server);
    let holder = manager.lock("name").acquire().await.unwrap();
    let waiting = || manager.lock("name").run(async || ());
    let waiters: Vec<_> = (0..20).map(|_| tokio::spawn(waiting())).collect();
    until_waiting(&manager, "name", 20).await;
    assert_eq!(connections(&server), before);
    holder.release().await.unwrap();
    for waiter in waiters {
        soon("served", waiter).await.unwrap().unwrap();
    }
}

/// How many connections there are beside the one that asks.
fn connections(server: &Redis) -> usize {
    server.command(&["CLIENT", "LIST"]).lines().count() - 1
}

/// The processes of a holder and of many who waited behind it are gone, all at once.
#[tokio::test(flavor = "multi_thread")]
async fn many_silent_ones_in_front_are_passed_over_at_once() {
    const SILENT: usize = 2_000;
    const LIVE: usize = 100;
    let server = Redis::start();
    let proxy = Proxy::to(server.port());
    let gone = connected(&proxy.url(&server.url())).await;
    let other = connected(&server.url()).await;
    let request = gone.lock("name").ttl(seconds(60)).renew(false);
    let holder = request.acquire().await.unwrap();
    let wait = |manager: &LockManager, number: usize| {
        let request = || manager.lock("name").wait(seconds(600)).acquire();
        (0..number)
            .map(|_| tokio::spawn(request()))
            .collect::<Vec<_>>()
    };
    let _silent = wait(&gone, SILENT);
    until_waiting(&other, "name", SILENT).await;
    let live = wait(&other, LIVE);
    until_waiting(&other, "name", SILENT + LIVE).await;
    holder.extend(seconds(3)).await.unwrap();
    proxy.cut();
    let before = looks(&server);
    until("one enters", async || {
        live.iter().any(tokio::task::JoinHandle::is_finished)
    })
    .await;
    // It takes 125 to go through all of them, which each of those who live need not do.
    let looks = looks(&server) - before;
    assert!(looks < 125 * 20, "{looks}");
}

/// How often scripts have looked at waiters, at 16 each time.
fn looks(server: &Redis) -> u64 {
    let statistics = server.command(&["INFO", "commandstats"]);
    let mut lines = statistics.lines();
    let line = lines.find_map(|line| line.strip_prefix("cmdstat_hmget:calls="));
    let calls = line.and_then(|line| line.split(',').next()?.parse().ok());
    calls.unwrap_or(0)
}
