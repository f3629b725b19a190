//! An assignment has no end, unless it was given one.

use std::time::Duration;

use super::super::case::{Outcome, cases, ensure};
use super::super::stage::Stage;
use super::{as_caller, call, check_holder, check_refused, holder};
use crate::error::LockErrorKind::{InvalidOption, NotYourTurn};

cases! {
    "identity" [Identity] an_assignment_has_no_end;
    "identity" [Identity] an_assignment_with_an_end_ends_then_and_not_before;
    "identity" [Identity] a_transfer_keeps_the_kind_of_end;
    "identity" [Identity] a_transfer_without_an_end_gives_none;
    "identity" [Identity] a_section_outlives_the_assignment_that_it_began_under;
    "identity" [Identity] an_assignment_of_no_time_is_refused;
}

async fn an_assignment_has_no_end(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    one.acquire_lock("turn", "alice").await?;
    // Far beyond the lease of the sections.
    call(&one, "alice")
        .ttl(stage.ttl())
        .run(async || ())
        .await?;
    stage.pass(4 * stage.ttl()).await;
    check_holder(holder(&two).await?, Some("alice"))?;
    check_refused(call(&two, "bob").run(async || ()).await, NotYourTurn)
}

async fn an_assignment_with_an_end_ends_then_and_not_before(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    let sent = stage.now();
    let ttl = 2 * stage.ttl();
    one.acquire_lock("turn", "alice").ttl(ttl).await?;
    let info = two.get_lock("turn").await?;
    ensure!(
        info.expires_at.is_some(),
        "an assignment with an end shows none"
    );
    stage.pass(stage.ttl()).await;
    let early = call(&two, "bob").run(async || ()).await;
    if stage.now() - sent < ttl {
        check_refused(early, NotYourTurn)?;
    }
    stage.pass(stage.ttl()).await;
    stage
        .until("the assignment ends", async || {
            Ok(two.get_lock("turn").await?.holder.is_none())
        })
        .await?;
    ensure!(
        stage.now() - sent >= ttl,
        "the assignment ended after {:?} of {ttl:?}",
        stage.now() - sent
    );
    call(&two, "bob").run(async || ()).await?;
    one.acquire_lock("turn", "bob").await?;
    Ok(())
}

async fn a_transfer_keeps_the_kind_of_end(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    let ttl = 2 * stage.ttl();
    one.acquire_lock("turn", "alice").ttl(ttl).await?;
    stage.pass(stage.ttl()).await;
    let sent = stage.now();
    let transferred = as_caller("alice", two.transfer_lock("turn", "bob")).await;
    if transferred.is_err() && stage.now() >= sent + stage.ttl() {
        // The machine stood still until the assignment had ended.
        return Ok(());
    }
    transferred?;
    let info = two.get_lock("turn").await?;
    ensure!(
        info.expires_at.is_some(),
        "a turn that had an end has none after a transfer"
    );
    stage.pass(stage.ttl() + stage.ttl() / 2).await;
    if stage.now() - sent < ttl {
        // It has been started anew.
        let is = holder(&two).await?;
        if stage.now() - sent < ttl {
            check_holder(is, Some("bob"))?;
        }
    }
    stage.pass(stage.ttl()).await;
    stage
        .until("the assignment ends", async || {
            Ok(two.get_lock("turn").await?.holder.is_none())
        })
        .await
}

async fn a_transfer_without_an_end_gives_none(stage: Stage) -> Outcome {
    let manager = stage.first();
    manager.acquire_lock("turn", "alice").await?;
    as_caller("alice", manager.transfer_lock("turn", "bob")).await?;
    let info = manager.get_lock("turn").await?;
    ensure!(
        info.expires_at.is_none(),
        "a turn without an end has one after a transfer"
    );
    stage.pass(4 * stage.ttl()).await;
    check_holder(holder(&manager).await?, Some("bob"))
}

async fn a_section_outlives_the_assignment_that_it_began_under(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    one.acquire_lock("turn", "alice").ttl(stage.ttl()).await?;
    let guard = call(&one, "alice").acquire().await?;
    stage.pass(stage.ttl()).await;
    stage
        .until("the assignment ends", async || {
            Ok(two.get_lock("turn").await?.holder.is_none())
        })
        .await?;
    ensure!(guard.is_held(), "a section ended with the assignment");
    ensure!(
        call(&two, "bob").try_acquire().await?.is_none(),
        "a call entered beside a section, because an assignment had ended"
    );
    guard.release().await?;
    call(&two, "bob").run(async || ()).await?;
    Ok(())
}

async fn an_assignment_of_no_time_is_refused(stage: Stage) -> Outcome {
    let manager = stage.first();
    let assigned = manager.acquire_lock("turn", "alice").ttl(Duration::ZERO);
    check_refused(assigned.await, InvalidOption)?;
    check_holder(holder(&manager).await?, None)
}
