//! Who may call: the check and the entry are one step (S6).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::super::case::{Outcome, cases, ensure};
use super::super::stage::Stage;
use super::{as_caller, call, check_holder, check_refused, holder};
use crate::error::LockErrorKind::{Lost, NotYourTurn, Unauthenticated};
use crate::options::AuthPolicy::{Assigned, Optional, Required};

cases! {
    "identity" [Identity] everybody_known_may_call_while_nobody_holds_the_lock;
    "identity" [Identity] only_the_holder_may_call;
    "identity" [Identity] others_are_refused_at_once;
    "identity" [Identity] a_call_without_a_caller_is_refused;
    "identity" [Identity] the_anonymous_may_call_where_it_is_optional;
    "identity" [Identity] nobody_may_call_where_the_lock_must_be_assigned;
    "S6" [Identity] calls_of_the_holder_do_not_overlap;
    "S6" [Identity] check_and_entry_are_one_step;
    "identity" [Identity] a_transfer_inside_takes_effect_at_once;
    "identity" [Identity] a_lost_section_hands_nothing_on;
    "identity" [Identity Shared] shared_calls_of_the_holder_may_overlap;
}

async fn everybody_known_may_call_while_nobody_holds_the_lock(stage: Stage) -> Outcome {
    let manager = stage.first();
    for caller in ["alice", "bob"] {
        call(&manager, caller).run(async || ()).await?;
    }
    check_holder(holder(&manager).await?, None)
}

async fn only_the_holder_may_call(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    one.acquire_lock("turn", "alice").await?;
    let ran = AtomicUsize::new(0);
    for manager in [&one, &two] {
        call(manager, "alice")
            .run(async || ran.fetch_add(1, Ordering::SeqCst))
            .await?;
        for stranger in ["bob", "Alice", "alice ", "alic", "alicee"] {
            let refused = call(manager, stranger)
                .run(async || ran.fetch_add(100, Ordering::SeqCst))
                .await;
            check_refused(refused, NotYourTurn)?;
        }
    }
    let ran = ran.load(Ordering::SeqCst);
    ensure!(ran == 2, "the body of a refused call ran ({ran})");
    Ok(())
}

/// Not after the section that runs, and not after the wait.
async fn others_are_refused_at_once(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    one.acquire_lock("turn", "alice").await?;
    let guard = call(&one, "alice").acquire().await?;
    let refused = stage
        .soon(
            "a refusal comes at once",
            call(&two, "bob").run(async || ()),
        )
        .await?;
    check_refused(refused, NotYourTurn)?;
    ensure!(guard.is_held(), "a refused call ended the holder's section");
    guard.release().await?;
    Ok(())
}

async fn a_call_without_a_caller_is_refused(stage: Stage) -> Outcome {
    let manager = stage.first();
    for assigned in [false, true] {
        if assigned {
            manager.acquire_lock("turn", "alice").await?;
        }
        for policy in [Required, Assigned] {
            let nobody = manager.lock("turn").auth_as(policy, "");
            check_refused(nobody.run(async || ()).await, Unauthenticated)?;
            let unscoped = manager.lock("turn").auth(policy);
            check_refused(unscoped.run(async || ()).await, Unauthenticated)?;
        }
    }
    as_caller(
        "alice",
        manager.lock("turn").auth(Required).run(async || ()),
    )
    .await?;
    Ok(())
}

async fn the_anonymous_may_call_where_it_is_optional(stage: Stage) -> Outcome {
    let manager = stage.first();
    let anonymous = || manager.lock("turn").auth_as(Optional, "").run(async || ());
    anonymous().await?;
    manager.acquire_lock("turn", "alice").await?;
    check_refused(anonymous().await, NotYourTurn)?;
    let known = manager.lock("turn").auth_as(Optional, "alice");
    known.run(async || ()).await?;
    Ok(())
}

async fn nobody_may_call_where_the_lock_must_be_assigned(stage: Stage) -> Outcome {
    let manager = stage.first();
    let alice = || {
        manager
            .lock("turn")
            .auth_as(Assigned, "alice")
            .run(async || ())
    };
    check_refused(alice().await, NotYourTurn)?;
    manager.acquire_lock("turn", "alice").await?;
    alice().await?;
    as_caller("alice", manager.release_lock("turn")).await?;
    check_refused(alice().await, NotYourTurn)
}

async fn calls_of_the_holder_do_not_overlap(stage: Stage) -> Outcome {
    let managers = [stage.first(), stage.another().await?];
    managers[0].acquire_lock("turn", "alice").await?;
    let inside = Arc::new(AtomicBool::new(false));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..6 {
        let (request, inside) = (call(&managers[number % 2], "alice"), Arc::clone(&inside));
        tasks.spawn(request.run(async move || {
            let overlapped = inside.swap(true, Ordering::SeqCst);
            tokio::time::sleep(std::time::Duration::from_millis(3)).await;
            inside.store(false, Ordering::SeqCst);
            overlapped
        }));
    }
    while let Some(task) = stage
        .soon("every call is served", tasks.join_next())
        .await?
    {
        ensure!(!task??, "two calls of the holder overlapped");
    }
    Ok(())
}

/// The turn goes round while both players call: nobody's body may begin out of turn.
async fn check_and_entry_are_one_step(stage: Stage) -> Outcome {
    const MOVES: usize = 10;
    let managers = [stage.first(), stage.another().await?];
    managers[0].acquire_lock("turn", "alice").await?;
    let moves = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::<Outcome>::new();
    for number in 0..4 {
        let (manager, moves) = (managers[number / 2].clone(), Arc::clone(&moves));
        let (me, next, my_turn) = match number % 2 {
            0 => ("alice", "bob", 0),
            _ => ("bob", "alice", 1),
        };
        tasks.spawn(async move {
            loop {
                let moved = call(&manager, me)
                    .run(async || {
                        let number = moves.load(Ordering::SeqCst);
                        ensure!(
                            number % 2 == my_turn,
                            "{me} moved when it was {next}'s turn"
                        );
                        tokio::task::yield_now().await;
                        moves.store(number + 1, Ordering::SeqCst);
                        as_caller(me, manager.transfer_lock("turn", next)).await?;
                        Ok(number + 1)
                    })
                    .await;
                match moved {
                    Ok(moved) => {
                        if moved? >= MOVES {
                            return Ok(());
                        }
                    }
                    Err(error) if error.is_not_your_turn() => {
                        if moves.load(Ordering::SeqCst) >= MOVES {
                            return Ok(());
                        }
                        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        });
    }
    while let Some(task) = stage.soon("the game ends", tasks.join_next()).await? {
        task??;
    }
    Ok(())
}

async fn a_transfer_inside_takes_effect_at_once(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    one.acquire_lock("turn", "alice").await?;
    let guard = call(&one, "alice").acquire().await?;
    as_caller("alice", one.transfer_lock("turn", "bob")).await?;
    check_holder(holder(&two).await?, Some("bob"))?;
    ensure!(
        guard.is_held(),
        "a transfer ended the section that it came from"
    );
    let again = stage
        .soon(
            "a call of the old holder is refused at once",
            call(&two, "alice").run(async || ()),
        )
        .await?;
    check_refused(again, NotYourTurn)?;
    let next = tokio::spawn(call(&two, "bob").acquire());
    stage.until_waiting(&one, "turn", 1).await?;
    ensure!(
        !next.is_finished(),
        "the new holder entered beside the section of the old one"
    );
    guard.release().await?;
    let next = stage
        .soon("the new holder enters after it", next)
        .await???;
    next.release().await?;
    Ok(())
}

async fn a_lost_section_hands_nothing_on(stage: Stage) -> Outcome {
    let (manager, other) = (stage.first(), stage.another().await?);
    manager.acquire_lock("turn", "alice").await?;
    let request = call(&manager, "alice")
        .ttl(stage.ttl())
        .renew(false)
        .on_lost(crate::OnLost::Finish);
    let mut handed_on = None;
    let result = request
        .run(async || {
            stage.pass(stage.ttl()).await;
            let successor = call(&other, "alice").run(async || ());
            stage.soon("the next call enters", successor).await??;
            handed_on = Some(as_caller("alice", manager.transfer_lock("turn", "bob")).await);
            Ok::<(), super::super::case::Failure>(())
        })
        .await;
    if let Some(handed_on) = handed_on {
        check_refused(handed_on, Lost)?;
    }
    check_refused(result.map(drop), Lost)?;
    check_holder(holder(&other).await?, Some("alice"))
}

async fn shared_calls_of_the_holder_may_overlap(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    one.acquire_lock("turn", "alice").await?;
    let _first = call(&one, "alice").shared().acquire().await?;
    let second = call(&two, "alice").shared().try_acquire().await?;
    ensure!(
        second.is_some(),
        "two shared calls of the holder do not overlap"
    );
    let stranger = call(&two, "bob").shared().run(async || ()).await;
    check_refused(stranger, NotYourTurn)
}
