//! One acquisition of one name, from the request to the lease in hand.

mod handover;
mod remote;

pub(super) use handover::Unclaimed;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::{Hold, ManagerRef};
use crate::backend::memory::{MemoryBackend, WaitInQueue};
use crate::backend::{Answer, Grant, Patience, Reply, Request};
use crate::caller::CallerId;
use crate::clock::Moment;
use crate::error::{BackendError, LockError};
use crate::lease::{self, Lease, SharedTerms};
use crate::name::{LockName, NameError};
use crate::observe;
use crate::options::{Mode, Wait};
use crate::owner::Owner;
use crate::race::{First, first};

/// An acquisition: decided already, or under way. Dropping it takes the request back.
pub(crate) enum Acquiring {
    Decided(Option<Result<Hold, LockError>>),
    InQueue(InQueue),
    UnderWay(Pin<Box<dyn Future<Output = Result<Hold, LockError>> + Send>>),
}

impl Acquiring {
    fn decided(result: Result<Hold, LockError>) -> Self {
        Self::Decided(Some(result))
    }
}

impl Future for Acquiring {
    type Output = Result<Hold, LockError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            // As with every future, polling it after its end is a fault of the caller.
            Self::Decided(result) => Poll::Ready(result.take().expect("polled after completion")),
            Self::InQueue(waiting) => waiting.poll(cx),
            Self::UnderWay(future) => future.as_mut().poll(cx),
        }
    }
}

/// A wait in the queue of a name in memory.
pub(crate) struct InQueue {
    manager: ManagerRef,
    wait: WaitInQueue,
    since: Moment,
    _waiting: observe::Waiting,
}

impl InQueue {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Hold, LockError>> {
        let answer = Pin::new(&mut self.wait).poll(cx);
        let request = self.wait.request();
        if !matches!(answer, Poll::Ready(Ok(Answer::Granted(_)))) {
            // A shutdown sends away all who wait; who queues again just now was not among them.
            let open = self.manager.check_open();
            open.map_err(|error| error.about(request.name()))?;
        }
        let since = self.since;
        answer.map(|answer| self.manager.take_up(request, since, Some(since), answer))
    }
}

impl ManagerRef {
    /// A lease to ask with, for the name that `name` puts in its place.
    #[inline]
    pub(crate) fn lease(
        &self,
        kept: Option<Arc<Lease>>,
        terms: &SharedTerms,
        caller: Option<&CallerId>,
        name: impl FnOnce(&mut LockName) -> Result<(), NameError>,
    ) -> Result<Arc<Lease>, NameError> {
        let mut lease = lease::make(kept, self.id, &self.process, terms, caller, name)?;
        let span = observe::hold_span(lease.name(), terms.origin);
        if !span.is_none() {
            lease.run_in(span);
        }
        Ok(lease)
    }

    /// A lease to ask for a name with.
    pub(crate) fn lease_of(
        &self,
        kept: Option<Arc<Lease>>,
        terms: &SharedTerms,
        caller: Option<&CallerId>,
        name: LockName,
    ) -> Result<Arc<Lease>, NameError> {
        self.lease(kept, terms, caller, |place| {
            *place = name;
            Ok(())
        })
    }

    /// Takes a name in memory that nobody else has to do with, in the short way. Gives the lease
    /// back where there is more to it: then [`ask`](Self::ask) goes the long one.
    #[inline]
    pub(crate) fn take_free(&self, lease: Arc<Lease>) -> Result<Hold, Arc<Lease>> {
        let Some(memory) = &self.memory else {
            return Err(lease);
        };
        if !lease.terms().is_plain() || self.is_closed() || !memory.take_free(&lease) {
            return Err(lease);
        }
        if self.is_closed() {
            // A shutdown that has begun before this section counted does not wait for it.
            drop(Hold::new(self.clone(), Arc::clone(&lease)));
            return Err(lease);
        }
        Ok(Hold::new(self.clone(), lease))
    }

    /// Asks for a name. An embedded backend that can grant at once has done so on return.
    pub(crate) fn ask(&self, lease: Arc<Lease>, patience: Patience) -> Acquiring {
        if let Err(error) = self.check_open() {
            return Acquiring::decided(Err(error.about(lease.name())));
        }
        let request = Request::new(lease, patience);
        if let Some(memory) = &self.memory {
            self.ask_memory(memory, request)
        } else if self.capabilities.embedded {
            self.ask_embedded(request)
        } else {
            remote::acquire(self.clone(), request)
        }
    }

    /// Asks the memory of this process.
    fn ask_memory(&self, memory: &MemoryBackend, request: Request) -> Acquiring {
        let now = self.clock.now();
        match memory.ask_now(&request, now) {
            Ok(answer) => Acquiring::decided(self.take_up(&request, now, None, Ok(answer))),
            // A shutdown that has begun meanwhile may have missed it when it sent all away.
            Err(wait) if self.is_closed() => {
                drop(wait);
                Acquiring::decided(Err(LockError::closed().about(request.name())))
            }
            Err(wait) => Acquiring::InQueue(InQueue {
                manager: self.clone(),
                since: now,
                _waiting: observe::waiting(&request.lease),
                wait,
            }),
        }
    }

    fn ask_embedded(&self, request: Request) -> Acquiring {
        let sent = self.clock.now();
        match self.backend.acquire(&request).ready() {
            // It cannot queue: it is asked again and again, as every other that cannot.
            Ok(Ok(Answer::Busy(_))) if !self.capabilities.queue && request.waits() => {
                remote::acquire(self.clone(), request)
            }
            Ok(answer) => Acquiring::decided(self.take_up(&request, sent, None, answer)),
            Err(reply) => {
                let manager = self.clone();
                Acquiring::UnderWay(Box::pin(manager.wait_embedded(request, sent, reply)))
            }
        }
    }

    async fn wait_embedded(
        self,
        request: Request,
        sent: Moment,
        reply: Reply<Result<Answer, BackendError>>,
    ) -> Result<Hold, LockError> {
        let _waiting = observe::waiting(&request.lease);
        // Registered before the look, so that a shutdown in between is not missed.
        let closing = self.closing.notified();
        self.check_open()
            .map_err(|error| error.about(request.name()))?;
        match first(reply, closing).await {
            First::Left(answer) => self.take_up(&request, sent, Some(sent), answer),
            First::Right(()) => Err(LockError::closed().about(request.name())),
        }
    }

    /// Makes a hold of a grant, and an error of everything else.
    fn take_up(
        &self,
        request: &Request,
        sent: Moment,
        started: Option<Moment>,
        answer: Result<Answer, BackendError>,
    ) -> Result<Hold, LockError> {
        match answer.map_err(|error| LockError::unavailable(error).about(request.name()))? {
            Answer::Granted(grant) => {
                let deadline = self.deadline(request, sent, grant);
                request.lease.grant(grant.token, deadline);
                self.hold(Arc::clone(&request.lease))
            }
            answer => Err(self.refusal(request, started, answer)),
        }
    }

    /// Takes a section that was granted in hand.
    fn hold(&self, lease: Arc<Lease>) -> Result<Hold, LockError> {
        let hold = Hold::new(self.clone(), lease);
        // A shutdown that has begun before this section counted does not wait for it.
        match self.check_open() {
            Ok(()) => Ok(hold),
            Err(error) => Err(hold
                .lease()
                .map_or(error.clone(), |lease| error.about(lease.name()))),
        }
    }

    /// When a granted section is lost unless it is renewed.
    fn deadline(&self, request: &Request, sent: Moment, grant: Grant) -> Moment {
        let lease = &request.lease;
        if self.capabilities.embedded && lease.is_renewed() {
            return Moment::NEVER;
        }
        let length = grant
            .lasting
            .map_or(lease.ttl(), |short| short.min(lease.ttl()));
        self.end_of_lease(grant.counted_from.unwrap_or(sent), length)
    }

    /// When a lease ends for its owner: counted from before the backend began it.
    pub(crate) fn end_of_lease(&self, counted_from: Moment, ttl: Duration) -> Moment {
        if self.capabilities.embedded {
            // The same clock on both sides: nothing drifts.
            counted_from + ttl
        } else {
            lease::end_by_owners_clock(counted_from, ttl)
        }
    }

    /// What the caller is told of an answer that is no grant.
    fn refusal(&self, request: &Request, started: Option<Moment>, answer: Answer) -> LockError {
        let name = request.name();
        let error = match answer {
            Answer::Busy(busy) => {
                let waited = started.map_or(Duration::ZERO, |started| self.clock.now() - started);
                let busy = busy.details();
                LockError::busy(name, waited, busy.in_the_way, busy.ahead)
            }
            Answer::Conflict { in_use } => {
                let asked = match request.mode() {
                    Mode::Permits(number) => number.get(),
                    Mode::Exclusive | Mode::Shared => 1,
                };
                LockError::conflict(name, in_use, asked)
            }
            Answer::NotYourTurn { holder } => {
                LockError::not_your_turn(name, holder, request.caller().cloned())
            }
            Answer::Granted(_) => unreachable!("a grant is taken up before"),
        };
        observe::refused(&request.lease, &error);
        error
    }

    /// Goes on with a section that another process has given away.
    pub(crate) async fn adopt(
        self,
        giver: Owner,
        name: LockName,
        terms: &SharedTerms,
    ) -> Result<Hold, LockError> {
        self.check_capability(self.capabilities.adopt, "adopting")
            .map_err(|error| error.about(&name))?;
        self.check_open().map_err(|error| error.about(&name))?;
        let lease = self.lease_of(None, terms, None, name)?;
        let request = Request::new(lease, Patience::Wait(Wait::NONE));
        if self.capabilities.embedded {
            let sent = self.clock.now();
            let answer = self.backend.adopt(giver, &request).await;
            self.take_over(request, sent, answer)
        } else {
            remote::adopt(self, giver, request).await
        }
    }

    fn take_over(
        &self,
        request: Request,
        sent: Moment,
        answer: Result<Option<Grant>, BackendError>,
    ) -> Result<Hold, LockError> {
        let answer = match answer {
            Ok(Some(grant)) => Ok(Answer::Granted(grant)),
            Ok(None) => {
                return Err(LockError::lost(request.name(), crate::error::Lost::Expired));
            }
            Err(error) => Err(error),
        };
        self.take_up(&request, sent, None, answer)
    }
}
