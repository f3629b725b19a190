//! The lease: what one acquisition is, and what became of it.

mod body;
mod loss;
mod reuse;
mod state;
mod terms;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tracing::Span;

use crate::caller::CallerId;
use crate::clock::Moment;
use crate::fencing::FencingToken;
use crate::name::LockName;
use crate::options::Mode;
use crate::owner::{Owner, OwnerInfo, Process};
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use body::Bodies;
pub(crate) use loss::end_by_owners_clock;
pub(crate) use reuse::{make, worth_keeping};
use state::State;
pub(crate) use terms::{SharedTerms, Terms};

/// One acquisition of one name, shared by everybody who has to do with it: the section, its
/// handles, the renewal, and the backend.
///
/// A backend reads what is asked for, and may say that the section was lost
/// ([`Lease::report_lost`]). Everything else is the runtime's.
pub struct Lease {
    name: LockName,
    /// Drawn when somebody asks: most sections begin and end without a question.
    owner: OnceLock<Owner>,
    manager: u64,
    process: Arc<Process>,
    terms: SharedTerms,
    caller: Option<CallerId>,
    /// The span that the body runs in.
    span: Span,
    /// What has become of it, and how many entries run under it, see [`state`].
    state: State,
    /// The fencing token; zero for none.
    token: AtomicU64,
    /// When the section is lost unless it is renewed before.
    deadline: AtomicU64,
    /// The length of the lease in nanoseconds; `extend` changes it.
    ttl: AtomicU64,
    /// Whether the runtime renews it; no longer once it is given away.
    renewed: AtomicBool,
    bodies: Bodies,
    loss_told: AtomicBool,
    slowness_told: AtomicBool,
    lost: Notify,
    #[cfg(feature = "metrics")]
    granted_at: OnceLock<std::time::Instant>,
    /// Its place with those who watch over it; `usize::MAX` for none.
    watched_at: AtomicUsize,
    /// Held while a renewal is under way, so that a release never overtakes it.
    renewal: Semaphore,
}

impl Lease {
    /// A lease for a new owner, of a name that is still to be filled in.
    fn new(manager: u64, process: &Arc<Process>, terms: &SharedTerms) -> Self {
        Self {
            name: LockName::blank(),
            owner: OnceLock::new(),
            manager,
            process: Arc::clone(process),
            terms: terms.clone(),
            caller: None,
            span: Span::none(),
            ttl: AtomicU64::new(nanos(terms.ttl)),
            renewed: AtomicBool::new(terms.renewed),
            state: State::asked(),
            token: AtomicU64::new(0),
            deadline: AtomicU64::new(Moment::NEVER.as_nanos()),
            bodies: Bodies::default(),
            loss_told: AtomicBool::new(false),
            slowness_told: AtomicBool::new(false),
            lost: Notify::const_new(),
            #[cfg(feature = "metrics")]
            granted_at: OnceLock::new(),
            watched_at: AtomicUsize::new(usize::MAX),
            renewal: Semaphore::const_new(1),
        }
    }

    /// The same request of another owner.
    pub(crate) fn of_another(&self, owner: Owner) -> Arc<Self> {
        let mut lease = Self::new(self.manager, &self.process, &self.terms);
        lease.name.clone_from(&self.name);
        lease.owner = OnceLock::from(owner);
        lease.caller.clone_from(&self.caller);
        lease.span = self.span.clone();
        Arc::new(lease)
    }

    /// Makes a used lease that nobody else knows like a new one. What a lease without a wait, a
    /// loss or a re-entry has not touched is left as it is.
    #[inline]
    fn start_over(&mut self, manager: u64, process: &Arc<Process>, terms: &SharedTerms) {
        if self.owner.get().is_some() {
            self.owner = OnceLock::new();
        }
        self.manager = manager;
        if !Arc::ptr_eq(&self.process, process) {
            self.process = Arc::clone(process);
        }
        self.terms = terms.clone();
        self.caller = None;
        if !self.span.is_none() {
            self.span = Span::none();
        }
        *self.ttl.get_mut() = nanos(terms.ttl);
        *self.renewed.get_mut() = terms.renewed;
        self.state = State::asked();
        *self.token.get_mut() = 0;
        *self.deadline.get_mut() = Moment::NEVER.as_nanos();
        *self.loss_told.get_mut() = false;
        *self.slowness_told.get_mut() = false;
        self.bodies.start_over();
        #[cfg(feature = "metrics")]
        {
            self.granted_at = OnceLock::new();
        }
        *self.watched_at.get_mut() = usize::MAX;
    }

    /// The lock.
    #[must_use]
    #[inline]
    pub fn name(&self) -> &LockName {
        &self.name
    }

    /// The owner that the backend grants to, and checks.
    #[must_use]
    pub fn owner(&self) -> Owner {
        *self.owner.get_or_init(Owner::random)
    }

    /// Who the owner is, for people to read.
    #[must_use]
    pub fn describe(&self) -> OwnerInfo {
        self.process.describe(self.owner().id(), self.terms.origin)
    }

    /// The mode that is asked for.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.terms.mode
    }

    /// The length of the lease.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        Duration::from_nanos(self.ttl.load(Ordering::Relaxed))
    }

    /// For how long after the grant the name has to stay busy once the body has begun.
    #[must_use]
    pub fn at_least(&self) -> Duration {
        self.terms.at_least
    }

    /// Whether the runtime renews it, so that it ends only with its owner.
    #[must_use]
    #[inline]
    pub fn is_renewed(&self) -> bool {
        self.renewed.load(Ordering::Relaxed)
    }

    /// Whether the section outlives its process: when that dies, it ends with its lease and not at
    /// once. For a backend that would end it at once.
    #[must_use]
    pub fn lingers(&self) -> bool {
        self.terms.linger
    }

    /// Where in the code it was asked for.
    #[cfg(all(unix, feature = "lockd"))]
    pub(crate) fn origin(&self) -> crate::site::Origin {
        self.terms.origin
    }

    /// The fencing token of the grant, where the mode carries one.
    #[must_use]
    pub fn token(&self) -> Option<FencingToken> {
        FencingToken::new(self.token.load(Ordering::Relaxed))
    }

    pub(crate) fn set_ttl(&self, ttl: Duration) {
        self.ttl.store(nanos(ttl), Ordering::Relaxed);
    }

    /// From now on it ends by itself: whoever takes it over renews it.
    pub(crate) fn stop_renewal(&self) {
        self.renewed.store(false, Ordering::Relaxed);
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn stamp_grant(&self) {
        self.granted_at.get_or_init(std::time::Instant::now);
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn granted_at(&self) -> Option<std::time::Instant> {
        self.granted_at.get().copied()
    }

    #[inline]
    pub(crate) fn terms(&self) -> &Terms {
        &self.terms
    }

    pub(crate) fn caller(&self) -> Option<&CallerId> {
        self.caller.as_ref()
    }

    /// The number of the manager that it was asked of.
    #[must_use]
    #[inline]
    pub fn manager(&self) -> u64 {
        self.manager
    }

    #[inline]
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// The backend has granted it. It may have been lost since; then it stays lost.
    #[inline]
    pub(crate) fn grant(&self, token: Option<FencingToken>, deadline: Moment) {
        self.token
            .store(token.map_or(0, FencingToken::get), Ordering::Relaxed);
        self.deadline.store(deadline.as_nanos(), Ordering::Relaxed);
        self.state.grant();
    }

    /// Marks it as ended by its owner. Says whether it was held until now.
    pub(crate) fn end(&self) -> bool {
        self.state.end()
    }

    /// The only entry leaves and ends it. `false` when others are inside or it is not held any
    /// more; then nothing has happened.
    #[inline]
    pub(crate) fn end_with_only_entry(&self) -> bool {
        self.state.end_with_only_entry()
    }

    /// Whether it was granted and has not ended, as far as this process was told.
    #[inline]
    pub(crate) fn is_running(&self) -> bool {
        self.state.is_held()
    }

    /// One more entry from inside. `false` when the last one has left already.
    pub(crate) fn enter_again(&self) -> bool {
        self.state.enter_again()
    }

    /// An entry has left. Says whether it was the last.
    pub(crate) fn leave(&self) -> bool {
        self.state.leave()
    }

    /// Its place with those who watch over it.
    #[inline]
    pub(crate) fn watched_at(&self) -> Option<usize> {
        let place = self.watched_at.load(Ordering::Acquire);
        (place != usize::MAX).then_some(place)
    }

    pub(crate) fn set_watched_at(&self, place: usize) {
        self.watched_at.store(place, Ordering::Release);
    }

    pub(crate) fn renewal_gate(&self) -> &Semaphore {
        &self.renewal
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("name", &self.name)
            .field("owner", &self.owner.get())
            .field("mode", &self.terms.mode)
            .field("token", &self.token())
            .field("lost", &self.loss())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
