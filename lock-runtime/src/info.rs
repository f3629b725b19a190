//! What is known of a lock: who holds it, who runs under it, how many wait.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::caller::CallerId;
use crate::fencing::FencingToken;
use crate::name::LockName;
use crate::options::Mode;
use crate::owner::OwnerInfo;

/// What is known of a lock at one moment.
///
/// Times are wall-clock times for people to read; nothing is decided by them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LockInfo {
    /// The lock.
    pub name: LockName,
    /// The caller to whom it is assigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<CallerId>,
    /// Since when it is assigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acquired_at: Option<SystemTime>,
    /// When the assignment ends by itself; `None` when it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<SystemTime>,
    /// The sections that run: one, or several where the mode lets them overlap.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sections: Vec<SectionInfo>,
    /// How long the name stays busy although nobody runs (`at_least`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resting: Option<Duration>,
    /// How many wait.
    pub waiting: usize,
    /// The first of those who wait, in order and at most [`LockInfo::MAX_QUEUE`] of them, where
    /// the backend knows them. Only for a lock that was asked for by its name, not in a list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queue: Vec<WaiterInfo>,
}

impl LockInfo {
    /// How many of those who wait are named.
    pub const MAX_QUEUE: usize = 32;

    /// A lock that nobody holds, runs under or waits for.
    #[must_use]
    pub fn free(name: LockName) -> Self {
        Self {
            name,
            holder: None,
            acquired_at: None,
            expires_at: None,
            sections: Vec::new(),
            resting: None,
            waiting: 0,
            queue: Vec::new(),
        }
    }

    /// Whether a section runs, or the name still rests.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        !self.sections.is_empty() || self.resting.is_some()
    }

    /// The one section that runs, or the longest running of several.
    #[must_use]
    pub fn section(&self) -> Option<&SectionInfo> {
        self.sections.first()
    }
}

/// One running section.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SectionInfo {
    /// Who runs it.
    pub owner: OwnerInfo,
    /// In which mode.
    pub mode: Mode,
    /// Its fencing token, where the mode carries one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<FencingToken>,
    /// For how long.
    pub held_for: Duration,
    /// When its lease ends unless it is renewed; `None` when it cannot fall silent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Duration>,
}

impl SectionInfo {
    /// A section as a backend reports it.
    #[must_use]
    pub fn new(
        owner: OwnerInfo,
        mode: Mode,
        token: Option<FencingToken>,
        held_for: Duration,
    ) -> Self {
        Self {
            owner,
            mode,
            token,
            held_for,
            expires_in: None,
        }
    }

    /// The same with the time that its lease has left.
    #[must_use]
    pub fn expires_in(mut self, left: Duration) -> Self {
        self.expires_in = Some(left);
        self
    }
}

/// One who waits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WaiterInfo {
    /// Who waits.
    pub owner: OwnerInfo,
    /// In which mode it wants to enter.
    pub mode: Mode,
    /// For how long it has waited.
    pub waited: Duration,
}

impl WaiterInfo {
    /// A waiter as a backend reports it.
    #[must_use]
    pub fn new(owner: OwnerInfo, mode: Mode, waited: Duration) -> Self {
        Self {
            owner,
            mode,
            waited,
        }
    }
}

/// Who or what keeps a caller from entering.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum InTheWay {
    /// Another section runs.
    Section(Box<SectionInfo>),
    /// The lock is assigned to somebody.
    Assigned(CallerId),
    /// The name rests for this long, because of `at_least`.
    Resting(Duration),
    /// Nobody holds it, but others came first.
    Queue,
    /// The backend was started anew, and who held the name may still come back for so long.
    Recovering(Duration),
}

impl fmt::Display for InTheWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Section(section) => {
                let held_for = Shown(section.held_for);
                write!(f, "held for {held_for} by {}", section.owner)?;
                if section.owner.is_this_process() {
                    f.write_str(", this very process")?;
                }
                Ok(())
            }
            Self::Assigned(holder) => write!(f, "assigned to {holder}"),
            Self::Resting(left) => write!(f, "resting for another {}", Shown(*left)),
            Self::Queue => f.write_str("free, but others came first"),
            Self::Recovering(left) => write!(
                f,
                "lockd was started anew; who held it may come back for another {}",
                Shown(*left)
            ),
        }
    }
}

/// A duration as people say it: `3.2 s`, `450 ms`, `5 min 3 s`.
pub(crate) struct Shown(pub(crate) Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0 if self.0.is_zero() => f.write_str("0 s"),
            0 if self.0 < Duration::from_millis(1) => write!(f, "{} µs", self.0.as_micros()),
            0 => write!(f, "{} ms", self.0.as_millis()),
            1..60 => {
                let tenths = self.0.as_millis() / 100;
                match tenths % 10 {
                    0 => write!(f, "{} s", tenths / 10),
                    rest => write!(f, "{}.{rest} s", tenths / 10),
                }
            }
            60..3600 if seconds.is_multiple_of(60) => write!(f, "{} min", seconds / 60),
            60..3600 => write!(f, "{} min {} s", seconds / 60, seconds % 60),
            _ => write!(f, "{} h {} min", seconds / 3600, seconds / 60 % 60),
        }
    }
}
