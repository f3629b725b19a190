//! The answer of a backend: there already, or to come.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The answer of a backend: there already, or a future of it.
///
/// A backend that has to ask somebody returns [`Reply::later`] with an `async` block; one that
/// knows at once returns [`Reply::now`], and costs no allocation. The future takes along what it
/// needs, a clone of a client and of a name, so that it can go on without the one who asked.
pub struct Reply<T>(Kind<T>);

enum Kind<T> {
    Now(Option<T>),
    Later(Pin<Box<dyn Future<Output = T> + Send>>),
}

impl<T> Reply<T> {
    /// The answer is here.
    #[inline]
    pub fn now(answer: T) -> Self {
        Self(Kind::Now(Some(answer)))
    }

    /// The answer comes.
    pub fn later(answer: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Kind::Later(Box::pin(answer)))
    }

    /// The answer, or the future of it.
    #[inline]
    pub(crate) fn ready(self) -> Result<T, Self> {
        match self.0 {
            Kind::Now(Some(answer)) => Ok(answer),
            kind => Err(Self(kind)),
        }
    }
}

impl<T: Unpin> Future for Reply<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match &mut self.0 {
            // As with every future, polling it after its end is a fault of the caller.
            Kind::Now(answer) => Poll::Ready(answer.take().expect("polled after completion")),
            Kind::Later(future) => future.as_mut().poll(cx),
        }
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::Now(_) => "Reply::now",
            Kind::Later(_) => "Reply::later",
        })
    }
}
