//! Leases are used again: taking a lock that nobody wants costs no allocation.

use std::sync::Arc;

use tracing::Span;

use super::{Lease, SharedTerms};
use crate::caller::CallerId;
use crate::name::{LockName, NameError};
use crate::owner::Process;

/// A lease for a new owner, on behalf of this caller, of the name that `name` puts in its place;
/// out of one that was kept, if there is one that nobody else knows.
#[inline]
pub(crate) fn make(
    kept: Option<Arc<Lease>>,
    manager: u64,
    process: &Arc<Process>,
    terms: &SharedTerms,
    caller: Option<&CallerId>,
    name: impl FnOnce(&mut LockName) -> Result<(), NameError>,
) -> Result<Arc<Lease>, NameError> {
    if let Some(mut lease) = kept
        && let Some(place) = Arc::get_mut(&mut lease)
    {
        place.start_over(manager, process, terms);
        place.fill(caller, name)?;
        return Ok(lease);
    }
    let mut lease = Lease::new(manager, process, terms);
    lease.fill(caller, name)?;
    Ok(Arc::new(lease))
}

impl Lease {
    /// The body runs in this span. For a lease that nobody else knows yet.
    pub(crate) fn run_in(self: &mut Arc<Self>, span: Span) {
        if let Some(lease) = Arc::get_mut(self) {
            lease.span = span;
        }
    }

    #[inline]
    fn fill(
        &mut self,
        caller: Option<&CallerId>,
        name: impl FnOnce(&mut LockName) -> Result<(), NameError>,
    ) -> Result<(), NameError> {
        name(&mut self.name)?;
        if caller.is_some() {
            self.caller = caller.cloned();
        }
        Ok(())
    }
}

/// A lease to be kept for later, if nobody else has to do with it any more.
#[inline]
pub(crate) fn worth_keeping(lease: Arc<Lease>) -> Option<Arc<Lease>> {
    // Only a guess, which costs nothing; `make` makes sure. A span ends with its section, and not
    // when the lease is used again.
    if Arc::strong_count(&lease) > 1 || !lease.span.is_none() {
        return None;
    }
    if lease.has_waited() {
        // The waker of a task that is over would keep its memory.
        lease.body_left(None);
    }
    Some(lease)
}
