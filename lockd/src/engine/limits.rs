//! What the daemon allows a peer.

use std::time::Duration;

/// What the daemon allows a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// Connections of one process at a time.
    pub connections_per_process: usize,
    /// Sections that one session has at a time.
    pub locks_per_session: usize,
    /// Requests of one session that wait at a time.
    pub waiting_per_session: usize,
    /// Locks that are assigned to callers at a time, of everybody: each change writes all of them.
    pub assignments: usize,
    /// Bytes that wait to be read by one peer; one that reads more slowly is disconnected.
    pub output: usize,
    /// How long a new connection may take for its greeting.
    pub greeting: Duration,
    /// How long an unfinished message may stay unfinished.
    pub unfinished: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_process: 1_024,
            locks_per_session: 100_000,
            waiting_per_session: 16_384,
            assignments: 50_000,
            output: 1024 * 1024,
            greeting: Duration::from_secs(5),
            unfinished: Duration::from_secs(10),
        }
    }
}
