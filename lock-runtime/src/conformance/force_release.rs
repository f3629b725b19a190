//! S4: an operator ends sections, and who was forced out cannot come back.

use super::case::{Outcome, cases, ensure};
use super::raw::Raw;
use super::stage::{LONG, Stage, is_free};
use crate::backend::Release;

cases! {
    "force_release" [ForceRelease] a_forced_name_is_free_at_once;
    "force_release" [ForceRelease] who_was_forced_out_cannot_come_back;
    "force_release" [ForceRelease] who_was_forced_out_learns_of_it;
    "force_release" [ForceRelease] forcing_a_free_name_ends_nothing;
    "force_release" [ForceRelease] a_waiter_follows_who_was_forced_out;
    "force_release" [ForceRelease Shared] every_reader_is_forced_out;
}

async fn a_forced_name_is_free_at_once(stage: Stage) -> Outcome {
    let (manager, operator) = (stage.first(), stage.another().await?);
    let _guard = manager.lock("name").acquire().await?;
    let _other = manager.lock("other").acquire().await?;
    let ended = operator.lock("name").force_release().await?;
    ensure!(ended == 1, "{ended} sections ended, not 1");
    ensure!(
        is_free(&operator, "name").await?,
        "a name is busy after it was released by force"
    );
    ensure!(
        !is_free(&operator, "other").await?,
        "another name was released along with it"
    );
    Ok(())
}

async fn who_was_forced_out_cannot_come_back(stage: Stage) -> Outcome {
    let (manager, operator) = (stage.first(), stage.another().await?);
    let forced = Raw::new(&manager, "name", LONG)?;
    forced.try_acquire().await?;
    operator.lock("name").force_release().await?;
    ensure!(!forced.renew(LONG).await?, "who was forced out could renew");
    ensure!(
        is_free(&operator, "name").await?,
        "a renewal brought the forced-out owner back"
    );
    let successor = Raw::new(&operator, "name", LONG)?;
    successor.try_acquire().await?;
    ensure!(
        !forced.release(Release::Finished).await?,
        "who was forced out could release"
    );
    ensure!(!forced.renew(LONG).await?, "who was forced out could renew");
    ensure!(
        successor.renew(LONG).await?,
        "who was forced out took the name from its successor"
    );
    Ok(())
}

async fn who_was_forced_out_learns_of_it(stage: Stage) -> Outcome {
    let (manager, operator) = (stage.first(), stage.another().await?);
    let guard = manager.lock("name").ttl(stage.ttl()).acquire().await?;
    operator.lock("name").force_release().await?;
    stage.pass(stage.ttl()).await;
    stage
        .until("who was forced out is told", async || Ok(!guard.is_held()))
        .await?;
    ensure!(
        guard.release().await.is_err_and(|error| error.is_lost()),
        "the release of a lost lock was no error"
    );
    Ok(())
}

async fn forcing_a_free_name_ends_nothing(stage: Stage) -> Outcome {
    let manager = stage.first();
    let ended = manager.lock("name").force_release().await?;
    ensure!(ended == 0, "{ended} sections of a free name ended");
    stage.until_free(&manager, "name").await
}

async fn a_waiter_follows_who_was_forced_out(stage: Stage) -> Outcome {
    let (manager, operator) = (stage.first(), stage.another().await?);
    let _guard = manager.lock("name").acquire().await?;
    let waiting = tokio::spawn(operator.lock("name").run(async || ()));
    stage.until_waiting(&operator, "name", 1).await?;
    operator.lock("name").force_release().await?;
    stage
        .soon("a waiter follows who was forced out", waiting)
        .await???;
    Ok(())
}

async fn every_reader_is_forced_out(stage: Stage) -> Outcome {
    let (manager, operator) = (stage.first(), stage.another().await?);
    let mut readers = Vec::new();
    for _ in 0..3 {
        readers.push(manager.lock("name").shared().acquire().await?);
    }
    let ended = operator.lock("name").force_release().await?;
    ensure!(ended == 3, "{ended} readers ended, not 3");
    stage.until_free(&operator, "name").await
}
