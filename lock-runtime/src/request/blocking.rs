//! The same for sync code.

use super::LockRequest;
use crate::entry::would_block;
use crate::error::LockError;
use crate::guard::{Guard, Ticket};
use crate::info::LockInfo;
use crate::options::Wait;
use crate::section::{Section, run_blocking, wait_blocking};

/// A request for a lock, from sync code.
///
/// It waits on the thread where that is allowed: on plain threads, in `spawn_blocking`, and on a
/// worker of a multi-threaded runtime, whose other tasks move away first. On a thread that runs
/// all tasks of a runtime, a call that would have to wait fails at once instead.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is run or acquired"]
pub struct BlockingLockRequest(LockRequest);

impl BlockingLockRequest {
    pub(super) fn new(request: LockRequest) -> Self {
        Self(request)
    }

    /// Acquires the lock, runs the body, releases the lock, and returns what the body returned.
    ///
    /// # Errors
    ///
    /// When the lock cannot be had: then the body has not begun. When it was lost before the body
    /// has ended; the body is not interrupted.
    pub fn run<R>(self, body: impl FnOnce() -> R) -> Result<R, LockError> {
        run_blocking(self.enter()?, body).into_result()
    }

    /// The same if the lock is free; `None` if it is busy, without queueing.
    ///
    /// # Errors
    ///
    /// Everything but busy.
    pub fn run_if_available<R>(self, body: impl FnOnce() -> R) -> Result<Option<R>, LockError> {
        match self.without_wait().enter() {
            Ok(section) => run_blocking(section, body).into_result().map(Some),
            Err(error) if error.is_busy() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Acquires the lock.
    ///
    /// # Errors
    ///
    /// When it cannot be had.
    pub fn acquire(self) -> Result<Guard, LockError> {
        self.enter().map(Guard::new)
    }

    /// Acquires the lock if it is free; `None` if it is busy, without queueing.
    ///
    /// # Errors
    ///
    /// Everything but busy.
    pub fn try_acquire(self) -> Result<Option<Guard>, LockError> {
        match self.without_wait().acquire() {
            Ok(guard) => Ok(Some(guard)),
            Err(error) if error.is_busy() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the lock is held by anybody, or rests.
    ///
    /// # Errors
    ///
    /// When the backend cannot be reached.
    pub fn is_locked(self) -> Result<bool, LockError> {
        Ok(self.info()?.is_locked())
    }

    /// Who holds the lock, who runs under it, and how many wait.
    ///
    /// # Errors
    ///
    /// When the backend cannot be reached.
    pub fn info(self) -> Result<LockInfo, LockError> {
        blocking(self.0.info())
    }

    /// Goes on with a lock that was given away.
    ///
    /// # Errors
    ///
    /// As [`LockRequest::adopt`].
    pub fn adopt(self, ticket: Ticket) -> Result<Guard, LockError> {
        blocking(self.0.adopt(ticket))
    }

    /// Ends every section of the lock, whoever has it.
    ///
    /// # Errors
    ///
    /// As [`LockRequest::force_release`].
    pub fn force_release(self) -> Result<usize, LockError> {
        blocking(self.0.force_release())
    }

    fn without_wait(self) -> Self {
        Self(self.0.wait(Wait::NONE))
    }

    fn enter(self) -> Result<Section, LockError> {
        if self.0.wait == Some(Wait::Forever) {
            return Err(LockError::invalid_option(
                "sync code cannot wait for ever, because nothing could stop it: give a limit",
            ));
        }
        match self.0.plan()? {
            Some(plan) => plan.enter_blocking(),
            None => Ok(Section::none()),
        }
    }
}

/// Waits on this thread; an embedded backend answers without a wait.
pub(crate) fn blocking<T>(
    call: impl Future<Output = Result<T, LockError>>,
) -> Result<T, LockError> {
    wait_blocking(call).unwrap_or_else(|why| Err(would_block(why, false, None)))
}
