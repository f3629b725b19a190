//! Waiting for something that has to happen.

use std::time::{Duration, Instant};

/// Longer than anything takes on a machine that is busy with other things.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// Waits until something is so, and fails when it is not in good time.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in good time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
