//! The system's clock and the one thread that rings its alarms.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use once_cell::sync::OnceCell;

use super::{Clock, Moment, Source};

/// The thread looks at the clock at least this often while an alarm is set: its sleep does not
/// go on during suspend, the clock does.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

static SYSTEM: LazyLock<Arc<Source>> = LazyLock::new(|| {
    Arc::new(Source {
        manual: None,
        alarms: super::Alarms::default(),
    })
});

static THREAD: OnceCell<()> = OnceCell::new();

pub(super) fn shared() -> Clock {
    Clock(Arc::clone(&SYSTEM))
}

pub(super) fn start() -> std::io::Result<()> {
    THREAD
        .get_or_try_init(|| {
            std::thread::Builder::new()
                .name("lock-clock".into())
                .spawn(run)
                .map(drop)
        })
        .copied()
}

fn run() {
    loop {
        SYSTEM.alarms.wait(now, LONGEST_SLEEP);
        while let Some((_, alarm)) = SYSTEM.alarms.take_due(now()) {
            if let Some(alarm) = alarm.upgrade() {
                // It wakes foreign tasks: a panic of theirs must not stop time for all others.
                let _panicked = catch_unwind(AssertUnwindSafe(|| alarm.ring(now())));
            }
        }
    }
}

#[cfg(target_os = "linux")]
#[inline]
pub(super) fn now() -> Moment {
    Moment::from_nanos(super::coarse::read(rustix::time::ClockId::Boottime))
}

#[cfg(target_os = "linux")]
pub(super) use super::coarse::now as coarse_now;
#[cfg(not(target_os = "linux"))]
pub(super) use now as coarse_now;

#[cfg(not(target_os = "linux"))]
pub(super) fn now() -> Moment {
    use std::time::Instant;
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    // An hour of room, so that a moment before the first call exists.
    Moment::from_nanos(0) + Duration::from_secs(3600) + START.elapsed()
}
