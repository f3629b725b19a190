//! How a lease is lost, and who is told.

use std::task::Waker;
use std::time::Duration;

use super::Lease;
use crate::clock::Moment;
use crate::error::Lost;
use crate::sync::atomic::Ordering;

/// When a lease of a backend elsewhere ends for its owner, counted from before the backend began
/// it: a little early, because two clocks may run at different speeds.
pub(crate) fn end_by_owners_clock(counted_from: Moment, ttl: Duration) -> Moment {
    let drift = ttl / 100 + Duration::from_millis(2);
    (counted_from + ttl).saturating_sub(drift)
}

impl Lease {
    /// Says that the section is lost: the backend has given it to another, or may do so.
    ///
    /// An async body is dropped before it is polled again. Saying it again, or of a section that
    /// has ended, does nothing.
    pub fn report_lost(&self, cause: Lost) {
        if self.lose(cause) {
            self.announce_loss();
        }
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

    /// Why it was lost, if it was.
    #[inline]
    pub(crate) fn loss(&self) -> Option<Lost> {
        self.state.loss()
    }

    #[inline]
    pub(crate) fn deadline(&self) -> Moment {
        Moment::from_nanos(self.deadline.load(Ordering::Acquire))
    }

    /// Whether its time may run out by itself.
    #[inline]
    pub(crate) fn can_run_out(&self) -> bool {
        self.deadline() != Moment::NEVER
    }

    /// The backend has renewed it.
    pub(crate) fn prolong(&self, deadline: Moment) {
        self.deadline.store(deadline.as_nanos(), Ordering::Release);
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
}
