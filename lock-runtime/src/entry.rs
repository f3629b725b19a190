//! What expanded code does to enter a section.

use std::time::Duration;

use smallvec::SmallVec;

use crate::caller::{Caller, IntoCaller, require};
use crate::error::LockError;
use crate::global::{Route, route};
use crate::manager::{LockManager, ManagerRef, Wish};
use crate::name::{LockName, NameWriter, write_name};
use crate::options::{AuthPolicy, Wait};
use crate::section::{Entering, Plan, Section, wait_blocking};
use crate::site::{Origin, Site};

/// An annotated function on its way into its section.
#[derive(Debug)]
pub struct Entry(Kind);

#[derive(Debug)]
enum Kind {
    Managed(Plan),
    Through {
        site: &'static Site,
        caller: Option<crate::CallerId>,
    },
    Refused(LockError),
}

impl Entry {
    /// With the manager of the scope, or the global one.
    #[must_use]
    pub fn new(site: &'static Site) -> Self {
        match route(site) {
            Ok(Route::Managed(manager)) => Self(Kind::Managed(plan(site, manager))),
            Ok(Route::Through) => Self(Kind::Through {
                site,
                caller: site.auth.and_then(|_| Caller::current_id()),
            }),
            Err(error) => Self(Kind::Refused(error)),
        }
    }

    /// With a manager of its own.
    #[must_use]
    pub fn on(site: &'static Site, manager: &LockManager) -> Self {
        Self(Kind::Managed(plan(site, manager.reference())))
    }

    /// One more name.
    #[must_use]
    #[inline]
    pub fn name(mut self, write: impl FnOnce(&mut NameWriter<'_>)) -> Self {
        if let Kind::Managed(plan) = &mut self.0 {
            match plan.manager.make_name(write) {
                Ok(name) => plan.names.push(name),
                Err(error) => self.0 = Kind::Refused(error.into()),
            }
        }
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Wish)) -> Self {
        if let Kind::Managed(plan) = &mut self.0 {
            change(&mut plan.wish);
        }
        self
    }

    /// A limit on how long it queues.
    #[must_use]
    pub fn wait(self, limit: Duration) -> Self {
        self.with(|wish| wish.wait = Wait::For(limit))
    }

    /// The lease.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        self.with(|wish| wish.ttl = ttl)
    }

    /// When renewal stops.
    #[must_use]
    pub fn max_hold(self, limit: Duration) -> Self {
        self.with(|wish| wish.max_hold = Some(limit))
    }

    /// How long the name stays busy at least.
    #[must_use]
    pub fn at_least(self, limit: Duration) -> Self {
        self.with(|wish| wish.at_least = limit)
    }

    /// Who calls.
    #[must_use]
    pub fn caller(mut self, caller: impl IntoCaller) -> Self {
        let caller = caller.into_caller();
        match &mut self.0 {
            Kind::Managed(plan) => plan.wish.caller = caller,
            Kind::Through { caller: known, .. } => *known = caller,
            Kind::Refused(_) => {}
        }
        self
    }

    /// Enters, queueing where that is asked for.
    #[inline]
    pub fn enter(self) -> Entering {
        match self.0 {
            Kind::Managed(plan) => plan.enter(),
            Kind::Through { site, caller } => Entering::decided(pass(site, caller.as_ref())),
            Kind::Refused(error) => Entering::decided(Err(error)),
        }
    }

    /// Enters from a sync function, queueing where that is asked for and where this thread may
    /// wait.
    ///
    /// # Errors
    ///
    /// As every entry; and when the name is busy and this thread must not wait.
    pub fn enter_blocking(self) -> Result<Section, LockError> {
        match self.0 {
            Kind::Managed(plan) => plan.enter_blocking(),
            Kind::Through { site, caller } => pass(site, caller.as_ref()),
            Kind::Refused(error) => Err(error),
        }
    }
}

/// Passthrough: nothing is locked, but a caller is still required where one is.
fn pass(site: &Site, caller: Option<&crate::CallerId>) -> Result<Section, LockError> {
    if let Some(policy) = site.auth {
        require(policy, caller)?;
    }
    Ok(Section::none())
}

fn plan(site: &'static Site, manager: ManagerRef) -> Plan {
    let defaults = &manager.defaults;
    let wish = Wish {
        origin: Origin::Annotated(site),
        mode: site.mode,
        wait: site.wait.unwrap_or(defaults.wait),
        ttl: site.ttl.unwrap_or(defaults.ttl),
        max_hold: site.max_hold.or(defaults.max_hold),
        at_least: site.at_least.unwrap_or(Duration::ZERO),
        renewed: true,
        reentrant: site.reentrant,
        auth: site.auth,
        caller: site.auth.and_then(|_| Caller::current_id()),
    };
    Plan {
        manager,
        names: SmallVec::new(),
        wish,
        on_lost: site.on_lost,
    }
}

impl Plan {
    /// Enters, waiting on this thread where it may wait.
    pub(crate) fn enter_blocking(self) -> Result<Section, LockError> {
        let name = self.names.first().cloned();
        match self.enter().ready() {
            Ok(result) => result,
            Err(entering) => match wait_blocking(entering) {
                Ok(result) => result,
                Err(_) => Err(LockError::would_block(name.as_ref())),
            },
        }
    }
}

/// Refuses a call without a caller: `#[auth]` without `#[locked]`.
///
/// # Errors
///
/// When the policy needs a caller, and none is known.
pub fn require_caller(policy: AuthPolicy) -> Result<(), LockError> {
    require(policy, Caller::current_id().as_ref())
}

/// The same with a caller that is named.
///
/// # Errors
///
/// When the policy needs a caller, and none is known.
pub fn require_caller_from(policy: AuthPolicy, caller: impl IntoCaller) -> Result<(), LockError> {
    require(policy, caller.into_caller().as_ref())
}

/// A name as the annotation makes it.
///
/// # Errors
///
/// When the name is too long, empty, or a value cannot be formatted.
pub fn name(write: impl FnOnce(&mut NameWriter<'_>)) -> Result<LockName, LockError> {
    Ok(write_name("", write)?)
}
