//! Locks in PostgreSQL beside the least that a client of the same server can do.
//!
//! `LOCK_URL=postgres://postgres@localhost/postgres cargo bench -p lock-runtime --features postgres
//! --bench postgres`
//!
//! Only the ratios carry over from one machine to another. Most of a pair is how long two commits
//! take, which the server's `fsync` and `synchronous_commit` decide.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lock_runtime::LockManager;
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls, Statement};

type Anything<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How long each figure is measured.
const MEASURED: Duration = Duration::from_secs(2);

/// What a lock is left alone before it is handed over, so that nothing is warm by chance.
const IDLE: Duration = Duration::from_millis(2);

const HAND_OVERS: usize = 300;

#[tokio::main]
async fn main() -> Anything<()> {
    let Ok(url) = std::env::var("LOCK_URL") else {
        println!("set LOCK_URL=postgres://… to a server that may be used for this");
        return Ok(());
    };
    let manager = LockManager::connect(&url).await?;
    pairs(&manager, &url).await?;
    hand_over(&manager, &url).await?;
    fifty_waiters(&manager, &url).await
}

async fn connect(url: &str) -> Anything<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// The floor: a lease is a row, which is written and deleted, both by prepared statements that go
/// over one connection for all tasks.
struct Floor {
    client: Client,
    upsert: Statement,
    delete: Statement,
}

impl Floor {
    async fn new(url: &str) -> Anything<Self> {
        let client = connect(url).await?;
        let table = "DROP TABLE IF EXISTS bench_floor;
            CREATE TABLE bench_floor
                (name text PRIMARY KEY, owner text, ends timestamptz, token bigint);
            CREATE SEQUENCE IF NOT EXISTS bench_tokens";
        client.batch_execute(table).await?;
        let upsert = "INSERT INTO bench_floor
            VALUES ($1, $2, clock_timestamp() + interval '30 s', nextval('bench_tokens'))
            ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, ends = excluded.ends,
                token = excluded.token WHERE bench_floor.ends < clock_timestamp()
            RETURNING token";
        let delete = "DELETE FROM bench_floor WHERE name = $1 AND owner = $2";
        Ok(Self {
            upsert: client.prepare(upsert).await?,
            delete: client.prepare(delete).await?,
            client,
        })
    }

    async fn pair(&self, name: &str) -> Anything<()> {
        let owner = "an owner";
        let granted = self
            .client
            .query_opt(&self.upsert, &[&name, &owner])
            .await?;
        assert!(granted.is_some());
        self.client
            .execute(&self.delete, &[&name, &owner])
            .await
            .map(drop)?;
        Ok(())
    }
}

/// Tasks with a name of their own each.
async fn pairs(manager: &LockManager, url: &str) -> Anything<()> {
    println!("pairs of acquire and release in a second (target: 0.85 of the floor)");
    let least = Arc::new(Floor::new(url).await?);
    for tasks in [1, 16, 256] {
        let one = Arc::clone(&least);
        let floor = per_second(tasks, move |name| {
            let one = Arc::clone(&one);
            async move { one.pair(&name).await }
        });
        let floor = floor.await?;
        let manager = manager.clone();
        let ours = per_second(tasks, move |name| {
            let request = manager.lock(name);
            async move { Ok(request.acquire().await?.release().await?) }
        });
        let ours = ours.await?;
        let ratio = ours / floor;
        println!("  {tasks:3} tasks: {ours:8.0}   floor {floor:8.0}   ratio {ratio:.2}");
    }
    least
        .client
        .batch_execute("DROP TABLE bench_floor; DROP SEQUENCE bench_tokens")
        .await?;
    Ok(())
}

/// How many turns so many tasks have together in a second.
async fn per_second<T>(
    tasks: usize,
    turn: impl Fn(String) -> T + Clone + Send + Sync + 'static,
) -> Anything<f64>
where
    T: Future<Output = Anything<()>> + Send,
{
    let started = Instant::now();
    let mut all = JoinSet::new();
    for task in 0..tasks {
        let turn = turn.clone();
        all.spawn(async move {
            let mut turns = 0_u32;
            while started.elapsed() < MEASURED {
                turn(format!("pair:{task}")).await?;
                turns += 1;
            }
            Anything::Ok(turns)
        });
    }
    let mut sum = 0.0;
    while let Some(turns) = all.join_next().await {
        sum += f64::from(turns??);
    }
    Ok(sum / started.elapsed().as_secs_f64())
}

/// From the release by one to the grant of another, who waits in another process.
async fn hand_over(manager: &LockManager, url: &str) -> Anything<()> {
    let other = LockManager::connect(url).await?;
    let mut ours = Vec::new();
    for _ in 0..HAND_OVERS {
        let guard = manager.lock("handed").acquire().await?;
        let waiting = tokio::spawn(other.lock("handed").acquire());
        while manager.lock("handed").info().await?.waiting == 0 {}
        tokio::time::sleep(IDLE).await;
        let released = Instant::now();
        drop(guard);
        let next = waiting.await??;
        ours.push(released.elapsed());
        next.release().await?;
    }
    let (one, two) = (connect(url).await?, connect(url).await?);
    let two = Arc::new(two);
    let mut floor = Vec::new();
    for _ in 0..HAND_OVERS {
        one.batch_execute("SELECT pg_advisory_lock(4711)").await?;
        let waits = Arc::clone(&two);
        let waiting =
            tokio::spawn(async move { waits.batch_execute("SELECT pg_advisory_lock(4711)").await });
        tokio::time::sleep(2 * IDLE).await;
        let released = Instant::now();
        one.batch_execute("SELECT pg_advisory_unlock(4711)").await?;
        waiting.await??;
        floor.push(released.elapsed());
        two.batch_execute("SELECT pg_advisory_unlock(4711)").await?;
    }
    println!("hand-over after {IDLE:?} (target: 2.5 of an advisory lock's)");
    let (ours, p99) = median_and_p99(&mut ours);
    let (floor, floor_p99) = median_and_p99(&mut floor);
    println!("  median {ours:?}   p99 {p99:?}   advisory lock {floor:?}   p99 {floor_p99:?}");
    let ratio = ours.as_secs_f64() / floor.as_secs_f64();
    println!("  ratio {ratio:.2}");
    Ok(())
}

fn median_and_p99(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

/// Fifty who want one lock for 1 ms at a time, in two processes.
async fn fifty_waiters(manager: &LockManager, url: &str) -> Anything<()> {
    const WAITERS: usize = 50;
    let other = LockManager::connect(url).await?;
    let client = connect(url).await?;
    let before = transactions(&client).await?;
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..WAITERS {
        let manager = if task % 2 == 0 { manager } else { &other }.clone();
        tasks.spawn(async move {
            let mut turns = 0_u32;
            while started.elapsed() < 2 * MEASURED {
                let guard = manager.lock("wanted").acquire().await?;
                tokio::time::sleep(Duration::from_millis(1)).await;
                guard.release().await?;
                turns += 1;
            }
            Anything::Ok(turns)
        });
    }
    let mut turns = Vec::new();
    while let Some(done) = tasks.join_next().await {
        turns.push(done??);
    }
    let took = started.elapsed();
    turns.sort_unstable();
    let sum: u32 = turns.iter().sum();
    let statements = (transactions(&client).await? - before) / f64::from(sum);
    println!("50 waiters, 1 ms each (target: each served once in a round, 3 statements a turn)");
    println!(
        "  {:?} a turn   fewest {} most {} turns   {statements:.1} transactions a turn",
        took / sum,
        turns[0],
        turns[WAITERS - 1],
    );
    Ok(())
}

/// How many transactions there were in this database, as soon as the server has counted them.
async fn transactions(client: &Client) -> Anything<f64> {
    tokio::time::sleep(Duration::from_secs(2)).await;
    let sql = "SELECT xact_commit::float8 FROM pg_stat_database WHERE datname = current_database()";
    Ok(client.query_one(sql, &[]).await?.get(0))
}
