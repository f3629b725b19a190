//! So many at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::case::{Failure, Outcome, cases, ensure};
use super::stage::{LONG, Stage, is_free};
use crate::error::LockErrorKind;

cases! {
    "permits" [Permits] so_many_run_at_a_time_and_no_more;
    "permits" [Permits] never_more_than_so_many_under_load;
    "permits" [Permits] another_number_is_an_error_that_says_both;
    "permits" [Permits] each_permit_has_a_lease_of_its_own;
    "permits" [Permits] an_exclusive_section_waits_for_every_permit;
    "permits" [Permits Queue] waiters_get_permits_as_they_come_free;
}

async fn so_many_run_at_a_time_and_no_more(stage: Stage) -> Outcome {
    let managers = [stage.first(), stage.another().await?];
    let mut guards = Vec::new();
    for number in 0..3 {
        let request = managers[number % 2].lock("name").permits(3);
        let permit = request.try_acquire().await?;
        ensure!(permit.is_some(), "permit {} of 3 was refused", number + 1);
        guards.extend(permit);
    }
    let fourth = || managers[1].lock("name").permits(3).try_acquire();
    ensure!(fourth().await?.is_none(), "a fourth of 3 permits was given");
    if let Some(permit) = guards.pop() {
        permit.release().await?;
    }
    ensure!(
        fourth().await?.is_some(),
        "a permit that was released cannot be had"
    );
    Ok(())
}

async fn never_more_than_so_many_under_load(stage: Stage) -> Outcome {
    let managers = [stage.first(), stage.another().await?];
    let inside = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..8 {
        let manager = managers[number % 2].clone();
        let (inside, most) = (Arc::clone(&inside), Arc::clone(&most));
        tasks.spawn(async move {
            for _ in 0..5 {
                manager
                    .lock("name")
                    .permits(3)
                    .run(async || {
                        let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(now, Ordering::SeqCst);
                        tokio::time::sleep(Duration::from_millis(3)).await;
                        inside.fetch_sub(1, Ordering::SeqCst);
                    })
                    .await?;
            }
            Ok::<(), Failure>(())
        });
    }
    while let Some(task) = stage.soon("everybody is done", tasks.join_next()).await? {
        task??;
    }
    let most = most.load(Ordering::SeqCst);
    ensure!(most <= 3, "{most} ran at a time, with 3 permits");
    ensure!(most > 1, "permits let only one at a time in");
    Ok(())
}

async fn another_number_is_an_error_that_says_both(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    let guard = one.lock("name").permits(3).acquire().await?;
    for number in [2, 4] {
        let request = two.lock("name").permits(number);
        let asked = stage
            .soon("a conflict is told at once", request.acquire())
            .await?;
        let Err(error) = asked else {
            return Err(Failure::new("one name was in use with two numbers"));
        };
        let text = error.to_string();
        ensure!(
            error.kind() == LockErrorKind::Conflict
                && text.contains('3')
                && text.contains(&number.to_string()),
            "the error does not say both numbers: {text}"
        );
    }
    guard.release().await?;
    let guard = two.lock("name").permits(2).try_acquire().await?;
    ensure!(
        guard.is_some(),
        "a name that is not in use keeps its old number"
    );
    Ok(())
}

async fn each_permit_has_a_lease_of_its_own(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    let short = one.lock("name").permits(2).ttl(stage.ttl()).renew(false);
    let _short = short.acquire().await?;
    let _long = two.lock("name").permits(2).ttl(LONG).acquire().await?;
    let third = || one.lock("name").permits(2).try_acquire();
    ensure!(third().await?.is_none(), "a third of 2 permits was given");
    stage.pass(stage.ttl()).await;
    let mut guards = Vec::new();
    stage
        .until("the short permit comes free", async || {
            guards.extend(third().await?);
            Ok(!guards.is_empty())
        })
        .await?;
    ensure!(
        third().await?.is_none(),
        "the end of one permit's lease freed another"
    );
    Ok(())
}

async fn an_exclusive_section_waits_for_every_permit(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    let first = one.lock("name").permits(2).acquire().await?;
    let second = two.lock("name").permits(2).acquire().await?;
    for permit in [first, second] {
        ensure!(
            !is_free(&two, "name").await?,
            "an exclusive section entered beside a permit"
        );
        permit.release().await?;
    }
    let _exclusive = two.lock("name").acquire().await?;
    ensure!(
        one.lock("name").permits(2).try_acquire().await?.is_none(),
        "a permit was given beside an exclusive section"
    );
    Ok(())
}

async fn waiters_get_permits_as_they_come_free(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(one.lock("name").permits(2).acquire().await?);
    }
    let mut waiting = Vec::new();
    for number in 1..=4 {
        waiting.push(tokio::spawn(two.lock("name").permits(2).acquire()));
        stage.until_waiting(&one, "name", number).await?;
    }
    for task in waiting {
        if let Some(permit) = held.pop() {
            permit.release().await?;
        }
        held.push(stage.soon("a waiter gets a permit", task).await???);
    }
    Ok(())
}
