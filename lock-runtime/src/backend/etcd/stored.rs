//! What the keys hold: who it belongs to, and the rest as JSON, for people to read.

use std::ops::Not;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::caller::CallerId;
use crate::options::{AuthPolicy, Mode};
use crate::owner::{Owner, OwnerInfo};

/// A section, and what is known of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SectionValue {
    pub(super) owner: OwnerInfo,
    pub(super) mode: Mode,
    pub(super) since: Millis,
    /// Whether it was handed to one who waited, and ends with the lease of that one's process until
    /// it is renewed.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub(super) is_handed: bool,
}

/// The rest that a section may leave behind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RestValue {
    pub(super) mode: Mode,
}

/// Somebody who waits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct WaiterValue {
    pub(super) owner: OwnerInfo,
    pub(super) mode: Mode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) auth: Option<AuthPolicy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) caller: Option<CallerId>,
    pub(super) since: Millis,
    /// Whether its section may be made by the one who leaves.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub(super) may_be_handed: bool,
}

/// To whom a lock is assigned.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct AssignmentValue {
    pub(super) holder: CallerId,
    pub(super) since: Millis,
    /// After which time it ends by itself, for the next holder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ttl: Option<Duration>,
    /// The call that made it, to be known again when the call is repeated.
    pub(super) change: u64,
}

/// A wall-clock time, for people to read: nothing is decided by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Millis(u64);

impl Millis {
    pub(super) fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let millis = since.unwrap_or_default().as_millis();
        Self(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    pub(super) fn time(self) -> SystemTime {
        let since = Duration::from_millis(self.0);
        UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
    }

    /// How long ago it was.
    pub(super) fn ago(self) -> Duration {
        Duration::from_millis(Self::now().0.saturating_sub(self.0))
    }
}

/// What an owner keeps: its own secret, and a value.
pub(super) fn write_owned(owner: Owner, value: &impl Serialize) -> Vec<u8> {
    format!("{} {}", owner.spelled(), write(value)).into_bytes()
}

/// A value that belongs to nobody.
pub(super) fn write(value: &impl Serialize) -> String {
    // None of the values here has a map with keys that are not texts, or fails otherwise.
    serde_json::to_string(value).unwrap_or_default()
}

/// The owner and the value, or `None` when it is written in another way.
pub(super) fn read_owned<T: DeserializeOwned>(stored: &[u8]) -> Option<(Owner, T)> {
    let (owner, value) = stored.split_at_checked(48)?;
    let owner = std::str::from_utf8(owner).ok()?;
    let owner = serde_json::from_value(serde_json::Value::from(owner)).ok()?;
    Some((owner, read(value.strip_prefix(b" ")?)?))
}

pub(super) fn read<T: DeserializeOwned>(stored: &[u8]) -> Option<T> {
    serde_json::from_slice(stored).ok()
}

/// The values that an owner has written lie between these two.
pub(super) fn bounds(owner: Owner) -> (Vec<u8>, Vec<u8>) {
    let text = owner.spelled();
    (
        format!("{text} ").into_bytes(),
        format!("{text}!").into_bytes(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_owner_wrote_is_read_back_and_lies_within_its_bounds() {
        let (owner, other) = (Owner::random(), Owner::random());
        let value = RestValue {
            mode: Mode::Exclusive,
        };
        let stored = write_owned(owner, &value);
        let (found, value): (Owner, RestValue) = read_owned(&stored).unwrap();
        assert_eq!((found, value.mode), (owner, Mode::Exclusive));
        let (above, below) = bounds(owner);
        assert!(above < stored && stored < below);
        let (above, below) = bounds(other);
        assert!(!(above < stored && stored < below));
    }

    #[test]
    fn anything_else_is_nothing() {
        for stored in [&b""[..], b"x", &[b'g'; 60], &[0xff; 60]] {
            assert!(read_owned::<RestValue>(stored).is_none());
        }
        let half = &write_owned(Owner::random(), &1)[..49];
        assert!(read_owned::<RestValue>(half).is_none());
    }
}
