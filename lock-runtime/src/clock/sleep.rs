//! A wait for a moment that needs no executor of a particular kind.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use super::{Alarm, AlarmHandle, Clock, Moment};
use crate::sync::{Mutex, lock};

/// Completes when the moment has come.
pub(crate) struct Sleep {
    at: Moment,
    clock: Clock,
    /// Made at the first poll that has to wait.
    registered: Option<(Arc<Sleeper>, AlarmHandle)>,
}

#[derive(Default)]
struct Sleeper {
    waker: Mutex<Option<Waker>>,
}

impl Sleep {
    pub(super) fn new(clock: &Clock, at: Moment) -> Self {
        Self {
            at,
            clock: clock.clone(),
            registered: None,
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.clock.now() >= self.at {
            return Poll::Ready(());
        }
        if self.at == Moment::NEVER {
            return Poll::Pending;
        }
        if self.registered.is_none() {
            let sleeper = Arc::new(Sleeper::default());
            let weak: Weak<Sleeper> = Arc::downgrade(&sleeper);
            let handle = self.clock.alarm(weak);
            self.registered = Some((sleeper, handle));
        }
        if let Some((sleeper, handle)) = &self.registered {
            let mut waker = lock(&sleeper.waker);
            if !waker
                .as_ref()
                .is_some_and(|known| known.will_wake(cx.waker()))
            {
                *waker = Some(cx.waker().clone());
            }
            drop(waker);
            handle.set(self.at);
        }
        // Time may have come between the look at the clock and the alarm; a manual clock that
        // was moved in between would not ring again.
        if self.clock.now() >= self.at {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Alarm for Sleeper {
    fn ring(&self, _now: Moment) {
        let waker = lock(&self.waker).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
