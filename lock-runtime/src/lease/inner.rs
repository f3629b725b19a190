//! The bodies that run inside a section besides its own: entries from inside.

use std::sync::Arc;
use std::task::Waker;

use tokio::sync::Semaphore;

use super::Lease;
use crate::sync::{Mutex, lock};

/// What a lease keeps from its first entry from inside on.
pub(super) struct Inner {
    /// The gate through which such entries go, one at a time.
    gate: Arc<Semaphore>,
    /// Who has to be woken, each by the gate of its own entry.
    bodies: Mutex<Vec<(usize, Waker)>>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            gate: Arc::new(Semaphore::new(1)),
            bodies: Mutex::default(),
        }
    }
}

impl Lease {
    /// The gate through which entries from inside go, one at a time.
    pub(crate) fn reentries(&self) -> &Arc<Semaphore> {
        &self.inner.get_or_init(Inner::default).gate
    }

    /// The body of an entry from inside is pending; this wakes it. Says whether it is the first
    /// that waits.
    pub(crate) fn inner_body_waits(&self, gate: &Arc<Semaphore>, waker: &Waker) -> bool {
        let inner = self.inner.get_or_init(Inner::default);
        let mut bodies = lock(&inner.bodies);
        match bodies.iter_mut().find(|(known, _)| *known == key(gate)) {
            Some((_, known)) => known.clone_from(waker),
            None => bodies.push((key(gate), waker.clone())),
        }
        drop(bodies);
        self.waits_for_the_first_time()
    }

    /// An entry has left, and others are still inside: its body is not to be woken any more.
    pub(crate) fn body_left(&self, gate: Option<&Arc<Semaphore>>) {
        let Some(gate) = gate else {
            let body = lock(&self.body).take();
            drop(body);
            return;
        };
        if let Some(inner) = self.inner.get() {
            let mut bodies = lock(&inner.bodies);
            let place = bodies.iter().position(|(known, _)| *known == key(gate));
            let body = place.map(|place| bodies.swap_remove(place));
            drop(bodies);
            drop(body);
        }
    }

    /// Everybody who runs inside and waits for something.
    pub(super) fn bodies(&self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        wakers.extend(lock(&self.body).clone());
        if let Some(inner) = self.inner.get() {
            let bodies = lock(&inner.bodies);
            wakers.extend(bodies.iter().map(|(_, waker)| waker.clone()));
        }
        wakers
    }
}

fn key(gate: &Arc<Semaphore>) -> usize {
    Arc::as_ptr(gate) as usize
}
