//! S4: release, renewal and the rest act only with the owner's secret.

use super::case::{Outcome, cases, ensure};
use super::raw::Raw;
use super::stage::{LONG, Stage};
use crate::backend::Release;

cases! {
    "S4" [] a_stranger_releases_nothing;
    "S4" [] a_stranger_renews_nothing;
    "S4" [] a_stranger_does_not_prolong_the_lease;
    "S4" [] a_late_release_does_not_free_the_successor;
    "S4" [] a_late_renewal_does_not_take_the_name_back;
    "S4" [] a_second_release_changes_nothing;
    "S4" [] a_guard_that_expired_does_not_free_the_successor;
}

async fn a_stranger_releases_nothing(stage: Stage) -> Outcome {
    let (manager, other) = (stage.first(), stage.another().await?);
    let held = Raw::new(&manager, "name", LONG)?;
    held.try_acquire().await?;
    for stranger in [
        held.stranger(),
        held.impostor(),
        Raw::new(&other, "name", LONG)?,
    ] {
        for how in [Release::Finished, Release::Abandoned] {
            ensure!(
                !stranger.release(how).await?,
                "somebody released what another owns"
            );
            ensure!(
                stranger.try_acquire().await?.is_none(),
                "the name is free after somebody else released it"
            );
        }
    }
    ensure!(
        held.release(Release::Finished).await?,
        "the owner had nothing left to release"
    );
    Ok(())
}

async fn a_stranger_renews_nothing(stage: Stage) -> Outcome {
    let manager = stage.first();
    let held = Raw::new(&manager, "name", LONG)?;
    ensure!(
        !held.renew(LONG).await?,
        "an owner renewed what it does not have"
    );
    held.try_acquire().await?;
    for stranger in [held.stranger(), held.impostor()] {
        ensure!(
            !stranger.renew(LONG).await?,
            "somebody renewed what another owns"
        );
    }
    ensure!(held.renew(LONG).await?, "the owner could not renew");
    Ok(())
}

async fn a_stranger_does_not_prolong_the_lease(stage: Stage) -> Outcome {
    let manager = stage.first();
    let held = Raw::new(&manager, "name", stage.ttl())?;
    held.try_acquire().await?;
    for stranger in [held.stranger(), held.impostor()] {
        stranger.renew(LONG).await?;
    }
    stage.pass(stage.ttl()).await;
    stage.until_free(&manager, "name").await
}

async fn a_late_release_does_not_free_the_successor(stage: Stage) -> Outcome {
    let (manager, other) = (stage.first(), stage.another().await?);
    let late = Raw::new(&manager, "name", stage.ttl())?;
    late.try_acquire().await?;
    stage.pass(stage.ttl()).await;
    let successor = Raw::new(&other, "name", LONG)?;
    stage
        .until("the successor enters", async || {
            Ok(successor.try_acquire().await.is_ok_and(|got| got.is_some()))
        })
        .await?;
    for how in [Release::Finished, Release::Abandoned] {
        ensure!(
            !late.release(how).await?,
            "a late release found something to release"
        );
    }
    ensure!(
        late.stranger().try_acquire().await?.is_none(),
        "a late release let a third one in"
    );
    ensure!(
        successor.release(Release::Finished).await?,
        "a late release took the name from its successor"
    );
    Ok(())
}

async fn a_late_renewal_does_not_take_the_name_back(stage: Stage) -> Outcome {
    let (manager, other) = (stage.first(), stage.another().await?);
    let late = Raw::new(&manager, "name", stage.ttl())?;
    late.try_acquire().await?;
    stage.pass(stage.ttl()).await;
    let successor = Raw::new(&other, "name", LONG)?;
    stage
        .until("the successor enters", async || {
            Ok(successor.try_acquire().await.is_ok_and(|got| got.is_some()))
        })
        .await?;
    ensure!(
        !late.renew(LONG).await?,
        "a lease that had ended was renewed"
    );
    ensure!(
        late.try_acquire().await?.is_none(),
        "an owner whose lease had ended came back beside its successor"
    );
    ensure!(
        successor.renew(LONG).await?,
        "a late renewal took the name from its successor"
    );
    Ok(())
}

async fn a_second_release_changes_nothing(stage: Stage) -> Outcome {
    let manager = stage.first();
    let held = Raw::new(&manager, "name", LONG)?;
    held.try_acquire().await?;
    ensure!(
        held.release(Release::Finished).await?,
        "the owner had nothing to release"
    );
    ensure!(
        !held.release(Release::Finished).await?,
        "an owner released twice"
    );
    let successor = held.stranger();
    successor.try_acquire().await?;
    ensure!(
        !held.release(Release::Finished).await?,
        "a second release found the successor's"
    );
    ensure!(
        !held.renew(LONG).await?,
        "a renewal after the release revived the lock"
    );
    ensure!(
        successor.renew(LONG).await?,
        "a second release took the name from its successor"
    );
    Ok(())
}

async fn a_guard_that_expired_does_not_free_the_successor(stage: Stage) -> Outcome {
    let (manager, other) = (stage.first(), stage.another().await?);
    let late = manager
        .lock("name")
        .ttl(stage.ttl())
        .renew(false)
        .acquire()
        .await?;
    stage.pass(stage.ttl()).await;
    let successor = stage
        .soon("the successor enters", other.lock("name").acquire())
        .await??;
    let error = late.release().await;
    ensure!(
        error.is_err_and(|error| error.is_lost()),
        "the release of a lost lock was no error"
    );
    ensure!(
        manager.lock("name").try_acquire().await?.is_none(),
        "a late release let a third one in"
    );
    successor.release().await?;
    Ok(())
}
