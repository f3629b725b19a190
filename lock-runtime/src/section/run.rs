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
    Run(if section.is_none() {
        State::Through(body)
    } else {
        State::Inside(section, body)
    })
}

/// A body that runs inside its section.
///
/// It borrows both: a future that is passed by value is stored once for each function that it
/// passes through.
pub struct Run<'a, F: Future>(State<'a, F>);

/// States and not questions at every poll, so that the compiler sees how little is left to do in
/// passthrough.
enum State<'a, F: Future> {
    Through(Pin<&'a mut F>),
    Inside(&'a mut Section, Pin<&'a mut F>),
    /// The body's value, while the release is on its way.
    Leaving(Leaving<F::Output>),
}

struct Leaving<R>(Option<Box<(R, Exit)>>);

// By hand, so that where a body ends nothing but the question stands whether there is one.
impl<R> Drop for Leaving<R> {
    #[inline]
    fn drop(&mut self) {
        if let Some(left) = self.0.take() {
            drop_left(left);
        }
    }
}

#[cold]
#[inline(never)]
fn drop_left<R>(left: Box<(R, Exit)>) {
    drop(left);
}

// Nothing in it is pinned but through the reference.
impl<F: Future> Unpin for Run<'_, F> {}

impl<F: Future> Future for Run<'_, F> {
    type Output = Ended<F::Output>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Through(body) => body.as_mut().poll(cx).map(Ended::Kept),
            state => state.poll_section(cx),
        }
    }
}

impl<F: Future> State<'_, F> {
    // Out of line, so that a call without a manager stays small.
    #[inline(never)]
    fn poll_section(&mut self, cx: &mut Context<'_>) -> Poll<Ended<F::Output>> {
        if let Self::Inside(section, body) = self {
            let value = match poll_inside(body.as_mut(), section, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Polled::NotLocked(error)) => {
                    return Poll::Ready(Ended::NotLocked(None, error));
                }
                Poll::Ready(Polled::Value(value)) => value,
            };
            match section.exit().ready() {
                Ok(loss) => return Poll::Ready(settle(value, loss)),
                Err(exit) => *self = Self::Leaving(Leaving(Some(Box::new((value, exit))))),
            }
        }
        match self {
            Self::Leaving(leaving) => leaving.poll(cx),
            _ => Poll::Pending,
        }
    }
}

impl<R> Leaving<R> {
    /// Waits for the release that is on its way.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended<R>> {
        let Some(under_way) = &mut self.0 else {
            return Poll::Pending;
        };
        let Poll::Ready(loss) = under_way.1.poll(cx) else {
            return Poll::Pending;
        };
        match self.0.take() {
            Some(left) => Poll::Ready(settle(left.0, loss)),
            None => Poll::Pending,
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
        let inside = Inside::enter(section);
        (!inside.is_lost() || !may_be_cancelled).then(|| body.poll(cx))
    };
    let Some(polled) = polled else {
        return section
            .loss()
            .map_or(Poll::Pending, |error| Poll::Ready(Polled::NotLocked(error)));
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
