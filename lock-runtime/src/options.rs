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

/// How many may wait for one name. A longer queue only hides that nobody is served.
pub(crate) const MAX_WAITING: usize = 65_536;

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

/// How long each unit of a duration is in nanoseconds.
const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// Whether `LOCK_REQUIRED` asks for a manager. Everything but an explicit no does: a typing error
/// must not open a service.
pub(crate) fn requires_manager(value: &str) -> bool {
    !matches!(
        value.to_ascii_lowercase().as_str(),
        "" | "0" | "false" | "no" | "off"
    )
}

/// A duration as people write it, and as annotations spell it: `30s`, `250ms`, `1m 30s`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = None;
    while !rest.is_empty() {
        let (number, after) = split_at_first(rest, |c| !c.is_ascii_digit());
        let (unit, after) = split_at_first(after.trim_start(), |c| !c.is_alphabetic());
        let (_, nanos) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let part = number.parse::<u64>().ok()?.checked_mul(*nanos)?;
        total = Some(total.unwrap_or(0_u64).checked_add(part)?);
        rest = after.trim_start();
    }
    total.map(Duration::from_nanos)
}

fn split_at_first(text: &str, ends: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_no_leaves_the_manager_optional() {
        for no in ["", "0", "false", "No", "OFF"] {
            assert!(!requires_manager(no), "{no}");
        }
        for yes in ["1", "true", "yes", "on", "treu", "2"] {
            assert!(requires_manager(yes), "{yes}");
        }
    }

    /// As in the tests of annotations: one grammar for both.
    const READ: &[(&str, u64)] = &[
        ("7ns", 7),
        ("7us", 7_000),
        ("250ms", 250_000_000),
        ("30s", 30_000_000_000),
        ("2m", 120_000_000_000),
        ("1h", 3_600_000_000_000),
        ("1d", 86_400_000_000_000),
        ("0s", 0),
        ("1m 30s", 90_000_000_000),
        ("1m30s", 90_000_000_000),
        ("30s 1m", 90_000_000_000),
        (" 1 h ", 3_600_000_000_000),
    ];
    const REFUSED: &[&str] = &[
        "",
        " ",
        "0",
        "30",
        "s",
        "1.5s",
        "-1s",
        "30 sec",
        "30S",
        "1s,2s",
        "5s x",
        "5s 5",
        "½s",
        "999999999999d",
        "99999999999999999999s",
        "200000d 200000d",
    ];

    #[test]
    fn durations_are_those_of_annotations() {
        for (text, nanos) in READ {
            assert_eq!(duration(text), Some(Duration::from_nanos(*nanos)), "{text}");
        }
        for text in REFUSED {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
