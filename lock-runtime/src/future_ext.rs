//! What a spawned task takes along.

use crate::caller::Caller;
use crate::global::carry_scope;
use crate::section::carry_current;

/// Carries what surrounds a future into the task that it is spawned as.
///
/// ```
/// use lock_runtime::{Caller, LockFutureExt};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// Caller::new("alice").scope(async {
///     let task = tokio::spawn(async { Caller::current().is_some() }.in_current_caller());
///     assert!(task.await.unwrap());
/// }).await;
/// # });
/// ```
pub trait LockFutureExt: Future + Sized {
    /// Inside the sections that run here: an entry of one of them is an entry from inside, and
    /// not one that waits. When such a section ends first, the last one out releases it.
    fn in_current_section(self) -> impl Future<Output = Self::Output> {
        carry_current(self)
    }

    /// Called by whoever calls here.
    fn in_current_caller(self) -> impl Future<Output = Self::Output> {
        Caller::carry(self)
    }

    /// With the manager of the scope here, for tests.
    fn in_scope(self) -> impl Future<Output = Self::Output> {
        carry_scope(self)
    }
}

impl<F: Future> LockFutureExt for F {}
