//! Pairs through the runtime's manager.

use std::rc::Rc;
use std::time::{Duration, Instant};

use lock_runtime::LockManager;
use lock_runtime::wire::Encoding;
use tokio::task::{LocalSet, spawn_local};

use crate::link::{AT_ONCE, Link, Request};
use crate::program::Program;
use crate::report::{RUNS, line, median, title};
use crate::throughput::{Done, RUN, echoed};

/// Pairs per second by tasks of one process, each with a name of its own.
pub(crate) async fn pairs() {
    title("pairs per second through a LockManager (floor: half the frames echoed, one connection)");
    let (echo, daemon) = (Program::echo(), Program::daemon(&[]));
    let url = format!("unix:{}", daemon.socket().display());
    let manager = LockManager::connect(&url).await.expect("it listens");
    let encoding = Encoding::Postcard;
    for tasks in [1, 16, 256] {
        let lanes: Vec<Request> = (0..tasks)
            .map(|lane| Request::new(encoding, lane, &format!("task:{lane}"), AT_ONCE))
            .collect();
        let mut floor = Link::to_echo(&echo.socket(), encoding).await;
        let (mut rates, mut shares) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let frames = echoed(&mut floor, &lanes).await.rate();
            let pairs = by_tasks(&manager, tasks).await;
            rates.push(pairs);
            shares.push(pairs / (frames / 2.0));
        }
        let (rate, share) = (median(&rates), median(&shares));
        let figure = format!("{:.1} k/s; {share:.2} of the floor", rate / 1e3);
        let target = match tasks {
            1 => "target ≥ 165 k/s on the machine of the peers",
            16 => "moonshot ≥ 1,000 k/s",
            _ => "moonshot ≥ 3,500 k/s",
        };
        line(&format!("{tasks} tasks"), &figure, target);
    }
    let left = manager.shutdown(Duration::from_secs(5)).await;
    assert_eq!(left, 0, "sections were left");
}

async fn by_tasks(manager: &LockManager, tasks: u64) -> f64 {
    let set = LocalSet::new();
    let begun = Instant::now();
    let manager = Rc::new(manager.clone());
    let pairs = set
        .run_until(async {
            let tasks: Vec<_> = (0..tasks)
                .map(|task| {
                    let (manager, name) = (Rc::clone(&manager), format!("task:{task}"));
                    spawn_local(async move {
                        let mut pairs = 0;
                        while begun.elapsed() < RUN {
                            let guard = manager.lock(&name).acquire().await.expect("it is free");
                            guard.release().await.expect("it was held");
                            pairs += 1;
                        }
                        pairs
                    })
                })
                .collect();
            let mut pairs = 0;
            for task in tasks {
                pairs += task.await.expect("it ends");
            }
            pairs
        })
        .await;
    Done::since(begun, pairs).rate()
}
