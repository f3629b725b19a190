//! Leases are used again: taking a lock that nobody wants costs no allocation.

use std::sync::Arc;

use tracing::Span;

use super::{Lease, SharedTerms};
use crate::caller::CallerId;
use crate::name::LockName;
use crate::owner::Process;

/// A lease of this name, for a new owner, on behalf of this caller, in this span; out of one that
/// was kept, if there is one that nobody else knows.
#[inline]
pub(crate) fn make(
    kept: Option<Arc<Lease>>,
    name: LockName,
    manager: u64,
    process: &Arc<Process>,
    terms: &SharedTerms,
    caller: Option<&CallerId>,
    span: Span,
) -> Arc<Lease> {
    let mut lease = match kept {
        Some(mut lease) => match Arc::get_mut(&mut lease) {
            Some(place) => {
                place.renew(name, manager, process, terms);
                lease
            }
            None => Arc::new(Lease::new(name, manager, process, terms)),
        },
        None => Arc::new(Lease::new(name, manager, process, terms)),
    };
    if (caller.is_some() || !span.is_none())
        && let Some(place) = Arc::get_mut(&mut lease)
    {
        place.caller = caller.cloned();
        place.span = span;
    }
    lease
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
