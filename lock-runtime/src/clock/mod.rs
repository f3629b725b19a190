//! Time: one clock for a manager and everything below it.

mod alarms;
#[cfg(target_os = "linux")]
mod coarse;
mod manual;
mod moment;
mod sleep;
mod system;

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

pub use manual::ManualClock;
pub use moment::Moment;

pub(crate) use alarms::{Alarm, AlarmHandle};
pub(crate) use sleep::Sleep;

use crate::sync::atomic::{AtomicU64, Ordering};
use alarms::Alarms;

/// What a manager measures time with: the system's clock, or a [`ManualClock`] in tests.
///
/// The system's clock is the time since boot, suspend included (`CLOCK_BOOTTIME`), so that a
/// lease does not stand still while the machine sleeps, and a change of the wall clock changes
/// nothing. See `clock_gettime(2)`.
#[derive(Clone)]
pub struct Clock(Arc<Source>);

struct Source {
    /// The time of a manual clock, in nanoseconds; `None` for the system's.
    manual: Option<AtomicU64>,
    alarms: Alarms,
}

impl Clock {
    /// The system's clock. All managers of a process share it.
    #[must_use]
    pub fn system() -> Self {
        system::shared()
    }

    /// Now.
    #[must_use]
    #[inline]
    pub fn now(&self) -> Moment {
        match &self.0.manual {
            None => system::now(),
            Some(time) => Moment::from_nanos(time.load(Ordering::Acquire)),
        }
    }

    /// Now, cheaper and a few milliseconds late; for a tenth of a second after the machine slept,
    /// late by that sleep. It says since when something is, to people and in warnings; no lease
    /// and no wait is measured with it.
    #[inline]
    pub(crate) fn coarse_now(&self) -> Moment {
        match &self.0.manual {
            None => system::coarse_now(),
            Some(time) => Moment::from_nanos(time.load(Ordering::Acquire)),
        }
    }

    /// The wall-clock time of a moment, for people to read; nothing is decided by it.
    #[must_use]
    pub fn wall_time(&self, moment: Moment) -> SystemTime {
        let now = self.now();
        let base = match &self.0.manual {
            None => SystemTime::now(),
            Some(_) => SystemTime::UNIX_EPOCH + now.since_start(),
        };
        if moment <= now {
            base.checked_sub(now - moment)
                .unwrap_or(SystemTime::UNIX_EPOCH)
        } else {
            base.checked_add(moment - now).unwrap_or(base)
        }
    }

    /// Waits until a moment, on any executor.
    pub(crate) fn sleep_until(&self, moment: Moment) -> Sleep {
        Sleep::new(self, moment)
    }

    /// Waits for a while, on any executor.
    pub(crate) fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(self.now() + duration)
    }

    /// Registers somebody who wants to be called at moments to be set.
    pub(crate) fn alarm(&self, alarm: Weak<dyn Alarm>) -> AlarmHandle {
        AlarmHandle::new(Arc::clone(&self.0), alarm)
    }

    /// Makes sure that alarms of the system's clock ring.
    ///
    /// # Errors
    ///
    /// When the operating system gives no thread for it.
    pub(crate) fn start(&self) -> std::io::Result<()> {
        match self.0.manual {
            None => system::start(),
            Some(_) => Ok(()),
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.0.manual.is_some() {
            "manual"
        } else {
            "system"
        };
        write!(f, "Clock({kind}, {:?})", self.now())
    }
}

#[cfg(test)]
mod tests;
