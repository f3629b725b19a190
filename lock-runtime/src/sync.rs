//! The primitives that the embedded backend is built on; a build with `--cfg shuttle` swaps them
//! for shuttle's, so that a test can run it under every kind of schedule.

#[cfg(not(shuttle))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, atomic};

#[cfg(shuttle)]
pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard, atomic};

/// Locks a mutex whose data stays whole when a thread panics: nothing in this crate runs foreign
/// code while it holds one.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
