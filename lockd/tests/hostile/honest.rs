//! A client that wants nothing but its lock, again and again, and how long it takes.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::peer::Peer;

/// How long the requests took, in ascending order.
#[derive(Default)]
pub(crate) struct Honest(Vec<Duration>);

impl Honest {
    /// Acquires and releases during all of `work`.
    ///
    /// # Panics
    ///
    /// When a request is not answered as it has to be.
    pub(crate) fn while_doing(socket: &Path, work: impl FnOnce()) -> Self {
        /// Lets the other thread end, whatever becomes of this one.
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }

        let over = AtomicBool::new(false);
        let mut peer = Peer::greeted(socket);
        let mut times = std::thread::scope(|scope| {
            let client = scope.spawn(|| {
                let mut times = Vec::new();
                while times.is_empty() || !over.load(Ordering::Relaxed) {
                    take_and_give_back(&mut peer, &mut times);
                }
                times
            });
            let ends = Over(&over);
            work();
            drop(ends);
            client.join().expect("an honest request was not served")
        });
        times.sort_unstable();
        Self(times)
    }

    /// The time that so many of a hundred do not exceed; of few, the longest.
    fn at(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0
            .get(rank.saturating_sub(1))
            .copied()
            .unwrap_or_default()
    }

    /// What the slowest hundredth takes at least.
    pub(crate) fn worst_percent(&self) -> Duration {
        self.at(99)
    }
}

fn take_and_give_back(peer: &mut Peer, times: &mut Vec<Duration>) {
    let id = u64::try_from(times.len()).expect("few");
    let owner = format!("{:048x}", (1_u128 << 64) + u128::from(id));
    let acquire = json!({"acquire": {
        "id": id, "name": "honest", "owner": owner, "ttl_ms": 60_000,
    }});
    let release = json!({"release": {
        "id": id, "name": "honest", "owner": owner, "body_ran": true,
    }});
    for (request, answer) in [(acquire, "granted"), (release, "held")] {
        let begun = Instant::now();
        peer.say(&request);
        let heard = peer.hear();
        times.push(begun.elapsed());
        assert_eq!(heard[answer]["id"], id, "{heard}");
    }
}

impl fmt::Display for Honest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [half, most, worst] = [50, 99, 100].map(|percent| self.at(percent));
        let text = format!(
            "p50 {half:.1?} p99 {most:.1?} max {worst:.1?} of {}",
            self.0.len()
        );
        write!(f, "{text:<48}")
    }
}
