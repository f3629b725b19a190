//! The handle that a body has of its section.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::Section;
use crate::error::{LockError, Lost};
use crate::fencing::FencingToken;
use crate::lease::Lease;
use crate::manager::ManagerRef;
use crate::name::LockName;
use crate::options::check_ttl;
use crate::owner::OwnerInfo;

/// What a body knows of the lock that it runs under.
///
/// `#[locked("…", guard = held)]` binds one in the body. In passthrough it holds nothing, and has
/// no name and no token.
#[derive(Clone, Debug, Default)]
pub struct Held {
    manager: Option<ManagerRef>,
    leases: SmallVec<[Arc<Lease>; 1]>,
}

impl Held {
    pub(super) fn of(section: &Section) -> Self {
        Self {
            manager: section.holds().next().map(|hold| hold.manager().clone()),
            leases: section.leases().cloned().collect(),
        }
    }

    /// The lock, or the first of several; `None` in passthrough.
    #[must_use]
    pub fn name(&self) -> Option<&LockName> {
        self.leases.first().map(|lease| lease.name())
    }

    /// Every lock that it holds, sorted.
    pub fn names(&self) -> impl Iterator<Item = &LockName> {
        self.leases.iter().map(|lease| lease.name())
    }

    /// The fencing token, larger than every earlier one of every name in it. `None` for shared
    /// and permit grants, for backends without tokens, and in passthrough.
    #[must_use]
    pub fn fencing_token(&self) -> Option<FencingToken> {
        self.leases
            .iter()
            .map(|lease| lease.token())
            .max()
            .flatten()
    }

    /// Who holds it; `None` in passthrough.
    #[must_use]
    pub fn owner(&self) -> Option<OwnerInfo> {
        self.leases.first().map(|lease| lease.describe())
    }

    /// Whether the lock is held at this moment: granted, not released, not lost, and its lease
    /// not over. `false` in passthrough, where nothing is held and [`name`](Self::name) is `None`.
    ///
    /// A process can stop between asking and acting; what it writes then needs the
    /// [`fencing_token`](Self::fencing_token).
    #[must_use]
    pub fn is_held(&self) -> bool {
        let Some(manager) = &self.manager else {
            return false;
        };
        self.leases
            .iter()
            .all(|lease| lease.check(|| manager.clock.now()).is_none() && lease.is_running())
    }

    /// How long the lease lasts if nothing renews it; `None` when it has no end, and in
    /// passthrough.
    #[must_use]
    pub fn expires_in(&self) -> Option<Duration> {
        let now = self.manager.as_ref()?.clock.now();
        let ends = self
            .leases
            .iter()
            .filter(|lease| lease.can_run_out())
            .map(|lease| lease.deadline());
        ends.min().map(|end| end - now)
    }

    /// Starts the lease anew, with this length from now on.
    ///
    /// Not needed while the runtime renews the lease, except to have a longer one before a step
    /// in which the backend may be out of reach. In passthrough it does nothing.
    ///
    /// # Errors
    ///
    /// When the lock is lost, when the backend cannot be reached, or when `ttl` is not between
    /// 100 ms and 24 h.
    ///
    /// # Cancel safety
    ///
    /// Whether the lease was started anew is then not known; the lock counts as lost at the
    /// earlier of the two ends.
    pub async fn extend(&self, ttl: Duration) -> Result<(), LockError> {
        let (Some(manager), Some(name)) = (&self.manager, self.name()) else {
            return Ok(());
        };
        check_ttl(ttl).map_err(|what| LockError::invalid_option(what).about(name))?;
        for lease in &self.leases {
            if let Some(cause) = lease.check(|| manager.clock.now()) {
                return Err(LockError::lost(lease.name(), cause));
            }
            self.extend_one(manager, lease, ttl).await?;
        }
        Ok(())
    }

    async fn extend_one(
        &self,
        manager: &ManagerRef,
        lease: &Arc<Lease>,
        ttl: Duration,
    ) -> Result<(), LockError> {
        let is_held = manager.extend(lease, ttl).await?;
        if is_held && lease.is_running() {
            return Ok(());
        }
        lease.report_lost(Lost::Expired);
        let cause = lease.loss().unwrap_or(Lost::Expired);
        Err(LockError::lost(lease.name(), cause))
    }

    #[cfg(feature = "postgres")]
    pub(super) fn manager(&self) -> Option<&ManagerRef> {
        self.manager.as_ref()
    }

    #[cfg(feature = "postgres")]
    pub(super) fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.leases.iter().map(|lease| &**lease)
    }

    /// Why it is lost by now, if it is.
    #[cfg(feature = "postgres")]
    pub(super) fn loss(&self) -> Option<LockError> {
        let manager = self.manager.as_ref()?;
        self.leases.iter().find_map(|lease| {
            let cause = lease.check(|| manager.clock.now())?;
            Some(LockError::lost(lease.name(), cause))
        })
    }

    /// Completes when the lock is lost. Never in passthrough.
    ///
    /// # Cancel safety
    ///
    /// Waiting changes nothing.
    pub async fn lost(&self) -> LockError {
        self.watch().lost().await
    }

    /// A handle to watch the lock with from elsewhere, such as a task that the body spawned.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch(self.clone())
    }
}

/// Watches a lock from elsewhere; it neither keeps nor releases it.
#[derive(Clone, Debug)]
pub struct Watch(Held);

impl Watch {
    /// Whether the lock is held at this moment, as [`Held::is_held`]: `false` in passthrough.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.0.is_held()
    }

    /// The fencing token, as [`Held::fencing_token`].
    #[must_use]
    pub fn fencing_token(&self) -> Option<FencingToken> {
        self.0.fencing_token()
    }

    /// Completes when the lock is lost. Never, when it is released in good order, and in
    /// passthrough.
    ///
    /// # Cancel safety
    ///
    /// Waiting changes nothing.
    pub async fn lost(&self) -> LockError {
        use std::task::Poll;
        let waits = self.0.leases.iter().map(|lease| {
            let lease = Arc::clone(lease);
            Box::pin(async move { LockError::lost(lease.name(), lease.wait_lost().await) })
        });
        let mut waits: Vec<_> = waits.collect();
        std::future::poll_fn(move |cx| {
            let lost = waits
                .iter_mut()
                .find_map(|wait| match wait.as_mut().poll(cx) {
                    Poll::Ready(error) => Some(error),
                    Poll::Pending => None,
                });
            lost.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}
