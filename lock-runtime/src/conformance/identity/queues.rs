//! Who waits is decided on again whenever the holder changes.

use super::super::case::{Outcome, cases, ensure};
use super::super::stage::Stage;
use super::{as_caller, call, check_refused};
use crate::error::LockErrorKind::NotYourTurn;

cases! {
    "identity" [Identity] a_queued_call_is_refused_when_the_lock_goes_to_another;
    "identity" [Identity] a_queued_call_goes_on_when_the_lock_comes_to_its_caller;
    "identity" [Identity] a_plain_waiter_waits_while_the_lock_is_assigned;
    "identity" [Identity] a_plain_waiter_is_passed_over_by_the_holder;
    "identity" [Identity] a_plain_waiter_does_not_keep_the_holder_out;
    "identity" [Identity] a_plain_waiter_enters_when_the_assignment_ends;
    "identity" [Identity Queue] a_look_counts_those_who_wait_for_their_turn;
}

async fn a_queued_call_is_refused_when_the_lock_goes_to_another(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    one.acquire_lock("turn", "alice").await?;
    let guard = call(&one, "alice").acquire().await?;
    let queued = tokio::spawn(call(&two, "alice").run(async || ()));
    stage.until_waiting(&one, "turn", 1).await?;
    as_caller("alice", one.transfer_lock("turn", "bob")).await?;
    let refused = stage
        .soon(
            "a queued call that is no longer entitled is refused, before the section ends",
            queued,
        )
        .await??;
    check_refused(refused, NotYourTurn)?;
    ensure!(guard.is_held(), "the refusal ended the section");
    guard.release().await?;
    Ok(())
}

async fn a_queued_call_goes_on_when_the_lock_comes_to_its_caller(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    // Nobody holds the lock, so that both may queue.
    let guard = call(&one, "alice").acquire().await?;
    let bob = tokio::spawn(call(&two, "bob").acquire());
    stage.until_waiting(&one, "turn", 1).await?;
    let carol = tokio::spawn(call(&two, "carol").run(async || ()));
    stage.until_waiting(&one, "turn", 2).await?;
    one.acquire_lock("turn", "bob").await?;
    let refused = stage
        .soon("who is not the holder is refused", carol)
        .await??;
    check_refused(refused, NotYourTurn)?;
    ensure!(
        !bob.is_finished(),
        "the holder entered beside a section that runs"
    );
    guard.release().await?;
    let guard = stage.soon("the holder enters", bob).await???;
    guard.release().await?;
    Ok(())
}

async fn a_plain_waiter_waits_while_the_lock_is_assigned(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    one.acquire_lock("turn", "alice").await?;
    ensure!(
        two.lock("turn").try_acquire().await?.is_none(),
        "a plain call walked around the holder"
    );
    let plain = tokio::spawn(two.lock("turn").acquire());
    stage.until_waiting(&one, "turn", 1).await?;
    stage.pass(stage.ttl()).await;
    ensure!(
        !plain.is_finished(),
        "a plain call walked around the holder"
    );
    as_caller("alice", one.transfer_lock("turn", "bob")).await?;
    stage.pass(stage.ttl() / 4).await;
    ensure!(
        !plain.is_finished(),
        "a plain call slipped in when the holder changed"
    );
    as_caller("bob", one.release_lock("turn")).await?;
    let guard = stage
        .soon("a plain call enters when nobody holds the lock", plain)
        .await???;
    guard.release().await?;
    Ok(())
}

async fn a_plain_waiter_is_passed_over_by_the_holder(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    one.acquire_lock("turn", "alice").await?;
    let plain = tokio::spawn(two.lock("turn").run(async || ()));
    stage.until_waiting(&one, "turn", 1).await?;
    for _ in 0..3 {
        stage
            .soon(
                "the holder's call passes a plain waiter",
                call(&two, "alice").run(async || ()),
            )
            .await??;
    }
    ensure!(
        !plain.is_finished(),
        "a plain call walked around the holder"
    );
    as_caller("alice", one.release_lock("turn")).await?;
    stage.soon("the plain call enters", plain).await???;
    Ok(())
}

async fn a_plain_waiter_does_not_keep_the_holder_out(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    one.acquire_lock("turn", "alice").await?;
    let guard = call(&one, "alice").acquire().await?;
    let plain = tokio::spawn(two.lock("turn").run(async || ()));
    stage.until_waiting(&one, "turn", 1).await?;
    let queued = tokio::spawn(call(&two, "alice").acquire());
    stage.until_waiting(&one, "turn", 2).await?;
    guard.release().await?;
    let guard = stage
        .soon("the holder's queued call passes a plain waiter", queued)
        .await???;
    ensure!(
        !plain.is_finished(),
        "a plain call entered beside the holder"
    );
    guard.release().await?;
    plain.abort();
    Ok(())
}

async fn a_plain_waiter_enters_when_the_assignment_ends(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    one.acquire_lock("turn", "alice").ttl(stage.ttl()).await?;
    let plain = tokio::spawn(two.lock("turn").run(async || ()));
    stage.until_waiting(&one, "turn", 1).await?;
    stage.pass(stage.ttl()).await;
    stage
        .soon("a plain call enters after the assignment", plain)
        .await???;
    Ok(())
}

async fn a_look_counts_those_who_wait_for_their_turn(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    one.acquire_lock("turn", "alice").await?;
    let plain = tokio::spawn(two.lock("turn").run(async || ()));
    stage.until_waiting(&one, "turn", 1).await?;
    let info = one.get_lock("turn").await?;
    ensure!(
        info.waiting == 1 && info.holder.is_some() && info.section().is_none(),
        "a lock that is assigned and waited for shows {info:?}"
    );
    plain.abort();
    stage.until_waiting(&one, "turn", 0).await
}
