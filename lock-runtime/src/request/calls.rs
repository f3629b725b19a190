//! What a request does when it is awaited.

use std::pin::pin;

use super::LockRequest;
use crate::error::LockError;
use crate::guard::{Guard, Ticket};
use crate::info::LockInfo;
use crate::lease::SharedTerms;
use crate::options::{Wait, check_ttl};
use crate::section::{Entering, Section, run};

impl LockRequest {
    /// Acquires the lock, runs the body, releases the lock, and returns what the body returned.
    ///
    /// # Errors
    ///
    /// When the lock cannot be had: then the body has not begun. When it is lost before the body
    /// has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the body, and releases the lock then.
    pub async fn run<F: Future>(self, body: impl FnOnce() -> F) -> Result<F::Output, LockError> {
        let mut section = self.enter().await?;
        // What the function does before its future is inside the section too.
        let body = pin!(async move { body().await });
        run(&mut section, body).await.into_result()
    }

    /// The same if the lock is free; `None` if it is busy, without queueing.
    ///
    /// # Errors
    ///
    /// Everything but busy.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the body, and releases the lock then.
    pub async fn run_if_available<F: Future>(
        self,
        body: impl FnOnce() -> F,
    ) -> Result<Option<F::Output>, LockError> {
        match self.wait(Wait::NONE).enter().await {
            Ok(mut section) => {
                let body = pin!(async move { body().await });
                run(&mut section, body).await.into_result().map(Some)
            }
            Err(error) if error.is_busy() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Acquires the lock.
    ///
    /// # Errors
    ///
    /// When it cannot be had.
    ///
    /// # Cancel safety
    ///
    /// Dropping it takes the request back; what was granted meanwhile is released.
    pub async fn acquire(self) -> Result<Guard, LockError> {
        self.enter().await.map(Guard::new)
    }

    /// Acquires the lock if it is free; `None` if it is busy, without queueing.
    ///
    /// # Errors
    ///
    /// Everything but busy.
    ///
    /// # Cancel safety
    ///
    /// Dropping it takes the request back; what was granted meanwhile is released.
    pub async fn try_acquire(self) -> Result<Option<Guard>, LockError> {
        match self.wait(Wait::NONE).acquire().await {
            Ok(guard) => Ok(Some(guard)),
            Err(error) if error.is_busy() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the lock is held by anybody, or rests. Never in passthrough.
    ///
    /// # Errors
    ///
    /// When the backend cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// Looking changes nothing.
    pub async fn is_locked(self) -> Result<bool, LockError> {
        Ok(self.info().await?.is_locked())
    }

    /// Who holds the lock, who runs under it, and how many wait.
    ///
    /// # Errors
    ///
    /// When the backend cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// Looking changes nothing.
    pub async fn info(self) -> Result<LockInfo, LockError> {
        let (manager, name) = self.one()?;
        let Some(manager) = manager else {
            return Ok(LockInfo::free(name));
        };
        let asked = name.clone();
        manager
            .call(move |backend| Box::pin(async move { backend.inspect(&asked).await }))
            .await
            .map_err(|error| error.about(&name))
    }

    /// Goes on with a lock that was given away as a [`Ticket`]. The fencing token stays.
    ///
    /// # Errors
    ///
    /// When the ticket is of another lock, or its lease has ended; in passthrough; and when the
    /// backend cannot hand over, or cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// What was taken over meanwhile is released.
    pub async fn adopt(self, ticket: Ticket) -> Result<Guard, LockError> {
        let (manager, name) = self.one()?;
        let Some(manager) = manager else {
            return Err(
                LockError::not_configured("and there is nothing to go on with").about(&name),
            );
        };
        if ticket.name().as_str() != name.as_str() {
            return Err(LockError::invalid_option(format!(
                "the ticket is of the lock `{}`",
                ticket.name()
            ))
            .about(&name));
        }
        let terms = SharedTerms::from(self.terms(&manager));
        check_ttl(terms.ttl).map_err(|what| LockError::invalid_option(what).about(&name))?;
        let hold = manager.adopt(ticket.owner(), name, &terms).await?;
        Ok(Guard::new(Section::of(hold, self.on_lost)))
    }

    /// Ends every section of the lock, whoever has it, and says how many ended. For operators:
    /// whoever was inside is told that the lock is lost, and may still be writing.
    ///
    /// # Errors
    ///
    /// When the backend cannot do this, or cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// It may or may not have happened.
    pub async fn force_release(self) -> Result<usize, LockError> {
        let (manager, name) = self.one()?;
        let Some(manager) = manager else {
            return Ok(0);
        };
        manager
            .check_capability(manager.capabilities.force_release, "force_release")
            .map_err(|error| error.about(&name))?;
        let asked = name.clone();
        manager
            .call(move |backend| Box::pin(async move { backend.force_release(&asked).await }))
            .await
            .map_err(|error| error.about(&name))
    }

    async fn enter(self) -> Result<Section, LockError> {
        match self.plan()? {
            Some(plan) => Entering::new(plan.enter()).await,
            None => Ok(Section::none()),
        }
    }
}
