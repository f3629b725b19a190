//! Running an async body inside its section.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::current::Inside;
use super::{Ended, Exit, OnLost, Section};
use crate::error::LockError;

/// Runs a body inside its section, and gives the section back when the body has ended.
///
/// Before every poll of the body the section is checked: a body whose lock is lost is not polled
/// once more. Whoever declares the body after the section drops it first, so that what it drops is
/// still protected.
#[inline]
pub fn run<'a, F: Future>(section: &'a mut Section, body: Pin<&'a mut F>) -> Run<'a, F> {
    Run {
        section,
        body,
        leaving: None,
    }
}

/// A body that runs inside its section.
///
/// It borrows both: a future that is passed by value is stored once for each function that it
/// passes through.
pub struct Run<'a, F: Future> {
    section: &'a mut Section,
    body: Pin<&'a mut F>,
    /// The body's value, while the release is on its way.
    leaving: Option<Box<(F::Output, Exit)>>,
}

// Nothing in it is pinned but through the reference.
impl<F: Future> Unpin for Run<'_, F> {}

impl<F: Future> Future for Run<'_, F> {
    type Output = Ended<F::Output>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.section.is_none() && this.leaving.is_none() {
            return this.body.as_mut().poll(cx).map(Ended::Kept);
        }
        this.poll_section(cx)
    }
}

impl<F: Future> Run<'_, F> {
    fn poll_section(&mut self, cx: &mut Context<'_>) -> Poll<Ended<F::Output>> {
        if let Some(leaving) = &mut self.leaving {
            let Poll::Ready(loss) = leaving.1.poll(cx) else {
                return Poll::Pending;
            };
            return match self.leaving.take() {
                Some(leaving) => Poll::Ready(settle(leaving.0, loss)),
                None => Poll::Pending,
            };
        }
        match poll_inside(self.body.as_mut(), self.section, cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Polled::NotLocked(error)) => Poll::Ready(Ended::NotLocked(None, error)),
            Poll::Ready(Polled::Value(value)) => match self.section.exit().ready() {
                Ok(loss) => Poll::Ready(settle(value, loss)),
                Err(exit) => {
                    self.leaving = Some(Box::new((value, exit)));
                    self.poll_section(cx)
                }
            },
        }
    }
}

enum Polled<R> {
    NotLocked(LockError),
    Value(R),
}

/// Polls the body once, as the current section, unless its lock is lost.
#[inline]
fn poll_inside<F: Future>(
    body: Pin<&mut F>,
    section: &mut Section,
    cx: &mut Context<'_>,
) -> Poll<Polled<F::Output>> {
    match section.poll_enter(cx) {
        Poll::Ready(Ok(())) => {}
        Poll::Ready(Err(error)) => return Poll::Ready(Polled::NotLocked(error)),
        Poll::Pending => return Poll::Pending,
    }
    let may_be_cancelled = section.on_lost() == OnLost::Cancel || !section.has_begun();
    if may_be_cancelled && let Some(error) = section.loss() {
        return Poll::Ready(Polled::NotLocked(error));
    }
    section.begin();
    let polled = {
        let _span = section.enter_span();
        let _inside = Inside::enter(section);
        body.poll(cx)
    };
    match polled {
        Poll::Ready(value) => Poll::Ready(Polled::Value(value)),
        Poll::Pending => {
            section.wait(cx);
            // It may have been lost before there was anybody to be woken.
            match section.loss() {
                Some(error) if section.on_lost() == OnLost::Cancel => {
                    Poll::Ready(Polled::NotLocked(error))
                }
                _ => Poll::Pending,
            }
        }
    }
}

#[inline]
fn settle<R>(value: R, loss: Option<LockError>) -> Ended<R> {
    match loss {
        None => Ended::Kept(value),
        Some(error) => Ended::NotLocked(Some(value), error),
    }
}

impl Section {
    /// Enters the span of the section, where somebody looks at spans.
    #[inline]
    pub(super) fn enter_span(&self) -> Option<tracing::span::EnteredSpan> {
        let span = self.leases().next()?.span();
        (!span.is_none()).then(|| span.clone().entered())
    }

    /// The body waits for something: it has to be woken when the lock is lost.
    pub(super) fn wait(&self, cx: &Context<'_>) {
        for hold in self.holds() {
            if let Some(lease) = hold.lease() {
                lease.body_polled();
                let is_new = match hold.gate() {
                    None => lease.body_waits(cx.waker()),
                    Some(gate) => lease.inner_body_waits(gate, cx.waker()),
                };
                if is_new {
                    hold.watch();
                }
            }
        }
    }
}

impl<F: Future> fmt::Debug for Run<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Run")
    }
}
