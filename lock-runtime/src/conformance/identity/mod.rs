//! Identity locks: locks that belong to a caller.

mod calls;
mod queues;
mod sections;
mod time;

pub(super) use calls::CASES as CALLS;
pub(super) use queues::CASES as QUEUES;
pub(super) use sections::CASES as SECTIONS;
pub(super) use time::CASES as TIME;

use super::case::{Failure, Outcome};
use crate::caller::Caller;
use crate::error::{LockError, LockErrorKind};
use crate::manager::LockManager;
use crate::options::AuthPolicy;
use crate::request::LockRequest;

/// A call of an annotated method, by this caller.
fn call(manager: &LockManager, caller: &str) -> LockRequest {
    manager.lock("turn").auth_as(AuthPolicy::Required, caller)
}

/// Runs one identity call in a caller's scope.
async fn as_caller<T>(
    caller: &str,
    act: impl IntoFuture<Output = Result<T, LockError>>,
) -> Result<T, LockError> {
    // The scope is looked at when the call is turned into a future, so that belongs inside.
    Caller::new(caller).scope(async move { act.await }).await
}

/// To whom the lock is assigned.
async fn holder(manager: &LockManager) -> Result<Option<String>, Failure> {
    let info = manager.get_lock("turn").await?;
    Ok(info.holder.map(|holder| holder.as_str().to_owned()))
}

/// The lock is assigned to this caller.
#[track_caller]
fn check_holder(is: Option<String>, expected: Option<&str>) -> Outcome {
    if is.as_deref() == expected {
        Ok(())
    } else {
        Err(Failure::new(format_args!(
            "the lock is assigned to {is:?}, not to {expected:?}"
        )))
    }
}

/// The call was refused in this way.
#[track_caller]
fn check_refused<T>(result: Result<T, LockError>, kind: LockErrorKind) -> Outcome {
    match result {
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) => Err(Failure::new(format_args!(
            "{kind:?} was to be reported, not {:?}: {error}",
            error.kind()
        ))),
        Ok(_) => Err(Failure::new(format_args!(
            "{kind:?} was to be reported, and it was allowed"
        ))),
    }
}
