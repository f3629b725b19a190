//! What a section has in hand, and how it gives it back: once, on every way out.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ManagerRef;
use super::call::{First, first};
use crate::backend::Release;
use crate::clock::{Clock, Moment};
use crate::error::{BackendError, Lost};
use crate::lease::{self, Lease};
use crate::observe;
use crate::sync::atomic::{AtomicIsize, Ordering};

/// One name in hand. Dropping it gives it back in the background.
#[derive(Debug)]
pub(crate) struct Hold {
    manager: ManagerRef,
    /// `None` once it is given back.
    lease: Option<Arc<Lease>>,
    reentry: Option<Box<Reentry>>,
}

/// An entry from inside a section that runs already.
#[derive(Debug)]
struct Reentry {
    /// The gate for entries from inside this one.
    gate: Arc<Semaphore>,
    _turn: OwnedSemaphorePermit,
}

/// What became of a release.
pub(crate) enum Released {
    /// It is done, or others still run under the lease.
    Done,
    /// The section had been lost.
    Lost(Lost),
    /// It is on its way.
    Later(Releasing),
}

/// A release that is on its way; it goes on when this is dropped.
pub(crate) type Releasing = Pin<Box<dyn Future<Output = Option<Lost>> + Send>>;

impl Hold {
    pub(super) fn new(manager: ManagerRef, lease: Arc<Lease>) -> Self {
        manager.live.add(1);
        if lease.can_run_out() || lease.terms().max_hold.is_some() {
            manager.renewals.watch(&lease);
        }
        observe::acquired(&lease);
        Self {
            manager,
            lease: Some(lease),
            reentry: None,
        }
    }

    /// A further entry under a lease, in its turn. `None` when the lease has ended meanwhile.
    pub(crate) fn again(
        manager: ManagerRef,
        lease: &Arc<Lease>,
        turn: OwnedSemaphorePermit,
    ) -> Option<Self> {
        if !lease.enter_again() {
            return None;
        }
        let reentry = Reentry {
            gate: Arc::new(Semaphore::new(1)),
            _turn: turn,
        };
        Some(Self {
            manager,
            lease: Some(Arc::clone(lease)),
            reentry: Some(Box::new(reentry)),
        })
    }

    pub(crate) fn manager(&self) -> &ManagerRef {
        &self.manager
    }

    pub(crate) fn lease(&self) -> Option<&Arc<Lease>> {
        self.lease.as_ref()
    }

    /// The gate for entries from inside this one; `None` for the lease's own.
    pub(crate) fn gate(&self) -> Option<&Arc<Semaphore>> {
        self.reentry.as_ref().map(|reentry| &reentry.gate)
    }

    /// Somebody watches over the lease from now on: it may take long.
    pub(crate) fn watch(&self) {
        if let Some(lease) = &self.lease {
            self.manager.renewals.watch(lease);
        }
    }

    /// Lets go of it without giving it back: another process goes on with it. `None` when others
    /// still run under the lease, or it is gone.
    pub(crate) fn detach(&mut self) -> Option<Arc<Lease>> {
        if self.reentry.is_some() {
            return None;
        }
        let lease = self.lease.take()?;
        if !lease.leave() {
            return None;
        }
        self.manager.live.add(-1);
        lease.stop_renewal();
        let was_running = lease.end();
        self.manager.renewals.forget(&lease);
        if !was_running {
            return None;
        }
        if self.manager.capabilities.embedded {
            // It had no end so far; from now on it has one, should nobody take it over.
            drop(self.manager.backend.renew(&lease, lease.ttl()).ready());
        }
        Some(lease)
    }

    /// Gives it back: at once where the backend is embedded, on the manager's thread elsewhere.
    pub(crate) fn release(&mut self) -> Released {
        let Some(lease) = self.lease.take() else {
            return Released::Done;
        };
        let turn = self.reentry.take();
        // Others from inside the section may still run: the last of them gives it back.
        let is_last = lease.leave();
        drop(turn);
        if !is_last {
            return lease.loss().map_or(Released::Done, Released::Lost);
        }
        self.manager.live.add(-1);
        give_back(&self.manager, lease)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // A release that is on its way goes on by itself.
        drop(self.release());
    }
}

/// Ends a lease that has no entry any more.
fn give_back(manager: &ManagerRef, lease: Arc<Lease>) -> Released {
    let was_running = lease.end();
    manager.renewals.forget(&lease);
    observe::ended(&lease);
    let how = if lease.has_body_begun() {
        Release::Finished
    } else {
        Release::Abandoned
    };
    let loss = lease.loss();
    if let Some(cause @ (Lost::Adopted | Lost::ForcedOut)) = loss {
        observe::lost(&lease, cause);
        return Released::Lost(cause);
    }
    if manager.capabilities.embedded
        && let Ok(answer) = manager.backend.release(&lease, how).ready()
    {
        let loss = loss.or_else(|| judge(&lease, was_running, answer));
        lease::give_back(lease);
        return loss.map_or(Released::Done, Released::Lost);
    }
    let sent = send_release(manager, lease, how, was_running);
    match loss {
        // What the backend says of a lost section changes nothing any more.
        Some(cause) => Released::Lost(cause),
        None => Released::Later(sent),
    }
}

/// Releases a lease whose section has been given up on.
pub(super) fn release_in_background(manager: &ManagerRef, lease: Arc<Lease>) {
    if manager.capabilities.embedded {
        drop(manager.backend.release(&lease, Release::Finished).ready());
    } else {
        drop(send_release(manager, lease, Release::Finished, false));
    }
}

/// Sends a release from the manager's own thread, and waits for it for at most
/// `release_timeout`; then it goes on alone.
fn send_release(
    manager: &ManagerRef,
    lease: Arc<Lease>,
    how: Release,
    was_running: bool,
) -> Releasing {
    let driver = match manager.driver() {
        Ok(driver) => driver,
        Err(error) => {
            observe::release_failed(&lease, &error);
            return Box::pin(std::future::ready(None));
        }
    };
    let (backend, clock) = (Arc::clone(&manager.backend), manager.clock.clone());
    let limit = lease.ttl();
    let answer = driver.run(async move {
        // A renewal that is under way must not arrive after the release.
        let _renewal = lease.renewal_gate().acquire().await;
        let answer = match first(backend.release(&lease, how), clock.sleep(limit)).await {
            First::Left(answer) => answer,
            First::Right(()) => Err(BackendError::timed_out(limit)),
        };
        judge(&lease, was_running, answer)
    });
    let patience = manager.clock.sleep(manager.defaults.release_timeout);
    Box::pin(async move {
        match first(answer, patience).await {
            First::Left(Ok(loss)) => loss,
            // It goes on in the background, and is reported there.
            First::Left(Err(_)) | First::Right(()) => None,
        }
    })
}

/// What a release says about the section: one that the backend no longer knew was lost.
fn judge(lease: &Lease, was_running: bool, answer: Result<bool, BackendError>) -> Option<Lost> {
    match answer {
        Ok(true) => None,
        Ok(false) if was_running => {
            observe::lost(lease, Lost::Expired);
            Some(Lost::Expired)
        }
        Ok(false) => None,
        Err(error) => {
            observe::release_failed(lease, &error);
            None
        }
    }
}

/// How many sections of a manager run. Counted in stripes: threads that take different locks do
/// not meet here.
#[derive(Default)]
pub(super) struct Live {
    stripes: [Stripe; STRIPES],
}

const STRIPES: usize = 16;

#[derive(Default)]
#[repr(align(128))]
struct Stripe(AtomicIsize);

impl Live {
    #[inline]
    fn add(&self, change: isize) {
        thread_local! {
            static STRIPE: usize = {
                static NEXT: AtomicIsize = AtomicIsize::new(0);
                NEXT.fetch_add(1, Ordering::Relaxed).unsigned_abs() % STRIPES
            };
        }
        let stripe = STRIPE.try_with(|stripe| *stripe).unwrap_or(0);
        self.stripes[stripe].0.fetch_add(change, Ordering::Relaxed);
    }

    pub(super) fn count(&self) -> isize {
        self.stripes
            .iter()
            .map(|stripe| stripe.0.load(Ordering::Acquire))
            .sum()
    }

    /// Looks again after a moment: those who leave do not stop to tell.
    pub(super) async fn wait_for_change(clock: &Clock, deadline: Moment) {
        const LOOK: std::time::Duration = std::time::Duration::from_millis(5);
        let again = (clock.now() + LOOK).min(deadline);
        clock.sleep_until(again).await;
    }
}
