//! The lease: what one acquisition is, and what became of it.

mod inner;
mod pool;
mod state;
mod terms;

use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tracing::Span;

use crate::caller::CallerId;
use crate::clock::Moment;
use crate::error::Lost;
use crate::fencing::FencingToken;
use crate::name::LockName;
use crate::options::Mode;
use crate::owner::{Owner, OwnerInfo, Process};
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Mutex, lock};

use inner::Inner;
pub(crate) use pool::{make, worth_keeping};
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
    body_began: AtomicBool,
    loss_told: AtomicBool,
    slowness_told: AtomicBool,
    /// Whether a body has ever waited: then the end of each poll is told.
    has_waited: AtomicBool,
    /// Set when the body is woken only to see whether it is still polled; its next poll clears
    /// it. Zero for not set.
    probed_at: AtomicU64,
    /// How many bodies are being polled just now, of those that are watched over.
    polls: AtomicUsize,
    body: Mutex<Option<Waker>>,
    lost: Notify,
    inner: OnceLock<Inner>,
    #[cfg(feature = "metrics")]
    granted_at: OnceLock<std::time::Instant>,
    /// Its place with those who watch over it; `usize::MAX` for none.
    watched_at: AtomicUsize,
    /// Held while a renewal is under way, so that a release never overtakes it.
    renewal: Semaphore,
}

impl Lease {
    /// A lease of this name, for a new owner.
    fn new(name: LockName, manager: u64, process: &Arc<Process>, terms: &SharedTerms) -> Self {
        Self {
            name,
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
            body_began: AtomicBool::new(false),
            loss_told: AtomicBool::new(false),
            slowness_told: AtomicBool::new(false),
            has_waited: AtomicBool::new(false),
            probed_at: AtomicU64::new(0),
            polls: AtomicUsize::new(0),
            body: Mutex::new(None),
            lost: Notify::const_new(),
            inner: OnceLock::new(),
            #[cfg(feature = "metrics")]
            granted_at: OnceLock::new(),
            watched_at: AtomicUsize::new(usize::MAX),
            renewal: Semaphore::const_new(1),
        }
    }

    /// The same request of another owner.
    pub(crate) fn of_another(&self, owner: Owner) -> Arc<Self> {
        let mut lease = Self::new(self.name.clone(), self.manager, &self.process, &self.terms);
        lease.owner = OnceLock::from(owner);
        lease.caller.clone_from(&self.caller);
        lease.span = self.span.clone();
        Arc::new(lease)
    }

    /// Makes a used lease that nobody else knows like a new one. What a lease without a wait, a
    /// loss or a re-entry has not touched is left as it is.
    #[inline]
    fn renew(&mut self, name: LockName, manager: u64, process: &Arc<Process>, terms: &SharedTerms) {
        self.name = name;
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
        *self.body_began.get_mut() = false;
        *self.loss_told.get_mut() = false;
        *self.slowness_told.get_mut() = false;
        *self.has_waited.get_mut() = false;
        *self.probed_at.get_mut() = 0;
        *self.polls.get_mut() = 0;
        *self.body.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
        if self.inner.get().is_some() {
            self.inner = OnceLock::new();
        }
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

    /// The fencing token of the grant, where the mode carries one.
    #[must_use]
    pub fn token(&self) -> Option<FencingToken> {
        FencingToken::new(self.token.load(Ordering::Relaxed))
    }

    /// Says that the section is lost: the backend has given it to another, or may do so.
    ///
    /// An async body is dropped before it is polled again. Saying it again, or of a section that
    /// has ended, does nothing.
    pub fn report_lost(&self, cause: Lost) {
        if self.lose(cause) {
            self.announce_loss();
        }
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

    /// The backend has renewed it.
    pub(crate) fn prolong(&self, deadline: Moment) {
        self.deadline.store(deadline.as_nanos(), Ordering::Release);
    }

    #[inline]
    pub(crate) fn deadline(&self) -> Moment {
        Moment::from_nanos(self.deadline.load(Ordering::Acquire))
    }

    /// Marks it as lost. Says whether it was not over before; then
    /// [`announce_loss`](Self::announce_loss) follows, when no lock is held.
    #[must_use]
    pub(crate) fn lose(&self, cause: Lost) -> bool {
        self.state.lose(cause)
    }

    /// Wakes everybody inside, and those who watch it. Foreign code: no lock is held meanwhile.
    pub(crate) fn announce_loss(&self) {
        self.lost.notify_waiters();
        self.bodies().into_iter().for_each(Waker::wake);
    }

    /// Whether its loss is told for the first time.
    pub(crate) fn tell_loss(&self) -> bool {
        !self.loss_told.swap(true, Ordering::AcqRel)
    }

    /// Whether it is told for the first time that it takes long.
    pub(crate) fn tell_slowness(&self) -> bool {
        !self.slowness_told.swap(true, Ordering::AcqRel)
    }

    /// Whether a body has ever waited.
    #[inline]
    pub(crate) fn has_waited(&self) -> bool {
        self.has_waited.load(Ordering::Acquire)
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

    /// Why it was lost, if it was.
    #[inline]
    pub(crate) fn loss(&self) -> Option<Lost> {
        self.state.loss()
    }

    /// Whether its time may run out by itself.
    #[inline]
    pub(crate) fn can_run_out(&self) -> bool {
        self.deadline() != Moment::NEVER
    }

    /// Why it is lost by now, if it is: a deadline that has passed counts, told or not.
    pub(crate) fn check(&self, now: impl FnOnce() -> Moment) -> Option<Lost> {
        if self.can_run_out() && self.is_running() && now() >= self.deadline() {
            self.report_lost(Lost::Expired);
        }
        self.loss()
    }

    /// Completes when it is lost; never, if it ends otherwise.
    pub(crate) async fn wait_lost(&self) -> Lost {
        loop {
            let notified = self.lost.notified();
            if let Some(cause) = self.loss() {
                return cause;
            }
            notified.await;
        }
    }

    /// One more entry from inside. `false` when the last one has left already.
    pub(crate) fn enter_again(&self) -> bool {
        self.state.enter_again()
    }

    /// An entry has left. Says whether it was the last.
    pub(crate) fn leave(&self) -> bool {
        self.state.leave()
    }

    #[inline]
    pub(crate) fn begin_body(&self) {
        self.body_began.store(true, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn has_body_begun(&self) -> bool {
        self.body_began.load(Ordering::Relaxed)
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

    /// A poll of a body begins. Says whether its end has to be told: nobody asks about a body
    /// that has never waited.
    #[inline]
    pub(crate) fn poll_begins(&self) -> bool {
        let has_waited = self.has_waited();
        if has_waited {
            self.polls.fetch_add(1, Ordering::AcqRel);
        }
        has_waited
    }

    pub(crate) fn poll_ends(&self) {
        self.polls.fetch_sub(1, Ordering::AcqRel);
        self.body_polled();
    }

    /// The body has been polled.
    #[inline]
    pub(crate) fn body_polled(&self) {
        if self.probed_at.load(Ordering::Relaxed) != 0 {
            self.probed_at.store(0, Ordering::Relaxed);
        }
    }

    /// The body is pending; this wakes it. Says whether it is the first time.
    pub(crate) fn body_waits(&self, waker: &Waker) -> bool {
        let mut body = lock(&self.body);
        match &*body {
            Some(known) if known.will_wake(waker) => {}
            _ => *body = Some(waker.clone()),
        }
        drop(body);
        self.waits_for_the_first_time()
    }

    fn waits_for_the_first_time(&self) -> bool {
        !self.has_waited() && !self.has_waited.swap(true, Ordering::AcqRel)
    }

    /// Wakes the bodies to see whether they are still polled. Returns since when it has not been.
    pub(crate) fn probe_body(&self, now: Moment) -> Option<Moment> {
        let bodies = self.bodies();
        if bodies.is_empty() || self.polls.load(Ordering::Acquire) > 0 {
            self.body_polled();
            return None;
        }
        let since = match self.probed_at.load(Ordering::Relaxed) {
            0 => {
                self.probed_at
                    .store(now.as_nanos().max(1), Ordering::Relaxed);
                now
            }
            since => Moment::from_nanos(since),
        };
        bodies.into_iter().for_each(Waker::wake);
        Some(since)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("name", &self.name)
            .field("owner", &self.owner())
            .field("mode", &self.terms.mode)
            .field("token", &self.token())
            .field("lost", &self.loss())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
