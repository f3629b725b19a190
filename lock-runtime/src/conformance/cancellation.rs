//! L2: a future that is dropped anywhere leaves no lock behind.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use super::case::{Outcome, cases, ensure};
use super::stage::{Stage, is_free};
use crate::manager::LockManager;

cases! {
    "L2" [] two_hundred_cancelled_waits_leave_nothing;
    "L2" [] two_hundred_cancelled_acquires_of_a_free_name_leave_nothing;
    "L2" [Queue] a_cancelled_waiter_leaves_the_queue_at_once;
    "L2" [Queue] a_cancelled_waiter_is_passed_over;
    "L2" [Remote] a_grant_whose_answer_was_lost_is_followed_within_its_lease;
    "L2" [] a_request_that_failed_leaves_nothing;
}

const CANCELLED: u32 = 200;

/// Nobody holds it, nobody waits, and it is not listed.
pub(super) async fn nothing_is_left(stage: &Stage, manager: &LockManager, name: &str) -> Outcome {
    stage.until_free(manager, name).await?;
    stage.until_waiting(manager, name, 0).await?;
    // A request that comes late would still make it busy.
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        ensure!(is_free(manager, name).await?, "`{name}` is busy again");
    }
    if stage.can().list {
        stage
            .until("nothing is listed", async || {
                Ok(manager.list(name).await?.is_empty())
            })
            .await?;
    }
    Ok(())
}

/// Drops a request after so many polls, with a little time in between.
async fn cancel_after<F: Future>(polls: u32, request: F) {
    let mut request = pin!(request);
    for poll in 0..polls {
        if poll > 0 {
            tokio::time::sleep(Duration::from_micros(100 * u64::from(poll))).await;
        }
        let mut cx = Context::from_waker(Waker::noop());
        if request.as_mut().poll(&mut cx).is_ready() {
            return;
        }
    }
}

async fn two_hundred_cancelled_waits_leave_nothing(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    let guard = holder.lock("name").acquire().await?;
    for round in 0..CANCELLED {
        let manager = if round % 2 == 0 { &holder } else { &other };
        cancel_after(1 + round % 5, manager.lock("name").acquire()).await;
    }
    guard.release().await?;
    nothing_is_left(&stage, &other, "name").await
}

async fn two_hundred_cancelled_acquires_of_a_free_name_leave_nothing(stage: Stage) -> Outcome {
    let (manager, other) = (stage.first(), stage.another().await?);
    for round in 0..CANCELLED {
        cancel_after(round % 5, manager.lock("name").run(async || ())).await;
    }
    nothing_is_left(&stage, &other, "name").await
}

async fn a_cancelled_waiter_leaves_the_queue_at_once(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    let guard = holder.lock("name").acquire().await?;
    let mut waiting = Vec::new();
    for _ in 0..5 {
        waiting.push(tokio::spawn(other.lock("name").acquire()));
    }
    stage.until_waiting(&holder, "name", 5).await?;
    for task in &waiting {
        task.abort();
    }
    stage.until_waiting(&holder, "name", 0).await?;
    ensure!(guard.is_held(), "a cancelled waiter took the lock along");
    guard.release().await?;
    nothing_is_left(&stage, &holder, "name").await
}

async fn a_cancelled_waiter_is_passed_over(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    let guard = holder.lock("name").acquire().await?;
    let cancelled = tokio::spawn(other.lock("name").acquire());
    stage.until_waiting(&holder, "name", 1).await?;
    let next = tokio::spawn(other.lock("name").acquire());
    stage.until_waiting(&holder, "name", 2).await?;
    cancelled.abort();
    guard.release().await?;
    let guard = stage.soon("the next waiter enters", next).await???;
    guard.release().await?;
    nothing_is_left(&stage, &holder, "name").await
}

async fn a_grant_whose_answer_was_lost_is_followed_within_its_lease(stage: Stage) -> Outcome {
    let wire = super::Wire::default();
    let other_end = wire.clone();
    let manager = stage
        .manager(|builder| builder.wire(other_end).request_timeout(stage.ttl() / 2))
        .await?;
    wire.lose_replies();
    let request = manager.lock("name").ttl(stage.ttl()).wait(Duration::ZERO);
    let error = stage
        .soon("a request without an answer ends", request.run(async || ()))
        .await?;
    ensure!(
        error.is_err_and(|error| error.is_unavailable()),
        "a request without an answer was granted"
    );
    nothing_is_left(&stage, &stage.first(), "name").await
}

async fn a_request_that_failed_leaves_nothing(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    let guard = holder.lock("name").acquire().await?;
    for _ in 0..20 {
        let request = other.lock("name").wait(Duration::ZERO);
        ensure!(
            request.run(async || ()).await.is_err(),
            "a name was given to two owners"
        );
    }
    guard.release().await?;
    nothing_is_left(&stage, &other, "name").await
}
