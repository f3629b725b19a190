//! What a section costs with the embedded backend, beside a bare tokio `Mutex` and two crates
//! that lock by key.

mod support;

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use lock_runtime::{LockError, LockManager, locked, set_lock_manager};
use lockable::{AsyncLimit, LockableHashMap};
use tokio::runtime::{Builder, Runtime};

const NAMES: usize = 1024;

#[locked("task:{id}")]
async fn section(id: u64) -> Result<u64, LockError> {
    Ok(id)
}

#[locked("task:{id}", wait = "forever")]
async fn turn(id: u64) -> Result<(), LockError> {
    tokio::task::yield_now().await;
    black_box(id);
    Ok(())
}

/// A name made on the stack, as the annotation makes it.
struct Name {
    text: [u8; 32],
    used: usize,
}

impl Name {
    fn of(id: u64) -> Self {
        let mut name = Self {
            text: [0; 32],
            used: 0,
        };
        let _fits = write!(name, "task:{id}");
        name
    }
}

impl std::fmt::Write for Name {
    fn write_str(&mut self, piece: &str) -> std::fmt::Result {
        let end = self.used + piece.len();
        let place = self.text.get_mut(self.used..end).ok_or(std::fmt::Error)?;
        place.copy_from_slice(piece.as_bytes());
        self.used = end;
        Ok(())
    }
}

fn runtime(threads: usize) -> Runtime {
    let built = if threads == 1 {
        Builder::new_current_thread().build()
    } else {
        Builder::new_multi_thread().worker_threads(threads).build()
    };
    built.expect("a runtime")
}

fn uncontended(criterion: &mut Criterion) {
    let runtime = runtime(1);
    let mutexes: Vec<tokio::sync::Mutex<()>> =
        (0..NAMES).map(|_| tokio::sync::Mutex::new(())).collect();
    let lockable = LockableHashMap::<String, ()>::new();
    let keyed = keyed_lock::r#async::KeyedLock::<String>::new();

    let mut group = criterion.benchmark_group("uncontended");
    group.bench_function("tokio_mutex", |b| {
        b.iter_custom(|runs| {
            runtime.block_on(async {
                let start = Instant::now();
                for id in 0..runs {
                    let name = black_box(Name::of(id));
                    let guard = mutexes[id as usize % NAMES].lock().await;
                    black_box(&name.text);
                    drop(guard);
                }
                start.elapsed()
            })
        });
    });
    group.bench_function("annotated", |b| {
        b.iter_custom(|runs| {
            runtime.block_on(async {
                let start = Instant::now();
                for id in 0..runs {
                    let _done = black_box(section(black_box(id)).await);
                }
                start.elapsed()
            })
        });
    });
    group.bench_function("lockable", |b| {
        b.iter_custom(|runs| {
            runtime.block_on(async {
                let start = Instant::now();
                for id in 0..runs {
                    let name = format!("task:{id}");
                    let _guard = black_box(lockable.async_lock(name, AsyncLimit::no_limit()).await);
                }
                start.elapsed()
            })
        });
    });
    group.bench_function("keyed_lock", |b| {
        b.iter_custom(|runs| {
            runtime.block_on(async {
                let start = Instant::now();
                for id in 0..runs {
                    let name = format!("task:{id}");
                    let _guard = black_box(keyed.lock(name).await);
                }
                start.elapsed()
            })
        });
    });
    group.finish();
    support::print_ratios(
        "uncontended",
        &["tokio_mutex", "annotated", "lockable", "keyed_lock"],
    );
}

/// Time per turn of 64 tasks that take turns on one name, each yielding once inside.
fn hand_over(criterion: &mut Criterion) {
    const TASKS: u64 = 64;
    let runtime = runtime(1);
    let mut group = criterion.benchmark_group("hand_over");

    let mutex = Arc::new(tokio::sync::Mutex::new(()));
    group.bench_function("tokio_mutex", |b| {
        let mutex = Arc::clone(&mutex);
        b.iter_custom(|runs| {
            turns(&runtime, runs.div_ceil(TASKS), {
                let mutex = Arc::clone(&mutex);
                move || {
                    let mutex = Arc::clone(&mutex);
                    async move {
                        let _guard = mutex.lock().await;
                        tokio::task::yield_now().await;
                    }
                }
            })
        });
    });
    group.bench_function("annotated", |b| {
        b.iter_custom(|runs| {
            turns(&runtime, runs.div_ceil(TASKS), || async {
                let _done = black_box(turn(7).await);
            })
        });
    });
    let lockable = Arc::new(LockableHashMap::<String, ()>::new());
    group.bench_function("lockable", |b| {
        let lockable = Arc::clone(&lockable);
        b.iter_custom(|runs| {
            turns(&runtime, runs.div_ceil(TASKS), {
                let lockable = Arc::clone(&lockable);
                move || {
                    let lockable = Arc::clone(&lockable);
                    async move {
                        let name = format!("task:{}", black_box(7));
                        let _guard = lockable.async_lock(name, AsyncLimit::no_limit()).await;
                        tokio::task::yield_now().await;
                    }
                }
            })
        });
    });
    let keyed = Arc::new(keyed_lock::r#async::KeyedLock::<String>::new());
    group.bench_function("keyed_lock", |b| {
        let keyed = Arc::clone(&keyed);
        b.iter_custom(|runs| {
            turns(&runtime, runs.div_ceil(TASKS), {
                let keyed = Arc::clone(&keyed);
                move || {
                    let keyed = Arc::clone(&keyed);
                    async move {
                        let name = format!("task:{}", black_box(7));
                        let _guard = keyed.lock(name).await;
                        tokio::task::yield_now().await;
                    }
                }
            })
        });
    });
    group.finish();
    support::print_ratios(
        "hand_over",
        &["tokio_mutex", "annotated", "lockable", "keyed_lock"],
    );

    fn turns<F>(
        runtime: &Runtime,
        each: u64,
        one: impl Fn() -> F + Clone + Send + 'static,
    ) -> Duration
    where
        F: Future<Output = ()> + Send + 'static,
    {
        runtime.block_on(async {
            let start = Instant::now();
            let tasks: Vec<_> = (0..TASKS)
                .map(|_| {
                    let one = one.clone();
                    tokio::spawn(async move {
                        for _ in 0..each {
                            one().await;
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.expect("no panic");
            }
            start.elapsed()
        })
    }
}

/// Time per section of each of two threads, on names of their own.
fn two_threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("threads");
    for threads in [1_u64, 2] {
        group.bench_with_input(
            BenchmarkId::from_parameter(threads),
            &threads,
            |b, threads| {
                b.iter_custom(|runs| {
                    let start = Instant::now();
                    std::thread::scope(|scope| {
                        for thread in 0..*threads {
                            scope.spawn(move || {
                                runtime(1).block_on(async {
                                    for id in 0..runs {
                                        let name = thread * 1_000_000_000 + id % 1024;
                                        let _done = black_box(section(black_box(name)).await);
                                    }
                                })
                            });
                        }
                    });
                    start.elapsed() / *threads as u32
                });
            },
        );
    }
    group.finish();
    support::print_ratios("threads", &["1", "2"]);
}

/// Time per waiter of a queue of so many on one name, from the first wait to the last release.
fn long_queue(criterion: &mut Criterion) {
    let runtime = runtime(1);
    let mut group = criterion.benchmark_group("queue_of");
    group.sample_size(10);
    for waiters in [1_000_u64, 10_000] {
        group.bench_with_input(
            BenchmarkId::from_parameter(waiters),
            &waiters,
            |b, waiters| {
                b.iter_custom(|runs| {
                    let mut spent = Duration::ZERO;
                    for _ in 0..runs {
                        let start = Instant::now();
                        runtime.block_on(async {
                            let tasks: Vec<_> =
                                (0..*waiters).map(|_| tokio::spawn(turn(8))).collect();
                            for task in tasks {
                                task.await.expect("no panic").expect("served");
                            }
                        });
                        spent += start.elapsed();
                    }
                    spent / *waiters as u32
                });
            },
        );
    }
    group.finish();
    support::print_ratios("queue_of", &["1000", "10000"]);
}

fn memory(criterion: &mut Criterion) {
    set_lock_manager(LockManager::memory()).expect("the first and only manager");
    uncontended(criterion);
    hand_over(criterion);
    two_threads(criterion);
    long_queue(criterion);
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(30);
    targets = memory
}
criterion_main!(benches);
