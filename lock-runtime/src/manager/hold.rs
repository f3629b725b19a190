//! What a section has in hand, and how it gives it back: once, on every way out.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{ManagerRef, detach};
use crate::backend::Release;
use crate::error::{BackendError, LockError, Lost};
use crate::lease::{self, Lease};
use crate::observe;
use crate::race::{First, first};
use crate::sync::atomic::{AtomicUsize, Ordering};

/// One name in hand. Dropping it gives it back in the background.
#[derive(Debug)]
pub(crate) struct Hold {
    manager: ManagerRef,
    /// `None` once it is given back.
    lease: Option<Arc<Lease>>,
    reentry: Option<Arc<Reentry>>,
}

/// An entry from inside a section that runs already.
#[derive(Debug)]
pub(crate) struct Reentry {
    /// The gate for entries from inside this one.
    gate: Arc<Semaphore>,
    _turn: OwnedSemaphorePermit,
    /// The entry that this one is inside of: its turn is not over before this one is.
    _outer: Option<Arc<Self>>,
}

impl Reentry {
    pub(crate) fn gate(&self) -> &Arc<Semaphore> {
        &self.gate
    }
}

/// What became of a release.
pub(crate) enum Released {
    /// It is done, or others still run under the lease. One that nobody has to do with any more
    /// can be used again.
    Done(Option<Arc<Lease>>),
    /// The section had been lost.
    Lost(LockError),
    /// It is on its way.
    Later(Releasing),
}

/// A release that is on its way; it goes on when this is dropped.
pub(crate) type Releasing = Pin<Box<dyn Future<Output = Option<LockError>> + Send>>;

impl Hold {
    #[inline]
    pub(super) fn new(manager: ManagerRef, lease: Arc<Lease>) -> Self {
        if !manager.capabilities.embedded {
            manager.live.enter();
        }
        let hold = Self {
            manager,
            lease: Some(lease),
            reentry: None,
        };
        // Seeing is foreign code, which may panic: then the hold gives back what it has.
        if let Some(lease) = &hold.lease {
            hold.manager.renewals.granted(lease);
            observe::acquired(lease);
        }
        hold
    }

    /// A further entry under a lease, in its turn. `None` when the lease has ended meanwhile.
    pub(crate) fn again(
        manager: ManagerRef,
        lease: &Arc<Lease>,
        turn: OwnedSemaphorePermit,
        outer: Option<Arc<Reentry>>,
    ) -> Option<Self> {
        if !lease.enter_again() {
            return None;
        }
        let reentry = Reentry {
            gate: Arc::new(Semaphore::new(1)),
            _turn: turn,
            _outer: outer,
        };
        Some(Self {
            manager,
            lease: Some(Arc::clone(lease)),
            reentry: Some(Arc::new(reentry)),
        })
    }

    pub(crate) fn manager(&self) -> &ManagerRef {
        &self.manager
    }

    pub(crate) fn lease(&self) -> Option<&Arc<Lease>> {
        self.lease.as_ref()
    }

    /// Lends the lease to the thread that runs the body; [`take_back`](Self::take_back) follows.
    #[inline]
    pub(crate) fn lend(&mut self) -> Option<Arc<Lease>> {
        self.lease.take()
    }

    #[inline]
    pub(crate) fn take_back(&mut self, lease: Arc<Lease>) {
        self.lease = Some(lease);
    }

    /// Why it is lost by now, if it is.
    #[inline]
    pub(crate) fn loss(&self) -> Option<LockError> {
        let lease = self.lease.as_ref()?;
        let cause = lease.check(|| self.manager.clock.now())?;
        Some(LockError::lost(lease.name(), cause))
    }

    /// The entry from inside that it is, if it is one.
    #[inline]
    pub(crate) fn reentry(&self) -> Option<&Arc<Reentry>> {
        self.reentry.as_ref()
    }

    /// The gate for entries from inside this one; `None` for the lease's own.
    #[inline]
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
        self.manager.left();
        lease.stop_renewal();
        let was_running = lease.end();
        self.manager.renewals.forget(&lease);
        if !was_running {
            return None;
        }
        if self.manager.capabilities.embedded {
            // It had no end so far; from now on it has one, should nobody take it over.
            drop(self.manager.backend.renew(&lease, lease.ttl()).ready());
        } else {
            detach::in_background(&self.manager, Arc::clone(&lease));
        }
        Some(lease)
    }

    /// Gives it back: at once where the backend is embedded, on the manager's thread elsewhere.
    #[inline]
    pub(crate) fn release(&mut self) -> Released {
        let Some(lease) = self.lease.take() else {
            return Released::Done(None);
        };
        if let Some(memory) = &self.manager.memory
            && self.reentry.is_none()
            && !lease.can_run_out()
            && lease.end_with_only_entry()
        {
            self.manager.renewals.forget(&lease);
            let released = if memory.return_untouched(&lease) {
                Released::Done(None)
            } else {
                end_in_backend(&self.manager, &lease, true)
            };
            return ended(lease, None, released);
        }
        self.leave(lease)
    }

    /// An entry leaves, and others may still run under the lease.
    fn leave(&mut self, lease: Arc<Lease>) -> Released {
        let turn = self.reentry.take();
        // Others from inside the section may still run: the last of them gives it back.
        let is_last = lease.leave();
        lease.body_left(turn.as_ref().map(|reentry| &reentry.gate));
        drop(turn);
        if !is_last {
            return released(&lease, lease.loss());
        }
        self.manager.left();
        give_back(&self.manager, lease)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // A release that is on its way goes on by itself.
        drop(self.release());
    }
}

impl ManagerRef {
    /// A section has ended.
    #[inline]
    fn left(&self) {
        if !self.capabilities.embedded {
            self.live.leave();
        }
    }

    /// How many sections run.
    pub(super) fn running(&self) -> usize {
        if self.capabilities.embedded {
            self.embedded_leases().len()
        } else {
            self.live.count()
        }
    }

    /// The leases of the sections that run on an embedded backend.
    pub(super) fn embedded_leases(&self) -> Vec<Arc<Lease>> {
        let sections = self.backend.embedded_leases(self.id);
        sections.into_iter().map(|(lease, _)| lease).collect()
    }
}

/// Ends a lease that has no entry any more.
fn give_back(manager: &ManagerRef, lease: Arc<Lease>) -> Released {
    // One that ended by itself is lost, whether anybody has noticed yet or not.
    let noticed = lease.check(|| manager.clock.now());
    let was_running = lease.end();
    manager.renewals.forget(&lease);
    let released = end_in_backend(manager, &lease, was_running);
    ended(lease, noticed, released)
}

/// A section has ended in the backend, or is on its way there; now that may be seen: by foreign
/// code, which may panic.
#[inline]
fn ended(lease: Arc<Lease>, noticed: Option<Lost>, released: Released) -> Released {
    observe::ended(&lease);
    if let Some(cause) = noticed {
        observe::lost(&lease, cause);
    }
    match released {
        Released::Done(_) => Released::Done(lease::worth_keeping(lease)),
        released => released,
    }
}

/// Tells the backend that a lease has ended.
fn end_in_backend(manager: &ManagerRef, lease: &Arc<Lease>, was_running: bool) -> Released {
    let how = way_out(lease);
    let loss = lease.loss();
    if let Some(cause @ (Lost::Adopted | Lost::ForcedOut)) = loss {
        return Released::Lost(LockError::lost(lease.name(), cause));
    }
    if manager.capabilities.embedded
        && let Ok(answer) = manager.backend.release(lease, how).ready()
    {
        return released(lease, loss.or_else(|| judge(lease, was_running, answer)));
    }
    let lost = loss.map(|cause| LockError::lost(lease.name(), cause));
    let sent = send_release(manager, Arc::clone(lease), how, was_running);
    // What the backend says of a lost section changes nothing any more.
    lost.map_or(Released::Later(sent), Released::Lost)
}

/// A name rests only where the body has begun.
fn way_out(lease: &Lease) -> Release {
    if lease.has_body_begun() {
        Release::Finished
    } else {
        Release::Abandoned
    }
}

#[inline]
fn released(lease: &Lease, loss: Option<Lost>) -> Released {
    loss.map_or(Released::Done(None), |cause| {
        Released::Lost(LockError::lost(lease.name(), cause))
    })
}

/// Releases a lease whose section has been given up on.
pub(super) fn release_in_background(manager: &ManagerRef, lease: Arc<Lease>) {
    let how = way_out(&lease);
    if manager.capabilities.embedded {
        drop(manager.backend.release(&lease, how).ready());
    } else {
        drop(send_release(manager, lease, how, false));
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
    // The manager stays until it is released, or its thread would end with the request.
    let on_driver = manager.clone();
    let limit = lease.ttl();
    let answer = driver.run(async move {
        let (backend, clock) = (&on_driver.backend, &on_driver.clock);
        // A renewal that is under way must not arrive after the release.
        let _renewal = lease.renewal_gate().acquire().await;
        let answer = match first(backend.release(&lease, how), clock.sleep(limit)).await {
            First::Left(answer) => answer,
            First::Right(()) => Err(BackendError::timed_out(limit)),
        };
        judge(&lease, was_running, answer).map(|cause| LockError::lost(lease.name(), cause))
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
            // What has no end was ended by somebody, who came just before its owner.
            let cause = if lease.can_run_out() {
                Lost::Expired
            } else {
                Lost::ForcedOut
            };
            observe::lost(lease, cause);
            Some(cause)
        }
        Ok(false) => None,
        Err(error) => {
            observe::release_failed(lease, &error);
            None
        }
    }
}

/// Sections that run, of a backend elsewhere. The embedded one knows its own.
#[derive(Default)]
pub(super) struct Live(AtomicUsize);

impl Live {
    fn enter(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn leave(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }

    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}
