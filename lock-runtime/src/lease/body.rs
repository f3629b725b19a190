//! The bodies that run under a lease: the section's own, and those of entries from inside it.

use std::sync::{Arc, OnceLock};
use std::task::Waker;

use tokio::sync::Semaphore;

use super::Lease;
use crate::clock::Moment;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Mutex, lock};

/// The bodies that run under one lease.
#[derive(Default)]
pub(super) struct Bodies {
    began: AtomicBool,
    /// Whether one has ever waited: then the end of each poll is told.
    has_waited: AtomicBool,
    /// Set when they are woken only to see whether they are still polled; the next poll clears
    /// it. Zero for not set.
    probed_at: AtomicU64,
    /// How many are being polled just now, of those that have waited.
    polls: AtomicUsize,
    /// Who has to be woken for the section's own.
    own: Mutex<Option<Waker>>,
    inner: OnceLock<Inner>,
}

impl Bodies {
    /// None again. What a body that neither waited nor was entered from inside has not touched is
    /// left as it is.
    #[inline]
    pub(super) fn start_over(&mut self) {
        if *self.has_waited.get_mut() || self.inner.get().is_some() {
            *self = Self::default();
        }
        *self.began.get_mut() = false;
    }
}

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
    #[inline]
    pub(crate) fn begin_body(&self) {
        self.bodies.began.store(true, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn has_body_begun(&self) -> bool {
        self.bodies.began.load(Ordering::Relaxed)
    }

    /// Whether a body has ever waited.
    #[inline]
    pub(crate) fn has_waited(&self) -> bool {
        self.bodies.has_waited.load(Ordering::Acquire)
    }

    /// A poll of a body begins. Says whether its end has to be told: nobody asks about a body
    /// that has never waited.
    #[inline]
    pub(crate) fn poll_begins(&self) -> bool {
        let has_waited = self.has_waited();
        if has_waited {
            // In one order with the look at it and the loss that may follow.
            self.bodies.polls.fetch_add(1, Ordering::SeqCst);
        }
        has_waited
    }

    /// Whether a body that has waited is being polled just now.
    pub(crate) fn is_polled(&self) -> bool {
        self.bodies.polls.load(Ordering::SeqCst) > 0
    }

    pub(crate) fn poll_ends(&self) {
        self.bodies.polls.fetch_sub(1, Ordering::AcqRel);
        self.body_polled();
    }

    /// The body has been polled.
    #[inline]
    pub(crate) fn body_polled(&self) {
        if self.bodies.probed_at.load(Ordering::Relaxed) != 0 {
            self.bodies.probed_at.store(0, Ordering::Relaxed);
        }
    }

    /// The body is pending; this wakes it. Says whether it is the first time.
    pub(crate) fn body_waits(&self, waker: &Waker) -> bool {
        let mut body = lock(&self.bodies.own);
        match &*body {
            Some(known) if known.will_wake(waker) => {}
            _ => *body = Some(waker.clone()),
        }
        drop(body);
        self.waits_for_the_first_time()
    }

    fn waits_for_the_first_time(&self) -> bool {
        !self.has_waited() && !self.bodies.has_waited.swap(true, Ordering::AcqRel)
    }

    /// Wakes the bodies to see whether they are still polled. Returns since when it has not been.
    pub(crate) fn probe_body(&self, now: Moment) -> Option<Moment> {
        let bodies = self.bodies();
        if bodies.is_empty() || self.is_polled() {
            self.body_polled();
            return None;
        }
        let since = match self.bodies.probed_at.load(Ordering::Relaxed) {
            0 => {
                self.bodies
                    .probed_at
                    .store(now.as_nanos().max(1), Ordering::Relaxed);
                now
            }
            since => Moment::from_nanos(since),
        };
        bodies.into_iter().for_each(Waker::wake);
        Some(since)
    }

    /// The gate through which entries from inside go, one at a time.
    pub(crate) fn reentries(&self) -> &Arc<Semaphore> {
        &self.bodies.inner.get_or_init(Inner::default).gate
    }

    /// The body of an entry from inside is pending; this wakes it. Says whether it is the first
    /// that waits.
    pub(crate) fn inner_body_waits(&self, gate: &Arc<Semaphore>, waker: &Waker) -> bool {
        let inner = self.bodies.inner.get_or_init(Inner::default);
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
            let body = lock(&self.bodies.own).take();
            drop(body);
            return;
        };
        if let Some(inner) = self.bodies.inner.get() {
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
        wakers.extend(lock(&self.bodies.own).clone());
        if let Some(inner) = self.bodies.inner.get() {
            let bodies = lock(&inner.bodies);
            wakers.extend(bodies.iter().map(|(_, waker)| waker.clone()));
        }
        wakers
    }
}

fn key(gate: &Arc<Semaphore>) -> usize {
    Arc::as_ptr(gate) as usize
}
