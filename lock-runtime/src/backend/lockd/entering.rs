//! The wait for a section, which may be given up.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::pending::How;
use super::{Shared, check_callers, unanswered};
use crate::backend::{Answer, Request};
use crate::clock::Moment;
use crate::error::BackendError;
use crate::lease::Lease;

/// Waits for a section. Dropped before the answer was taken, it gives back what comes of it.
pub(super) struct Entering {
    shared: Arc<Shared>,
    lease: Arc<Lease>,
    /// `None` once the answer was taken.
    answer: Option<oneshot::Receiver<Result<Answer, BackendError>>>,
}

impl Entering {
    pub(super) fn start(
        shared: &Arc<Shared>,
        request: &Request,
        how: impl FnOnce(Moment) -> How,
    ) -> Result<Self, BackendError> {
        check_callers(request.caller())?;
        let lease = request.lease();
        let (waiter, answer) = oneshot::channel();
        shared.with(|session, now, _| session.ask(now, lease, how(now), waiter))?;
        Ok(Self {
            shared: Arc::clone(shared),
            lease: Arc::clone(lease),
            answer: Some(answer),
        })
    }
}

impl Future for Entering {
    type Output = Result<Answer, BackendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(answer) = &mut self.answer else {
            return Poll::Pending;
        };
        let Poll::Ready(told) = Pin::new(answer).poll(cx) else {
            return Poll::Pending;
        };
        self.answer = None;
        Poll::Ready(told.unwrap_or_else(|_| Err(unanswered(&self.shared.place))))
    }
}

impl Drop for Entering {
    fn drop(&mut self) {
        let Some(mut answer) = self.answer.take() else {
            return;
        };
        // From now on whoever tells it sees that nobody is there, and gives it back itself.
        answer.close();
        match answer.try_recv() {
            Ok(Ok(Answer::Granted(_))) => self.shared.give_back(&self.lease),
            Ok(_) => {}
            Err(_) => {
                let (shared, lease) = (&self.shared, &self.lease);
                shared.with(|session, now, news| session.give_up(now, lease, news));
            }
        }
    }
}
