//! `at_least`: the name stays busy for a while, whatever becomes of body and process.

use std::time::Duration;

use super::case::{Outcome, cases, ensure};
use super::raw::Raw;
use super::stage::{LONG, Stage, is_free};
use crate::backend::Release;
use crate::clock::Moment;
use crate::manager::LockManager;

cases! {
    "at_least" [AtLeast] a_name_rests_after_its_body;
    "at_least" [AtLeast] a_name_rests_after_a_panic;
    "at_least" [AtLeast] a_name_rests_after_its_lease;
    "at_least" [AtLeast] a_name_whose_body_never_began_does_not_rest;
    "at_least" [AtLeast] a_body_that_takes_longer_is_followed_at_once;
    "at_least" [AtLeast] a_waiter_enters_after_the_rest;
}

/// The name is busy until then, and free after it. `sent` is before the grant.
async fn rests_until(stage: &Stage, manager: &LockManager, end: Moment) -> Outcome {
    while stage.now() + stage.ttl() / 4 < end {
        let is_free = is_free(manager, "job").await?;
        ensure!(
            !is_free || stage.now() >= end,
            "the name was free {:?} before the end of its rest",
            end - stage.now()
        );
        stage.pass(stage.ttl() / 4).await;
    }
    stage.pass_until(end + Duration::from_millis(5)).await;
    stage.until_free(manager, "job").await?;
    ensure!(stage.now() >= end, "the rest ended early");
    Ok(())
}

async fn a_name_rests_after_its_body(stage: Stage) -> Outcome {
    let (manager, other) = (stage.first(), stage.another().await?);
    let sent = stage.now();
    let rest = 2 * stage.ttl();
    manager.lock("job").at_least(rest).run(async || ()).await?;
    ensure!(
        other.lock("job").is_locked().await?,
        "a name that rests looks free"
    );
    rests_until(&stage, &other, sent + rest).await
}

async fn a_name_rests_after_a_panic(stage: Stage) -> Outcome {
    let (manager, other) = (stage.first(), stage.another().await?);
    let sent = stage.now();
    let rest = 2 * stage.ttl();
    let running = tokio::spawn(manager.lock("job").at_least(rest).run(async || {
        std::panic::resume_unwind(Box::new("a panic of the body"));
    }));
    let ended = stage.soon("the panic comes out", running).await?;
    ensure!(ended.is_err(), "a panic of the body was swallowed");
    rests_until(&stage, &other, sent + rest).await
}

async fn a_name_rests_after_its_lease(stage: Stage) -> Outcome {
    let (manager, other) = (stage.first(), stage.another().await?);
    let sent = stage.now();
    let rest = 3 * stage.ttl();
    let silent = Raw::with(&manager, "job", stage.ttl(), rest)?;
    silent.try_acquire().await?;
    rests_until(&stage, &other, sent + rest).await
}

async fn a_name_whose_body_never_began_does_not_rest(stage: Stage) -> Outcome {
    let (manager, other) = (stage.first(), stage.another().await?);
    let taken_back = Raw::with(&manager, "job", LONG, LONG)?;
    taken_back.try_acquire().await?;
    ensure!(
        taken_back.release(Release::Abandoned).await?,
        "the owner had nothing to release"
    );
    ensure!(
        is_free(&other, "job").await?,
        "the name rests although its body never began"
    );
    Ok(())
}

async fn a_body_that_takes_longer_is_followed_at_once(stage: Stage) -> Outcome {
    let (manager, other) = (stage.first(), stage.another().await?);
    let request = manager.lock("job").at_least(stage.ttl());
    request.run(|| stage.pass(2 * stage.ttl())).await?;
    ensure!(
        is_free(&other, "job").await?,
        "the name rests after a body that took longer"
    );
    Ok(())
}

async fn a_waiter_enters_after_the_rest(stage: Stage) -> Outcome {
    let (manager, other) = (stage.first(), stage.another().await?);
    let sent = stage.now();
    let rest = stage.ttl();
    manager.lock("job").at_least(rest).run(async || ()).await?;
    let waiting = tokio::spawn(other.lock("job").acquire());
    stage.until_waiting(&other, "job", 1).await?;
    stage.pass(rest).await;
    let guard = stage
        .soon("a waiter enters after the rest", waiting)
        .await???;
    ensure!(
        stage.now() >= sent + rest,
        "a waiter entered during the rest"
    );
    guard.release().await?;
    Ok(())
}
