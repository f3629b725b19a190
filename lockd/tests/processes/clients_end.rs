//! A client is killed.

use std::time::Duration;

use crate::eye::MINUTE;
use crate::phases::in_every_phase;
use crate::process::now;
use crate::program::Daemon;

/// Far longer than it takes, and far shorter than any lease here.
const AT_ONCE: Duration = Duration::from_secs(10);

#[test]
fn a_client_that_is_killed_leaves_nothing_behind_in_any_phase() {
    let daemon = Daemon::start();
    in_every_phase(daemon.socket(), MINUTE, |mut scene| {
        let killed = now();
        scene.puppet.kill();
        scene.first_leaves();
        let (_, entered) = scene.next.enters();
        assert!(entered - killed < AT_ONCE, "{:?}", scene.phase);
        scene.next.leaves();
    });
}
