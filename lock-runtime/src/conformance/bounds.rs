//! L5: every wait has an end, and a clear error behind it.

use std::time::Duration;

use super::case::{Failure, Outcome, cases, ensure};
use super::stage::{LONG, Stage};
use crate::error::LockErrorKind;
use crate::info::InTheWay;
use crate::options::Wait;

cases! {
    "L5" [] a_try_answers_at_once;
    "L5" [] a_bounded_wait_ends_at_its_time_and_not_before;
    "L5" [] a_lock_freed_shortly_before_the_deadline_is_caught;
    "L5" [] a_wait_without_a_limit_goes_on;
    "L5" [Remote] a_wait_for_a_silent_backend_ends;
    "L5" [] the_error_says_what_is_in_the_way;
}

async fn a_try_answers_at_once(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    let _guard = holder.lock("name").ttl(LONG).acquire().await?;
    let asked = stage
        .soon("a try ends", other.lock("name").try_acquire())
        .await??;
    ensure!(asked.is_none(), "a name was given to two owners");
    let request = other.lock("name").wait(Duration::ZERO).acquire();
    let Err(error) = stage.soon("a wait of zero ends", request).await? else {
        return Err(Failure::new("a name was given to two owners"));
    };
    ensure!(
        error.is_busy() && error.waited().is_some_and(|waited| waited.is_zero()),
        "a try that did not wait says otherwise: {error}"
    );
    Ok(())
}

async fn a_bounded_wait_ends_at_its_time_and_not_before(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    let _guard = holder.lock("name").ttl(LONG).acquire().await?;
    let wait = stage.ttl();
    let started = stage.now();
    let (clock, request) = (stage.clock(), other.lock("name").wait(wait));
    let waiting = tokio::spawn(async move {
        let result = request.run(async || ()).await;
        (result, clock.now())
    });
    stage.until_waiting(&holder, "name", 1).await?;
    stage.pass(wait / 2).await;
    ensure!(
        !waiting.is_finished() || stage.now() - started >= wait,
        "a wait of {wait:?} ended at its half"
    );
    stage.pass(wait / 2 + Duration::from_nanos(1)).await;
    let (result, ended) = stage.soon("a bounded wait ends", waiting).await??;
    let Err(error) = result else {
        return Err(Failure::new("a name was given to two owners"));
    };
    ensure!(error.is_busy(), "a wait that ended gave {error}");
    ensure!(
        ended - started >= wait,
        "a wait of {wait:?} ended after {:?}",
        ended - started
    );
    Ok(())
}

async fn a_lock_freed_shortly_before_the_deadline_is_caught(stage: Stage) -> Outcome {
    const ATTEMPTS: usize = 5;
    let (holder, other) = (stage.first(), stage.another().await?);
    // The shorter the rest of the wait, the more a machine that does other things can eat of it.
    let wait = 2 * stage.ttl();
    let freed_at = wait * 85 / 100;
    for _ in 0..ATTEMPTS {
        let guard = holder.lock("name").ttl(LONG).acquire().await?;
        let started = stage.now();
        let waiting = tokio::spawn(other.lock("name").wait(wait).acquire());
        stage.until_waiting(&holder, "name", 1).await?;
        stage.pass_until(started + freed_at).await;
        guard.release().await?;
        let freed_in_time = stage.now() < started + wait * 95 / 100;
        stage.pass_until(started + wait).await;
        match stage.soon("a bounded wait ends", waiting).await?? {
            Ok(guard) => {
                guard.release().await?;
                return Ok(());
            }
            Err(error) => ensure!(
                !freed_in_time,
                "a lock that was freed after {freed_at:?} of a wait of {wait:?} was missed: {error}"
            ),
        }
    }
    Err(Failure::new(
        "the machine was too slow to free the lock in time",
    ))
}

async fn a_wait_without_a_limit_goes_on(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    let guard = holder.lock("name").ttl(LONG).acquire().await?;
    let waiting = tokio::spawn(other.lock("name").wait(Wait::Forever).run(async || ()));
    stage.until_waiting(&holder, "name", 1).await?;
    stage.pass(3 * stage.ttl()).await;
    ensure!(
        !waiting.is_finished(),
        "a wait without a limit ended while the name was held"
    );
    guard.release().await?;
    stage.soon("a waiter enters", waiting).await???;
    Ok(())
}

async fn a_wait_for_a_silent_backend_ends(stage: Stage) -> Outcome {
    let wire = super::Wire::default();
    let other_end = wire.clone();
    let manager = stage
        .manager(|builder| builder.wire(other_end).request_timeout(stage.ttl()))
        .await?;
    wire.silence();
    let result = stage
        .soon(
            "a wait for a silent backend ends",
            manager.lock("name").wait(stage.ttl()).run(async || ()),
        )
        .await?;
    ensure!(
        result.is_err_and(|error| error.is_unavailable()),
        "a silent backend was not reported as such"
    );
    let info = stage
        .soon(
            "a look at a silent backend ends",
            manager.lock("name").info(),
        )
        .await?;
    ensure!(info.is_err(), "a silent backend said who holds a name");
    Ok(())
}

async fn the_error_says_what_is_in_the_way(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    let _guard = holder.lock("name").acquire().await?;
    let request = other.lock("name").wait(Duration::ZERO);
    let Err(error) = request.run(async || ()).await else {
        return Err(Failure::new("a name was given to two owners"));
    };
    ensure!(
        error.kind() == LockErrorKind::Busy,
        "a busy name gave {error}"
    );
    ensure!(
        error.name().is_some_and(|name| name.as_str() == "name"),
        "the error does not say which lock it is about: {error}"
    );
    // A store that knows who is in the way has to know it rightly.
    if let Some(InTheWay::Section(section)) = error.in_the_way() {
        ensure!(
            section.owner.application == "conformance" && section.owner.is_this_process(),
            "another owner is said to be in the way: {error}"
        );
    }
    Ok(())
}
