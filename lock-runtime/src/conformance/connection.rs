//! What a connection that is cut for a while must not cost, and what a request that comes late must
//! not do.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use super::cancellation::nothing_is_left;
use super::case::{Outcome, cases, ensure};
use super::raw::Raw;
use super::stage::{LONG, Stage};

cases! {
    "L1" [Breakable] a_section_goes_on_after_a_short_cut;
    "L2" [Breakable Queue] a_wait_that_is_cancelled_during_a_cut_leaves_nothing;
    "L2" [Remote] a_request_that_comes_after_its_cancellation_leaves_nothing;
    "L4" [Breakable Queue] a_waiter_keeps_its_place_over_a_cut;
    "L4" [Breakable Queue] a_waiter_enters_after_a_cut;
    "S2" [Breakable Fencing] tokens_rise_over_a_cut;
}

/// Long enough for both ends to notice, where noticing takes no longer than the network does.
const CUT: Duration = Duration::from_millis(50);

/// Cuts the connection for a moment, and waits until it is there again.
async fn cut_for_a_moment(stage: &Stage) -> Outcome {
    stage.cut(true);
    stage.pass(CUT).await;
    stage.cut(false);
    until_reachable(stage).await
}

async fn until_reachable(stage: &Stage) -> Outcome {
    let manager = stage.first();
    stage
        .until("the store is reached again", async || {
            Ok(manager.lock("another").info().await.is_ok())
        })
        .await
}

async fn a_section_goes_on_after_a_short_cut(stage: Stage) -> Outcome {
    let (manager, other) = (stage.first(), stage.another().await?);
    // So long that renewing it can wait for the connection.
    let ttl = 20 * stage.ttl();
    let guard = manager.lock("name").ttl(ttl).acquire().await?;
    cut_for_a_moment(&stage).await?;
    guard.extend(ttl).await?;
    ensure!(
        other.lock("name").try_acquire().await?.is_none(),
        "a section was given away although its connection came back in time"
    );
    ensure!(guard.is_held(), "a short cut lost the section");
    guard.release().await?;
    stage.until_free(&other, "name").await
}

async fn a_wait_that_is_cancelled_during_a_cut_leaves_nothing(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    let guard = holder.lock("name").acquire().await?;
    let waiting = tokio::spawn(other.lock("name").wait(LONG).acquire());
    stage.until_waiting(&holder, "name", 1).await?;
    stage.cut(true);
    waiting.abort();
    let _aborted = waiting.await;
    stage.pass(CUT).await;
    stage.cut(false);
    until_reachable(&stage).await?;
    guard.release().await?;
    nothing_is_left(&stage, &holder, "name").await
}

async fn a_request_that_comes_after_its_cancellation_leaves_nothing(stage: Stage) -> Outcome {
    let (manager, wire) = stage.wired().await?;
    wire.hold();
    for (number, wait) in [Duration::ZERO, LONG].into_iter().enumerate() {
        let mut request = pin!(manager.lock("name").wait(wait).acquire());
        let mut cx = Context::from_waker(Waker::noop());
        ensure!(
            request.as_mut().poll(&mut cx).is_pending(),
            "a request was answered that had not been sent"
        );
        stage
            .until(
                "the request is under way",
                async || Ok(wire.held() > number),
            )
            .await?;
        // Dropped here: what follows from that overtakes the request.
    }
    wire.mend();
    // Some may be granted even now, for as long as it takes to give that back.
    stage
        .until("the requests end", async || Ok(wire.held() == 0))
        .await?;
    nothing_is_left(&stage, &stage.first(), "name").await
}

async fn a_waiter_keeps_its_place_over_a_cut(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    let guard = holder.lock("name").acquire().await?;
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    for number in 0..2 {
        let order = Arc::clone(&order);
        let request = other.lock("name").wait(LONG);
        waiting.push(tokio::spawn(request.run(async move || {
            let mut order = order.lock().unwrap_or_else(PoisonError::into_inner);
            order.push(number);
        })));
        stage.until_waiting(&holder, "name", number + 1).await?;
    }
    cut_for_a_moment(&stage).await?;
    stage.until_waiting(&holder, "name", 2).await?;
    guard.release().await?;
    for task in waiting {
        stage.soon("everybody who waited enters", task).await???;
    }
    let order = order.lock().unwrap_or_else(PoisonError::into_inner);
    ensure!(
        *order == [0, 1],
        "after a cut they were served as {order:?}"
    );
    Ok(())
}

async fn a_waiter_enters_after_a_cut(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    let silent = Raw::new(&holder, "name", stage.ttl())?;
    silent.try_acquire().await?;
    let waiting = tokio::spawn(other.lock("name").wait(LONG).acquire());
    stage.until_waiting(&holder, "name", 1).await?;
    // Whatever the store says of the end of the lease, nobody hears it.
    stage.cut(true);
    stage.pass(stage.ttl()).await;
    stage.cut(false);
    let guard = stage.soon("the waiter enters", waiting).await???;
    guard.release().await?;
    stage.until_free(&holder, "name").await
}

async fn tokens_rise_over_a_cut(stage: Stage) -> Outcome {
    let manager = stage.first();
    let before = manager.lock("name").acquire().await?;
    let token = before.fencing_token();
    before.release().await?;
    cut_for_a_moment(&stage).await?;
    let after = manager.lock("name").acquire().await?;
    ensure!(
        after.fencing_token() > token,
        "{:?} was granted after {token:?}",
        after.fencing_token()
    );
    after.release().await?;
    Ok(())
}
