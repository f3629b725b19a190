//! One acquisition by hand: the requests that a backend gets, without the runtime around them.

use std::sync::Arc;
use std::time::Duration;

use super::case::Failure;
use crate::backend::{Answer, Backend, Patience, Release, Request};
use crate::error::{BackendError, LockError};
use crate::fencing::FencingToken;
use crate::lease::{SharedTerms, Terms};
use crate::manager::LockManager;
use crate::options::Wait;
use crate::owner::Owner;

/// An owner with its request, which nobody renews and nobody releases.
pub(super) struct Raw {
    manager: LockManager,
    request: Request,
}

impl Raw {
    #[track_caller]
    pub(super) fn new(manager: &LockManager, name: &str, ttl: Duration) -> Result<Self, LockError> {
        Self::with(manager, name, ttl, Duration::ZERO)
    }

    /// One after which the name rests.
    #[track_caller]
    pub(super) fn with(
        manager: &LockManager,
        name: &str,
        ttl: Duration,
        at_least: Duration,
    ) -> Result<Self, LockError> {
        let terms = SharedTerms::from(Terms {
            ttl,
            at_least,
            renewed: false,
            ..Terms::plain(Wait::NONE)
        });
        let name = manager.inner().resolve(name)?;
        let lease = manager.reference().lease_of(None, &terms, None, name)?;
        let request = Request::new(lease, Patience::Wait(Wait::NONE));
        Ok(Self {
            manager: manager.clone(),
            request,
        })
    }

    /// Somebody else, who asks for the same.
    pub(super) fn stranger(&self) -> Self {
        self.owned_by(Owner::random())
    }

    /// Somebody who has read the public number of this owner in a log, and guesses the secret.
    pub(super) fn impostor(&self) -> Self {
        self.owned_by(self.request.owner().with_another_secret())
    }

    fn owned_by(&self, owner: Owner) -> Self {
        let lease = self.request.lease().of_another(owner);
        Self {
            manager: self.manager.clone(),
            request: Request {
                lease,
                ..self.request.clone()
            },
        }
    }

    pub(super) fn owner(&self) -> Owner {
        self.request.owner()
    }

    /// The token of the grant, if it was granted.
    pub(super) async fn try_acquire(&self) -> Result<Option<Option<FencingToken>>, Failure> {
        let request = self.request.clone();
        let answer = self
            .call(|backend| async move { backend.try_acquire(&request).await })
            .await?;
        match answer {
            Answer::Granted(grant) => Ok(Some(grant.token)),
            Answer::Busy(_) => Ok(None),
            other => Err(Failure::new(format_args!("unexpected answer: {other:?}"))),
        }
    }

    /// Whether the owner still had it.
    pub(super) async fn renew(&self, ttl: Duration) -> Result<bool, Failure> {
        let lease = Arc::clone(&self.request.lease);
        Ok(self
            .call(|backend| async move { backend.renew(&lease, ttl).await })
            .await?)
    }

    /// Whether the owner still had it.
    pub(super) async fn release(&self, how: Release) -> Result<bool, Failure> {
        let lease = Arc::clone(&self.request.lease);
        Ok(self
            .call(|backend| async move { backend.release(&lease, how).await })
            .await?)
    }

    /// Whether the section of the giver became this one's.
    pub(super) async fn adopt_from(&self, giver: Owner) -> Result<bool, Failure> {
        let request = self.request.clone();
        let adopted = self
            .call(|backend| async move { backend.adopt(giver, &request).await })
            .await?;
        Ok(adopted.is_some())
    }

    async fn call<T, F>(&self, call: impl FnOnce(Arc<dyn Backend>) -> F) -> Result<T, LockError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, BackendError>> + Send + 'static,
    {
        self.manager.call(|backend| Box::pin(call(backend))).await
    }
}
