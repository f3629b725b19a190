//! Leases are used again: taking a lock that nobody wants costs no allocation.

use std::cell::RefCell;
use std::sync::Arc;

use super::{Lease, Terms};

/// How many a thread keeps. One is enough for a body that does not nest; a few hundred bytes
/// each, and a thread that once held thousands of locks does not keep them.
const KEPT: usize = 16;

thread_local! {
    static POOL: RefCell<Vec<Arc<Lease>>> = const { RefCell::new(Vec::new()) };
}

/// A lease for these terms.
pub(crate) fn take(terms: Terms) -> Arc<Lease> {
    let used = POOL.try_with(|pool| pool.borrow_mut().pop()).ok().flatten();
    match used {
        Some(mut lease) => match Arc::get_mut(&mut lease) {
            Some(place) => {
                *place = Lease::new(terms);
                lease
            }
            None => Arc::new(Lease::new(terms)),
        },
        None => Arc::new(Lease::new(terms)),
    }
}

/// Keeps a lease for later, if nobody else has to do with it any more.
pub(crate) fn give_back(mut lease: Arc<Lease>) {
    if Arc::get_mut(&mut lease).is_some() {
        // A thread that ends has no pool any more; then the lease is simply dropped.
        let _ended = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < KEPT {
                pool.push(lease);
            }
        });
    }
}
