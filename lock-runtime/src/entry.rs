//! What expanded code does to enter a section.

use std::fmt;
use std::time::Duration;

use smallvec::SmallVec;

use crate::caller::{Caller, IntoCaller, require};
use crate::error::LockError;
use crate::global::{Route, global_manager, route};
use crate::lease::{SharedTerms, Terms};
use crate::manager::{LockManager, ManagerRef};
use crate::name::{LockName, NameWriter, write_name};
use crate::options::{AuthPolicy, DEFAULT_WAIT, Wait};
use crate::section::{Entering, MustNotWait, Plan, Section, wait_blocking};
use crate::site::{Origin, Site};

/// Starts to enter a section of one name that is texts and values in turn, and that needs nothing
/// but what its site says: the ordinary case. The run of the body begins with the rest of the way.
#[must_use]
#[inline(never)]
pub fn enter_with(site: &'static Site, texts: &[&str], values: &[fmt::Arguments<'_>]) -> Section {
    start(site, |name| name.alternating(texts, values))
}

/// The same from a sync function, which has waited on return.
#[must_use]
#[inline(never)]
pub fn enter_blocking_with(
    site: &'static Site,
    texts: &[&str],
    values: &[fmt::Arguments<'_>],
) -> Section {
    start_blocking(site, |name| name.alternating(texts, values))
}

/// Starts to enter a section whose name takes more than that to write.
#[inline(never)]
pub fn enter(site: &'static Site, write: impl FnOnce(&mut NameWriter<'_>)) -> Section {
    start(site, write)
}

/// The same from a sync function, which has waited on return.
#[inline(never)]
pub fn enter_blocking(site: &'static Site, write: impl FnOnce(&mut NameWriter<'_>)) -> Section {
    start_blocking(site, write)
}

#[inline]
fn start(site: &'static Site, write: impl FnOnce(&mut NameWriter<'_>)) -> Section {
    match short_way(site) {
        Some((manager, terms)) => Section::enter_plain(&manager, &terms, write),
        None => Entry::new(site).name(write).start(),
    }
}

#[inline]
fn start_blocking(site: &'static Site, write: impl FnOnce(&mut NameWriter<'_>)) -> Section {
    match short_way(site) {
        Some((manager, terms)) if terms.wait != Wait::Forever => {
            let section = Section::enter_plain(&manager, &terms, write);
            wait_here(section, manager.capabilities.embedded).unwrap_or_else(Section::refused)
        }
        _ => Entry::new(site).name(write).start_blocking(),
    }
}

/// The global manager and what the site asks of it, where that is nothing out of the ordinary.
#[inline]
fn short_way(site: &'static Site) -> Option<(ManagerRef, SharedTerms)> {
    let manager = global_manager()?;
    let terms = site.fixed_terms(|| terms(site, &manager));
    terms.is_plain().then_some((manager, terms))
}

/// Keeps the way into a section out of the function that is annotated, so that a call without a
/// manager stays small.
#[inline(never)]
pub fn out_of_line<R>(enter: impl FnOnce() -> R) -> R {
    enter()
}

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
        Self(match route(site) {
            Ok(Route::Managed(manager)) => Kind::Managed(plan(site, manager)),
            Ok(Route::Through) => Kind::Through {
                site,
                caller: site.auth.and_then(|_| Caller::current_id()),
            },
            Err(error) => Kind::Refused(error),
        })
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

    fn with(mut self, change: impl FnOnce(&mut Terms)) -> Self {
        if let Kind::Managed(plan) = &mut self.0 {
            plan.terms.change(change);
        }
        self
    }

    /// A limit on how long it queues.
    #[must_use]
    pub fn wait(self, limit: Duration) -> Self {
        self.with(|terms| terms.wait = Wait::For(limit))
    }

    /// The lease.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        self.with(|terms| terms.ttl = ttl)
    }

    /// When renewal stops.
    #[must_use]
    pub fn max_hold(self, limit: Duration) -> Self {
        self.with(|terms| terms.max_hold = Some(limit))
    }

    /// How long the name stays busy at least.
    #[must_use]
    pub fn at_least(self, limit: Duration) -> Self {
        self.with(|terms| terms.at_least = limit)
    }

    /// Who calls.
    #[must_use]
    pub fn caller(mut self, caller: impl IntoCaller) -> Self {
        let caller = caller.into_caller();
        match &mut self.0 {
            Kind::Managed(plan) => plan.caller = caller,
            Kind::Through { caller: known, .. } => *known = caller,
            Kind::Refused(_) => {}
        }
        self
    }

    /// Starts to enter; the run of the body begins with the rest of the way.
    #[must_use]
    pub fn start(self) -> Section {
        match self.0 {
            Kind::Managed(plan) => plan.enter(),
            Kind::Through { site, caller } => {
                pass(site, caller.as_ref()).unwrap_or_else(Section::refused)
            }
            Kind::Refused(error) => Section::refused(error),
        }
    }

    /// Enters from a sync function; a refusal is told when the body should run.
    #[must_use]
    pub fn start_blocking(self) -> Section {
        self.enter_blocking().unwrap_or_else(Section::refused)
    }

    /// Enters, queueing where that is asked for.
    #[inline]
    pub fn enter(self) -> Entering {
        Entering::new(self.start())
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
    let terms = shared_terms(site, &manager);
    Plan {
        manager,
        names: SmallVec::new(),
        terms,
        caller: site.auth.and_then(|_| Caller::current_id()),
    }
}

#[inline]
fn shared_terms(site: &'static Site, manager: &ManagerRef) -> SharedTerms {
    match manager {
        ManagerRef::Global(_) => site.fixed_terms(|| terms(site, manager)),
        ManagerRef::Shared(_) => SharedTerms::from(terms(site, manager)),
    }
}

/// What a site asks of a manager.
fn terms(site: &'static Site, manager: &ManagerRef) -> Terms {
    let defaults = &manager.defaults;
    Terms {
        origin: Origin::Annotated(site),
        mode: site.mode,
        wait: site.wait.unwrap_or(defaults.wait),
        ttl: site.ttl.unwrap_or(defaults.ttl),
        max_hold: site.max_hold.or(defaults.max_hold),
        at_least: site.at_least.unwrap_or(Duration::ZERO),
        renewed: true,
        linger: false,
        reentrant: site.reentrant,
        on_lost: site.on_lost,
        auth: site.auth,
    }
}

impl Plan {
    /// Enters, waiting on this thread where it may wait.
    ///
    /// A manager whose default is to wait for ever does not make a thread do so: nothing could
    /// stop it.
    pub(crate) fn enter_blocking(mut self) -> Result<Section, LockError> {
        if self.terms.wait == Wait::Forever {
            self.terms
                .change(|terms| terms.wait = Wait::For(DEFAULT_WAIT));
        }
        let is_embedded = self.manager.capabilities.embedded;
        wait_here(self.enter(), is_embedded)
    }
}

/// Waits for a section on this thread, where it may wait.
#[inline]
fn wait_here(section: Section, is_embedded: bool) -> Result<Section, LockError> {
    match section.ready() {
        Ok(result) => result,
        Err(entering) => {
            let name = entering.name();
            match wait_blocking(entering) {
                Ok(result) => result,
                Err(why) => Err(would_block(why, is_embedded, name.as_ref())),
            }
        }
    }
}

/// What a sync call is told that would have to wait where it must not: for the name, or for a
/// backend that is not embedded to answer at all.
pub(crate) fn would_block(
    why: MustNotWait,
    is_embedded: bool,
    name: Option<&LockName>,
) -> LockError {
    let why = match why {
        MustNotWait::OnlyThread if is_embedded => {
            "this thread runs async tasks, which a wait here would stop"
        }
        MustNotWait::OnlyThread => {
            "this thread runs async tasks, and asking the store, even for a free lock, would stop \
             them"
        }
        MustNotWait::TooManyAside => {
            "so many sync calls wait on threads of async runtimes already that another one could \
             leave a runtime without a thread"
        }
    };
    LockError::would_block(why, name)
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
