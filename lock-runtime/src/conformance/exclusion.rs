//! S1: two exclusive sections of one name never overlap, by the store's clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::case::{Outcome, cases, ensure};
use super::raw::Raw;
use super::stage::{LONG, Stage, is_free};
use crate::error::LockError;

cases! {
    "S1" [] no_increment_is_lost;
    "S1" [] a_held_name_is_busy_for_others_and_free_after_its_release;
    "S1" [] names_do_not_get_in_each_others_way;
    "S1" [] a_contender_with_a_shorter_ttl_does_not_enter_early;
    "S1" [] a_contender_with_a_longer_ttl_does_not_wait_for_it;
    "S1" [] a_lease_that_is_not_renewed_ends_at_its_ttl_and_not_before;
    "S1" [] a_renewal_starts_the_lease_anew;
    "S1" [] a_held_section_outlives_its_ttl;
    "S1" [] the_same_request_again_is_the_same_grant;
}

/// Two processes with several tasks each raise a counter that is not protected otherwise.
async fn no_increment_is_lost(stage: Stage) -> Outcome {
    const TASKS: u64 = 6;
    const ROUNDS: u64 = 10;
    let managers = [stage.first(), stage.another().await?];
    let counter = Arc::new(AtomicU64::new(0));
    let inside = Arc::new(AtomicBool::new(false));
    let overlapped = Arc::new(AtomicBool::new(false));
    let mut tasks = tokio::task::JoinSet::new();
    for manager in managers.into_iter().cycle().take(TASKS as usize) {
        let (counter, inside) = (Arc::clone(&counter), Arc::clone(&inside));
        let overlapped = Arc::clone(&overlapped);
        tasks.spawn(async move {
            for _ in 0..ROUNDS {
                manager
                    .lock("counter")
                    .run(|| async {
                        if inside.swap(true, Ordering::SeqCst) {
                            overlapped.store(true, Ordering::SeqCst);
                        }
                        let before = counter.load(Ordering::SeqCst);
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        counter.store(before + 1, Ordering::SeqCst);
                        inside.store(false, Ordering::SeqCst);
                    })
                    .await?;
            }
            Ok::<(), LockError>(())
        });
    }
    while let Some(task) = stage
        .soon("the tasks are done with the counter", tasks.join_next())
        .await?
    {
        task??;
    }
    ensure!(
        !overlapped.load(Ordering::SeqCst),
        "two sections of one name ran at the same time"
    );
    let counted = counter.load(Ordering::SeqCst);
    ensure!(
        counted == TASKS * ROUNDS,
        "{counted} of {} increments are left",
        TASKS * ROUNDS
    );
    Ok(())
}

async fn a_held_name_is_busy_for_others_and_free_after_its_release(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    let guard = holder.lock("name").acquire().await?;
    for contender in [&holder, &other] {
        ensure!(
            contender.lock("name").try_acquire().await?.is_none(),
            "a name was given to two owners"
        );
        ensure!(
            contender.lock("name").is_locked().await?,
            "a held name looks free"
        );
    }
    guard.release().await?;
    ensure!(
        is_free(&other, "name").await?,
        "a name is busy after its release was awaited"
    );
    ensure!(
        !other.lock("name").is_locked().await?,
        "a released name looks locked"
    );
    Ok(())
}

async fn names_do_not_get_in_each_others_way(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    let _guard = holder.lock("task:1").acquire().await?;
    for name in ["task:2", "task:11", "task:", "task", "TASK:1", "task:1/x"] {
        ensure!(
            is_free(&other, name).await?,
            "`{name}` is busy because of `task:1`"
        );
    }
    Ok(())
}

async fn a_contender_with_a_shorter_ttl_does_not_enter_early(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    let held = Raw::new(&holder, "name", LONG)?;
    held.try_acquire().await?;
    for _ in 0..4 {
        let rival = Raw::new(&other, "name", stage.ttl())?;
        ensure!(
            rival.try_acquire().await?.is_none(),
            "a contender's own ttl ended the holder's lease"
        );
        stage.pass(stage.ttl() / 2).await;
    }
    Ok(())
}

async fn a_contender_with_a_longer_ttl_does_not_wait_for_it(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    Raw::new(&holder, "name", stage.ttl())?
        .try_acquire()
        .await?;
    let rival = Raw::new(&other, "name", LONG)?;
    ensure!(
        rival.try_acquire().await?.is_none(),
        "a name was given to two owners"
    );
    stage.pass(stage.ttl()).await;
    stage
        .until("the holder's lease ends", async || {
            Ok(rival.try_acquire().await.is_ok_and(|got| got.is_some()))
        })
        .await
}

async fn a_lease_that_is_not_renewed_ends_at_its_ttl_and_not_before(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    let sent = stage.now();
    let held = Raw::new(&holder, "name", stage.ttl())?;
    held.try_acquire().await?;
    let end = sent + stage.ttl();
    // With a clock of its own the suite looks at the last moment of the lease.
    let almost = if stage.has_manual_clock() {
        stage.ttl() - Duration::from_nanos(1)
    } else {
        stage.ttl() / 2
    };
    stage.pass(almost).await;
    let rival = Raw::new(&other, "name", LONG)?;
    let got = rival.try_acquire().await?;
    ensure!(
        got.is_none() || stage.now() >= end,
        "the lease ended after {:?} of {:?}",
        stage.now() - sent,
        stage.ttl()
    );
    if stage.has_manual_clock() {
        stage.pass(Duration::from_nanos(1)).await;
        ensure!(
            rival.try_acquire().await?.is_some(),
            "the lease went on past its ttl"
        );
        return Ok(());
    }
    stage
        .until("the lease ends", async || {
            Ok(rival.try_acquire().await.is_ok_and(|got| got.is_some()))
        })
        .await?;
    // The store began to count after the request was sent, and was done before it answered.
    ensure!(
        stage.now() >= end,
        "the lease ended after {:?} of {:?}",
        stage.now() - sent,
        stage.ttl()
    );
    Ok(())
}

async fn a_renewal_starts_the_lease_anew(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    let held = Raw::new(&holder, "name", stage.ttl())?;
    held.try_acquire().await?;
    ensure!(
        held.renew(4 * stage.ttl()).await?,
        "the owner could not renew"
    );
    let renewed_until = stage.now() + 3 * stage.ttl();
    stage.pass(2 * stage.ttl()).await;
    let got = Raw::new(&other, "name", LONG)?.try_acquire().await?;
    ensure!(
        got.is_none() || stage.now() >= renewed_until,
        "the lease ended as if it had not been renewed"
    );
    Ok(())
}

async fn a_held_section_outlives_its_ttl(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    let guard = holder.lock("name").ttl(stage.ttl()).acquire().await?;
    for _ in 0..6 {
        stage.pass(stage.ttl() / 2).await;
        // A machine that stood still for a whole lease loses it, and that is as promised.
        let busy = other.lock("name").try_acquire().await?.is_none();
        ensure!(
            busy || !guard.is_held(),
            "a section that says it is held was given to another"
        );
        ensure!(guard.is_held(), "a section was lost although it is renewed");
    }
    guard.release().await?;
    Ok(())
}

async fn the_same_request_again_is_the_same_grant(stage: Stage) -> Outcome {
    let held = Raw::new(&stage.first(), "name", LONG)?;
    let first = held.try_acquire().await?;
    ensure!(first.is_some(), "a free name was not given");
    let again = held.try_acquire().await?;
    ensure!(
        first == again,
        "the same request got {first:?} and then {again:?}"
    );
    Ok(())
}
