//! Leases are used again: taking a lock that nobody wants costs no allocation.

use std::cell::RefCell;
use std::sync::Arc;

use tracing::Span;

use super::{Lease, SharedTerms};
use crate::caller::CallerId;
use crate::name::LockName;
use crate::owner::Process;

/// How many a thread keeps. One is enough for a body that does not nest; a few hundred bytes
/// each, and a thread that once held thousands of locks does not keep them.
const KEPT: usize = 16;

thread_local! {
    static POOL: RefCell<Vec<Arc<Lease>>> = const { RefCell::new(Vec::new()) };
}

/// A lease of this name, for a new owner, on behalf of this caller, in this span.
pub(crate) fn take(
    name: LockName,
    manager: u64,
    process: &Arc<Process>,
    terms: &SharedTerms,
    caller: Option<&CallerId>,
    span: Span,
) -> Arc<Lease> {
    let used = POOL.try_with(|pool| pool.borrow_mut().pop()).ok().flatten();
    let mut lease = match used {
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

/// Keeps a lease for later, if nobody else has to do with it any more.
pub(crate) fn give_back(lease: Arc<Lease>) {
    // Only a guess, which costs nothing; `take` makes sure.
    if Arc::strong_count(&lease) == 1 {
        if !lease.span.is_none() {
            // The span ends with the section, and not when the lease is used again.
            return;
        }
        if lease.watched_at().is_some() {
            // The waker of a task that is over would keep its memory.
            lease.body_left(None);
        }
        // A thread that ends has no pool any more; then the lease is simply dropped.
        let _ended = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < KEPT {
                pool.push(lease);
            }
        });
    }
}
