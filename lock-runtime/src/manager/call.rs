//! One call to a backend: inline where it is embedded, on the manager's own thread elsewhere.

use std::pin::Pin;
use std::sync::Arc;

use super::{LockManager, ManagerRef};
use crate::backend::Backend;
use crate::error::{BackendError, LockError};
use crate::race::{First, first};

type Call<T> = Pin<Box<dyn Future<Output = Result<T, BackendError>> + Send>>;

impl LockManager {
    /// Calls the backend, and waits for its answer for at most `request_timeout`.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(Arc<dyn Backend>) -> Call<T>,
    ) -> Result<T, LockError> {
        self.reference().call(call).await
    }
}

impl ManagerRef {
    /// Calls the backend, and waits for its answer for at most `request_timeout`.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(Arc<dyn Backend>) -> Call<T>,
    ) -> Result<T, LockError> {
        let call = call(Arc::clone(&self.backend));
        if self.capabilities.embedded {
            return call.await.map_err(LockError::unavailable);
        }
        let answer = self.driver()?.run(call);
        let limit = self.defaults.request_timeout;
        match first(answer, self.clock.sleep(limit)).await {
            First::Left(Ok(answer)) => answer.map_err(LockError::unavailable),
            First::Left(Err(_)) => Err(LockError::unavailable(
                BackendError::new("the lock manager's thread has ended").effect_unknown(),
            )),
            First::Right(()) => Err(LockError::unavailable(BackendError::timed_out(limit))),
        }
    }
}
