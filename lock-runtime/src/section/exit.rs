//! Giving back what a section has in hand.

use std::task::{Context, Poll};

use super::{Section, wait_blocking};
use crate::error::LockError;
use crate::manager::{Released, Releasing};

/// What giving everything back came to.
#[derive(Default)]
pub(crate) struct Exit {
    loss: Option<LockError>,
    on_their_way: Vec<Releasing>,
}

impl Section {
    /// Gives everything back, last taken first.
    #[inline]
    pub(super) fn exit(&mut self) -> Exit {
        let Some(in_hand) = &mut self.0 else {
            return Exit::default();
        };
        if let (Some(first), true) = (&mut in_hand.first, in_hand.more.is_empty()) {
            // The ordinary case: one name, and nothing to be said of it.
            return match first.release() {
                Released::Done(lease) => {
                    in_hand.first = None;
                    in_hand.kept = lease;
                    Exit::default()
                }
                released => Exit::default().with(released),
            };
        }
        let first = in_hand.first.take();
        let holds = first.into_iter().chain(in_hand.more.drain(..)).rev();
        holds.fold(Exit::default(), |exit, mut hold| exit.with(hold.release()))
    }

    /// Gives everything back, on behalf of whoever holds it without a body.
    pub(crate) fn leave(mut self) -> Exit {
        self.exit()
    }
}

impl Exit {
    fn with(mut self, released: Released) -> Self {
        match released {
            Released::Done(_) => {}
            Released::Lost(error) => self.loss = self.loss.or(Some(error)),
            Released::Later(releasing) => self.on_their_way.push(releasing),
        }
        self
    }

    /// What was lost, if no release is still on its way.
    #[inline]
    pub(super) fn ready(self) -> Result<Option<LockError>, Self> {
        if self.on_their_way.is_empty() {
            Ok(self.loss)
        } else {
            Err(self)
        }
    }

    /// Waits for the releases that are on their way, and says what was lost.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<LockError>> {
        let loss = &mut self.loss;
        self.on_their_way
            .retain_mut(|releasing| match releasing.as_mut().poll(cx) {
                Poll::Pending => true,
                Poll::Ready(lost) => {
                    *loss = loss.take().or(lost);
                    false
                }
            });
        if self.on_their_way.is_empty() {
            Poll::Ready(self.loss.take())
        } else {
            Poll::Pending
        }
    }

    /// The same on this thread. Where it must not wait, the releases go on in the background.
    pub(crate) fn finish_blocking(self) -> Option<LockError> {
        let known = self.loss.clone();
        wait_blocking(self.finish()).unwrap_or(known)
    }

    /// Waits for the releases that are on their way, and says what was lost.
    pub(crate) async fn finish(mut self) -> Option<LockError> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }
}
