//! Locks in code, without the annotation: `lock("task:42")…`.

mod blocking;

use std::panic::Location;
use std::time::Duration;

use smallvec::SmallVec;

pub use blocking::BlockingLockRequest;
pub(crate) use blocking::blocking;

use crate::caller::{Caller, IntoCaller};
use crate::error::LockError;
use crate::global::{self, Route};
use crate::guard::{Guard, Ticket};
use crate::info::LockInfo;
use crate::manager::{LockManager, ManagerRef, Wish};
use crate::name::{IntoLockName, LockName};
use crate::options::{AuthPolicy, Mode, OnLost, Wait};
use crate::section::{Plan, Section, run};
use crate::site::Origin;

/// Starts a request for a lock, with the lock manager of the scope or the global one.
///
/// Without a lock manager, everything runs straight through, as annotated functions do.
///
/// ```
/// use std::time::Duration;
/// use lock_runtime::{LockManager, lock};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(
/// # LockManager::memory().scope(async {
/// let total = lock("report:7").wait(Duration::from_secs(5)).run(|| async { 42 }).await?;
/// assert_eq!(total, 42);
///
/// let guard = lock("report:7").acquire().await?;
/// assert!(lock("report:7").try_acquire().await?.is_none());
/// guard.release().await?;
/// # Ok::<(), lock_runtime::LockError>(()) })).unwrap();
/// ```
#[track_caller]
pub fn lock(name: impl IntoLockName) -> LockRequest {
    LockRequest::new(Target::Ambient, name, Location::caller())
}

/// Runs a body while a lock is held, with every default.
///
/// # Errors
///
/// When the lock cannot be had, or is lost before the body has ended.
///
/// # Cancel safety
///
/// Dropping it drops the body, and releases the lock then.
#[track_caller]
pub fn with_lock<F: Future>(
    name: impl IntoLockName,
    body: impl FnOnce() -> F,
) -> impl Future<Output = Result<F::Output, LockError>> {
    lock(name).run(body)
}

impl LockManager {
    /// Starts a request for a lock of this manager.
    #[track_caller]
    pub fn lock(&self, name: impl IntoLockName) -> LockRequest {
        LockRequest::new(Target::Manager(self.clone()), name, Location::caller())
    }

    /// Runs a body while a lock of this manager is held, with every default.
    ///
    /// # Errors
    ///
    /// When the lock cannot be had, or is lost before the body has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the body, and releases the lock then.
    #[track_caller]
    pub fn with_lock<F: Future>(
        &self,
        name: impl IntoLockName,
        body: impl FnOnce() -> F,
    ) -> impl Future<Output = Result<F::Output, LockError>> {
        self.lock(name).run(body)
    }
}

/// Whose locks are asked for.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Ambient,
    Manager(LockManager),
}

impl Target {
    /// The manager; `None` in passthrough.
    pub(crate) fn resolve(
        &self,
        what: &dyn std::fmt::Display,
    ) -> Result<Option<ManagerRef>, LockError> {
        match self {
            Self::Manager(manager) => Ok(Some(manager.reference())),
            Self::Ambient => match global::route(what)? {
                Route::Managed(manager) => Ok(Some(manager)),
                Route::Through => Ok(None),
            },
        }
    }
}

/// A request for a lock, being put together.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is run or acquired"]
pub struct LockRequest {
    target: Target,
    names: SmallVec<[Result<LockName, LockError>; 1]>,
    place: &'static Location<'static>,
    mode: Mode,
    wait: Option<Wait>,
    ttl: Option<Duration>,
    max_hold: Option<Duration>,
    at_least: Duration,
    renewed: bool,
    reentrant: bool,
    on_lost: OnLost,
    auth: Option<AuthPolicy>,
    caller: Option<Option<crate::CallerId>>,
    /// A number of permits that is none.
    fault: Option<&'static str>,
}

impl LockRequest {
    fn new(target: Target, name: impl IntoLockName, place: &'static Location<'static>) -> Self {
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
        let section = self.enter().await?;
        run(section, body()).await.into_result()
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
            Ok(section) => run(section, body()).await.into_result().map(Some),
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
        let wish = self.wish(&manager);
        let hold = manager.adopt(ticket.owner(), name, &wish).await?;
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
            Some(plan) => plan.enter().await,
            None => Ok(Section::none()),
        }
    }

    /// What is to be entered; `None` in passthrough.
    fn plan(self) -> Result<Option<Plan>, LockError> {
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
        let wish = self.wish(&manager);
        Ok(Some(Plan {
            manager,
            names,
            wish,
            on_lost: self.on_lost,
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

    fn who(&self) -> Option<crate::CallerId> {
        self.caller.clone().unwrap_or_else(Caller::current_id)
    }

    fn wish(&self, manager: &ManagerRef) -> Wish {
        Wish {
            origin: Origin::Called(self.place),
            mode: self.mode,
            wait: self.wait.unwrap_or(manager.defaults.wait),
            ttl: self.ttl.unwrap_or(manager.defaults.ttl),
            max_hold: self.max_hold.or(manager.defaults.max_hold),
            at_least: self.at_least,
            renewed: self.renewed,
            reentrant: self.reentrant,
            auth: self.auth,
            caller: self.auth.and_then(|_| self.who()),
        }
    }

    /// The manager, and the one name that a call is about.
    fn one(&self) -> Result<(Option<ManagerRef>, LockName), LockError> {
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
