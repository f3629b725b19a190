//! The system's clock, cheaper: as late as the last tick of the kernel.
//!
//! `CLOCK_MONOTONIC_COARSE` costs a quarter of an exact reading, but stands still during suspend.
//! What it is behind by is looked up again ten times a second.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::Moment;
use crate::sync::atomic::{AtomicU64, Ordering};

/// How long what was looked up is used.
const LOOK_UP_AFTER: Duration = Duration::from_millis(100);

/// When it was looked up last, by the coarse clock; zero for never.
static LOOKED_UP: AtomicU64 = AtomicU64::new(0);
/// By how many nanoseconds the clock since boot is ahead.
static AHEAD: AtomicU64 = AtomicU64::new(0);

#[inline]
pub(super) fn now() -> Moment {
    let coarse = read(ClockId::MonotonicCoarse);
    let looked_up = LOOKED_UP.load(Ordering::Acquire);
    if coarse.wrapping_sub(looked_up) > LOOK_UP_AFTER.as_nanos() as u64 || looked_up == 0 {
        look_up(coarse);
    }
    Moment::from_nanos(coarse + AHEAD.load(Ordering::Relaxed))
}

#[cold]
fn look_up(coarse: u64) {
    // In this order, so that a pause in between makes it smaller: the result is never early.
    let boot = read(ClockId::Boottime);
    let monotonic = read(ClockId::Monotonic);
    AHEAD.store(boot.saturating_sub(monotonic), Ordering::Relaxed);
    LOOKED_UP.store(coarse, Ordering::Release);
}

#[inline]
pub(super) fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    // Both are positive, and the sum fits 584 years of uptime.
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
