//! Locks as they are shown: plain fields, the same in every answer.

use std::time::{Duration, SystemTime};

use lock_runtime::{LockInfo, Mode, OwnerInfo, SectionInfo, WaiterInfo};
use serde::Serialize;

/// What is known of a lock. Every field is always there; times are in milliseconds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct LockView {
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) state: State,
    pub(super) locked: bool,
    pub(super) holder: Option<String>,
    pub(super) assigned_at_ms: Option<u64>,
    pub(super) assignment_ends_at_ms: Option<u64>,
    pub(super) resting_ms: Option<u64>,
    pub(super) waiting: usize,
    pub(super) sections: Vec<SectionView>,
    /// The first of those who wait; of a lock that was asked for by its name.
    pub(super) queue: Vec<WaiterView>,
}

/// What a lock is in, in one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// A section runs, alone.
    Held,
    /// Shared sections run.
    Shared,
    /// Sections run that share permits.
    Permits,
    /// Nobody runs, and the name stays busy for a while.
    Resting,
    /// Nobody runs, and it is assigned to somebody.
    Assigned,
    /// Nobody runs, and somebody waits.
    WaitedFor,
    /// Nobody has to do with it.
    Free,
}

/// Who has to do with a lock, and from where in the code.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct OwnerView {
    pub(super) owner: String,
    pub(super) application: String,
    pub(super) host: String,
    pub(super) pid: u32,
    pub(super) function: Option<String>,
    pub(super) file: String,
    pub(super) line: u32,
}

/// A running section.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct SectionView {
    #[serde(flatten)]
    pub(super) by: OwnerView,
    pub(super) mode: &'static str,
    pub(super) permits: Option<u32>,
    pub(super) token: Option<u64>,
    pub(super) held_ms: u64,
    pub(super) lease_left_ms: Option<u64>,
}

/// One who waits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct WaiterView {
    #[serde(flatten)]
    pub(super) by: OwnerView,
    pub(super) mode: &'static str,
    pub(super) permits: Option<u32>,
    pub(super) waited_ms: u64,
}

impl From<&OwnerInfo> for OwnerView {
    fn from(owner: &OwnerInfo) -> Self {
        Self {
            owner: owner.id.to_string(),
            application: owner.application.clone(),
            host: owner.host.clone(),
            pid: owner.pid,
            function: owner.function.clone(),
            file: owner.file.clone(),
            line: owner.line,
        }
    }
}

impl From<&WaiterInfo> for WaiterView {
    fn from(waiter: &WaiterInfo) -> Self {
        let (mode, permits) = mode(waiter.mode);
        Self {
            by: OwnerView::from(&waiter.owner),
            mode,
            permits,
            waited_ms: milliseconds(waiter.waited),
        }
    }
}

impl LockView {
    /// The same without what changes by itself: times that run.
    pub(super) fn at_rest(&self) -> Self {
        let mut view = self.clone();
        view.resting_ms = view.resting_ms.map(|_| 0);
        for section in &mut view.sections {
            section.held_ms = 0;
            section.lease_left_ms = section.lease_left_ms.map(|_| 0);
        }
        view
    }
}

impl From<&LockInfo> for LockView {
    fn from(info: &LockInfo) -> Self {
        let namespace = info.name.namespace();
        Self {
            name: info.name.as_str().to_owned(),
            namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
            state: State::of(info),
            locked: info.is_locked(),
            holder: info
                .holder
                .as_ref()
                .map(|holder| holder.as_str().to_owned()),
            assigned_at_ms: info.acquired_at.map(since_1970),
            assignment_ends_at_ms: info.expires_at.map(since_1970),
            resting_ms: info.resting.map(milliseconds),
            waiting: info.waiting,
            sections: info.sections.iter().map(SectionView::from).collect(),
            queue: info.queue.iter().map(WaiterView::from).collect(),
        }
    }
}

impl State {
    fn of(info: &LockInfo) -> Self {
        match info.section().map(|section| section.mode) {
            Some(Mode::Exclusive) => Self::Held,
            Some(Mode::Shared) => Self::Shared,
            Some(Mode::Permits(_)) => Self::Permits,
            None if info.resting.is_some() => Self::Resting,
            None if info.holder.is_some() => Self::Assigned,
            None if info.waiting > 0 => Self::WaitedFor,
            None => Self::Free,
        }
    }
}

impl From<&SectionInfo> for SectionView {
    fn from(section: &SectionInfo) -> Self {
        let (mode, permits) = mode(section.mode);
        Self {
            by: OwnerView::from(&section.owner),
            mode,
            permits,
            token: section.token.map(u64::from),
            held_ms: milliseconds(section.held_for),
            lease_left_ms: section.expires_in.map(milliseconds),
        }
    }
}

fn mode(mode: Mode) -> (&'static str, Option<u32>) {
    match mode {
        Mode::Exclusive => ("exclusive", None),
        Mode::Shared => ("shared", None),
        Mode::Permits(number) => ("permits", Some(number.get())),
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn since_1970(time: SystemTime) -> u64 {
    milliseconds(
        time.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default(),
    )
}
