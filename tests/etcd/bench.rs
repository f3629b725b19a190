//! What locks in etcd cost, beside a client that does the least: one transaction that makes a key,
//! one that deletes it, and a watch; and beside the locks that the server itself offers (its Lock
//! API), with one lease for all. The same server, runtime and run: the ratios are worth something,
//! the figures are the machine's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use etcd_client::{Client, Compare, CompareOp, LockOptions, PutOptions, Txn, TxnOp};
use lock_runtime::{LockManager, Wait};
use servers::Etcd;
use tokio::task::JoinSet;

/// Everything is measured so often, in turns with the floor.
const RUNS: usize = 9;

/// How long one of the runs takes.
const RUN: Duration = Duration::from_millis(400);

/// How long everything is quiet before a lock is handed over.
const QUIET: Duration = Duration::from_millis(3);

/// How often a lock is handed over.
const TURNS: usize = 200;

const WAITERS: usize = 50;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let server = Etcd::start();
    runtime.block_on(async {
        for tasks in [1, 16, 256] {
            pairs(&server, tasks).await;
        }
        handing_over(&server).await;
        waiters(&server).await;
    });
}

async fn manager(server: &Etcd) -> LockManager {
    let builder = LockManager::builder().url(server.url());
    builder.connect().await.expect("a manager")
}

async fn client(server: &Etcd) -> Client {
    let address = format!("127.0.0.1:{}", server.port());
    Client::connect([address], None).await.expect("a client")
}

/// Does something again and again in so many tasks; how often in a second.
async fn rate<F>(tasks: usize, act: impl Fn(usize) -> F + Send + Sync + 'static) -> f64
where
    F: Future<Output = ()> + Send,
{
    let (done, act) = (Arc::new(AtomicUsize::new(0)), Arc::new(act));
    let begun = Instant::now();
    let mut running = JoinSet::new();
    for task in 0..tasks {
        let (done, act) = (Arc::clone(&done), Arc::clone(&act));
        running.spawn(async move {
            while begun.elapsed() < RUN {
                act(task).await;
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    while let Some(task) = running.join_next().await {
        task.expect("no panic");
    }
    done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
}

async fn pairs(server: &Etcd, tasks: usize) {
    let (manager, mut client) = (manager(server).await, client(server).await);
    let lease = client.lease_grant(600, None).await.expect("a lease").id();
    let (mut floor, mut api, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let for_api = client.clone();
        let client = client.clone();
        let least = move |task: usize| {
            let mut client = client.clone();
            async move {
                let key = format!("floor/{task}");
                let options = PutOptions::new().with_lease(lease);
                let make = Txn::new()
                    .when([Compare::version(key.as_str(), CompareOp::Equal, 0)])
                    .and_then([TxnOp::put(key.as_str(), "value", Some(options))]);
                assert!(client.txn(make).await.expect("it answers").succeeded());
                let delete = Txn::new()
                    .when([Compare::version(key.as_str(), CompareOp::Greater, 0)])
                    .and_then([TxnOp::delete(key.as_str(), None)]);
                assert!(client.txn(delete).await.expect("it answers").succeeded());
            }
        };
        floor.push(rate(tasks, least).await);
        let locked = move |task: usize| {
            let mut client = for_api.clone();
            async move {
                let key = api_lock(&mut client, &format!("api/{task}"), lease).await;
                client.unlock(key).await.expect("it answers");
            }
        };
        api.push(rate(tasks, locked).await);
        let manager = manager.clone();
        let locked = move |task: usize| {
            let manager = manager.clone();
            async move {
                let lock = manager.lock(format!("pair:{task}").as_str());
                lock.run(async || ()).await.expect("free");
            }
        };
        ours.push(rate(tasks, locked).await);
    }
    let (floor, api, ours) = (median(floor), median(api), median(ours));
    println!(
        "pairs/s, {tasks:>3} tasks: {ours:>7.0}   make and delete {floor:>7.0}   ratio {:.2} \
         (target 0.9)   Lock API {api:>7.0}   ratio {:.2}",
        ours / floor,
        ours / api
    );
}

/// Waits for a lock of the server's own; the key to give it back with.
async fn api_lock(client: &mut Client, name: &str, lease: i64) -> Vec<u8> {
    let options = LockOptions::new().with_lease(lease);
    let locked = client.lock(name, Some(options)).await;
    locked.expect("it answers").key().to_vec()
}

/// From the release to the entry of the next, against the delete that a watch tells of.
async fn handing_over(server: &Etcd) {
    let (one, two) = (manager(server).await, manager(server).await);
    let (mut writer, mut watcher) = (client(server).await, client(server).await);
    let mut watch = watcher.watch("floor/turn", None).await.expect("a watch");
    watch.message().await.expect("a message");
    let mut leases = Vec::new();
    for _ in 0..2 {
        let granted = writer.lease_grant(600, None).await;
        leases.push(granted.expect("a lease").id());
    }
    let mut key = api_lock(&mut writer, "api/turn", leases[0]).await;
    let (mut floor, mut api, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    let mut guard = one.lock("turn").acquire().await.expect("free");
    let mut managers = [&two, &one].into_iter().cycle();
    for turn in 0..TURNS {
        writer.put("floor/turn", "value", None).await.expect("put");
        watch.message().await.expect("a message");
        tokio::time::sleep(QUIET).await;
        let begun = Instant::now();
        let mut deleter = writer.clone();
        let deleting = tokio::spawn(async move { deleter.delete("floor/turn", None).await });
        watch.message().await.expect("a message");
        floor.push(micros(begun));
        deleting.await.expect("no panic").expect("deleted");

        let (mut waiter, lease) = (watcher.clone(), leases[(turn + 1) % 2]);
        let waiting = tokio::spawn(async move { api_lock(&mut waiter, "api/turn", lease).await });
        tokio::time::sleep(QUIET).await;
        let begun = Instant::now();
        let mut leaver = writer.clone();
        let leaving = tokio::spawn(async move { leaver.unlock(key).await });
        key = waiting.await.expect("no panic");
        api.push(micros(begun));
        leaving.await.expect("no panic").expect("unlocked");

        let next = managers.next().expect("for ever");
        let waiting = tokio::spawn(next.lock("turn").wait(Wait::Forever).acquire());
        while next.lock("turn").info().await.expect("it answers").waiting == 0 {}
        tokio::time::sleep(QUIET).await;
        let begun = Instant::now();
        let releasing = tokio::spawn(guard.release());
        guard = waiting.await.expect("no panic").expect("its turn");
        ours.push(micros(begun));
        releasing.await.expect("no panic").expect("held");
    }
    drop(guard);
    let (worst, worst_floor, worst_api) = (at(&ours, 99), at(&floor, 99), at(&api, 99));
    let (ours, floor, api) = (median(ours), median(floor), median(api));
    println!(
        "hand-over: {ours:.0} µs, p99 {worst:.0}   delete to watch {floor:.0} µs, p99 \
         {worst_floor:.0}   ratio {:.2} (target 1.2)   Lock API {api:.0} µs, p99 {worst_api:.0}",
        ours / floor
    );
}

/// So many tasks of two processes wait for one name, again and again, a millisecond each.
async fn waiters(server: &Etcd) {
    let managers = [manager(server).await, manager(server).await];
    let revision = revision(server).await;
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..WAITERS {
        let manager = managers[task % 2].clone();
        tasks.spawn(async move {
            let mut turns = 0;
            while begun.elapsed() < 5 * RUN {
                let body = || tokio::time::sleep(Duration::from_millis(1));
                manager.lock("crowd").run(body).await.expect("its turn");
                turns += 1;
            }
            turns
        });
    }
    let mut turns = Vec::new();
    while let Some(task) = tasks.join_next().await {
        turns.push(task.expect("no panic"));
    }
    let all: u32 = turns.iter().sum();
    let writes = self::revision(server).await - revision;
    println!(
        "{WAITERS} waiters, 1 ms each: {:.2} ms a turn, between {} and {} turns, {:.1} writes a turn",
        begun.elapsed().as_secs_f64() * 1e3 / f64::from(all),
        turns.iter().min().expect("turns"),
        turns.iter().max().expect("turns"),
        writes as f64 / f64::from(all),
    );
}

async fn revision(server: &Etcd) -> i64 {
    let mut client = client(server).await;
    let answer = client.get("anything", None).await.expect("it answers");
    answer.header().expect("a header").revision()
}

fn micros(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e6
}

fn median(values: Vec<f64>) -> f64 {
    at(&values, 50)
}

/// The value that so many of a hundred do not exceed.
fn at(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted[(sorted.len() - 1) * percent / 100]
}
