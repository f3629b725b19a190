//! What a store that ends without a warning, and starts again, still has to keep.
//!
//! These cases are for stores that promise to outlive it: those that write down what they say
//! before they say it.

use super::case::{Outcome, cases, ensure};
use super::stage::{LONG, Stage};
use crate::manager::LockManager;

cases! {
    "restart" [Restartable] nobody_enters_beside_a_section_that_was_held_before;
    "restart" [Restartable] a_section_that_was_held_before_is_released;
    "restart" [Restartable Fencing] tokens_rise;
    "restart" [Restartable Identity] an_assignment_stays;
    "restart" [Restartable Queue] a_waiter_enters_afterwards;
}

/// Ends the store and starts it again, and waits until it is reached.
async fn restart(stage: &Stage, manager: &LockManager) -> Outcome {
    stage.restart();
    stage
        .until("the store is reached again", async || {
            Ok(manager.lock("another").info().await.is_ok())
        })
        .await
}

async fn nobody_enters_beside_a_section_that_was_held_before(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    let guard = holder.lock("name").acquire().await?;
    restart(&stage, &other).await?;
    let rival = other.lock("name").try_acquire().await;
    let got_in = rival.is_ok_and(|rival| rival.is_some());
    ensure!(
        !(got_in && guard.is_held()),
        "a name was given to two owners, one before the restart and one after it"
    );
    Ok(())
}

async fn a_section_that_was_held_before_is_released(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    let guard = holder.lock("name").acquire().await?;
    restart(&stage, &holder).await?;
    if let Err(error) = guard.release().await {
        ensure!(error.is_lost(), "the release failed: {error}");
    }
    stage.until_free(&other, "name").await
}

async fn tokens_rise(stage: Stage) -> Outcome {
    let manager = stage.first();
    let mut before = None;
    // A counter that begins anew is behind then.
    for _ in 0..10 {
        let guard = manager.lock("one").acquire().await?;
        before = guard.fencing_token();
        guard.release().await?;
    }
    restart(&stage, &manager).await?;
    for name in ["one", "two"] {
        let guard = manager.lock(name).acquire().await?;
        let after = guard.fencing_token();
        ensure!(
            after > before,
            "{after:?} was granted for `{name}` after {before:?} and a restart"
        );
        guard.release().await?;
    }
    Ok(())
}

async fn an_assignment_stays(stage: Stage) -> Outcome {
    let manager = stage.first();
    manager.acquire_lock("turn", "alice").await?;
    restart(&stage, &manager).await?;
    let holder = manager.get_lock("turn").await?.holder;
    ensure!(
        holder
            .as_ref()
            .is_some_and(|holder| holder.as_str() == "alice"),
        "after the restart the lock of alice belongs to {holder:?}"
    );
    Ok(())
}

async fn a_waiter_enters_afterwards(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    let guard = holder.lock("name").ttl(10 * stage.ttl()).acquire().await?;
    let waiting = tokio::spawn(other.lock("name").wait(LONG).acquire());
    stage.until_waiting(&holder, "name", 1).await?;
    restart(&stage, &other).await?;
    // Given back, or lost: both end it.
    drop(guard);
    let guard = stage.soon("the waiter enters", waiting).await???;
    guard.release().await?;
    Ok(())
}
