//! The fencing token: a number that the protected resource can check.

use std::fmt;
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

/// A number that rises with every exclusive grant of a lock name.
///
/// Hand it to the resource that the lock protects, together with each write: the resource
/// remembers the highest token that it has seen and refuses a lower one. That stops a process
/// which was frozen past its lease and does not know it yet; no lock service alone can.
///
/// The token comes with the grant, stays the same on re-entry, and is at most
/// [`FencingToken::MAX`], so that JSON and Lua keep it exact. Shared and permit grants carry
/// none: their holders overlap, and the check "not lower than seen" would refuse good writes.
///
/// The idea and the name are from Martin Kleppmann, *How to do distributed locking* (2016);
/// Chubby (OSDI 2006) calls the same thing a sequencer.
///
/// ```
/// use lock_runtime::FencingToken;
///
/// let seen = FencingToken::new(7).unwrap();
/// let late = FencingToken::new(6).unwrap();
/// assert!(late < seen, "the resource refuses this write");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct FencingToken(NonZeroU64);

impl FencingToken {
    /// The largest token: 2^53 - 1, the largest integer that a double keeps exact.
    pub const MAX: Self = Self(NonZeroU64::new((1 << 53) - 1).unwrap());

    /// A token of this value, or `None` for zero and for values above [`FencingToken::MAX`].
    #[must_use]
    pub const fn new(value: u64) -> Option<Self> {
        match NonZeroU64::new(value) {
            Some(value) if value.get() <= Self::MAX.0.get() => Some(Self(value)),
            _ => None,
        }
    }

    /// The token as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<FencingToken> for u64 {
    fn from(token: FencingToken) -> Self {
        token.get()
    }
}

/// A number that is no fencing token: zero, or above [`FencingToken::MAX`].
#[derive(Debug, thiserror::Error)]
#[error("{0} is not a fencing token: it must be between 1 and {max}", max = FencingToken::MAX)]
pub struct InvalidToken(u64);

impl TryFrom<u64> for FencingToken {
    type Error = InvalidToken;

    fn try_from(value: u64) -> Result<Self, InvalidToken> {
        Self::new(value).ok_or(InvalidToken(value))
    }
}
