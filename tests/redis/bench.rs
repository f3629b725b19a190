//! What locks in Redis cost, beside a minimal client of the same server in the same run: `SET NX
//! PX` and a script that compares and deletes; that one also on a thread of its own, as every
//! request of a lock manager is; and beside the crate `rslock`, which does the same and no more.
//! `cargo bench -p tests --bench redis`.
//!
//! Compare the ratios: the figures themselves are those of one machine at one moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lock_runtime::LockManager;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{Client, IntoConnectionInfo, Script};
use servers::Redis;
use tokio::sync::Barrier;

/// How long a figure is measured for, and how often; the best counts.
const ROUND: Duration = Duration::from_millis(1_500);
const ROUNDS: usize = 3;

fn main() {
    let server = Redis::start();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        pairs(&server).await;
        handover(&server).await;
        queue(&server).await;
    });
}

async fn manager(server: &Redis) -> LockManager {
    LockManager::connect(&server.url())
        .await
        .expect("connected")
}

/// A connection as the backend has one.
async fn connection(url: &str) -> MultiplexedConnection {
    let place = url.into_connection_info().expect("a URL");
    let place = place.set_tcp_settings(TcpSettings::default().set_nodelay(true));
    let client = Client::open(place).expect("a client");
    let connection = client.get_multiplexed_async_connection();
    connection.await.expect("connected")
}

/// So many tasks take and give back names of their own. Pairs per second.
async fn rate<F: Future<Output = ()> + Send + 'static>(
    tasks: usize,
    pair: impl Fn(usize) -> F + Send + Sync + 'static,
) -> f64 {
    let (pair, done) = (Arc::new(pair), Arc::new(AtomicU64::new(0)));
    let barrier = Arc::new(Barrier::new(tasks + 1));
    let until = Arc::new(std::sync::OnceLock::new());
    let mut running = Vec::new();
    for task in 0..tasks {
        let (pair, done) = (Arc::clone(&pair), Arc::clone(&done));
        let (barrier, until) = (Arc::clone(&barrier), Arc::clone(&until));
        running.push(tokio::spawn(async move {
            barrier.wait().await;
            let until: Instant = *until.get_or_init(|| Instant::now() + ROUND);
            while Instant::now() < until {
                pair(task).await;
                done.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    barrier.wait().await;
    let started = Instant::now();
    for task in running {
        task.await.expect("it ran");
    }
    done.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64()
}

async fn pairs(server: &Redis) {
    let other_thread = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    println!("pairs per second, own names (target: 0.85 of plain with 1 and 16 tasks)");
    for tasks in [1, 16, 256] {
        let (mut plain, mut apart, mut peer, mut ours) = (0.0, 0.0, 0.0, 0.0);
        for _ in 0..ROUNDS {
            let minimal = Minimal::connect(&server.url()).await;
            plain = f64::max(plain, rate(tasks, move |task| minimal.pair(task)).await);
            let handle = other_thread.handle().clone();
            let url = server.url();
            let connecting = handle.spawn(async move { Minimal::connect(&url).await });
            let minimal = connecting.await.expect("it ran");
            let rate_apart = rate(tasks, move |task| {
                let (minimal, handle) = (minimal.clone(), handle.clone());
                async move {
                    let key = format!("plain:{task}");
                    let owner = minimal.owner();
                    let (there, key_there, owner_there) =
                        (minimal.clone(), key.clone(), owner.clone());
                    let set = async move { there.set(&key_there, &owner_there).await };
                    handle.spawn(set).await.expect("it ran");
                    let delete = async move { minimal.delete(&key, &owner).await };
                    handle.spawn(delete).await.expect("it ran");
                }
            });
            apart = f64::max(apart, rate_apart.await);
            let rslock = Arc::new(rslock::LockManager::new(vec![server.url()]));
            let rate_of_peer = rate(tasks, move |task| {
                let rslock = Arc::clone(&rslock);
                async move {
                    let name = format!("peer:{task}");
                    let lock = rslock.lock(name.as_str(), Duration::from_secs(30)).await;
                    rslock.unlock(&lock.expect("granted")).await;
                }
            });
            peer = f64::max(peer, rate_of_peer.await);
            let manager = manager(server).await;
            let rate_of_ours = rate(tasks, move |task| {
                let manager = manager.clone();
                async move {
                    let name = format!("ours:{task}");
                    let guard = manager
                        .lock(name.as_str())
                        .acquire()
                        .await
                        .expect("granted");
                    guard.release().await.expect("released");
                }
            });
            ours = f64::max(ours, rate_of_ours.await);
        }
        println!(
            "  {tasks:>3} tasks: plain {plain:>8.0}, plain on another thread {apart:>8.0}, \
             rslock {peer:>8.0}, ours {ours:>8.0}; ratio {:.2}, {:.2}, {:.2}",
            ours / plain,
            ours / apart,
            ours / peer,
        );
    }
    other_thread.shutdown_background();
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

    fn pair(&self, task: usize) -> impl Future<Output = ()> + Send + use<> {
        let minimal = self.clone();
        async move {
            let (key, owner) = (format!("plain:{task}"), minimal.owner());
            minimal.set(&key, &owner).await;
            minimal.delete(&key, &owner).await;
        }
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

/// How long it takes from a release until the one who waits, in another process, is in.
async fn handover(server: &Redis) {
    let (one, two) = (manager(server).await, manager(server).await);
    let mut connection = connection(&server.url()).await;
    let (mut handovers, mut pings) = (Vec::new(), Vec::new());
    for _ in 0..500 {
        let guard = one.lock("handed").acquire().await.expect("granted");
        let waiting = tokio::spawn(two.lock("handed").acquire());
        tokio::time::sleep(Duration::from_millis(2)).await;
        let released = Instant::now();
        let release = guard.release();
        let entering = async {
            let guard = waiting.await.expect("it ran").expect("granted");
            (released.elapsed(), guard)
        };
        let (release, (took, guard)) = tokio::join!(release, entering);
        release.expect("released");
        handovers.push(took);
        guard.release().await.expect("released");
        tokio::time::sleep(Duration::from_millis(2)).await;
        let asked = Instant::now();
        let _pong: String = redis::cmd("PING")
            .query_async(&mut connection)
            .await
            .expect("a pong");
        pings.push(asked.elapsed());
    }
    let (ping, _) = quantiles(pings);
    let (median, late) = quantiles(handovers);
    println!("hand-over (target: median 2.5 and 99th 5 times an idle round trip)");
    println!(
        "  idle round trip {ping:?}; median {median:?} ({:.1}), 99th {late:?} ({:.1})",
        median.as_secs_f64() / ping.as_secs_f64(),
        late.as_secs_f64() / ping.as_secs_f64(),
    );
}

/// The median, and what one in a hundred exceeds.
fn quantiles(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

/// Fifty wait for one name and have it for a millisecond each.
async fn queue(server: &Redis) {
    println!("50 waiters, 1 ms each (target: 1.15 of the same in memory, 3 requests a turn)");
    let memory = chain(&LockManager::memory()).await;
    let manager = manager(server).await;
    let before = requests(server);
    let redis = chain(&manager).await;
    let asked = requests(server) - before;
    let ratio = redis.as_secs_f64() / memory.as_secs_f64();
    println!("  in memory {memory:?}, in Redis {redis:?}, ratio {ratio:.2}, {asked} requests");
}

async fn chain(manager: &LockManager) -> Duration {
    let first = manager.lock("queue").acquire().await.expect("granted");
    let mut waiters = Vec::new();
    for _ in 0..50 {
        let manager = manager.clone();
        waiters.push(tokio::spawn(async move {
            let guard = manager.lock("queue").acquire().await.expect("granted");
            tokio::time::sleep(Duration::from_millis(1)).await;
            guard.release().await.expect("released");
        }));
    }
    while manager.lock("queue").info().await.expect("looked").waiting < 50 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let started = Instant::now();
    first.release().await.expect("released");
    for waiter in waiters {
        waiter.await.expect("it ran");
    }
    started.elapsed()
}

/// How many scripts were run.
fn requests(server: &Redis) -> u64 {
    let statistics = server.command(&["INFO", "commandstats"]);
    let line = statistics
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    let calls = line.and_then(|line| line.split(',').next()?.parse().ok());
    calls.unwrap_or(0)
}
