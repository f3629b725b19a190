//! Locks in code, without the annotation: `lock("task:42")…`.

mod blocking;
mod calls;
mod options;

use std::panic::Location;

pub use blocking::BlockingLockRequest;
pub(crate) use blocking::blocking;
pub use options::LockRequest;

use crate::error::LockError;
use crate::global::{self, Route};
use crate::manager::{LockManager, ManagerRef};
use crate::name::IntoLockName;

/// Starts a request for a lock, with the lock manager of the scope or the global one.
///
/// Without a lock manager, everything runs straight through, as annotated functions do.
///
/// ```
/// use std::time::Duration;
/// use lock_runtime::{LockManager, lock};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(
/// # LockManager::memory().scope(async {
/// let total = lock("report:7").wait(Duration::from_secs(5)).run(|| async { 42 }).await?;
/// assert_eq!(total, 42);
///
/// let guard = lock("report:7").acquire().await?;
/// assert!(lock("report:7").try_acquire().await?.is_none());
/// guard.release().await?;
/// # Ok::<(), lock_runtime::LockError>(()) })).unwrap();
/// ```
#[track_caller]
pub fn lock(name: impl IntoLockName) -> LockRequest {
    LockRequest::new(Target::Ambient, name, Location::caller())
}

/// Runs a body while a lock is held, with every default.
///
/// # Errors
///
/// When the lock cannot be had, or is lost before the body has ended.
///
/// # Cancel safety
///
/// Dropping it drops the body, and releases the lock then.
#[track_caller]
pub fn with_lock<F: Future>(
    name: impl IntoLockName,
    body: impl FnOnce() -> F,
) -> impl Future<Output = Result<F::Output, LockError>> {
    lock(name).run(body)
}

impl LockManager {
    /// Starts a request for a lock of this manager.
    #[track_caller]
    pub fn lock(&self, name: impl IntoLockName) -> LockRequest {
        LockRequest::new(Target::Manager(self.clone()), name, Location::caller())
    }

    /// Runs a body while a lock of this manager is held, with every default.
    ///
    /// # Errors
    ///
    /// When the lock cannot be had, or is lost before the body has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the body, and releases the lock then.
    #[track_caller]
    pub fn with_lock<F: Future>(
        &self,
        name: impl IntoLockName,
        body: impl FnOnce() -> F,
    ) -> impl Future<Output = Result<F::Output, LockError>> {
        self.lock(name).run(body)
    }
}

/// Whose locks are asked for.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Ambient,
    Manager(LockManager),
}

impl Target {
    /// The manager; `None` in passthrough.
    pub(crate) fn resolve(
        &self,
        what: &dyn std::fmt::Display,
    ) -> Result<Option<ManagerRef>, LockError> {
        match self {
            Self::Manager(manager) => Ok(Some(manager.reference())),
            Self::Ambient => match global::route(what)? {
                Route::Managed(manager) => Ok(Some(manager)),
                Route::Through => Ok(None),
            },
        }
    }
}
