//! What locks in etcd cost, beside a client that does the least: one transaction that makes a key,
//! one that deletes it, and a watch; and beside the locks that the server itself offers (its Lock
//! API), with one lease for all. `cargo bench -p benches --bench etcd`.

use std::time::Instant;

use benches::{QUIET, RUNS, Times, Turns};
use etcd_client::{Client, Compare, CompareOp, LockOptions, PutOptions, Txn, TxnOp};
use lock_runtime::LockManager;
use servers::Etcd;

/// How often a lock is handed over.
const HAND_OVERS: usize = 200;

/// How long a lease of the minimal client is, in seconds.
const TTL: i64 = 600;

fn main() {
    let server = Etcd::start();
    benches::runtime(2).block_on(async {
        println!("pairs per second, own names (target: 0.9 of make and delete)");
        for tasks in [1, 16, 256] {
            pairs(&server, tasks).await;
        }
        handing_over(&server).await;
        crowds(&server).await;
    });
}

async fn manager(server: &Etcd) -> LockManager {
    let manager = LockManager::connect(&server.url()).await;
    manager.expect("a manager")
}

async fn client(server: &Etcd) -> Client {
    let address = format!("127.0.0.1:{}", server.port());
    Client::connect([address], None).await.expect("a client")
}

async fn lease(client: &mut Client) -> i64 {
    let granted = client.lease_grant(TTL, None).await;
    granted.expect("a lease").id()
}

async fn pairs(server: &Etcd, tasks: usize) {
    let (manager, mut client) = (manager(server).await, client(server).await);
    let lease = lease(&mut client).await;
    let (mut least, mut api, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let one = client.clone();
        let make_and_delete = move |task| least_pair(one.clone(), task, lease);
        least.push(benches::per_second(tasks, make_and_delete).await);
        let one = client.clone();
        let lock_and_unlock = move |task| api_pair(one.clone(), task, lease);
        api.push(benches::per_second(tasks, lock_and_unlock).await);
        let manager = manager.clone();
        let pair = move |task| {
            let lock = manager.lock(format!("pair:{task}").as_str());
            async move { lock.run(async || ()).await.expect("free") }
        };
        ours.push(benches::per_second(tasks, pair).await);
    }
    let [least, api, ours] = [least, api, ours].map(benches::median);
    println!(
        "  {tasks:>3} tasks: ours {ours:.0}, make and delete {least:.0} (ratio {:.2}), Lock API \
         {api:.0} (ratio {:.2})",
        ours / least,
        ours / api
    );
}

async fn least_pair(mut client: Client, task: usize, lease: i64) {
    let key = format!("least/{task}");
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

async fn api_pair(mut client: Client, task: usize, lease: i64) {
    let key = api_lock(&mut client, &format!("api/{task}"), lease).await;
    client.unlock(key).await.expect("it answers");
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
    let mut watch = watcher.watch("least/turn", None).await.expect("a watch");
    watch.message().await.expect("a message");
    let leases = [lease(&mut writer).await, lease(&mut writer).await];
    let mut key = api_lock(&mut writer, "api/turn", leases[0]).await;
    let (mut least, mut api, mut ours) = (Times::default(), Times::default(), Times::default());
    for turn in 0..HAND_OVERS {
        writer.put("least/turn", "value", None).await.expect("put");
        watch.message().await.expect("a message");
        tokio::time::sleep(QUIET).await;
        let begun = Instant::now();
        let mut deleter = writer.clone();
        let deleting = tokio::spawn(async move { deleter.delete("least/turn", None).await });
        watch.message().await.expect("a message");
        least.since(begun);
        deleting.await.expect("no panic").expect("deleted");

        let (mut waiter, lease) = (watcher.clone(), leases[(turn + 1) % 2]);
        let waiting = tokio::spawn(async move { api_lock(&mut waiter, "api/turn", lease).await });
        tokio::time::sleep(QUIET).await;
        let begun = Instant::now();
        let mut leaver = writer.clone();
        let leaving = tokio::spawn(async move { leaver.unlock(key).await });
        key = waiting.await.expect("no panic");
        api.since(begun);
        leaving.await.expect("no panic").expect("unlocked");

        benches::hand_over(&one, &two, &mut ours).await;
    }
    println!("hand-over (target: 1.2 of a delete that a watch tells of)");
    println!("  delete to watch {least}");
    println!("  ours {ours}: {:.2} of it", ours.ratio(&least));
    println!("  Lock API {api}: {:.2} of it", api.ratio(&least));
}

/// Many in two processes have turns at one name.
async fn crowds(server: &Etcd) {
    println!("50 waiters, 1 ms each");
    let managers = vec![manager(server).await, manager(server).await];
    let before = revision(server).await;
    let ours = benches::crowd_at_a_lock(managers).await;
    let writes = (revision(server).await - before) as f64 / ours.all();
    println!("  ours {ours}, {writes:.1} writes a turn");
    println!("  Lock API {}", crowd_of_api(server).await);
}

/// Each has a lease of its own: with one for all, a lock is everybody's who has it.
async fn crowd_of_api(server: &Etcd) -> Turns {
    let clients = [client(server).await, client(server).await];
    let mut leases = Vec::new();
    for task in 0..benches::WAITERS {
        leases.push(lease(&mut clients[task % 2].clone()).await);
    }
    benches::crowd(move |task| {
        let (mut client, lease) = (clients[task % 2].clone(), leases[task]);
        async move {
            let key = api_lock(&mut client, "api/crowd", lease).await;
            benches::a_millisecond().await;
            client.unlock(key).await.expect("it answers");
        }
    })
    .await
}

async fn revision(server: &Etcd) -> i64 {
    let mut client = client(server).await;
    let answer = client.get("anything", None).await.expect("it answers");
    answer.header().expect("a header").revision()
}
