//! L1: a section is released on every way out of it, once.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::case::{Failure, Outcome, cases, ensure};
use super::stage::{LONG, Stage, is_free};
use crate::error::{LockError, LockErrorKind};
use crate::manager::LockManager;

cases! {
    "L1" [] a_return_releases_before_the_caller_goes_on;
    "L1" [] an_error_of_the_body_releases;
    "L1" [] a_dropped_guard_releases;
    "L1" [] a_dropped_call_releases;
    "L1" [] an_aborted_task_releases;
    "L1" [] a_shutdown_releases;
    "L1" [] a_shutdown_waits_for_what_runs;
    "L1" [] a_thread_that_is_blocked_keeps_its_lock;
    "L1" [] a_runtime_that_ends_releases;
}

async fn a_return_releases_before_the_caller_goes_on(stage: Stage) -> Outcome {
    let (manager, other) = (stage.first(), stage.another().await?);
    for _ in 0..10 {
        manager.lock("name").run(async || ()).await?;
        ensure!(
            is_free(&other, "name").await?,
            "the name is busy after the call has returned"
        );
    }
    Ok(())
}

async fn an_error_of_the_body_releases(stage: Stage) -> Outcome {
    let (manager, other) = (stage.first(), stage.another().await?);
    let result: Result<(), &str> = manager.lock("name").run(async || Err("no")?).await?;
    ensure!(result.is_err(), "the body's own error was lost");
    ensure!(
        is_free(&other, "name").await?,
        "the name is busy after the call has failed"
    );
    Ok(())
}

async fn a_dropped_guard_releases(stage: Stage) -> Outcome {
    let (manager, other) = (stage.first(), stage.another().await?);
    drop(manager.lock("name").acquire().await?);
    stage.until_free(&other, "name").await
}

async fn a_dropped_call_releases(stage: Stage) -> Outcome {
    let (manager, other) = (stage.first(), stage.another().await?);
    {
        let begun = std::cell::Cell::new(false);
        let mut call = pin!(manager.lock("name").run(async || {
            begun.set(true);
            std::future::pending::<()>().await;
        }));
        stage
            .until("the body begins", async || {
                let mut cx = Context::from_waker(Waker::noop());
                ensure_pending(call.as_mut().poll(&mut cx).is_pending());
                Ok(begun.get())
            })
            .await?;
    }
    stage.until_free(&other, "name").await
}

/// A body that never ends cannot have ended.
fn ensure_pending(is_pending: bool) {
    assert!(is_pending, "the call ended without its body");
}

/// Runs a body in a task of its own, and waits until it has begun: by its own word, and not that
/// of the store, whose grant may still be on its way.
async fn in_a_task<T: Send + 'static>(
    stage: &Stage,
    manager: &LockManager,
    body: impl Future<Output = T> + Send + 'static,
) -> Result<JoinHandle<Result<T, LockError>>, Failure> {
    let (begin, begun) = tokio::sync::oneshot::channel();
    let running = tokio::spawn(manager.lock("name").run(async move || {
        let _told = begin.send(());
        body.await
    }));
    match stage.soon("the body begins", begun).await? {
        Ok(()) => Ok(running),
        Err(_) => Err(Failure::new("a body on a free name did not run")),
    }
}

async fn an_aborted_task_releases(stage: Stage) -> Outcome {
    let (manager, other) = (stage.first(), stage.another().await?);
    let task = in_a_task(&stage, &manager, std::future::pending::<()>()).await?;
    task.abort();
    stage.until_free(&other, "name").await
}

async fn a_shutdown_releases(stage: Stage) -> Outcome {
    let (manager, other) = (stage.another().await?, stage.first());
    let running = in_a_task(&stage, &manager, std::future::pending::<()>()).await?;
    let waiting = {
        let _busy = other.lock("other").acquire().await?;
        let waiting = tokio::spawn(manager.lock("other").run(async || ()));
        stage.until_waiting(&other, "other", 1).await?;
        let lost = stage
            .soon("a shutdown ends", manager.shutdown(Duration::ZERO))
            .await?;
        ensure!(
            lost == 1,
            "{lost} sections were lost by the shutdown, not 1"
        );
        waiting
    };
    let refused = |result: Result<(), LockError>| {
        result.is_err_and(|error| error.kind() == LockErrorKind::Closed)
    };
    let waited = stage.soon("who waits is refused", waiting).await??;
    ensure!(
        refused(waited),
        "who waited at the shutdown was not refused"
    );
    let running = stage.soon("the running body ends", running).await??;
    ensure!(
        running.is_err_and(|error| error.is_lost()),
        "a section that was shut down was not lost"
    );
    ensure!(
        refused(manager.lock("new").run(async || ()).await),
        "a manager that was shut down still grants"
    );
    stage.until_free(&other, "name").await?;
    stage.until_free(&other, "other").await
}

async fn a_shutdown_waits_for_what_runs(stage: Stage) -> Outcome {
    let manager = stage.another().await?;
    let (finish, finished) = tokio::sync::oneshot::channel::<()>();
    let body = async move { finished.await.is_ok() };
    let running = in_a_task(&stage, &manager, body).await?;
    let shutdown = tokio::spawn(async move { manager.shutdown(LONG).await });
    tokio::time::sleep(Duration::from_millis(20)).await;
    ensure!(!running.is_finished(), "a shutdown cut a body off at once");
    ensure!(finish.send(()).is_ok(), "a shutdown dropped a body at once");
    let ran = stage.soon("the body ends", running).await???;
    ensure!(ran, "the body did not run to its end");
    if stage.has_manual_clock() {
        stage.pass(Duration::from_secs(1)).await;
    }
    let lost = stage.soon("the shutdown ends", shutdown).await??;
    ensure!(
        lost == 0,
        "{lost} sections were lost, although all had ended"
    );
    Ok(())
}

/// The runtime of a section stands still: its lease is renewed all the same.
async fn a_thread_that_is_blocked_keeps_its_lock(stage: Stage) -> Outcome {
    let (manager, other) = (stage.another().await?, stage.first());
    let ttl = stage.ttl();
    let (begin, begun) = std::sync::mpsc::channel::<()>();
    let (finish, finished) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Failure::new)?;
        runtime.block_on(async {
            let guard = manager.lock("name").ttl(ttl).acquire().await?;
            let _listened = begin.send(());
            // The whole runtime waits here.
            let _told = finished.recv();
            Ok::<_, Failure>(guard.is_held())
        })
    });
    let begun = tokio::task::spawn_blocking(move || begun.recv()).await?;
    ensure!(begun.is_ok(), "the thread did not get the lock");
    for _ in 0..4 {
        stage.pass(ttl).await;
        ensure!(
            other.lock("name").try_acquire().await?.is_none(),
            "a thread that was blocked lost its lock"
        );
    }
    drop(finish);
    let joined = tokio::task::spawn_blocking(move || thread.join()).await?;
    let Ok(is_held) = joined else {
        return Err(Failure::new("the thread panicked"));
    };
    ensure!(is_held?, "a thread that was blocked does not hold its lock");
    stage.until_free(&other, "name").await
}

async fn a_runtime_that_ends_releases(stage: Stage) -> Outcome {
    let (manager, other) = (stage.another().await?, stage.first());
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Failure::new)?;
        runtime.spawn(manager.lock("name").run(std::future::pending::<()>));
        runtime.block_on(async {
            while is_free(&manager, "name").await? {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok::<(), Failure>(())
        })
    });
    let joined = tokio::task::spawn_blocking(move || thread.join()).await?;
    joined.map_err(|_| Failure::new("the thread panicked"))??;
    stage.until_free(&other, "name").await
}
