//! What the attributes make of every kind of function, on the memory backend.

#![forbid(unsafe_code)]

mod auth;
mod bodies;
mod futures;
mod hygiene;
mod lints;
mod names;
mod no_prelude;
mod options;
mod outcomes;
mod parameters;
mod returns;
mod shapes;
mod sites;
mod traits;

use lock_runtime::{Held, LockError, LockManager};

/// What most functions here return.
type R<T = ()> = Result<T, LockError>;

/// Runs a test on a manager of its own, and sees to it that no lock is left behind.
async fn on_memory<T>(test: impl AsyncFnOnce(&LockManager) -> T) -> T {
    let manager = LockManager::memory();
    let result = manager.scope(test(&manager)).await;
    let left = manager.list("").await.unwrap();
    assert!(left.is_empty(), "left behind: {left:?}");
    result
}

/// The same for sync functions, outside of every runtime.
fn on_memory_sync<T>(test: impl FnOnce(&LockManager) -> T) -> T {
    let manager = LockManager::memory();
    manager.scope_sync(|| test(&manager))
}

/// The one name that a body holds.
fn name_of(held: &Held) -> String {
    assert!(held.is_held());
    held.name().unwrap().as_str().to_owned()
}
