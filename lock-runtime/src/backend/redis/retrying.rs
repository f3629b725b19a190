//! Asking again while Redis is out of reach, as long as it is worth it.

use std::time::Duration;

use super::Shared;
use crate::backend::waiting::Failure;
use crate::error::BackendError;

/// A request that is neither for a section nor gives one back is tried for so long, should Redis
/// be out of reach: a little less than what a manager waits for its backend by default, so that
/// the clearer one of two errors comes first.
const WORTH_ASKING: Duration = Duration::from_secs(4);

/// The first pause after a failure, and the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

impl Shared {
    /// Asks until there is an answer, as long as it is worth it.
    pub(super) async fn patiently<T, A>(&self, ask: impl FnMut() -> A) -> Result<T, BackendError>
    where
        A: Future<Output = Result<T, Failure>>,
    {
        self.until(Some(WORTH_ASKING), ask).await
    }

    /// Asks until there is an answer; `None` goes on until whoever asks has had enough.
    pub(super) async fn until<T, A>(
        &self,
        limit: Option<Duration>,
        mut ask: impl FnMut() -> A,
    ) -> Result<T, BackendError>
    where
        A: Future<Output = Result<T, Failure>>,
    {
        let limit = limit.map(|limit| self.clock.now() + limit);
        let mut pause = FIRST_PAUSE;
        loop {
            match ask().await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Lasting(error)) => return Err(error),
                Err(Failure::Passing(error)) => {
                    if limit.is_some_and(|limit| self.clock.now() >= limit) {
                        return Err(error);
                    }
                }
            }
            let jittered = pause.mul_f64(rand::random_range(0.5..1.0));
            pause = (pause * 2).min(LONGEST_PAUSE);
            self.clock.sleep(jittered).await;
        }
    }
}
