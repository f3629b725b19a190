//! S5 and L3: a section is lost before another can have the name, and a silent owner is followed
//! within its lease.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::case::{Failure, Outcome, cases, ensure};
use super::raw::Raw;
use super::stage::{LONG, Stage};
use super::wire::Wire;
use crate::error::LockError;
use crate::manager::LockManager;
use crate::options::{OnLost, Wait};
use crate::request::LockRequest;

cases! {
    "S5" [] a_body_is_not_polled_once_another_has_the_name;
    "S5" [Remote] a_body_is_lost_in_time_when_renewals_are_refused;
    "S5" [Remote] a_body_is_lost_in_time_when_renewals_are_not_answered;
    "S5" [Remote Queue] a_body_that_came_out_of_the_queue_is_lost_in_time;
    "S5" [Breakable] a_body_is_lost_in_time_when_the_connection_is_cut;
    "S5" [] a_body_that_finishes_is_told_afterwards;
    "S5" [] a_guard_is_not_held_once_another_has_the_name;
    "S5" [] a_guard_says_when_it_is_lost;
    "S5" [] an_extended_guard_is_held_for_longer;
    "S5" [] a_lost_guard_cannot_be_extended;
    "S5" [] a_section_that_is_held_too_long_is_lost;
    "L3" [] a_silent_owner_is_followed_within_its_lease;
    "L3" [Remote] a_process_that_falls_silent_is_followed_within_its_lease;
}

/// What is seen of a body that runs until it is lost.
#[derive(Clone, Default)]
struct Seen {
    begun: Arc<AtomicBool>,
    dropped: Arc<AtomicBool>,
    another_has_it: Arc<AtomicBool>,
    polled_after: Arc<AtomicBool>,
}

/// A body that is polled all the time, and never ends.
struct Restless {
    seen: Seen,
    tick: Pin<Box<tokio::time::Sleep>>,
}

impl Seen {
    fn body(&self) -> Restless {
        Restless {
            seen: self.clone(),
            tick: Box::pin(tokio::time::sleep(Duration::ZERO)),
        }
    }

    /// Another waits until the body's lease has ended.
    fn wait_to_follow(&self, rival: &LockManager) -> JoinHandle<Result<(), LockError>> {
        let (request, seen) = (rival.lock("name").wait(Wait::Forever), self.clone());
        tokio::spawn(request.run(async move || {
            seen.another_has_it.store(true, Ordering::SeqCst);
        }))
    }

    fn was_lost_in_time(&self, result: Result<(), LockError>) -> Outcome {
        ensure!(
            !self.polled_after.load(Ordering::SeqCst),
            "the body of a lost section was polled after its successor's had begun"
        );
        ensure!(
            self.dropped.load(Ordering::SeqCst),
            "the body of a lost section was not dropped"
        );
        ensure!(
            result.is_err_and(|error| error.is_lost()),
            "the call of a lost section did not say so"
        );
        Ok(())
    }
}

impl Future for Restless {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.seen.begun.store(true, Ordering::SeqCst);
        if self.seen.another_has_it.load(Ordering::SeqCst) {
            self.seen.polled_after.store(true, Ordering::SeqCst);
        }
        while self.tick.as_mut().poll(cx).is_ready() {
            self.tick = Box::pin(tokio::time::sleep(Duration::from_millis(10)));
        }
        Poll::Pending
    }
}

impl Drop for Restless {
    fn drop(&mut self) {
        self.seen.dropped.store(true, Ordering::SeqCst);
    }
}

/// Runs a body that loses its lock when `lose` has done its work; another waits meanwhile.
async fn lose_to_another(
    stage: &Stage,
    holder: LockRequest,
    rival: &LockManager,
    lose: impl FnOnce(),
) -> Outcome {
    let seen = Seen::default();
    let body = seen.body();
    let running = tokio::spawn(holder.ttl(stage.ttl()).run(move || body));
    stage
        .until("the body begins", async || {
            Ok(seen.begun.load(Ordering::SeqCst))
        })
        .await?;
    let waiting = seen.wait_to_follow(rival);
    lose();
    stage.pass(stage.ttl()).await;
    stage.soon("the successor runs", waiting).await???;
    let result = stage.soon("the lost body ends", running).await??;
    seen.was_lost_in_time(result)
}

async fn a_body_that_came_out_of_the_queue_is_lost_in_time(stage: Stage) -> Outcome {
    let (first, (manager, wire)) = (stage.first(), stage.wired().await?);
    // Stores that hand a name over for a moment do so where a lease is longer than that.
    let ttl = stage.ttl().max(Duration::from_secs(3));
    let before = first.lock("name").acquire().await?;
    let seen = Seen::default();
    let body = seen.body();
    let running = tokio::spawn(manager.lock("name").ttl(ttl).run(move || body));
    stage.until_waiting(&first, "name", 1).await?;
    let waiting = seen.wait_to_follow(&first);
    stage.until_waiting(&first, "name", 2).await?;
    // It is told of its grant, and cannot say anything any more.
    wire.silence();
    before.release().await?;
    stage
        .until("the body begins", async || {
            Ok(seen.begun.load(Ordering::SeqCst))
        })
        .await?;
    stage.pass(ttl).await;
    stage.soon("the successor runs", waiting).await???;
    let result = stage.soon("the lost body ends", running).await??;
    seen.was_lost_in_time(result)
}

async fn a_body_is_not_polled_once_another_has_the_name(stage: Stage) -> Outcome {
    let (holder, rival) = (stage.first(), stage.another().await?);
    let request = holder.lock("name").renew(false);
    lose_to_another(&stage, request, &rival, || {}).await
}

async fn a_body_is_lost_in_time_when_renewals_are_refused(stage: Stage) -> Outcome {
    let (holder, wire) = stage.wired().await?;
    let request = holder.lock("name");
    lose_to_another(&stage, request, &stage.first(), || wire.refuse()).await
}

async fn a_body_is_lost_in_time_when_renewals_are_not_answered(stage: Stage) -> Outcome {
    let (holder, wire) = stage.wired().await?;
    let request = holder.lock("name");
    lose_to_another(&stage, request, &stage.first(), || wire.silence()).await
}

async fn a_body_is_lost_in_time_when_the_connection_is_cut(stage: Stage) -> Outcome {
    let manager = stage.first();
    let seen = Seen::default();
    let body = seen.body();
    let request = manager.lock("name").ttl(stage.ttl());
    let sent = stage.now();
    let running = tokio::spawn(request.run(move || body));
    stage
        .until("the body begins", async || {
            Ok(seen.begun.load(Ordering::SeqCst))
        })
        .await?;
    stage.cut(true);
    let result = stage.soon("the body is lost", running).await;
    let lost_after = stage.now() - sent;
    stage.cut(false);
    ensure!(
        result??.is_err_and(|error| error.is_lost()),
        "the call over a cut connection did not say that its lock was lost"
    );
    // What the machine adds is generous; a second lease is not meant.
    ensure!(
        lost_after < 2 * stage.ttl() + Duration::from_secs(1),
        "it took {lost_after:?} to notice"
    );
    stage.until_free(&manager, "name").await
}

async fn a_body_that_finishes_is_told_afterwards(stage: Stage) -> Outcome {
    let manager = stage.first();
    let finished = Arc::new(AtomicBool::new(false));
    let request = manager
        .lock("name")
        .ttl(stage.ttl())
        .renew(false)
        .on_lost(OnLost::Finish);
    let result = request
        .run(async || {
            stage.pass(2 * stage.ttl()).await;
            finished.store(true, Ordering::SeqCst);
        })
        .await;
    ensure!(
        finished.load(Ordering::SeqCst),
        "a body that was to finish was dropped"
    );
    ensure!(
        result.is_err_and(|error| error.is_lost()),
        "a lost section counts as if it had been held"
    );
    Ok(())
}

async fn a_guard_is_not_held_once_another_has_the_name(stage: Stage) -> Outcome {
    let (holder, rival) = (stage.first(), stage.another().await?);
    let request = holder.lock("name").ttl(stage.ttl()).renew(false);
    let guard = request.acquire().await?;
    ensure!(guard.is_held(), "a new guard is not held");
    let waiting = tokio::spawn(rival.lock("name").acquire());
    stage.until_waiting(&rival, "name", 1).await?;
    stage.pass(stage.ttl()).await;
    let _successor = stage.soon("the successor enters", waiting).await???;
    ensure!(
        !guard.is_held(),
        "two guards of one name say that they are held"
    );
    Ok(())
}

async fn a_guard_says_when_it_is_lost(stage: Stage) -> Outcome {
    let manager = stage.first();
    let request = manager.lock("name").ttl(stage.ttl()).renew(false);
    let guard = request.acquire().await?;
    let watch = guard.watch();
    let watching = tokio::spawn(async move { watch.lost().await });
    stage.pass(stage.ttl()).await;
    let error = stage
        .soon("a watch is told of the loss", watching)
        .await??;
    ensure!(error.is_lost(), "the loss came as another error: {error}");
    ensure!(!guard.is_held(), "a lost guard says that it is held");
    let released = guard.release().await;
    ensure!(
        released.is_err_and(|error| error.is_lost()),
        "the release of a lost lock was no error"
    );
    Ok(())
}

async fn an_extended_guard_is_held_for_longer(stage: Stage) -> Outcome {
    let (holder, rival) = (stage.first(), stage.another().await?);
    let request = holder.lock("name").ttl(stage.ttl()).renew(false);
    let guard = request.acquire().await?;
    guard.extend(LONG).await?;
    stage.pass(2 * stage.ttl()).await;
    ensure!(guard.is_held(), "an extended guard was lost at its old end");
    ensure!(
        rival.lock("name").try_acquire().await?.is_none(),
        "an extended lease ended at its old end"
    );
    guard.release().await?;
    Ok(())
}

async fn a_lost_guard_cannot_be_extended(stage: Stage) -> Outcome {
    let (holder, rival) = (stage.first(), stage.another().await?);
    let request = holder.lock("name").ttl(stage.ttl()).renew(false);
    let guard = request.acquire().await?;
    stage.pass(stage.ttl()).await;
    let _successor = stage
        .soon("the successor enters", rival.lock("name").acquire())
        .await??;
    ensure!(
        guard.extend(LONG).await.is_err_and(|error| error.is_lost()),
        "a lost lock was extended"
    );
    Ok(())
}

async fn a_section_that_is_held_too_long_is_lost(stage: Stage) -> Outcome {
    let (holder, rival) = (stage.first(), stage.another().await?);
    let request = holder.lock("name").max_hold(stage.ttl());
    lose_to_another(&stage, request, &rival, || {}).await?;
    let request = holder.lock("name").max_hold(LONG);
    request.run(async || ()).await?;
    Ok(())
}

async fn a_silent_owner_is_followed_within_its_lease(stage: Stage) -> Outcome {
    let (manager, other) = (stage.first(), stage.another().await?);
    let sent = stage.now();
    let silent = Raw::new(&manager, "name", stage.ttl())?;
    silent.try_acquire().await?;
    follow(&stage, &other, sent).await
}

async fn a_process_that_falls_silent_is_followed_within_its_lease(stage: Stage) -> Outcome {
    let (manager, wire): (LockManager, Wire) = stage.wired().await?;
    let sent = stage.now();
    let guard = manager.lock("name").ttl(stage.ttl()).acquire().await?;
    wire.silence();
    let followed = follow(&stage, &stage.first(), sent).await;
    ensure!(
        !guard.is_held(),
        "a process that fell silent thinks it holds"
    );
    drop(guard);
    followed
}

/// Somebody who waits enters when the lease ends, although nobody releases.
async fn follow(stage: &Stage, other: &LockManager, sent: crate::Moment) -> Outcome {
    let waiting = tokio::spawn(other.lock("name").wait(Wait::Forever).acquire());
    stage.until_waiting(other, "name", 1).await?;
    stage.pass(stage.ttl()).await;
    let guard: Result<_, LockError> = stage
        .soon("somebody follows the silent owner", waiting)
        .await??;
    ensure!(
        stage.now() >= sent + stage.ttl(),
        "the silent owner was followed after {:?} of {:?}",
        stage.now() - sent,
        stage.ttl()
    );
    guard.map(drop).map_err(Failure::from)
}
