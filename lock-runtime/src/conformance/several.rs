//! Several names: all or nothing, and never a deadlock.

use std::time::Duration;

use super::case::{Failure, Outcome, cases, ensure};
use super::stage::{Stage, is_free};

cases! {
    "several" [] names_are_taken_together_and_given_back_together;
    "several" [] nothing_is_taken_when_one_is_busy;
    "several" [] nothing_is_left_when_a_wait_for_one_is_cancelled;
    "several" [] opposite_orders_do_not_deadlock;
    "several" [] a_name_that_is_named_twice_is_one;
    "several" [Fencing] the_token_is_larger_than_any_before_of_every_name;
    "several" [] a_name_that_is_lost_loses_all;
}

async fn names_are_taken_together_and_given_back_together(stage: Stage) -> Outcome {
    let (manager, other) = (stage.first(), stage.another().await?);
    let guard = manager.lock("b").and("a").and("c").acquire().await?;
    for name in ["a", "b", "c"] {
        ensure!(
            other.lock(name).try_acquire().await?.is_none(),
            "`{name}` is free, although it is held together with others"
        );
    }
    guard.release().await?;
    for name in ["a", "b", "c"] {
        ensure!(
            is_free(&other, name).await?,
            "`{name}` is busy after the release"
        );
    }
    Ok(())
}

async fn nothing_is_taken_when_one_is_busy(stage: Stage) -> Outcome {
    let (manager, other) = (stage.first(), stage.another().await?);
    let _busy = other.lock("b").acquire().await?;
    let request = manager.lock("a").and("b").and("c");
    ensure!(
        request.try_acquire().await?.is_none(),
        "a busy name was taken together with others"
    );
    for name in ["a", "c"] {
        stage.until_free(&other, name).await?;
    }
    let request = manager.lock("a").and("b").wait(stage.ttl() / 2);
    let waiting = tokio::spawn(request.run(async || ()));
    stage.until_waiting(&other, "b", 1).await?;
    stage.pass(stage.ttl()).await;
    let result = stage
        .soon("a bounded wait for several ends", waiting)
        .await??;
    ensure!(
        result.is_err_and(|error| error.is_busy()),
        "a busy name was taken together with others"
    );
    stage.until_free(&other, "a").await
}

async fn nothing_is_left_when_a_wait_for_one_is_cancelled(stage: Stage) -> Outcome {
    let (manager, other) = (stage.first(), stage.another().await?);
    let busy = other.lock("c").acquire().await?;
    let waiting = tokio::spawn(manager.lock("a").and("b").and("c").acquire());
    stage.until_waiting(&other, "c", 1).await?;
    waiting.abort();
    for name in ["a", "b"] {
        stage.until_free(&other, name).await?;
    }
    busy.release().await?;
    stage.until_free(&other, "c").await
}

async fn opposite_orders_do_not_deadlock(stage: Stage) -> Outcome {
    let managers = [stage.first(), stage.another().await?];
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..4 {
        let manager = managers[number % 2].clone();
        let (first, second) = if number < 2 { ("a", "b") } else { ("b", "a") };
        tasks.spawn(async move {
            for _ in 0..5 {
                manager
                    .lock(first)
                    .and(second)
                    .run(|| tokio::time::sleep(Duration::from_millis(1)))
                    .await?;
            }
            Ok::<(), Failure>(())
        });
    }
    while let Some(task) = stage
        .soon("transfers in opposite orders are done", tasks.join_next())
        .await?
    {
        task??;
    }
    Ok(())
}

async fn a_name_that_is_named_twice_is_one(stage: Stage) -> Outcome {
    let manager = stage.first();
    let request = manager.lock("a").and("b").and("a");
    let names = stage
        .soon("a name that is named twice is taken", request.acquire())
        .await??
        .names()
        .count();
    ensure!(names == 2, "two names are held as {names}");
    stage.until_free(&manager, "a").await
}

async fn the_token_is_larger_than_any_before_of_every_name(stage: Stage) -> Outcome {
    let manager = stage.first();
    let mut highest = None;
    for names in [["a", "b"], ["b", "c"], ["c", "a"]] {
        let guard = manager.lock(names[0]).and(names[1]).acquire().await?;
        let token = guard.fencing_token();
        ensure!(
            token > highest,
            "the token of {names:?} is {token:?}, after {highest:?}"
        );
        guard.release().await?;
        for name in names {
            let guard = manager.lock(name).acquire().await?;
            ensure!(
                guard.fencing_token() > token,
                "the token of `{name}` is not larger than one before"
            );
            highest = guard.fencing_token();
            guard.release().await?;
        }
    }
    Ok(())
}

async fn a_name_that_is_lost_loses_all(stage: Stage) -> Outcome {
    let manager = stage.first();
    let request = manager.lock("a").and("b").ttl(stage.ttl()).renew(false);
    let guard = request.acquire().await?;
    ensure!(guard.is_held(), "a new guard is not held");
    stage.pass(stage.ttl()).await;
    ensure!(!guard.is_held(), "a guard of lost names is held");
    ensure!(
        guard.release().await.is_err_and(|error| error.is_lost()),
        "the release of lost locks was no error"
    );
    Ok(())
}
