use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Builder;

use super::*;

fn kind() -> &'static str {
    match where_are_we() {
        Where::OwnThread => "own thread",
        Where::Worker => "worker",
        Where::OnlyThread => "only thread",
    }
}

#[test]
fn a_plain_thread_may_wait() {
    assert_eq!(kind(), "own thread");
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let _entered = runtime.enter();
    assert_eq!(kind(), "own thread", "entered, but no task is polled here");
}

#[test]
fn a_thread_for_blocking_work_may_wait() {
    for runtime in [
        Builder::new_current_thread().build().unwrap(),
        Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap(),
    ] {
        runtime.block_on(async {
            assert_eq!(
                tokio::task::spawn_blocking(kind).await.unwrap(),
                "own thread"
            );
        });
    }
}

#[test]
fn a_worker_can_step_aside() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        assert_eq!(kind(), "worker");
        let waited = tokio::spawn(async {
            assert_eq!(kind(), "worker");
            let done = Arc::new(AtomicBool::new(false));
            // This task can only run if the one worker thread hands its tasks over.
            let other = tokio::spawn({
                let done = Arc::clone(&done);
                async move { done.store(true, Ordering::SeqCst) }
            });
            wait(other).unwrap().unwrap();
            done.load(Ordering::SeqCst)
        });
        assert!(waited.await.unwrap());
    });
}

#[test]
fn the_only_thread_of_a_runtime_must_not_wait() {
    let runtime = Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        assert_eq!(kind(), "only thread");
        assert_eq!(tokio::spawn(async { kind() }).await.unwrap(), "only thread");
        assert!(wait(std::future::pending::<()>()).is_err());
    });
}

#[test]
fn tasks_bound_to_a_thread_must_not_wait() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let local = tokio::task::LocalSet::new();
    let refused = local.block_on(&runtime, async {
        tokio::task::spawn_local(async { wait(std::future::pending::<()>()).is_err() })
            .await
            .unwrap()
    });
    assert!(refused);
}

#[test]
fn looking_costs_the_task_no_budget() {
    let runtime = Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for _ in 0..1_000 {
            assert!(polls_a_task());
        }
        assert!(coop::has_budget_remaining());
    });
}

#[test]
fn not_every_worker_may_step_aside() {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let mut places: Vec<_> = std::iter::from_fn(|| Aside::take(&COUNT)).collect();
    assert_eq!(places.len(), MOST_ASIDE);
    assert!(Aside::take(&COUNT).is_none());
    drop(places.pop());
    assert!(Aside::take(&COUNT).is_some(), "a refusal takes no place");
}

#[test]
fn what_is_there_already_needs_no_wait() {
    let runtime = Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { assert_eq!(wait(std::future::ready(7)), Ok(7)) });
}
