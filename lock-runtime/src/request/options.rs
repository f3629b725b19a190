//! Putting a request together, and what it comes to.

use std::panic::Location;
use std::time::Duration;

use smallvec::SmallVec;

use super::{BlockingLockRequest, Target};
use crate::caller::{Caller, IntoCaller};
use crate::error::LockError;
use crate::lease::{SharedTerms, Terms};
use crate::manager::ManagerRef;
use crate::name::{IntoLockName, LockName};
use crate::options::{AuthPolicy, Mode, OnLost, Wait};
use crate::section::Plan;
use crate::site::Origin;

/// A request for a lock, being put together.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is run or acquired"]
pub struct LockRequest {
    pub(super) target: Target,
    pub(super) names: SmallVec<[Result<LockName, LockError>; 1]>,
    place: &'static Location<'static>,
    mode: Mode,
    pub(super) wait: Option<Wait>,
    ttl: Option<Duration>,
    max_hold: Option<Duration>,
    at_least: Duration,
    renewed: bool,
    linger: bool,
    reentrant: bool,
    pub(super) on_lost: OnLost,
    auth: Option<AuthPolicy>,
    caller: Option<Option<crate::CallerId>>,
    /// A number of permits that is none.
    fault: Option<&'static str>,
}

impl LockRequest {
    pub(super) fn new(
        target: Target,
        name: impl IntoLockName,
        place: &'static Location<'static>,
    ) -> Self {
        Self {
            target,
            names: SmallVec::from_iter([name.into_lock_name()]),
            place,
            mode: Mode::Exclusive,
            wait: None,
            ttl: None,
            max_hold: None,
            at_least: Duration::ZERO,
            renewed: true,
            linger: false,
            reentrant: false,
            on_lost: OnLost::Cancel,
            auth: None,
            caller: None,
            fault: None,
        }
    }

    /// One more lock, taken together with the others: all or nothing.
    pub fn and(mut self, name: impl IntoLockName) -> Self {
        self.names.push(name.into_lock_name());
        self
    }

    /// Queues at most so long; [`Wait::Forever`] without a limit, zero not at all.
    pub fn wait(mut self, wait: impl Into<Wait>) -> Self {
        self.wait = Some(wait.into());
        self
    }

    /// The lease: between 100 ms and 24 h.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Whether the runtime renews the lease for as long as the lock is held. Default: yes.
    ///
    /// Without, the lock is lost at the end of its lease, unless [`extend`](crate::Held::extend)
    /// starts it anew.
    pub fn renew(mut self, renew: bool) -> Self {
        self.renewed = renew;
        self
    }

    /// The section outlives this process: when it dies, the lock is free at the end of the lease
    /// and not at once. For work that goes on outside, such as a child process.
    ///
    /// It changes something only where the backend frees a dead process's sections at once, as
    /// `lockd` does.
    pub fn linger(mut self) -> Self {
        self.linger = true;
        self
    }

    /// Stops renewing after so long.
    pub fn max_hold(mut self, limit: Duration) -> Self {
        self.max_hold = Some(limit);
        self
    }

    /// Once the body has begun, the name stays busy until so long after the grant.
    pub fn at_least(mut self, limit: Duration) -> Self {
        self.at_least = limit;
        self
    }

    /// Readers beside each other, writers alone.
    pub fn shared(mut self) -> Self {
        self.mode = Mode::Shared;
        self
    }

    /// At most so many owners at a time.
    pub fn permits(mut self, number: u32) -> Self {
        match std::num::NonZeroU32::new(number) {
            Some(number) => self.mode = Mode::Permits(number),
            None => self.fault = Some("permits = 0 lets nobody in; it must be at least 1"),
        }
        self
    }

    /// May be entered again from inside.
    pub fn reentrant(mut self) -> Self {
        self.reentrant = true;
        self
    }

    /// What happens to an async body whose lock is lost. Default: it is dropped.
    pub fn on_lost(mut self, on_lost: OnLost) -> Self {
        self.on_lost = on_lost;
        self
    }

    /// Only for certain callers, as `#[auth]`; the caller is the one of the scope.
    pub fn auth(mut self, policy: AuthPolicy) -> Self {
        self.auth = Some(policy);
        self
    }

    /// Only for certain callers, and this is who calls.
    pub fn auth_as(mut self, policy: AuthPolicy, caller: impl IntoCaller) -> Self {
        self.auth = Some(policy);
        self.caller = Some(caller.into_caller());
        self
    }

    /// The same request, for sync code.
    pub fn blocking(self) -> BlockingLockRequest {
        BlockingLockRequest::new(self)
    }

    /// What is to be entered; `None` in passthrough.
    pub(super) fn plan(self) -> Result<Option<Plan>, LockError> {
        if let Some(fault) = self.fault {
            return Err(LockError::invalid_option(fault));
        }
        let manager = self.target.resolve(&self.place)?;
        let Some(manager) = manager else {
            self.check_passthrough()?;
            return Ok(None);
        };
        let mut names = SmallVec::new();
        for name in &self.names {
            names.push(manager.resolve(name.clone())?);
        }
        if self.auth.is_some() && (names.len() > 1 || matches!(self.mode, Mode::Permits(_))) {
            return Err(LockError::invalid_option(
                "a lock that belongs to a caller stands alone: `auth` goes neither with `permits` \
                 nor with several names",
            ));
        }
        let terms = SharedTerms::from(self.terms(&manager));
        Ok(Some(Plan {
            manager,
            names,
            terms,
            caller: self.auth.and_then(|_| self.who()),
        }))
    }

    /// A bad name and a missing caller are errors without a manager too.
    fn check_passthrough(&self) -> Result<(), LockError> {
        for name in &self.names {
            name.clone()?;
        }
        match self.auth {
            Some(policy) => crate::caller::require(policy, self.who().as_ref()),
            None => Ok(()),
        }
    }

    pub(super) fn who(&self) -> Option<crate::CallerId> {
        self.caller.clone().unwrap_or_else(Caller::current_id)
    }

    pub(super) fn terms(&self, manager: &ManagerRef) -> Terms {
        Terms {
            origin: Origin::Called(self.place),
            mode: self.mode,
            wait: self.wait.unwrap_or(manager.defaults.wait),
            ttl: self.ttl.unwrap_or(manager.defaults.ttl),
            max_hold: self.max_hold.or(manager.defaults.max_hold),
            at_least: self.at_least,
            renewed: self.renewed,
            linger: self.linger,
            reentrant: self.reentrant,
            on_lost: self.on_lost,
            auth: self.auth,
        }
    }

    /// The manager, and the one name that a call is about.
    pub(super) fn one(&self) -> Result<(Option<ManagerRef>, LockName), LockError> {
        let manager = self.target.resolve(&self.place)?;
        let [name] = self.names.as_slice() else {
            return Err(LockError::invalid_option(
                "this call is about one lock, not several",
            ));
        };
        let name = name.clone()?;
        match manager {
            None => Ok((None, name)),
            Some(manager) => {
                let name = manager.resolve(name)?;
                Ok((Some(manager), name))
            }
        }
    }
}
