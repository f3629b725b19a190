//! What locks in Redis cost, beside a minimal client of the same server: `SET NX PX` and a script
//! that compares and deletes; that one also on a thread of its own, as every request of a lock
//! manager is; and beside the crates `rslock`, which does the same and no more, and
//! `async-redis-lock`, which renews as well. `cargo bench -p benches --bench redis`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use benches::{QUIET, RUNS, Times, Turns};
use lock_runtime::LockManager;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{Client, IntoConnectionInfo, Script};
use servers::Redis;
use tokio::runtime::Handle;

/// How often a lock is handed over, and how often one of the peers', who poll.
const HAND_OVERS: usize = 500;
const HAND_OVERS_OF_PEERS: usize = 30;

/// In how many processes those are who wait for one name.
const PROCESSES: usize = 5;

/// How long a lock of the peers lasts.
const TTL: Duration = Duration::from_secs(30);

fn main() {
    let server = Redis::start();
    benches::runtime(1).block_on(async {
        pairs(&server).await;
        handing_over(&server).await;
        crowds(&server).await;
    });
}

async fn manager(server: &Redis) -> LockManager {
    let manager = LockManager::connect(&server.url()).await;
    manager.expect("a manager")
}

/// A connection as the backend has one.
async fn connection(url: &str) -> MultiplexedConnection {
    let place = url.into_connection_info().expect("a URL");
    let place = place.set_tcp_settings(TcpSettings::default().set_nodelay(true));
    let client = Client::open(place).expect("a client");
    let connection = client.get_multiplexed_async_connection();
    connection.await.expect("connected")
}

async fn pairs(server: &Redis) {
    let other_thread = benches::runtime(1);
    println!("pairs per second, own names (target: 0.85 of plain with 1 and 16 tasks)");
    for tasks in [1, 16, 256] {
        let (mut plain, mut apart, mut ours) = (Vec::new(), Vec::new(), Vec::new());
        let (mut rslock, mut async_redis_lock) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            plain.push(pairs_of_plain(server, tasks).await);
            apart.push(pairs_apart(server, tasks, other_thread.handle()).await);
            rslock.push(pairs_of_rslock(server, tasks).await);
            async_redis_lock.push(pairs_of_async_redis_lock(server, tasks).await);
            ours.push(pairs_of_ours(server, tasks).await);
        }
        let ours = benches::median(ours);
        print!("  {tasks:>3} tasks: ours {ours:.0}");
        for (name, theirs) in [
            ("plain", plain),
            ("plain on another thread", apart),
            ("rslock", rslock),
            ("async-redis-lock", async_redis_lock),
        ] {
            let theirs = benches::median(theirs);
            print!(", {name} {theirs:.0} (ratio {:.2})", ours / theirs);
        }
        println!();
    }
    other_thread.shutdown_background();
}

async fn pairs_of_ours(server: &Redis, tasks: usize) -> f64 {
    let manager = manager(server).await;
    benches::per_second(tasks, move |task| {
        let lock = manager.lock(format!("ours:{task}").as_str());
        async move {
            let guard = lock.acquire().await.expect("granted");
            guard.release().await.expect("released");
        }
    })
    .await
}

async fn pairs_of_plain(server: &Redis, tasks: usize) -> f64 {
    let minimal = Minimal::connect(&server.url()).await;
    benches::per_second(tasks, move |task| {
        let minimal = minimal.clone();
        async move {
            let (key, owner) = (format!("plain:{task}"), minimal.owner());
            minimal.set(&key, &owner).await;
            minimal.delete(&key, &owner).await;
        }
    })
    .await
}

/// Each request runs on a thread that somebody else has.
async fn pairs_apart(server: &Redis, tasks: usize, handle: &Handle) -> f64 {
    let (url, handle) = (server.url(), handle.clone());
    let connecting = handle.spawn(async move { Minimal::connect(&url).await });
    let minimal = connecting.await.expect("it ran");
    benches::per_second(tasks, move |task| {
        let (minimal, handle) = (minimal.clone(), handle.clone());
        async move {
            let (key, owner) = (format!("plain:{task}"), minimal.owner());
            let (there, key_there, owner_there) = (minimal.clone(), key.clone(), owner.clone());
            let set = async move { there.set(&key_there, &owner_there).await };
            handle.spawn(set).await.expect("it ran");
            let delete = async move { minimal.delete(&key, &owner).await };
            handle.spawn(delete).await.expect("it ran");
        }
    })
    .await
}

async fn pairs_of_rslock(server: &Redis, tasks: usize) -> f64 {
    let rslock = Rslock::new(server);
    benches::per_second(tasks, move |task| {
        let rslock = rslock.clone();
        async move {
            let lock = rslock.lock(&format!("rslock:{task}")).await;
            rslock.unlock(&lock).await;
        }
    })
    .await
}

async fn pairs_of_async_redis_lock(server: &Redis, tasks: usize) -> f64 {
    let locker = locker(server).await;
    benches::per_second(tasks, move |task| {
        let locker = locker.clone();
        async move {
            let lock = locker.acquire(format!("async-redis-lock:{task}")).await;
            lock.expect("granted").release().await.expect("released");
        }
    })
    .await
}

/// A minimal lock: `SET NX PX`, and a script that compares and deletes.
#[derive(Clone)]
struct Minimal {
    connection: MultiplexedConnection,
    delete: Arc<Script>,
    owners: Arc<AtomicU64>,
}

impl Minimal {
    async fn connect(url: &str) -> Self {
        let delete = "if redis.call('GET', KEYS[1]) == ARGV[1] then \
             return redis.call('DEL', KEYS[1]) end return 0";
        Self {
            connection: connection(url).await,
            delete: Arc::new(Script::new(delete)),
            owners: Arc::default(),
        }
    }

    fn owner(&self) -> String {
        format!("{:032x}", self.owners.fetch_add(1, Ordering::Relaxed))
    }

    async fn set(&self, key: &str, owner: &str) {
        let set: Option<String> = redis::cmd("SET")
            .arg(key)
            .arg(owner)
            .arg("NX")
            .arg("PX")
            .arg(30_000)
            .query_async(&mut self.connection.clone())
            .await
            .expect("set");
        assert!(set.is_some(), "it is free");
    }

    async fn delete(&self, key: &str, owner: &str) {
        let deleted: u32 = self
            .delete
            .key(key)
            .arg(owner)
            .invoke_async(&mut self.connection.clone())
            .await
            .expect("deleted");
        assert_eq!(deleted, 1);
    }
}

#[derive(Clone)]
struct Rslock(Arc<rslock::LockManager>);

impl Rslock {
    fn new(server: &Redis) -> Self {
        Self(Arc::new(rslock::LockManager::new(vec![server.url()])))
    }

    /// Tries until it has it.
    async fn lock(&self, name: &str) -> rslock::Lock {
        let lock = self.0.acquire_no_guard(name, TTL).await;
        lock.expect("granted")
    }

    async fn unlock(&self, lock: &rslock::Lock) {
        self.0.unlock(lock).await;
    }
}

async fn locker(server: &Redis) -> async_redis_lock::Locker {
    let locker = async_redis_lock::Locker::from_redis_url(&server.url()).await;
    locker.expect("connected")
}

/// For as long as it takes.
fn patient() -> async_redis_lock::Options {
    async_redis_lock::Options::new().timeout(None).ttl(TTL)
}

/// How long it takes from a release until the one who waits, in another process, is in.
async fn handing_over(server: &Redis) {
    let (ours, round_trips) = hand_over(server).await;
    println!("hand-over (target: median 2.5 and 99th 5 times an idle round trip)");
    println!("  idle round trip {round_trips}");
    println!(
        "  ours {ours}: {:.1} and {:.1} of it",
        ours.ratio(&round_trips),
        ours.late_ratio(&round_trips)
    );
    println!("  rslock {}", hand_over_of_rslock(server).await);
    let times = hand_over_of_async_redis_lock(server).await;
    println!("  async-redis-lock {times}");
}

/// Ours, and idle round trips between.
async fn hand_over(server: &Redis) -> (Times, Times) {
    let (one, two) = (manager(server).await, manager(server).await);
    let mut connection = connection(&server.url()).await;
    let (mut times, mut round_trips) = (Times::default(), Times::default());
    for _ in 0..HAND_OVERS {
        benches::hand_over(&one, &two, &mut times).await;
        tokio::time::sleep(QUIET).await;
        let asked = Instant::now();
        let ping = redis::cmd("PING").exec_async(&mut connection).await;
        ping.expect("a pong");
        round_trips.since(asked);
    }
    (times, round_trips)
}

async fn hand_over_of_rslock(server: &Redis) -> Times {
    let (one, two) = (Rslock::new(server), Rslock::new(server));
    let mut times = Times::default();
    for _ in 0..HAND_OVERS_OF_PEERS {
        let lock = one.lock("handed by rslock").await;
        let waits = two.clone();
        let waiting = tokio::spawn(async move { waits.lock("handed by rslock").await });
        tokio::time::sleep(QUIET).await;
        let released = Instant::now();
        one.unlock(&lock).await;
        let lock = waiting.await.expect("it ran");
        times.since(released);
        two.unlock(&lock).await;
    }
    times
}

async fn hand_over_of_async_redis_lock(server: &Redis) -> Times {
    const NAME: &str = "handed by async-redis-lock";
    let (one, two) = (locker(server).await, locker(server).await);
    let mut times = Times::default();
    for _ in 0..HAND_OVERS_OF_PEERS {
        let lock = one.acquire(NAME).await.expect("granted");
        let waits = two.clone();
        let waiting =
            tokio::spawn(async move { waits.acquire_with_options(&patient(), NAME).await });
        tokio::time::sleep(QUIET).await;
        let released = Instant::now();
        lock.release().await.expect("released");
        let lock = waiting.await.expect("it ran").expect("granted");
        times.since(released);
        lock.release().await.expect("released");
    }
    times
}

/// Many in several processes have turns at one name.
async fn crowds(server: &Redis) {
    println!("50 waiters, 1 ms each (target: 1.15 of the same in memory, 3 requests a turn)");
    let memory = benches::crowd_at_a_lock(vec![LockManager::memory()]).await;
    println!("  in memory {memory}");
    let mut managers = Vec::new();
    for _ in 0..PROCESSES {
        managers.push(manager(server).await);
    }
    let before = requests(server);
    let ours = benches::crowd_at_a_lock(managers).await;
    let requests = (requests(server) - before) / ours.all();
    let ratio = ours.each().as_secs_f64() / memory.each().as_secs_f64();
    println!("  ours {ours}: {ratio:.2} of it, {requests:.1} requests a turn");
    println!("  rslock {}", crowd_of_rslock(server).await);
    println!(
        "  async-redis-lock {}",
        crowd_of_async_redis_lock(server).await
    );
}

async fn crowd_of_rslock(server: &Redis) -> Turns {
    let lockers: [_; PROCESSES] = std::array::from_fn(|_| Rslock::new(server));
    benches::crowd(move |task| {
        let rslock = lockers[task % PROCESSES].clone();
        async move {
            let lock = rslock.lock("crowd of rslock").await;
            benches::a_millisecond().await;
            rslock.unlock(&lock).await;
        }
    })
    .await
}

async fn crowd_of_async_redis_lock(server: &Redis) -> Turns {
    let mut lockers = Vec::new();
    for _ in 0..PROCESSES {
        lockers.push(locker(server).await);
    }
    benches::crowd(move |task| {
        let locker = lockers[task % PROCESSES].clone();
        async move {
            let name = "crowd of async-redis-lock";
            let lock = locker.acquire_with_options(&patient(), name).await;
            benches::a_millisecond().await;
            lock.expect("granted").release().await.expect("released");
        }
    })
    .await
}

/// How many scripts were run.
fn requests(server: &Redis) -> f64 {
    let statistics = server.command(&["INFO", "commandstats"]);
    let line = statistics
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    let calls = line.and_then(|line| line.split(',').next()?.parse().ok());
    calls.unwrap_or_default()
}
