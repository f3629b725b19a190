//! How a section ended, and what its caller gets.

use crate::error::LockError;

/// How the run of a body ended.
#[derive(Debug)]
pub enum Ended<R> {
    /// The body ran to its end under the lock.
    Kept(R),
    /// The lock could not be had, or was lost. The value is the body's, if it ran to its end all
    /// the same.
    NotLocked(Option<R>, LockError),
}

impl<R> Ended<R> {
    /// The body's value, or what this function makes of the error.
    #[inline]
    pub fn settle_with(self, on_error: impl FnOnce(LockError) -> R) -> R {
        match self {
            Self::Kept(value) => value,
            Self::NotLocked(_, error) => on_error(error),
        }
    }

    /// The body's value, or why there is none.
    pub(crate) fn into_result(self) -> Result<R, LockError> {
        match self {
            Self::Kept(value) => Ok(value),
            Self::NotLocked(_, error) => Err(error),
        }
    }
}

/// A return type through which a failure to lock can be reported.
///
/// `#[locked]` works on functions that return such a type. It is implemented for every
/// `Result<T, E>` where `E: From<LockError>`; implement that conversion for an error type of your
/// own, or give the annotation `on_error = …` where the type is somebody else's.
///
/// ```
/// use lock_runtime::LockError;
///
/// #[derive(Debug)]
/// enum BoardError {
///     Lock(LockError),
///     NoSuchTask(u64),
/// }
///
/// impl From<LockError> for BoardError {
///     fn from(error: LockError) -> Self {
///         Self::Lock(error)
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`#[locked]` cannot report a lock failure through `{Self}`",
    label = "this must be a `Result<_, E>` where `E: From<LockError>`",
    note = "for an error type of your own, write `impl From<LockError> for YourError`",
    note = "for any other return type, add `on_error = |error| …` to the annotation"
)]
pub trait LockedOutput: Sized {
    /// What the caller gets when the body did not run, or was dropped because the lock was lost.
    fn from_lock_error(error: LockError) -> Self;

    /// What the caller gets when the body ran to its end, but its lock was lost meanwhile.
    ///
    /// A body that failed anyway keeps its own error.
    #[must_use]
    fn after_loss(self, error: LockError) -> Self {
        drop(self);
        Self::from_lock_error(error)
    }

    /// What the caller gets.
    #[doc(hidden)]
    #[inline]
    fn settle(ended: Ended<Self>) -> Self {
        match ended {
            Ended::Kept(value) => value,
            Ended::NotLocked(value, error) => not_locked(value, error),
        }
    }
}

#[cold]
#[inline(never)]
fn not_locked<R: LockedOutput>(value: Option<R>, error: LockError) -> R {
    match value {
        Some(value) => value.after_loss(error),
        None => R::from_lock_error(error),
    }
}

#[diagnostic::do_not_recommend]
impl<T, E: From<LockError>> LockedOutput for Result<T, E> {
    fn from_lock_error(error: LockError) -> Self {
        Err(error.into())
    }

    fn after_loss(self, error: LockError) -> Self {
        self.and_then(|_| Err(error.into()))
    }
}
