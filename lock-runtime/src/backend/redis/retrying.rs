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
        let mut may_be_done = false;
        loop {
            let (error, passes) = match ask().await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Lasting(error)) => (error, false),
                Err(Failure::Passing(error)) => (error, true),
            };
            // That the last one did nothing says nothing of those before.
            may_be_done |= error.is_effect_unknown();
            if !passes || limit.is_some_and(|limit| self.clock.now() >= limit) {
                return Err(if may_be_done {
                    error.effect_unknown()
                } else {
                    error
                });
            }
            let jittered = pause.mul_f64(rand::random_range(0.5..1.0));
            pause = (pause * 2).min(LONGEST_PAUSE);
            self.clock.sleep(jittered).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::backend::redis::RedisBackend;
    use crate::clock::Clock;

    use super::*;

    /// The error of a request whose tries fail like that, one after the other.
    async fn error(mut failures: Vec<Failure>) -> BackendError {
        let clock = Clock::system();
        clock.start().unwrap();
        let backend = RedisBackend::new("redis://host", clock).unwrap();
        failures.reverse();
        let ask = || std::future::ready(Err::<(), _>(failures.pop().expect("one more")));
        backend.0.until(None, ask).await.unwrap_err()
    }

    #[tokio::test]
    async fn what_an_earlier_try_did_stays_unknown() {
        let passing = || BackendError::new("no answer");
        let lasting = || Failure::Lasting(BackendError::new("no permission"));
        let known = error(vec![Failure::Passing(passing()), lasting()]).await;
        assert!(!known.is_effect_unknown());
        let lost = Failure::Passing(passing().effect_unknown());
        let unknown = error(vec![lost, Failure::Passing(passing()), lasting()]).await;
        assert!(unknown.is_effect_unknown());
        assert_eq!(unknown.to_string(), "no permission");
    }
}
