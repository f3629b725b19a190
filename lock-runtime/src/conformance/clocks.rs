//! S1: no client's clock decides anything.

use std::time::Duration;

use super::case::{Outcome, cases, ensure};
use super::raw::Raw;
use super::stage::{LONG, Stage};
use crate::clock::ManualClock;
use crate::manager::LockManager;

cases! {
    "S1" [Remote] a_contender_whose_clock_is_ahead_does_not_enter_early;
    "S1" [Remote] a_holder_whose_clock_stands_still_is_followed_within_its_lease;
}

/// A manager whose clock is ahead of everybody's, and stands still: it is moved by nobody.
async fn with_a_wrong_clock(
    stage: &Stage,
    ahead: Duration,
) -> Result<LockManager, super::case::Failure> {
    let clock = ManualClock::new();
    clock.advance(stage.now().since_start() + ahead);
    stage.manager(|builder| builder.clock(clock.clock())).await
}

async fn a_contender_whose_clock_is_ahead_does_not_enter_early(stage: Stage) -> Outcome {
    let holder = stage.first();
    let contender = with_a_wrong_clock(&stage, Duration::from_secs(24 * 3600)).await?;
    let _guard = holder.lock("name").ttl(LONG).acquire().await?;
    ensure!(
        Raw::new(&contender, "name", LONG)?
            .try_acquire()
            .await?
            .is_none(),
        "a clock that is ahead ended the lease of another"
    );
    Ok(())
}

async fn a_holder_whose_clock_stands_still_is_followed_within_its_lease(stage: Stage) -> Outcome {
    let holder = with_a_wrong_clock(&stage, Duration::ZERO).await?;
    let follower = stage.first();
    let before = Raw::new(&holder, "name", stage.ttl())?;
    before.try_acquire().await?;
    stage.pass(stage.ttl()).await;
    let guard = stage
        .soon("somebody follows", follower.lock("name").acquire())
        .await??;
    guard.release().await?;
    Ok(())
}
