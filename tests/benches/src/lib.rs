//! What the benchmarks of the stores have in common: how often something happens in a second, how
//! turns at one name fall out, and how long it takes until something has happened.
//!
//! Everything that is compared is measured in turns, in one run, and the medians count. Only the
//! ratios carry over from one machine to another.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lock_runtime::LockManager;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

/// How often everything is measured, in turns with what it is compared with.
pub const RUNS: usize = 7;

/// How many wait for one name.
pub const WAITERS: usize = 50;

/// How long one run takes.
const RUN: Duration = Duration::from_millis(400);

/// How long many have turns at one name: each of them some.
const CROWD: Duration = Duration::from_secs(2);

/// How long everything is quiet before a lock is handed over.
pub const QUIET: Duration = Duration::from_millis(3);

/// A runtime with so many threads.
///
/// # Panics
///
/// When none can be made.
#[must_use]
pub fn runtime(threads: usize) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(threads).enable_all().build();
    runtime.expect("a runtime")
}

/// How often many tasks have done something.
#[derive(Debug)]
pub struct Turns {
    /// Of each task, the fewest first.
    of_tasks: Vec<u32>,
    took: Duration,
}

impl Turns {
    /// How often that was in all.
    #[must_use]
    pub fn all(&self) -> f64 {
        self.of_tasks.iter().copied().map(f64::from).sum()
    }

    /// How long a turn took.
    #[must_use]
    pub fn each(&self) -> Duration {
        self.took.div_f64(self.all())
    }
}

impl fmt::Display for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fewest = self.of_tasks.first().copied().unwrap_or_default();
        let most = self.of_tasks.last().copied().unwrap_or_default();
        write!(
            f,
            "{:.2?} a turn, between {fewest} and {most} turns",
            self.each()
        )
    }
}

/// Does something again and again in so many tasks, which have the numbers from 0; how often in a
/// second.
pub async fn per_second<F>(tasks: usize, act: impl Fn(usize) -> F + Send + Sync + 'static) -> f64
where
    F: Future<Output = ()> + Send,
{
    let turns = repeat(tasks, RUN, act).await;
    turns.all() / turns.took.as_secs_f64()
}

/// The turns of [`WAITERS`] at one thing that only one of them has at a time.
pub async fn crowd<F>(turn: impl Fn(usize) -> F + Send + Sync + 'static) -> Turns
where
    F: Future<Output = ()> + Send,
{
    repeat(WAITERS, CROWD, turn).await
}

/// The same at a lock that they hold for a millisecond at a time, in as many processes as there are
/// managers.
pub async fn crowd_at_a_lock(managers: Vec<LockManager>) -> Turns {
    crowd(move |task| {
        let lock = managers[task % managers.len()].lock("crowd");
        async move { lock.run(a_millisecond).await.expect("its turn") }
    })
    .await
}

/// What a turn of a crowd is.
pub async fn a_millisecond() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

async fn repeat<F>(
    tasks: usize,
    length: Duration,
    act: impl Fn(usize) -> F + Send + Sync + 'static,
) -> Turns
where
    F: Future<Output = ()> + Send,
{
    let (act, started) = (Arc::new(act), Instant::now());
    let mut running = JoinSet::new();
    for task in 0..tasks {
        let act = Arc::clone(&act);
        running.spawn(async move {
            let mut turns = 0;
            while started.elapsed() < length {
                act(task).await;
                turns += 1;
            }
            turns
        });
    }
    let mut of_tasks = Vec::new();
    while let Some(turns) = running.join_next().await {
        of_tasks.push(turns.expect("no panic"));
    }
    of_tasks.sort_unstable();
    Turns {
        of_tasks,
        took: started.elapsed(),
    }
}

/// From the release by one to the entry of another, who waits in another process.
pub async fn hand_over(one: &LockManager, two: &LockManager, times: &mut Times) {
    let guard = one.lock("handed").acquire().await.expect("granted");
    let waiting = tokio::spawn(two.lock("handed").acquire());
    while one.lock("handed").info().await.expect("looked").waiting == 0 {}
    tokio::time::sleep(QUIET).await;
    let released = Instant::now();
    let releasing = tokio::spawn(guard.release());
    let guard = waiting.await.expect("no panic").expect("its turn");
    times.since(released);
    releasing.await.expect("no panic").expect("held");
    guard.release().await.expect("held");
}

/// How long something took, each time.
#[derive(Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// It was done once more, and began then.
    pub fn since(&mut self, begun: Instant) {
        self.0.push(begun.elapsed());
    }

    /// The median, as a multiple of another's.
    #[must_use]
    pub fn ratio(&self, other: &Self) -> f64 {
        self.median().as_secs_f64() / other.median().as_secs_f64()
    }

    /// What one in a hundred exceeds, as a multiple of another's median.
    #[must_use]
    pub fn late_ratio(&self, other: &Self) -> f64 {
        self.at(99).as_secs_f64() / other.median().as_secs_f64()
    }

    fn median(&self) -> Duration {
        self.at(50)
    }

    /// What so many of a hundred do not exceed.
    fn at(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted[(sorted.len() - 1) * percent / 100]
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let (median, late) = (micros(self.median()), micros(self.at(99)));
        write!(f, "{median:.0} µs, 99th {late:.0}")
    }
}

/// The median.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
