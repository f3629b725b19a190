//! The acquisitions of this process: what each of them may have left in the store.

use std::collections::HashMap;
use std::sync::Arc;

use super::keys::Slot;
use super::leases::ServerLease;
use crate::clock::Moment;
use crate::lease::Lease;
use crate::owner::Owner;
use crate::sync::{Mutex, lock};

/// The acquisitions that were begun and not given back.
#[derive(Default)]
pub(super) struct Attempts(Mutex<HashMap<Owner, Arc<Attempt>>>);

/// One acquisition. Its requests follow each other: whoever asks has the gate.
pub(super) struct Attempt {
    pub(super) gate: tokio::sync::Mutex<Left>,
    /// What holds it, once it is entered, and since when.
    held: Mutex<Option<(Arc<Lease>, Moment)>>,
}

/// What an acquisition has, or may have, in the store.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// What its section ends with.
    pub(super) lease: Option<ServerLease>,
    /// What its rest ends with.
    pub(super) rest: Option<ServerLease>,
    /// When its section was there for certain.
    pub(super) entered: Option<Moment>,
    /// Which key its section has then.
    pub(super) slot: Slot,
    /// The lease of this process, if its section ends with that one: it was handed over, and has
    /// not been renewed.
    pub(super) handed: Option<i64>,
    /// Whether it may have a place in the queue.
    pub(super) may_wait: bool,
    /// Whether a request with its lease may still be on its way.
    pub(super) lease_is_unsure: bool,
    /// Whether a request for a place may still be on its way.
    pub(super) place_is_unsure: bool,
    /// Whether it is given back: nothing is asked for it any more.
    pub(super) is_over: bool,
}

impl Attempts {
    pub(super) fn begin(&self, owner: Owner) -> Arc<Attempt> {
        let mut attempts = lock(&self.0);
        let attempt = attempts.entry(owner).or_insert_with(|| {
            Arc::new(Attempt {
                gate: tokio::sync::Mutex::default(),
                held: Mutex::default(),
            })
        });
        Arc::clone(attempt)
    }

    pub(super) fn find(&self, owner: Owner) -> Option<Arc<Attempt>> {
        lock(&self.0).get(&owner).cloned()
    }

    pub(super) fn forget(&self, owner: Owner) {
        lock(&self.0).remove(&owner);
    }

    /// Those that have been held since before this moment.
    pub(super) fn held_before(&self, moment: Moment) -> Vec<Arc<Lease>> {
        let attempts = lock(&self.0);
        let held = attempts.values().filter_map(|attempt| {
            let held = lock(&attempt.held);
            let (lease, since) = held.as_ref()?;
            (*since <= moment).then(|| Arc::clone(lease))
        });
        held.collect()
    }
}

impl Attempt {
    pub(super) fn hold(&self, lease: &Arc<Lease>, since: Moment) {
        *lock(&self.held) = Some((Arc::clone(lease), since));
    }

    pub(super) fn is_held(&self) -> bool {
        lock(&self.held).is_some()
    }

    pub(super) fn let_go(&self) {
        *lock(&self.held) = None;
    }
}
