//! Identity locks: locks that belong to a caller.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use crate::backend::{Change, ChangeAnswer, OnWhoseWord};
use crate::caller::{Caller, CallerId, IntoCaller};
use crate::error::{LockError, Lost};
use crate::info::LockInfo;
use crate::manager::{LockManager, ManagerRef};
use crate::name::{IntoLockName, LockName};
use crate::owner::Owner;
use crate::request::{LockRequest, Target, blocking, lock};
use crate::section::current_leases;

/// Assigns a lock to a caller: from now on only that caller may call the functions that
/// `#[locked]` and `#[auth]` protect with it.
///
/// Refused when somebody else holds it; again to the same caller is fine. It does not end by
/// itself unless [`ttl`](AssignRequest::ttl) says so, nor with the process that made it. Without
/// a lock manager it succeeds, and nothing is kept.
///
/// ```
/// use lock_runtime::{Caller, LockManager, acquire_lock, get_lock, transfer_lock};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(
/// # LockManager::memory().scope(async {
/// acquire_lock("turn", "white").await?;
/// Caller::new("white").scope(async { transfer_lock("turn", "black").await }).await?;
/// assert_eq!(get_lock("turn").await?.holder.unwrap().as_str(), "black");
/// # Ok::<(), lock_runtime::LockError>(()) })).unwrap();
/// ```
pub fn acquire_lock(name: impl IntoLockName, caller: impl IntoCaller) -> AssignRequest {
    AssignRequest {
        target: Target::Ambient,
        name: name.into_lock_name(),
        to: caller.into_caller(),
        ttl: None,
        as_operator: false,
    }
}

/// Moves a lock from the ambient caller to another, in one step.
///
/// Refused when somebody else holds it. One that nobody holds is assigned: a game that is not in
/// play yet. The new holder has it for as long as the old one had, or without an end.
pub fn transfer_lock(name: impl IntoLockName, to: impl IntoCaller) -> TransferRequest {
    TransferRequest {
        target: Target::Ambient,
        name: name.into_lock_name(),
        to: to.into_caller(),
        from: None,
        as_operator: false,
    }
}

/// Takes a lock back from the ambient caller. Refused for somebody who does not hold it; one that
/// nobody holds stays as it is.
pub fn release_lock(name: impl IntoLockName) -> UnassignRequest {
    UnassignRequest {
        target: Target::Ambient,
        name: name.into_lock_name(),
        caller: None,
        as_operator: false,
    }
}

/// Who holds a lock, the section that runs under it, and how many wait.
///
/// # Errors
///
/// When the backend cannot be reached.
///
/// # Cancel safety
///
/// Looking changes nothing.
pub async fn get_lock(name: impl IntoLockName) -> Result<LockInfo, LockError> {
    let request: LockRequest = lock(name);
    request.info().await
}

impl LockManager {
    /// [`acquire_lock`] on this manager.
    pub fn acquire_lock(&self, name: impl IntoLockName, caller: impl IntoCaller) -> AssignRequest {
        AssignRequest {
            target: Target::Manager(self.clone()),
            ..acquire_lock(name, caller)
        }
    }

    /// [`transfer_lock`] on this manager.
    pub fn transfer_lock(&self, name: impl IntoLockName, to: impl IntoCaller) -> TransferRequest {
        TransferRequest {
            target: Target::Manager(self.clone()),
            ..transfer_lock(name, to)
        }
    }

    /// [`release_lock`] on this manager.
    pub fn release_lock(&self, name: impl IntoLockName) -> UnassignRequest {
        UnassignRequest {
            target: Target::Manager(self.clone()),
            ..release_lock(name)
        }
    }

    /// [`get_lock`] on this manager.
    ///
    /// # Errors
    ///
    /// When the backend cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// Looking changes nothing.
    pub async fn get_lock(&self, name: impl IntoLockName) -> Result<LockInfo, LockError> {
        self.lock(name).info().await
    }
}

/// What an identity call does when it is awaited.
pub type IdentityFuture = Pin<Box<dyn Future<Output = Result<(), LockError>> + Send>>;

macro_rules! awaited {
    ($($request:ident)*) => {$(
        impl $request {
            /// Does it from sync code.
            ///
            /// # Errors
            ///
            /// As when it is awaited; and when the backend has to be waited for on a thread that
            /// must not wait.
            pub fn blocking(self) -> Result<(), LockError> {
                blocking(self.into_future())
            }
        }

        impl IntoFuture for $request {
            type Output = Result<(), LockError>;
            type IntoFuture = IdentityFuture;

            fn into_future(self) -> IdentityFuture {
                // Who calls, and from inside which section, is decided here and now.
                let prepared = self.prepare();
                Box::pin(async move {
                    match prepared? {
                        Some((manager, change)) => make(manager, change).await,
                        None => Ok(()),
                    }
                })
            }
        }
    )*};
}

awaited!(AssignRequest TransferRequest UnassignRequest);

/// [`acquire_lock`], to be awaited.
#[derive(Clone, Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct AssignRequest {
    target: Target,
    name: Result<LockName, LockError>,
    to: Option<CallerId>,
    ttl: Option<Duration>,
    as_operator: bool,
}

impl AssignRequest {
    /// It ends by itself after this time, which a transfer starts anew. Any time above zero.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Takes it from whoever holds it.
    pub fn as_operator(mut self) -> Self {
        self.as_operator = true;
        self
    }

    fn prepare(self) -> Result<Prepared, LockError> {
        let name = self.name?;
        let to = somebody(self.to, &name)?;
        if self.ttl.is_some_and(|ttl| ttl.is_zero()) {
            return Err(
                LockError::invalid_option("ttl is zero: leave it out for no end").about(&name),
            );
        }
        let giver = if self.as_operator {
            OnWhoseWord::Operator
        } else {
            OnWhoseWord::Caller(to.clone())
        };
        prepare(&self.target, &name, |name, within| Change::Assign {
            name,
            to,
            ttl: self.ttl,
            giver,
            within,
        })
    }
}

/// [`transfer_lock`], to be awaited.
#[derive(Clone, Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct TransferRequest {
    target: Target,
    name: Result<LockName, LockError>,
    to: Option<CallerId>,
    from: Option<Option<CallerId>>,
    as_operator: bool,
}

impl TransferRequest {
    /// Names the giver, who then must hold the lock.
    pub fn from(mut self, giver: impl IntoCaller) -> Self {
        self.from = Some(giver.into_caller());
        self
    }

    /// On nobody's word but the operator's.
    pub fn as_operator(mut self) -> Self {
        self.as_operator = true;
        self
    }

    fn prepare(self) -> Result<Prepared, LockError> {
        let name = self.name?;
        let to = somebody(self.to, &name)?;
        let giver = giver(self.from, self.as_operator, &name)?;
        prepare(&self.target, &name, |name, within| Change::Transfer {
            name,
            to,
            giver,
            within,
        })
    }
}

/// [`release_lock`], to be awaited.
#[derive(Clone, Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct UnassignRequest {
    target: Target,
    name: Result<LockName, LockError>,
    caller: Option<Option<CallerId>>,
    as_operator: bool,
}

impl UnassignRequest {
    /// Names who gives it back, and must hold it.
    pub fn caller(mut self, caller: impl IntoCaller) -> Self {
        self.caller = Some(caller.into_caller());
        self
    }

    /// On nobody's word but the operator's.
    pub fn as_operator(mut self) -> Self {
        self.as_operator = true;
        self
    }

    fn prepare(self) -> Result<Prepared, LockError> {
        let name = self.name?;
        let giver = giver(self.caller, self.as_operator, &name)?;
        prepare(&self.target, &name, |name, within| Change::Unassign {
            name,
            giver,
            within,
        })
    }
}

/// What is to be done; `None` without a lock manager.
type Prepared = Option<(ManagerRef, Change)>;

fn prepare(
    target: &Target,
    name: &LockName,
    change: impl FnOnce(LockName, Option<Owner>) -> Change,
) -> Result<Prepared, LockError> {
    let Some(manager) = target.resolve(&format_args!("the assignment of {name}"))? else {
        return Ok(None);
    };
    manager
        .check_capability(
            manager.capabilities.identity,
            "locks that belong to callers",
        )
        .map_err(|error| error.about(name))?;
    let name = manager.resolve(name)?;
    let within = check_sections(&manager, &name)?;
    Ok(Some((manager, change(name, within))))
}

/// Inside a section whose lock was lost nothing is handed on. Returns the owner of the section of
/// this very lock, for the backend to check in the same step.
fn check_sections(manager: &ManagerRef, name: &LockName) -> Result<Option<Owner>, LockError> {
    let mut within = None;
    for lease in current_leases(manager.id) {
        if let Some(cause) = lease.check(|| manager.clock.now()) {
            return Err(LockError::lost(lease.name(), cause));
        }
        if lease.name() == name && lease.is_running() {
            within = Some(lease.owner());
        }
    }
    Ok(within)
}

fn somebody(caller: Option<CallerId>, name: &LockName) -> Result<CallerId, LockError> {
    caller.ok_or_else(|| {
        LockError::invalid_option(
            "a lock is assigned to somebody: the new holder is empty or anonymous",
        )
        .about(name)
    })
}

/// On whose word a lock changes hands: the named caller's, the ambient one's, or the operator's.
fn giver(
    named: Option<Option<CallerId>>,
    as_operator: bool,
    name: &LockName,
) -> Result<OnWhoseWord, LockError> {
    let ambient = Caller::current_id();
    match (named, as_operator) {
        (None, true) => Ok(OnWhoseWord::Operator),
        (Some(Some(named)), true) => Ok(OnWhoseWord::Holder(named)),
        (Some(None), _) => {
            Err(LockError::invalid_option("the named caller is empty or anonymous").about(name))
        }
        // The process is trusted, its users are not: nobody speaks for another.
        (Some(Some(named)), false) => match ambient {
            Some(ambient) if ambient != named => {
                Err(LockError::speaks_for_another(name, ambient, &named))
            }
            _ if Caller::current().is_some_and(|caller| caller.is_anonymous()) => {
                Err(LockError::unauthenticated().about(name))
            }
            _ => Ok(OnWhoseWord::Holder(named)),
        },
        (None, false) => match ambient {
            Some(ambient) => Ok(OnWhoseWord::Caller(ambient)),
            None => Err(LockError::unauthenticated().about(name)),
        },
    }
}

async fn make(manager: ManagerRef, change: Change) -> Result<(), LockError> {
    let name = change.name().clone();
    let giver = change.giver().cloned();
    let answer = manager
        .call(move |backend| Box::pin(async move { backend.change(&change).await }))
        .await
        .map_err(|error| error.about(&name))?;
    match answer {
        ChangeAnswer::Done => Ok(()),
        ChangeAnswer::NotYourTurn { holder } => Err(LockError::not_your_turn(&name, holder, giver)),
        ChangeAnswer::SectionLost => Err(LockError::lost(&name, Lost::Expired)),
    }
}
