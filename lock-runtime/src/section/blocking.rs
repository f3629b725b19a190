//! Sections of sync functions, and waiting on a thread without ever stopping a runtime.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::{block_in_place, coop};

use super::current::Inside;
use super::{Ended, Section};

/// Runs a sync body inside its section, and gives the section back when it has ended.
#[inline]
pub fn run_blocking<R>(section: Section, body: impl FnOnce() -> R) -> Ended<R> {
    if section.is_none() {
        return Ended::Kept(body());
    }
    run_inside(section, body)
}

fn run_inside<R>(mut section: Section, body: impl FnOnce() -> R) -> Ended<R> {
    // What had to be waited for has been; only a refusal is left to be told.
    match section.poll_enter(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(())) => {}
        Poll::Ready(Err(error)) => return Ended::NotLocked(None, error),
        Poll::Pending => unreachable!("the section has been waited for"),
    }
    if let Some(error) = section.loss() {
        return Ended::NotLocked(None, error);
    }
    section.begin();
    let value = {
        let _span = section.enter_span();
        let _inside = Inside::enter(&mut section);
        body()
    };
    let lost_while_running = section.loss();
    let loss = match section.exit().ready() {
        Ok(loss) => loss,
        // Where this thread must not wait, the release goes on in the background.
        Err(exit) => exit.finish_blocking(),
    };
    match lost_while_running.or(loss) {
        None => Ended::Kept(value),
        Some(error) => Ended::NotLocked(Some(value), error),
    }
}

/// Why this thread must not wait: that could wait for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MustNotWait {
    /// It runs async tasks and cannot step aside.
    OnlyThread,
    /// It could step aside, but too many have: the runtime would have no thread left.
    TooManyAside,
}

/// How many workers may step aside at a time, over all runtimes. Each needs another thread of its
/// runtime, which has 512 of them unless it was built with fewer.
const MOST_ASIDE: usize = 256;

static ASIDE: AtomicUsize = AtomicUsize::new(0);

/// Waits for a future on this thread.
///
/// On a worker of a multi-threaded runtime, the worker's other tasks move to another thread
/// first. On a thread that runs all tasks of a runtime there is no other, and waiting is refused.
pub(crate) fn wait<F: Future>(future: F) -> Result<F::Output, MustNotWait> {
    let mut future = pin!(future);
    // What is there already needs no wait, wherever this is.
    if let Poll::Ready(output) = future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        return Ok(output);
    }
    match where_are_we() {
        Where::OwnThread => Ok(park(future)),
        Where::Worker => step_aside(future),
        Where::OnlyThread => Err(MustNotWait::OnlyThread),
    }
}

enum Where {
    /// A thread that may wait: no runtime is entered, or it is one for blocking work.
    OwnThread,
    /// A thread that polls tasks, and can hand them to others.
    Worker,
    /// A thread that polls tasks, and is the only one that does.
    OnlyThread,
}

fn where_are_we() -> Where {
    let Ok(runtime) = Handle::try_current() else {
        return Where::OwnThread;
    };
    if !polls_a_task() {
        return Where::OwnThread;
    }
    match runtime.runtime_flavor() {
        RuntimeFlavor::MultiThread => Where::Worker,
        _ => Where::OnlyThread,
    }
}

/// Whether a task of a tokio runtime is being polled on this thread right now.
///
/// Tokio gives every poll of a task a budget, and code in `spawn_blocking` none; asking for more
/// than any budget tells the two apart. Each step is given back, in reverse order, so that the
/// task keeps what it had. A task inside `tokio::task::unconstrained` has no budget either, and
/// is taken for a thread that may wait; there the limit of the wait is the way out.
///
/// See `tokio::task::coop`.
fn polls_a_task() -> bool {
    const MORE_THAN_ANY_BUDGET: usize = 256;
    let mut cx = Context::from_waker(Waker::noop());
    let mut steps = Vec::with_capacity(MORE_THAN_ANY_BUDGET);
    let mut is_limited = false;
    for _ in 0..MORE_THAN_ANY_BUDGET {
        match coop::poll_proceed(&mut cx) {
            Poll::Ready(step) => steps.push(step),
            Poll::Pending => {
                is_limited = true;
                break;
            }
        }
    }
    while let Some(step) = steps.pop() {
        drop(step);
    }
    is_limited
}

fn step_aside<F: Future>(future: F) -> Result<F::Output, MustNotWait> {
    let _place = Aside::take(&ASIDE).ok_or(MustNotWait::TooManyAside)?;
    // Inside a `LocalSet` the tasks are bound to this thread, and tokio says so with a panic.
    if catch_unwind(AssertUnwindSafe(|| block_in_place(|| ()))).is_err() {
        return Err(MustNotWait::OnlyThread);
    }
    Ok(block_in_place(|| park(future)))
}

/// A place among those who step aside, counted here.
struct Aside(&'static AtomicUsize);

impl Aside {
    fn take(count: &'static AtomicUsize) -> Option<Self> {
        let place = Self(count);
        // Counted first, given back by the drop when there was no room.
        (count.fetch_add(1, Ordering::AcqRel) < MOST_ASIDE).then_some(place)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Polls a future on this thread, which sleeps in between.
fn park<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests;
