//! What can be seen of locks.

use super::case::{Failure, Outcome, cases, ensure};
use super::raw::Raw;
use super::stage::{LONG, Stage};
use crate::info::LockInfo;
use crate::options::Mode;

cases! {
    "looking" [] a_free_name_shows_nothing;
    "looking" [] a_running_section_is_shown;
    "looking" [] a_lease_that_has_ended_is_not_shown;
    "looking" [Queue] those_who_wait_are_counted;
    "looking" [List] locks_are_listed_by_prefix_and_sorted;
    "looking" [List] a_lock_that_is_over_is_not_listed;
    "looking" [Shared] every_reader_is_shown;
}

async fn a_free_name_shows_nothing(stage: Stage) -> Outcome {
    let manager = stage.first();
    let info = manager.lock("name").info().await?;
    ensure!(
        info == LockInfo::free(super::stage::name_of(&manager, "name")?),
        "a name that nobody uses shows {info:?}"
    );
    Ok(())
}

async fn a_running_section_is_shown(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    let guard = holder.lock("name").acquire().await?;
    stage.pass(stage.ttl() / 4).await;
    let info = other.lock("name").info().await?;
    ensure!(info.name.as_str() == "name", "shown is `{}`", info.name);
    ensure!(info.is_locked(), "a held name looks free");
    let section = info
        .section()
        .ok_or_else(|| Failure::new("a held name shows no section"))?;
    ensure!(
        Some(&section.owner) == guard.owner().as_ref(),
        "shown is the owner {}, it is {:?}",
        section.owner,
        guard.owner()
    );
    ensure!(section.mode == Mode::Exclusive, "shown as {}", section.mode);
    ensure!(
        section.held_for >= stage.ttl() / 5 && section.held_for < LONG,
        "shown as held for {:?}",
        section.held_for
    );
    if stage.can().fencing {
        ensure!(
            section.token == guard.fencing_token(),
            "shown with token {:?}",
            section.token
        );
    }
    guard.release().await?;
    Ok(())
}

async fn a_lease_that_has_ended_is_not_shown(stage: Stage) -> Outcome {
    let manager = stage.first();
    Raw::new(&manager, "name", stage.ttl())?
        .try_acquire()
        .await?;
    stage.pass(stage.ttl()).await;
    stage
        .until("a lease that has ended is gone", async || {
            Ok(!manager.lock("name").is_locked().await?)
        })
        .await
}

async fn those_who_wait_are_counted(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    let guard = holder.lock("name").acquire().await?;
    let mut waiting = Vec::new();
    for number in 1..=3 {
        waiting.push(tokio::spawn(other.lock("name").run(async || ())));
        stage.until_waiting(&holder, "name", number).await?;
    }
    let info = holder.lock("name").info().await?;
    ensure!(
        info.queue.is_empty()
            || info.queue.len() == 3
                && info
                    .queue
                    .is_sorted_by_key(|waiter| std::cmp::Reverse(waiter.waited)),
        "shown as waiting: {:?}",
        info.queue
    );
    guard.release().await?;
    for task in waiting {
        stage.soon("a waiter enters", task).await???;
    }
    stage.until_waiting(&holder, "name", 0).await
}

async fn locks_are_listed_by_prefix_and_sorted(stage: Stage) -> Outcome {
    let (manager, other) = (stage.first(), stage.another().await?);
    let mut guards = Vec::new();
    for name in ["task:2", "task:10", "tas", "user:1", "task:1", "*"] {
        guards.push(manager.lock(name).acquire().await?);
    }
    for (prefix, expected) in [
        ("task:", &["task:1", "task:10", "task:2"][..]),
        ("task:1", &["task:1", "task:10"]),
        ("", &["*", "tas", "task:1", "task:10", "task:2", "user:1"]),
        ("*", &["*"]),
        ("none", &[]),
    ] {
        let listed = other.list(prefix).await?;
        let names: Vec<&str> = listed.iter().map(|info| info.name.as_str()).collect();
        ensure!(names == expected, "listed for `{prefix}`: {names:?}");
        ensure!(
            listed.iter().all(LockInfo::is_locked),
            "a held lock is listed as free"
        );
    }
    Ok(())
}

async fn a_lock_that_is_over_is_not_listed(stage: Stage) -> Outcome {
    let manager = stage.first();
    Raw::new(&manager, "expired", stage.ttl())?
        .try_acquire()
        .await?;
    manager.lock("released").run(async || ()).await?;
    stage.pass(stage.ttl()).await;
    stage
        .until("nothing is listed any more", async || {
            Ok(manager.list("").await?.is_empty())
        })
        .await
}

async fn every_reader_is_shown(stage: Stage) -> Outcome {
    let (one, two) = (stage.first(), stage.another().await?);
    let _first = one.lock("name").shared().acquire().await?;
    let _second = two.lock("name").shared().acquire().await?;
    let info = one.lock("name").info().await?;
    ensure!(
        info.sections.len() == 2 && info.sections.iter().all(|s| s.mode == Mode::Shared),
        "two readers are shown as {:?}",
        info.sections
    );
    Ok(())
}
