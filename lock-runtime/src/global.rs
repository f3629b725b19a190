//! The global lock manager, the override of a scope, and passthrough.

use std::cell::RefCell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::ambient::{self, Carry, Present};
use crate::error::LockError;
use crate::manager::{LockManager, ManagerRef};
use crate::observe;
use crate::options::requires_manager;
use crate::sync::{Mutex, lock};

static GLOBAL: OnceLock<LockManager> = OnceLock::new();

thread_local! {
    static SCOPED: RefCell<Option<LockManager>> = const { RefCell::new(None) };
}

/// What every call looks at first. It is the only thing that a call without a manager costs.
static STATE: AtomicU8 = AtomicU8::new(UNDECIDED);

/// Nothing has been set and nothing has run.
const UNDECIDED: u8 = 0;
/// A section has run without a manager; so does every other.
const PASSTHROUGH: u8 = 1;
/// The global manager is set.
const MANAGED: u8 = 2;
/// A scope has, or had, a manager of its own: every call looks which one it has.
const SCOPES: u8 = 3;

static DECISION: Mutex<Decision> = Mutex::new(Decision {
    passed_through: false,
    is_required: None,
    scopes: 0,
});

struct Decision {
    passed_through: bool,
    /// `None` until somebody asks for it; then what the environment says counts.
    is_required: Option<bool>,
    scopes: usize,
}

impl Decision {
    fn is_required(&mut self) -> bool {
        *self.is_required.get_or_insert_with(|| {
            let value = std::env::var("LOCK_REQUIRED").unwrap_or_default();
            requires_manager(&value)
        })
    }

    /// The state that follows from everything decided so far.
    fn publish(&self) {
        let state = if self.scopes > 0 {
            SCOPES
        } else if GLOBAL.get().is_some() {
            MANAGED
        } else if self.passed_through {
            PASSTHROUGH
        } else {
            UNDECIDED
        };
        STATE.store(state, Ordering::Release);
    }
}

/// Sets the lock manager of this process, once.
///
/// Every annotated site of this binary is checked against what the backend can do, so that a
/// service whose annotations cannot work is refused here and not at its first call.
///
/// # Errors
///
/// When one is set already; when the backend cannot do what an annotation asks for, with the
/// sites named; and when a section has already run without a lock, because the other half of the
/// service then runs with one. [`set_lock_manager_late`] allows the last.
///
/// ```
/// use lock_runtime::{LockManager, set_lock_manager};
///
/// set_lock_manager(LockManager::memory())?;
/// # Ok::<(), lock_runtime::LockError>(())
/// ```
pub fn set_lock_manager(manager: LockManager) -> Result<(), LockError> {
    set(manager, false)
}

/// [`set_lock_manager`], also after sections have run without a lock.
///
/// # Errors
///
/// As [`set_lock_manager`], except for sections that have run.
pub fn set_lock_manager_late(manager: LockManager) -> Result<(), LockError> {
    set(manager, true)
}

fn set(manager: LockManager, is_late_allowed: bool) -> Result<(), LockError> {
    manager.check_sites()?;
    let decision = lock(&DECISION);
    if decision.passed_through && !is_late_allowed {
        return Err(LockError::invalid_option(
            "a section has already run without a lock, before `set_lock_manager` was called; call \
             it first in `main`, or use `set_lock_manager_late` if those sections do not matter",
        ));
    }
    GLOBAL.set(manager).map_err(|_| {
        LockError::invalid_option(
            "a lock manager is set already; a process has one, set once at start-up",
        )
    })?;
    decision.publish();
    Ok(())
}

/// The lock manager of this process, if one is set.
#[must_use]
pub fn lock_manager() -> Option<&'static LockManager> {
    GLOBAL.get()
}

/// Refuses every section while no lock manager is set, as `LOCK_REQUIRED=1` does.
///
/// # Errors
///
/// When a section has already run without one.
pub fn require_lock_manager() -> Result<(), LockError> {
    let mut decision = lock(&DECISION);
    decision.is_required = Some(true);
    if decision.passed_through {
        return Err(LockError::not_configured(
            "and a section has already run without one",
        ));
    }
    Ok(())
}

/// Where a call goes.
pub(crate) enum Route {
    Managed(ManagerRef),
    Through,
}

/// Whether calls run straight through. One atomic load.
#[inline]
pub fn passes_through() -> bool {
    STATE.load(Ordering::Acquire) == PASSTHROUGH
}

/// The global manager, where no scope has another.
#[inline]
pub(crate) fn global_manager() -> Option<ManagerRef> {
    if STATE.load(Ordering::Acquire) == MANAGED {
        GLOBAL.get().map(LockManager::global_reference)
    } else {
        None
    }
}

/// Where a call goes; `what` names it for the one warning of a process without a manager.
#[inline]
pub(crate) fn route(what: &dyn std::fmt::Display) -> Result<Route, LockError> {
    match STATE.load(Ordering::Acquire) {
        PASSTHROUGH => Ok(Route::Through),
        MANAGED => match global_manager() {
            Some(manager) => Ok(Route::Managed(manager)),
            None => decide(what),
        },
        _ => match ambient::current(&SCOPED) {
            Some(manager) => Ok(Route::Managed(manager.reference())),
            None => decide(what),
        },
    }
}

#[cold]
fn decide(what: &dyn std::fmt::Display) -> Result<Route, LockError> {
    let mut decision = lock(&DECISION);
    if let Some(manager) = GLOBAL.get() {
        return Ok(Route::Managed(manager.global_reference()));
    }
    if decision.scopes > 0 {
        return Err(LockError::not_configured(&format!(
            "and {what} is outside of every scope that has one (carry a spawned task in with \
             `in_scope` of `lock_runtime::LockFutureExt`)"
        )));
    }
    if decision.is_required() {
        return Err(LockError::not_configured(&format!(
            "and one is required (by LOCK_REQUIRED or `require_lock_manager`): {what} does not \
             run without a lock"
        )));
    }
    if !decision.passed_through {
        decision.passed_through = true;
        decision.publish();
        drop(decision);
        observe::passthrough(what);
    }
    Ok(Route::Through)
}

/// A scope that exists; while one does, no call runs straight through.
struct Scope;

impl Scope {
    fn open() -> Self {
        let mut decision = lock(&DECISION);
        decision.scopes += 1;
        decision.publish();
        Self
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        let mut decision = lock(&DECISION);
        decision.scopes -= 1;
        decision.publish();
    }
}

impl LockManager {
    /// Runs a future with this manager instead of the global one, for tests.
    ///
    /// A task that the future spawns is not inside, unless it is carried along with
    /// [`in_scope`](crate::LockFutureExt::in_scope). While a scope exists, a call outside of
    /// every scope is an error if there is no global manager: it would run without a lock.
    ///
    /// ```
    /// use lock_runtime::{LockManager, with_lock};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let manager = LockManager::memory();
    /// let sum = manager.scope(with_lock("sum", || async { 1 + 1 })).await?;
    /// assert_eq!(sum, 2);
    /// # Ok::<(), lock_runtime::LockError>(()) }).unwrap();
    /// ```
    pub fn scope<F: IntoFuture>(&self, future: F) -> impl Future<Output = F::Output> {
        let scope = Scope::open();
        // What makes the future is inside already.
        let future = async move { future.into_future().await };
        let future = Carry::new(&SCOPED, Some(self.clone()), future);
        async move {
            let _scope = scope;
            future.await
        }
    }

    /// Runs a function with this manager instead of the global one, for tests.
    pub fn scope_sync<R>(&self, function: impl FnOnce() -> R) -> R {
        let _scope = Scope::open();
        let _present = Present::set(&SCOPED, Some(self.clone()));
        function()
    }
}

/// The same future in the scope that is current here, wherever it is polled.
pub(crate) fn carry_scope<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let manager = ambient::current(&SCOPED);
    let scope = manager.is_some().then(Scope::open);
    let future = Carry::new(&SCOPED, manager, future);
    async move {
        let _scope = scope;
        future.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_outside_of_every_scope_is_told_the_way_in() {
        let outside = || crate::lock("a").blocking().acquire();
        let manager = LockManager::memory();
        let acquired = manager.scope_sync(|| std::thread::spawn(outside).join().unwrap());
        let text = acquired.unwrap_err().to_string();
        let way_in = "`in_scope` of `lock_runtime::LockFutureExt`";
        assert!(text.contains(way_in), "{text}");
    }
}
