//! Waiting for something by looking again and again.

use std::thread;
use std::time::{Duration, Instant};

/// How long a server is given for anything: ten times what the slowest of them takes.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// How long one answer is waited for. A server that is paused gives none.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// The same, where the question is asked again.
pub(crate) const GLANCE: Duration = Duration::from_secs(1);

/// Waits until something is so.
///
/// # Panics
///
/// When it is not so within half a minute.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    assert!(comes_true(&mut is_so), "not within {LONG:?}: {what}");
}

/// Looks until something is so, or the time is over.
pub(crate) fn comes_true(mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + LONG;
    while !is_so() {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(3));
    }
    true
}
