//! Tasks that end in other ways: aborted, timed out, passed over by `select!`, or gone with their
//! runtime.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::harness::{PLACES, World, body};

fn runtimes() -> [(&'static str, Runtime); 2] {
    let threads = Builder::new_multi_thread()
        .worker_threads(3)
        .enable_time()
        .build();
    let thread = Builder::new_current_thread().enable_time().build();
    [("threads", threads.unwrap()), ("thread", thread.unwrap())]
}

/// Ends the passing of time, also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Does it everywhere, on one thread and on several, and looks what is left.
fn everywhere(what: &str, act: impl Fn(&World, Runtime)) {
    for place in PLACES {
        for (kind, runtime) in runtimes() {
            let world = World::new(place);
            world.run_freely();
            let is_over = AtomicBool::new(false);
            std::thread::scope(|scope| {
                // Who polls looks again after a while.
                scope.spawn(|| {
                    while !is_over.load(Ordering::SeqCst) {
                        world.time.advance(Duration::from_millis(3));
                        std::thread::sleep(Duration::from_micros(200));
                    }
                });
                let _over = Over(&is_over);
                act(&world, runtime);
            });
            world.is_quiet(&format!("{what}, {place:?}, {kind}"));
        }
    }
}

#[test]
fn tasks_that_are_aborted_at_any_moment_leave_nothing() {
    everywhere("abort", |world, runtime| {
        let ended = Arc::new(AtomicUsize::new(0));
        runtime.block_on(async {
            let mut tasks = Vec::new();
            for number in 0..60 {
                let request = world.manager.lock("a");
                let ended = Arc::clone(&ended);
                tasks.push(tokio::spawn(async move {
                    if number % 3 == 0 {
                        drop(request.and("b").run(body).await);
                    } else {
                        drop(request.run(body).await);
                    }
                    ended.fetch_add(1, Ordering::SeqCst);
                }));
                for _ in 0..number % 5 {
                    tokio::task::yield_now().await;
                }
                if number % 2 == 0 {
                    tasks[number / 2].abort();
                }
            }
            for (number, task) in tasks.into_iter().enumerate() {
                if number % 4 == 3 {
                    task.abort();
                }
                drop(task.await);
            }
        });
    });
}

#[test]
fn tasks_that_time_out_or_lose_a_race_leave_nothing() {
    everywhere("timeout and select", |world, runtime| {
        runtime.block_on(async {
            for micros in 0..40 {
                let limit = Duration::from_micros(micros * 50);
                let holder = world.manager.lock("a").run(body);
                let waiter = world.manager.lock("a").run(body);
                drop(tokio::time::timeout(limit, async { tokio::join!(holder, waiter) }).await);
                tokio::select! {
                    _ = world.manager.lock("a").acquire() => {}
                    _ = world.manager.lock("b").run(body) => {}
                    () = tokio::time::sleep(limit) => {}
                }
            }
        });
    });
}

#[test]
fn a_runtime_that_ends_leaves_nothing_held_and_nothing_waiting() {
    everywhere("the end of a runtime", |world, runtime| {
        let began = Arc::new(AtomicUsize::new(0));
        for _ in 0..20 {
            let request = world.manager.lock("a");
            let began = Arc::clone(&began);
            runtime.spawn(async move {
                let body = || async move {
                    began.fetch_add(1, Ordering::SeqCst);
                    std::future::pending::<()>().await;
                };
                drop(request.run(body).await);
            });
        }
        runtime.block_on(async {
            while began.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
        });
        drop(runtime);
        assert_eq!(began.load(Ordering::SeqCst), 1, "two were inside");
    });
}

#[test]
fn a_guard_that_outlives_its_runtime_is_released() {
    everywhere("a guard outside", |world, runtime| {
        let guard = runtime.block_on(world.manager.lock("a").acquire());
        drop(runtime);
        let guard = guard.unwrap();
        assert!(guard.is_held());
        drop(guard);
    });
}
