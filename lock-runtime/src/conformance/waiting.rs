//! L4: waiters are served in order, and woken.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use super::case::{Failure, Outcome, cases, ensure};
use super::raw::Raw;
use super::stage::{LONG, Stage};
use crate::error::LockError;
use crate::options::{CLAIM_WINDOW, Wait};

cases! {
    "L4" [Queue] waiters_are_served_in_order_of_arrival;
    "L4" [Queue] who_comes_later_does_not_pass_a_waiter;
    "L4" [] a_waiter_is_woken_by_a_release;
    "L4" [] a_waiter_is_woken_by_every_release;
    "L4" [] a_waiter_is_woken_by_a_dropped_guard;
    "L4" [] a_waiter_enters_when_a_lease_ends;
    "L4" [Queue] a_waiter_that_nobody_polls_delays_others_by_a_claim_window;
    "L4" [] everybody_gets_a_turn;
}

async fn waiters_are_served_in_order_of_arrival(stage: Stage) -> Outcome {
    const WAITERS: usize = 8;
    let managers = [stage.first(), stage.another().await?];
    let guard = managers[0].lock("name").acquire().await?;
    let served = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..WAITERS {
        let (request, served) = (managers[number % 2].lock("name"), Arc::clone(&served));
        tasks.spawn(request.run(async move || {
            served
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(number);
        }));
        stage
            .until_waiting(&managers[0], "name", number + 1)
            .await?;
    }
    guard.release().await?;
    while let Some(task) = stage
        .soon("every waiter is served", tasks.join_next())
        .await?
    {
        task??;
    }
    let served = served.lock().unwrap_or_else(PoisonError::into_inner);
    ensure!(
        served.iter().copied().eq(0..WAITERS),
        "waiters were served in the order {served:?}"
    );
    Ok(())
}

async fn who_comes_later_does_not_pass_a_waiter(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    let guard = holder.lock("name").acquire().await?;
    let waiting = tokio::spawn(other.lock("name").acquire());
    stage.until_waiting(&holder, "name", 1).await?;
    guard.release().await?;
    ensure!(
        holder.lock("name").try_acquire().await?.is_none(),
        "somebody who came later passed a waiter"
    );
    let guard = stage.soon("the waiter enters", waiting).await???;
    guard.release().await?;
    Ok(())
}

async fn a_waiter_is_woken_by_a_release(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    let guard = holder.lock("name").ttl(LONG).acquire().await?;
    let waiting = tokio::spawn(other.lock("name").wait(Wait::Forever).acquire());
    stage.until_waiting(&holder, "name", 1).await?;
    guard.release().await?;
    stage
        .soon("a waiter enters after the release", waiting)
        .await???
        .release()
        .await?;
    Ok(())
}

async fn a_waiter_is_woken_by_every_release(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    for round in 0..20 {
        let guard = holder.lock("name").acquire().await?;
        let waiting = tokio::spawn(other.lock("name").wait(Wait::Forever).run(async || ()));
        if round % 4 == 0 {
            stage.until_waiting(&holder, "name", 1).await?;
        } else {
            // The release may come before the waiter, with it, or after it.
            tokio::task::yield_now().await;
        }
        guard.release().await?;
        stage
            .soon("a waiter enters after the release", waiting)
            .await???;
    }
    Ok(())
}

async fn a_waiter_is_woken_by_a_dropped_guard(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    let guard = holder.lock("name").acquire().await?;
    let waiting = tokio::spawn(other.lock("name").wait(Wait::Forever).run(async || ()));
    stage.until_waiting(&holder, "name", 1).await?;
    drop(guard);
    stage
        .soon("a waiter enters after the drop", waiting)
        .await???;
    Ok(())
}

async fn a_waiter_enters_when_a_lease_ends(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    Raw::new(&holder, "name", stage.ttl())?
        .try_acquire()
        .await?;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..3 {
        tasks.spawn(other.lock("name").wait(Wait::Forever).run(async || ()));
    }
    stage.until_waiting(&other, "name", 3).await?;
    stage.pass(stage.ttl()).await;
    while let Some(task) = stage
        .soon("every waiter enters after the lease", tasks.join_next())
        .await?
    {
        task??;
    }
    Ok(())
}

async fn a_waiter_that_nobody_polls_delays_others_by_a_claim_window(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    let guard = holder.lock("name").ttl(LONG).acquire().await?;
    let mut asleep = pin!(holder.lock("name").ttl(LONG).acquire());
    let mut cx = Context::from_waker(Waker::noop());
    ensure!(
        asleep.as_mut().poll(&mut cx).is_pending(),
        "a name was given to two owners"
    );
    stage.until_waiting(&other, "name", 1).await?;
    let awake = tokio::spawn(other.lock("name").acquire());
    stage.until_waiting(&other, "name", 2).await?;
    guard.release().await?;
    stage.pass(CLAIM_WINDOW).await;
    let guard = stage
        .soon("the next one is served after the claim window", awake)
        .await???;
    ensure!(
        asleep.as_mut().poll(&mut cx).is_pending(),
        "who came too late for its turn entered beside the next one"
    );
    guard.release().await?;
    let late = stage
        .soon("who came too late gets a later turn", asleep)
        .await??;
    late.release().await?;
    Ok(())
}

async fn everybody_gets_a_turn(stage: Stage) -> Outcome {
    const TASKS: usize = 6;
    let managers = [stage.first(), stage.another().await?];
    let guard = managers[0].lock("name").acquire().await?;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..TASKS {
        let manager = managers[number % 2].clone();
        tasks.spawn(async move {
            for _ in 0..3 {
                manager
                    .lock("name")
                    .run(|| tokio::time::sleep(Duration::from_millis(1)))
                    .await?;
            }
            Ok::<(), LockError>(())
        });
    }
    stage
        .until_waiting(&managers[0], "name", TASKS)
        .await
        .and(guard.release().await.map_err(Failure::from))?;
    while let Some(task) = stage
        .soon("everybody has had its turns", tasks.join_next())
        .await?
    {
        task??;
    }
    Ok(())
}
