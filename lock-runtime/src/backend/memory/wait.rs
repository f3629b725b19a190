//! Waiting for a name, and how the table knows those who hold or wait.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::{MemoryBackend, answer};
use crate::backend::{Answer, Busy, Grant, Patience, Request};
use crate::clock::Moment;
use crate::error::{BackendError, Lost};
use crate::lease::Lease;
use crate::owner::{Owner, OwnerInfo};
use crate::sync::{Mutex, lock};
use crate::table::{Party, Place, Refusal, Way};

/// How the table knows an acquisition: by its lease, or by the seat of one that waited.
#[derive(Clone)]
pub(super) enum Holding {
    Lease(Arc<Lease>),
    Seat(Arc<Seat>),
}

/// Where a waiting request is told what becomes of it.
pub(super) struct Seat {
    lease: Arc<Lease>,
    news: Mutex<News>,
}

#[derive(Default)]
struct News {
    verdict: Option<Verdict>,
    waker: Option<Waker>,
    /// From here on the section is the lease's, and its loss is told to the lease.
    claimed: bool,
}

enum Verdict {
    Granted,
    Refused(Refusal),
    /// Granted, and given to the next because nobody came to take it.
    TooLate,
}

/// A request that was put into the queue.
pub(super) struct Waiting {
    pub(super) seat: Arc<Seat>,
    pub(super) place: Place,
}

impl Holding {
    pub(super) fn new(lease: &Arc<Lease>, way: Way, place: &mut Option<Arc<Seat>>) -> Self {
        match way {
            Way::Granted => Self::Lease(Arc::clone(lease)),
            Way::Queued => {
                let seat = Arc::new(Seat {
                    lease: Arc::clone(lease),
                    news: Mutex::default(),
                });
                Self::Seat(Arc::clone(place.insert(seat)))
            }
        }
    }

    pub(super) fn lease(&self) -> &Arc<Lease> {
        match self {
            Self::Lease(lease) => lease,
            Self::Seat(seat) => &seat.lease,
        }
    }

    #[inline]
    pub(super) fn is_of(&self, lease: &Arc<Lease>) -> bool {
        Arc::ptr_eq(self.lease(), lease)
    }

    pub(super) fn granted(self) -> Option<Call> {
        self.tell(Verdict::Granted)
    }

    pub(super) fn refused(self, refusal: Refusal) -> Option<Call> {
        self.tell(Verdict::Refused(refusal))
    }

    pub(super) fn lost(self, cause: Lost) -> Option<Call> {
        if self.is_claimed() {
            let lease = self.lease();
            lease.lose(cause).then(|| Call::Lost(Arc::clone(lease)))
        } else {
            self.tell(Verdict::TooLate)
        }
    }

    /// Whether somebody has the section in hand. A grant that came out of the queue has to be
    /// taken up first.
    pub(super) fn is_claimed(&self) -> bool {
        match self {
            Self::Lease(_) => true,
            Self::Seat(seat) => lock(&seat.news).claimed,
        }
    }

    fn tell(self, verdict: Verdict) -> Option<Call> {
        match self {
            Self::Lease(_) => None,
            Self::Seat(seat) => {
                let mut news = lock(&seat.news);
                news.verdict = Some(verdict);
                news.waker.take().map(Call::Waiter)
            }
        }
    }
}

/// Whoever has to be woken once the shard's lock is no longer held: a waker is foreign code.
pub(super) enum Call {
    Waiter(Waker),
    /// Everybody who has to do with a lease that was lost.
    Lost(Arc<Lease>),
}

impl Call {
    pub(super) fn wake(self) {
        match self {
            Self::Waiter(waker) => waker.wake(),
            Self::Lost(lease) => lease.announce_loss(),
        }
    }
}

impl Party for Holding {
    fn describe(&self) -> OwnerInfo {
        self.lease().describe()
    }

    fn owner(&self) -> Owner {
        self.lease().owner()
    }
}

/// Waits in the queue of a name. Dropping it leaves the queue, and gives back what was granted.
pub(crate) struct WaitInQueue {
    backend: MemoryBackend,
    request: Request,
    /// Where it waits; `None` once it does not any more.
    waiting: Option<Waiting>,
}

impl WaitInQueue {
    pub(super) fn new(
        backend: MemoryBackend,
        mut request: Request,
        waiting: Waiting,
        since: Moment,
    ) -> Self {
        // Who has to queue again does so until the same deadline.
        if let Some(deadline) = request.patience.deadline(since) {
            request.patience = Patience::Until(deadline);
        }
        Self {
            backend,
            request,
            waiting: Some(waiting),
        }
    }

    /// What is asked for.
    pub(crate) fn request(&self) -> &Request {
        &self.request
    }

    /// Takes up the grant. It may be gone: then the request came too late for it.
    fn claim(&self, seat: &Seat) -> Option<Answer> {
        let (now, lease) = (self.backend.now(), &*self.request.lease);
        let token = self.backend.shard(lease.name()).with(|table, effects| {
            let token = table.claim(now, lease.name(), lease.owner(), effects);
            lock(&seat.news).claimed = token.is_ok();
            token
        });
        token
            .ok()
            .map(|token| Answer::Granted(Grant::new(token).counted_from(now)))
    }

    /// Came too late: queues again, behind those who wait now.
    fn ask_again(&mut self) -> Option<Answer> {
        let asked = self.backend.now();
        match self.backend.ask(&self.request, true, asked) {
            Ok(Answer::Granted(grant)) => Some(Answer::Granted(grant.counted_from(asked))),
            Ok(answer) => Some(answer),
            Err(waiting) => {
                self.waiting = Some(waiting);
                None
            }
        }
    }
}

impl Future for WaitInQueue {
    type Output = Result<Answer, BackendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let Some(Waiting { seat, .. }) = &self.waiting else {
                return Poll::Ready(Ok(Answer::Busy(Busy::new())));
            };
            let seat = Arc::clone(seat);
            let mut news = lock(&seat.news);
            let Some(verdict) = news.verdict.take() else {
                if !news
                    .waker
                    .as_ref()
                    .is_some_and(|known| known.will_wake(cx.waker()))
                {
                    news.waker = Some(cx.waker().clone());
                }
                return Poll::Pending;
            };
            drop(news);
            // A grant is given back by `drop` until it is claimed.
            let claimed = match &verdict {
                Verdict::Granted => self.claim(&seat),
                Verdict::Refused(_) | Verdict::TooLate => None,
            };
            self.waiting = None;
            let answer = match verdict {
                Verdict::Refused(refusal) => Some(answer(refusal)),
                Verdict::Granted | Verdict::TooLate => claimed.or_else(|| self.ask_again()),
            };
            if let Some(answer) = answer {
                return Poll::Ready(Ok(answer));
            }
        }
    }
}

impl Drop for WaitInQueue {
    fn drop(&mut self) {
        if let Some(Waiting { place, .. }) = self.waiting {
            let (now, lease) = (self.backend.now(), &*self.request.lease);
            self.backend.shard(lease.name()).with(|table, effects| {
                table.cancel(now, lease.name(), place, lease.owner(), effects);
            });
        }
    }
}
