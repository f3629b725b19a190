//! How a section is asked for: mode, wait, lease and policies, with their defaults and limits.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long a caller queues when nothing else is said.
///
/// Long enough for a queue of ordinary requests, short enough that a client which gave up long
/// ago is not served by a request that nobody reads any more.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(30);

/// The lease when nothing else is said.
///
/// It bounds how long a name stays busy after its owner died without a word, and how long a
/// backend may be out of reach before an owner loses its section.
pub const DEFAULT_TTL: Duration = Duration::from_secs(30);

/// The shortest lease that may be asked for: renewal at a third of it still leaves room for a
/// round trip and a busy machine.
pub const MIN_TTL: Duration = Duration::from_millis(100);

/// The longest lease that may be asked for. A lock that is kept longer is renewed.
pub const MAX_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest bounded wait. Who wants more says "forever".
pub const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a release is awaited before it goes on in the background.
pub const DEFAULT_RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a body may sit woken and not polled before it is no longer renewed.
pub const DEFAULT_MAX_IDLE: Duration = Duration::from_secs(5 * 60);

/// How long a waiter that was granted a name has to come and take it before the next is served.
pub const CLAIM_WINDOW: Duration = Duration::from_secs(1);

/// Who may be in a section of one name at the same time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// One owner at a time.
    #[default]
    Exclusive,
    /// At most so many owners at a time, all of whom ask for the same number.
    Permits(NonZeroU32),
    /// Any number of shared owners, and no exclusive one.
    Shared,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exclusive => f.write_str("exclusive"),
            Self::Permits(number) => write!(f, "permits = {number}"),
            Self::Shared => f.write_str("shared"),
        }
    }
}

/// How long a caller queues for a busy name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wait {
    /// Up to this long; zero does not queue at all.
    For(Duration),
    /// Until the name is free.
    Forever,
}

impl Wait {
    /// Does not queue.
    pub const NONE: Self = Self::For(Duration::ZERO);
}

impl From<Duration> for Wait {
    fn from(duration: Duration) -> Self {
        Self::For(duration)
    }
}

/// What happens to an async body whose lock is lost.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLost {
    /// The body is dropped at its next suspension point.
    #[default]
    Cancel,
    /// The body goes on to its end; then the loss is reported.
    Finish,
}

/// Which callers `#[auth]` lets in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthPolicy {
    /// A known caller is needed, and the lock must be assigned to somebody.
    Assigned,
    /// The anonymous may come in where the lock is not assigned.
    Optional,
    /// A known caller is needed.
    #[default]
    Required,
}

#[inline]
pub(crate) fn is_valid_ttl(ttl: Duration) -> bool {
    (MIN_TTL..=MAX_TTL).contains(&ttl)
}

#[inline]
pub(crate) fn is_valid_wait(wait: Wait) -> bool {
    !matches!(wait, Wait::For(wait) if wait > MAX_WAIT)
}

/// Checks a lease that was asked for.
pub(crate) fn check_ttl(ttl: Duration) -> Result<(), String> {
    if is_valid_ttl(ttl) {
        Ok(())
    } else {
        Err(format!(
            "ttl = {ttl:?} is not between {MIN_TTL:?} and 24 h; a lock that is held longer is renewed by itself"
        ))
    }
}

/// Checks a wait that was asked for.
pub(crate) fn check_wait(wait: Wait) -> Result<(), String> {
    match wait {
        Wait::For(limit) if !is_valid_wait(wait) => Err(format!(
            "wait = {limit:?} is longer than 24 h; use `Wait::Forever` to wait without a limit"
        )),
        _ => Ok(()),
    }
}

/// A duration as people write it: a number and `ms`, `s`, `m` or `h`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let milliseconds: u64 = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let number: u64 = number.parse().ok()?;
    number.checked_mul(milliseconds).map(Duration::from_millis)
}
