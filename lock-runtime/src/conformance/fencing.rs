//! S2: every exclusive grant carries a token, larger than every one before.

use std::time::Duration;

use super::case::{Failure, Outcome, cases, ensure};
use super::raw::Raw;
use super::stage::{LONG, Stage};
use crate::backend::Release;
use crate::fencing::FencingToken;
use crate::guard::Guard;
use crate::manager::LockManager;

cases! {
    "S2" [Fencing] tokens_rise_over_all_names_and_managers;
    "S2" [Fencing] a_token_rises_when_a_lease_has_ended;
    "S2" [Fencing] tokens_rise_under_load;
    "S2" [Fencing] a_token_survives_renewal_and_extension;
    "S2" [Fencing] a_reentry_has_the_token_of_its_section;
    "S2" [Fencing] the_token_comes_with_the_grant;
    "S2" [Fencing Shared] a_shared_grant_has_no_token;
    "S2" [Fencing Permits] a_permit_has_no_token;
}

fn token(guard: &Guard) -> Result<FencingToken, Failure> {
    guard
        .fencing_token()
        .ok_or_else(|| Failure::new("an exclusive grant has no token"))
}

async fn tokens_rise_over_all_names_and_managers(stage: Stage) -> Outcome {
    let managers = [stage.first(), stage.another().await?];
    let mut highest = None;
    for round in 0..20 {
        let name = format!("name:{}", round % 3);
        let guard = managers[round % 2].lock(&name).acquire().await?;
        let token = token(&guard)?;
        ensure!(
            Some(token) > highest,
            "token {token} came after {highest:?}"
        );
        highest = Some(token);
        guard.release().await?;
    }
    Ok(())
}

async fn a_token_rises_when_a_lease_has_ended(stage: Stage) -> Outcome {
    let silent = Raw::new(&stage.first(), "name", stage.ttl())?;
    let lost = silent.try_acquire().await?.flatten();
    stage.pass(stage.ttl()).await;
    let other = stage.another().await?;
    let guard = stage
        .soon("the successor enters", other.lock("name").acquire())
        .await??;
    let token = token(&guard)?;
    ensure!(
        lost.is_some() && Some(token) > lost,
        "the successor has token {token}, the one who was lost had {lost:?}"
    );
    Ok(())
}

/// A resource that checks tokens never refuses a section that runs in its time.
async fn tokens_rise_under_load(stage: Stage) -> Outcome {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    let managers = [stage.first(), stage.another().await?];
    let resource = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for manager in managers.into_iter().cycle().take(6) {
        let resource = Arc::clone(&resource);
        tasks.spawn(async move {
            for _ in 0..6 {
                let guard = manager.lock("resource").acquire().await?;
                let token = token(&guard)?.get();
                let seen = resource.fetch_max(token, Ordering::SeqCst);
                ensure!(seen < token, "token {token} came after {seen}");
                guard.release().await?;
            }
            Ok::<(), Failure>(())
        });
    }
    while let Some(task) = stage.soon("the tasks are done", tasks.join_next()).await? {
        task??;
    }
    Ok(())
}

async fn a_token_survives_renewal_and_extension(stage: Stage) -> Outcome {
    let manager = stage.first();
    let guard = manager.lock("name").ttl(stage.ttl()).acquire().await?;
    let granted = token(&guard)?;
    stage.pass(stage.ttl()).await;
    guard.extend(LONG).await?;
    ensure!(token(&guard)? == granted, "the token changed");
    let info = manager.lock("name").info().await?;
    let shown = info.section().and_then(|section| section.token);
    ensure!(
        shown.is_none_or(|shown| shown == granted),
        "the store shows token {shown:?}, granted was {granted}"
    );
    Ok(())
}

async fn a_reentry_has_the_token_of_its_section(stage: Stage) -> Outcome {
    let manager = stage.first();
    let (outer, inner) = manager
        .lock("name")
        .reentrant()
        .run(async || {
            let outer = token_shown(&manager).await?;
            let inner = manager.lock("name").acquire().await?;
            Ok::<_, Failure>((outer, token(&inner)?))
        })
        .await??;
    ensure!(
        outer.is_none_or(|outer| outer == inner),
        "a re-entry has token {inner}, its section {outer:?}"
    );
    let next = manager.lock("name").acquire().await?;
    ensure!(
        token(&next)? > inner,
        "a new section has the token of a re-entry before it"
    );
    Ok(())
}

/// What the store shows as the token of the running section, if it shows any.
async fn token_shown(manager: &LockManager) -> Result<Option<FencingToken>, Failure> {
    let info = manager.lock("name").info().await?;
    Ok(info.section().and_then(|section| section.token))
}

async fn the_token_comes_with_the_grant(stage: Stage) -> Outcome {
    let held = Raw::new(&stage.first(), "name", LONG)?;
    let granted = held.try_acquire().await?.flatten();
    ensure!(granted.is_some(), "an exclusive grant has no token");
    held.renew(LONG).await?;
    ensure!(
        held.try_acquire().await?.flatten() == granted,
        "the token of a grant changed"
    );
    held.release(Release::Finished).await?;
    let next = held.stranger();
    ensure!(
        next.try_acquire().await?.flatten() > granted,
        "a token was given twice"
    );
    Ok(())
}

async fn a_shared_grant_has_no_token(stage: Stage) -> Outcome {
    let manager = stage.first();
    let reader = manager.lock("name").shared().acquire().await?;
    ensure!(
        reader.fencing_token().is_none(),
        "a shared grant has a token, although readers overlap"
    );
    Ok(())
}

async fn a_permit_has_no_token(stage: Stage) -> Outcome {
    let manager = stage.first();
    let wait = Duration::ZERO;
    let permit = manager.lock("name").permits(2).wait(wait).acquire().await?;
    ensure!(
        permit.fencing_token().is_none(),
        "a permit has a token, although permits overlap"
    );
    Ok(())
}
