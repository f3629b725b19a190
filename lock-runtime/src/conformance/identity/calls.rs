//! The four calls: assign, transfer, take back, look.

use super::super::case::{Outcome, cases, ensure};
use super::super::stage::Stage;
use super::{as_caller, call, check_holder, check_refused, holder};
use crate::caller::Caller;
use crate::error::LockErrorKind::{InvalidOption, NotYourTurn, Unauthenticated};

cases! {
    "identity" [Identity] a_lock_is_assigned_to_one_caller;
    "identity" [Identity] an_assignment_is_seen_by_every_process;
    "identity" [Identity] an_assignment_outlives_the_process_that_made_it;
    "identity" [Identity] the_holder_transfers;
    "identity" [Identity] nobody_else_transfers;
    "identity" [Identity] a_lock_that_nobody_holds_is_assigned_by_a_transfer;
    "identity" [Identity] a_named_giver_must_hold_the_lock;
    "identity" [Identity] one_of_many_transfers_wins;
    "identity" [Identity] a_lock_is_never_transferred_to_nobody;
    "identity" [Identity] the_holder_releases;
    "identity" [Identity] nobody_else_releases;
    "identity" [Identity] no_caller_speaks_for_another;
    "identity" [Identity] an_operator_is_not_refused;
    "identity" [Identity] a_look_shows_the_assignment;
}

async fn a_lock_is_assigned_to_one_caller(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    check_holder(holder(&one).await?, None)?;
    one.acquire_lock("turn", "alice").await?;
    check_holder(holder(&two).await?, Some("alice"))?;
    two.acquire_lock("turn", "alice").await?;
    check_refused(two.acquire_lock("turn", "bob").await, NotYourTurn)?;
    check_refused(one.acquire_lock("turn", "").await, InvalidOption)?;
    check_holder(holder(&one).await?, Some("alice"))?;
    let error = one.acquire_lock("turn", "bob").await.err();
    let text = error.map(|error| error.to_string()).unwrap_or_default();
    ensure!(
        text.starts_with("Not your turn"),
        "the error begins otherwise: {text}"
    );
    Ok(())
}

async fn an_assignment_is_seen_by_every_process(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    one.acquire_lock("turn", "alice").await?;
    check_refused(call(&two, "bob").run(async || ()).await, NotYourTurn)?;
    call(&two, "alice").run(async || ()).await?;
    as_caller("alice", two.transfer_lock("turn", "bob")).await?;
    check_refused(call(&one, "alice").run(async || ()).await, NotYourTurn)?;
    call(&one, "bob").run(async || ()).await?;
    Ok(())
}

async fn an_assignment_outlives_the_process_that_made_it(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    two.acquire_lock("turn", "alice").await?;
    two.shutdown(std::time::Duration::ZERO).await;
    drop(two);
    stage.pass(2 * stage.ttl()).await;
    check_holder(holder(&one).await?, Some("alice"))?;
    check_refused(call(&one, "bob").run(async || ()).await, NotYourTurn)
}

async fn the_holder_transfers(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    one.acquire_lock("turn", "alice").await?;
    as_caller("alice", one.transfer_lock("turn", "bob")).await?;
    check_holder(holder(&two).await?, Some("bob"))?;
    as_caller("bob", two.transfer_lock("turn", "alice").from("bob")).await?;
    check_holder(holder(&one).await?, Some("alice"))?;
    as_caller("alice", one.transfer_lock("turn", "alice")).await?;
    check_holder(holder(&one).await?, Some("alice"))
}

async fn nobody_else_transfers(stage: Stage) -> Outcome {
    let manager = stage.first();
    manager.acquire_lock("turn", "alice").await?;
    let stolen = as_caller("bob", manager.transfer_lock("turn", "bob")).await;
    check_refused(stolen, NotYourTurn)?;
    check_refused(manager.transfer_lock("turn", "bob").await, Unauthenticated)?;
    let anonymous = Caller::anonymous().scope(async { manager.transfer_lock("turn", "bob").await });
    check_refused(anonymous.await, Unauthenticated)?;
    check_holder(holder(&manager).await?, Some("alice"))
}

async fn a_lock_that_nobody_holds_is_assigned_by_a_transfer(stage: Stage) -> Outcome {
    let manager = stage.first();
    as_caller("alice", manager.transfer_lock("turn", "bob")).await?;
    check_holder(holder(&manager).await?, Some("bob"))?;
    let info = manager.get_lock("turn").await?;
    ensure!(
        info.expires_at.is_none(),
        "a lock that nobody held expires after its first transfer"
    );
    Ok(())
}

async fn a_named_giver_must_hold_the_lock(stage: Stage) -> Outcome {
    let manager = stage.first();
    let from_nobody = manager.transfer_lock("turn", "bob").from("alice").await;
    check_refused(from_nobody, NotYourTurn)?;
    check_holder(holder(&manager).await?, None)?;
    manager.acquire_lock("turn", "carol").await?;
    let from_another = manager.transfer_lock("turn", "bob").from("alice").await;
    check_refused(from_another, NotYourTurn)?;
    let by_another = manager.release_lock("turn").caller("alice").await;
    check_refused(by_another, NotYourTurn)?;
    check_holder(holder(&manager).await?, Some("carol"))?;
    manager.transfer_lock("turn", "bob").from("carol").await?;
    check_holder(holder(&manager).await?, Some("bob"))
}

/// Every process wants to hand the lock on at once: one step decides who does.
async fn one_of_many_transfers_wins(stage: Stage) -> Outcome {
    const RIVALS: usize = 8;
    let managers = [stage.first(), stage.another().await?];
    for _ in 0..5 {
        managers[0]
            .acquire_lock("turn", "alice")
            .as_operator()
            .await?;
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..RIVALS {
            let heir = format!("heir-{number}");
            let transfer = managers[number % 2]
                .transfer_lock("turn", &heir)
                .from("alice");
            tasks.spawn(async move { transfer.await.map(|()| heir) });
        }
        let mut winners = Vec::new();
        while let Some(task) = tasks.join_next().await {
            winners.extend(task?);
        }
        ensure!(
            winners.len() == 1,
            "{} of {RIVALS} transfers by one holder were allowed",
            winners.len()
        );
        check_holder(holder(&managers[1]).await?, Some(&winners[0]))?;
    }
    Ok(())
}

async fn a_lock_is_never_transferred_to_nobody(stage: Stage) -> Outcome {
    let manager = stage.first();
    manager.acquire_lock("turn", "alice").await?;
    for nobody in [None, Some(Caller::anonymous()), Some(Caller::new(""))] {
        let transferred = as_caller("alice", manager.transfer_lock("turn", nobody)).await;
        check_refused(transferred, InvalidOption)?;
    }
    check_holder(holder(&manager).await?, Some("alice"))
}

async fn the_holder_releases(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    one.acquire_lock("turn", "alice").await?;
    as_caller("alice", two.release_lock("turn")).await?;
    check_holder(holder(&one).await?, None)?;
    // Again, as after a reply that was lost.
    as_caller("alice", two.release_lock("turn")).await?;
    two.acquire_lock("turn", "bob").await?;
    one.release_lock("turn").caller("bob").await?;
    check_holder(holder(&one).await?, None)
}

async fn nobody_else_releases(stage: Stage) -> Outcome {
    let manager = stage.first();
    manager.acquire_lock("turn", "alice").await?;
    let released = as_caller("bob", manager.release_lock("turn")).await;
    check_refused(released, NotYourTurn)?;
    check_refused(manager.release_lock("turn").await, Unauthenticated)?;
    check_holder(holder(&manager).await?, Some("alice"))
}

async fn no_caller_speaks_for_another(stage: Stage) -> Outcome {
    let manager = stage.first();
    manager.acquire_lock("turn", "alice").await?;
    let transferred = as_caller("bob", manager.transfer_lock("turn", "bob").from("alice")).await;
    check_refused(transferred, NotYourTurn)?;
    let released = as_caller("bob", manager.release_lock("turn").caller("alice")).await;
    check_refused(released, NotYourTurn)?;
    check_holder(holder(&manager).await?, Some("alice"))?;
    let operator = manager
        .transfer_lock("turn", "bob")
        .from("alice")
        .as_operator();
    as_caller("bob", operator).await?;
    check_holder(holder(&manager).await?, Some("bob"))
}

async fn an_operator_is_not_refused(stage: Stage) -> Outcome {
    let manager = stage.first();
    manager.acquire_lock("turn", "alice").await?;
    manager.acquire_lock("turn", "bob").as_operator().await?;
    check_holder(holder(&manager).await?, Some("bob"))?;
    manager.transfer_lock("turn", "carol").as_operator().await?;
    check_holder(holder(&manager).await?, Some("carol"))?;
    manager.release_lock("turn").as_operator().await?;
    check_holder(holder(&manager).await?, None)?;
    manager.release_lock("turn").as_operator().await?;
    check_holder(holder(&manager).await?, None)
}

async fn a_look_shows_the_assignment(stage: Stage) -> Outcome {
    let manager = stage.first();
    manager.acquire_lock("turn", "alice").await?;
    let info = manager.get_lock("turn").await?;
    ensure!(
        info.acquired_at.is_some() && info.expires_at.is_none(),
        "an assignment without an end shows {info:?}"
    );
    ensure!(
        info.section().is_none() && !info.is_locked(),
        "an assignment alone looks like a section: {info:?}"
    );
    let inside = call(&manager, "alice")
        .run(|| manager.get_lock("turn"))
        .await??;
    ensure!(
        inside.section().is_some() && inside.holder.is_some(),
        "a running call of the holder shows {inside:?}"
    );
    Ok(())
}
