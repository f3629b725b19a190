//! A clock that a test moves.

use std::sync::Arc;
use std::time::Duration;

use super::{Alarms, Clock, Moment, Source};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, lock};

/// A clock that stands still until a test moves it.
///
/// Build a manager with [`ManualClock::clock`], then move time with [`ManualClock::advance`]:
/// every lease that ends, every waiter whose time is up and every renewal that is due on the way
/// happens in its order, at its own moment, before `advance` returns. What a remote backend does
/// on its own thread is only started. Bodies are not polled in between, so that one step longer
/// than `max_idle` loses every body that waits: take several steps, or set `max_idle` longer.
///
/// ```
/// use std::time::Duration;
/// use lock_runtime::{LockManager, ManualClock};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let time = ManualClock::new();
/// let manager = LockManager::builder().clock(time.clock()).memory().build()?;
/// let _guard = manager.lock("report").ttl(Duration::from_secs(10)).renew(false).acquire().await?;
///
/// time.advance(Duration::from_secs(10) - Duration::from_nanos(1));
/// assert!(manager.lock("report").is_locked().await?);
/// time.advance(Duration::from_nanos(1));
/// assert!(!manager.lock("report").is_locked().await?);
/// # Ok::<(), lock_runtime::LockError>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    clock: Clock,
    /// One `advance` at a time: two would ring out of order.
    advancing: Arc<Mutex<()>>,
}

impl ManualClock {
    /// A clock that stands at one hour after its start.
    #[must_use]
    pub fn new() -> Self {
        let start = Moment::from_nanos(0) + Duration::from_secs(3600);
        Self {
            clock: Clock(Arc::new(Source {
                manual: Some(AtomicU64::new(start.as_nanos())),
                alarms: Alarms::default(),
            })),
            advancing: Arc::default(),
        }
    }

    /// The clock to build a manager with.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// Moves time forward, and lets everything happen that is due on the way.
    pub fn advance(&self, by: Duration) {
        let _one_at_a_time = lock(&self.advancing);
        let target = self.clock.now() + by;
        while let Some((at, alarm)) = self.clock.0.alarms.take_due(target) {
            self.move_to(at.max(self.clock.now()));
            if let Some(alarm) = alarm.upgrade() {
                alarm.ring(self.clock.now());
            }
        }
        self.move_to(target);
    }

    fn move_to(&self, moment: Moment) {
        if let Some(time) = &self.clock.0.manual {
            time.store(moment.as_nanos(), Ordering::Release);
        }
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}
