//! Running an async body inside its section.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::current::Inside;
use super::{Ended, Exit, OnLost, Section};
use crate::error::{LockError, Lost};
use crate::name::LockName;

/// Runs a body inside its section, and gives the section back when the body has ended.
///
/// Before every poll of the body the section is checked: a body whose lock is lost is dropped,
/// and not polled once more. Dropping the whole future drops the body first, and gives the
/// section back then.
#[inline]
pub fn run<F: Future>(section: Section, body: F) -> Run<F> {
    Run {
        state: State::Running { body, section },
    }
}

pin_project! {
    /// A body that runs inside its section.
    pub struct Run<F: Future> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    // The body is dropped before the section: what it drops is still protected.
    #[project = StateProjection]
    #[project_replace = OwnState]
    enum State<F: Future> {
        Running { #[pin] body: F, section: Section },
        Leaving { value: Option<F::Output>, exit: Exit },
        Over,
    }
}

impl<F: Future> Future for Run<F> {
    type Output = Ended<F::Output>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        if let StateProjection::Running { body, section } = state.as_mut().project() {
            if section.is_none() {
                return body.poll(cx).map(Ended::Kept);
            }
            let polled = match poll_inside(body, section, cx) {
                Poll::Ready(polled) => polled,
                Poll::Pending => return Poll::Pending,
            };
            let OwnState::Running { mut section, .. } = state.as_mut().project_replace(State::Over)
            else {
                unreachable!("it was running a moment ago");
            };
            match polled {
                Polled::Lost(error) => {
                    drop(section);
                    return Poll::Ready(Ended::Lost(None, error));
                }
                Polled::Value(value) => {
                    let exit = section.exit();
                    if exit.on_their_way.is_empty() {
                        return Poll::Ready(settle(value, exit.loss));
                    }
                    state.set(State::Leaving {
                        value: Some(value),
                        exit,
                    });
                }
            }
        }
        let StateProjection::Leaving { value, exit } = state.as_mut().project() else {
            // As with every future, polling it after its end is a fault of the caller.
            panic!("polled after completion");
        };
        if exit.poll(cx).is_pending() {
            return Poll::Pending;
        }
        let ended = value.take().map(|value| settle(value, exit.loss.take()));
        state.set(State::Over);
        ended.map_or(Poll::Pending, Poll::Ready)
    }
}

enum Polled<R> {
    Lost(LockError),
    Value(R),
}

/// Polls the body once, as the current section, unless its lock is lost.
fn poll_inside<F: Future>(
    body: Pin<&mut F>,
    section: &mut Section,
    cx: &mut Context<'_>,
) -> Poll<Polled<F::Output>> {
    let may_be_cancelled = section.on_lost == OnLost::Cancel || !section.began;
    if may_be_cancelled && let Some(error) = section.loss() {
        return Poll::Ready(Polled::Lost(error));
    }
    section.begin();
    let polled = {
        let _inside = Inside::enter(section);
        let span = section
            .holds()
            .find_map(|hold| hold.lease())
            .map(|lease| &lease.terms().span);
        let _span = span
            .filter(|span| !span.is_none())
            .map(tracing::Span::enter);
        body.poll(cx)
    };
    match polled {
        Poll::Ready(value) => Poll::Ready(Polled::Value(value)),
        Poll::Pending => {
            section.wait(cx);
            // It may have been lost before there was anybody to be woken.
            match section.loss() {
                Some(error) if section.on_lost == OnLost::Cancel => {
                    Poll::Ready(Polled::Lost(error))
                }
                _ => Poll::Pending,
            }
        }
    }
}

fn settle<R>(value: R, loss: Option<LockError>) -> Ended<R> {
    match loss {
        None => Ended::Kept(value),
        Some(error) => Ended::Lost(Some(value), error),
    }
}

impl Section {
    /// The body waits for something: it has to be woken when the lock is lost.
    fn wait(&self, cx: &Context<'_>) {
        for hold in self.holds() {
            if let Some(lease) = hold.lease() {
                lease.body_polled();
                if lease.body_waits(cx.waker()) {
                    hold.watch();
                }
            }
        }
    }
}

impl Exit {
    /// Waits for the releases that are on their way.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut losses: Vec<(LockName, Lost)> = Vec::new();
        self.on_their_way
            .retain(|(name, releasing)| match releasing.as_mut().poll(cx) {
                Poll::Pending => true,
                Poll::Ready(loss) => {
                    losses.extend(loss.map(|cause| (name.clone(), cause)));
                    false
                }
            });
        for (name, cause) in losses {
            self.lost(&name, cause);
        }
        if self.on_their_way.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Waits for the releases that are on their way, and says whether anything was lost.
    pub(crate) async fn finish(mut self) -> Option<LockError> {
        std::future::poll_fn(|cx| self.poll(cx)).await;
        self.loss
    }
}

impl<F: Future> fmt::Debug for Run<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Run")
    }
}
