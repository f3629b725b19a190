//! What locks in PostgreSQL cost, beside the least that a client can do: an upsert and a delete of
//! a row; and beside the server's own advisory locks, which end with a session and have neither
//! leases nor tokens. `cargo bench -p benches --bench postgres`.
//!
//! Most of a pair is how long two commits take, which the server's `fsync` decides: once without,
//! and once as people run it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use benches::{QUIET, RUNS, Times, Turns};
use lock_runtime::LockManager;
use servers::Postgres;
use tokio_postgres::{Client, NoTls, Statement};

/// How often a lock is handed over.
const HAND_OVERS: usize = 300;

fn main() {
    benches::runtime(2).block_on(async {
        for fsync in ["off", "on"] {
            println!("with fsync {fsync}");
            let server = Postgres::options().setting("fsync", fsync).start();
            pairs(&server).await;
            handing_over(&server).await;
            crowds(&server).await;
        }
    });
}

async fn manager(server: &Postgres) -> LockManager {
    let manager = LockManager::connect(&server.url()).await;
    manager.expect("a manager")
}

async fn client(server: &Postgres) -> Client {
    let connected = tokio_postgres::connect(&server.url(), NoTls).await;
    let (client, connection) = connected.expect("connected");
    tokio::spawn(connection);
    client
}

/// A lease is a row, which is written and deleted, both by prepared statements that go over one
/// connection for all tasks.
struct Least {
    client: Client,
    upsert: Statement,
    delete: Statement,
}

impl Least {
    async fn new(server: &Postgres) -> Self {
        let client = client(server).await;
        let table = "CREATE TABLE least
                (name text PRIMARY KEY, owner text, ends timestamptz, token bigint);
            CREATE SEQUENCE least_tokens";
        client.batch_execute(table).await.expect("made");
        let upsert = "INSERT INTO least
            VALUES ($1, $2, clock_timestamp() + interval '30 s', nextval('least_tokens'))
            ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, ends = excluded.ends,
                token = excluded.token WHERE least.ends < clock_timestamp()
            RETURNING token";
        let delete = "DELETE FROM least WHERE name = $1 AND owner = $2";
        Self {
            upsert: client.prepare(upsert).await.expect("prepared"),
            delete: client.prepare(delete).await.expect("prepared"),
            client,
        }
    }

    async fn pair(&self, name: &str) {
        let owner = "an owner";
        let upserted = self.client.query_opt(&self.upsert, &[&name, &owner]).await;
        assert!(upserted.expect("it answers").is_some(), "it is free");
        let deleted = self.client.execute(&self.delete, &[&name, &owner]).await;
        assert_eq!(deleted.expect("it answers"), 1);
    }
}

async fn pairs(server: &Postgres) {
    println!("pairs per second, own names (target: 0.85 of upsert and delete)");
    let (least, manager) = (Arc::new(Least::new(server).await), manager(server).await);
    for tasks in [1, 16, 256] {
        let (mut floor, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let least = Arc::clone(&least);
            let upsert_and_delete = move |task| {
                let least = Arc::clone(&least);
                async move { least.pair(&format!("least:{task}")).await }
            };
            floor.push(benches::per_second(tasks, upsert_and_delete).await);
            let manager = manager.clone();
            let pair = move |task| {
                let lock = manager.lock(format!("pair:{task}").as_str());
                async move {
                    let guard = lock.acquire().await.expect("granted");
                    guard.release().await.expect("released");
                }
            };
            ours.push(benches::per_second(tasks, pair).await);
        }
        let [floor, ours] = [floor, ours].map(benches::median);
        println!(
            "  {tasks:>3} tasks: ours {ours:.0}, upsert and delete {floor:.0} (ratio {:.2})",
            ours / floor
        );
    }
}

/// From the release by one to the grant of another, who waits in another process.
async fn handing_over(server: &Postgres) {
    let (one, two) = (manager(server).await, manager(server).await);
    let mut ours = Times::default();
    for _ in 0..HAND_OVERS {
        benches::hand_over(&one, &two, &mut ours).await;
    }
    let advisory = hand_over_of_advisory_locks(server).await;
    println!("hand-over (target: 2.5 of an advisory lock's)");
    println!("  advisory lock {advisory}");
    println!("  ours {ours}: {:.2} of it", ours.ratio(&advisory));
}

async fn hand_over_of_advisory_locks(server: &Postgres) -> Times {
    const LOCK: &str = "SELECT pg_advisory_lock(4711)";
    const UNLOCK: &str = "SELECT pg_advisory_unlock(4711)";
    let (one, two) = (client(server).await, Arc::new(client(server).await));
    let mut times = Times::default();
    for _ in 0..HAND_OVERS {
        one.batch_execute(LOCK).await.expect("locked");
        let waits = Arc::clone(&two);
        let waiting = tokio::spawn(async move { waits.batch_execute(LOCK).await });
        tokio::time::sleep(2 * QUIET).await;
        let released = Instant::now();
        one.batch_execute(UNLOCK).await.expect("unlocked");
        waiting.await.expect("no panic").expect("locked");
        times.since(released);
        two.batch_execute(UNLOCK).await.expect("unlocked");
    }
    times
}

/// Many in two processes have turns at one name.
async fn crowds(server: &Postgres) {
    println!("50 waiters, 1 ms each (target: each served once in a round, 3 statements a turn)");
    let managers = vec![manager(server).await, manager(server).await];
    let counting = client(server).await;
    let before = transactions(&counting).await;
    let ours = benches::crowd_at_a_lock(managers).await;
    let transactions = (transactions(&counting).await - before) / ours.all();
    println!("  ours {ours}, {transactions:.1} transactions a turn");
    println!("  advisory lock {}", crowd_of_advisory_locks(server).await);
}

/// Each has a session of its own, as it has to.
async fn crowd_of_advisory_locks(server: &Postgres) -> Turns {
    let mut clients = Vec::new();
    for _ in 0..benches::WAITERS {
        clients.push(Arc::new(client(server).await));
    }
    benches::crowd(move |task| {
        let client = Arc::clone(&clients[task]);
        async move {
            let lock = client.batch_execute("SELECT pg_advisory_lock(4712)");
            lock.await.expect("locked");
            benches::a_millisecond().await;
            let unlock = client.batch_execute("SELECT pg_advisory_unlock(4712)");
            unlock.await.expect("unlocked");
        }
    })
    .await
}

/// How many transactions there were in this database, as soon as the server has counted them.
async fn transactions(client: &Client) -> f64 {
    // Sessions say so when they are idle, and at most once a second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let sql = "SELECT xact_commit::float8 FROM pg_stat_database WHERE datname = current_database()";
    let row = client.query_one(sql, &[]).await;
    row.expect("it answers").get(0)
}
