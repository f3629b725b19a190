//! Between what is on the wire and what the runtime says.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::backend::{Busy, Change, OnWhoseWord, Request};
use crate::caller::CallerId;
use crate::clock::Moment;
use crate::info::{InTheWay, LockInfo, SectionInfo, WaiterInfo};
use crate::name::{self, LockName};
use crate::options::AuthPolicy;
use crate::owner::OwnerInfo;
use crate::wire::{
    Assign, Auth, Blocker, By, LockOnWire, Nonce, OwnerOnWire, SectionOnWire, ToDaemon, Transfer,
    Unassign, WaiterOnWire,
};

/// Whole milliseconds, rounded up: a lease, a rest or a wait is never shorter than asked for.
pub(super) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// Whole milliseconds, rounded down.
pub(super) fn ms_at_most(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What is left of a wait. `None` waits for ever; zero does not queue.
pub(super) fn wait_ms(until: Option<Moment>, now: Moment) -> Option<u64> {
    match until {
        None => Some(0),
        Some(Moment::NEVER) => None,
        Some(until) => Some(ms(until - now)),
    }
}

/// The beginning of a text that may be too long, for people to read.
pub(super) fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

pub(super) fn auth(request: &Request) -> Option<Auth<'_>> {
    request.auth().map(|policy| Auth {
        caller: request.caller().map(|caller| Cow::from(caller.as_str())),
        assigned: policy == AuthPolicy::Assigned,
    })
}

/// A change, as the attempt that it is. Sent again, it is the same change again.
pub(super) fn change(id: u64, attempt: Nonce, change: &Change) -> ToDaemon<'_> {
    let (name, namespace) = key(change.name());
    match change {
        Change::Assign {
            to,
            ttl,
            giver,
            within,
            ..
        } => ToDaemon::Assign(Assign {
            id,
            attempt,
            name,
            namespace,
            to: to.as_str().into(),
            ttl_ms: ttl.map(ms),
            by: by(giver),
            within: *within,
        }),
        Change::Transfer {
            to, giver, within, ..
        } => ToDaemon::Transfer(Transfer {
            id,
            attempt,
            name,
            namespace,
            to: to.as_str().into(),
            by: by(giver),
            within: *within,
        }),
        Change::Unassign { giver, within, .. } => ToDaemon::Unassign(Unassign {
            id,
            attempt,
            name,
            namespace,
            by: by(giver),
            within: *within,
        }),
    }
}

/// A name and its namespace, as messages carry them.
pub(super) fn key(name: &LockName) -> (Cow<'_, str>, Cow<'_, str>) {
    (name.as_str().into(), name.namespace().into())
}

fn by(word: &OnWhoseWord) -> By<'_> {
    match word {
        OnWhoseWord::Caller(caller) => By::Caller(caller.as_str().into()),
        OnWhoseWord::Holder(caller) => By::Holder(caller.as_str().into()),
        OnWhoseWord::Operator => By::Operator,
    }
}

pub(super) fn busy(blocker: Blocker, ahead: usize) -> Busy {
    let in_the_way = match blocker {
        Blocker::Assigned(holder) => InTheWay::Assigned(CallerId::from(holder)),
        Blocker::Queue => InTheWay::Queue,
        Blocker::RecoveringMs(left) => InTheWay::Recovering(Duration::from_millis(left)),
        Blocker::RestingMs(left) => InTheWay::Resting(Duration::from_millis(left)),
        Blocker::Section(running) => InTheWay::Section(Box::new(section(*running))),
    };
    Busy::new().because_of(in_the_way).ahead(ahead)
}

/// What is known of a lock; what is wrong with its name, if it is none.
pub(super) fn lock(lock: LockOnWire) -> Result<LockInfo, String> {
    if !lock.namespace.is_empty() {
        name::check_namespace(&lock.namespace).map_err(|error| error.to_string())?;
    }
    let name = LockName::new(&lock.name).map_err(|error| error.to_string())?;
    let mut info = LockInfo::free(name.in_namespace(&lock.namespace));
    info.holder = lock.holder.map(CallerId::from);
    info.acquired_at = lock.acquired_at_ms.and_then(wall_time);
    info.expires_at = lock.expires_at_ms.and_then(wall_time);
    info.sections = lock.sections.into_iter().map(section).collect();
    info.resting = lock.resting_ms.map(Duration::from_millis);
    info.waiting = lock.waiting;
    info.queue = lock.queue.into_iter().map(waiter).collect();
    Ok(info)
}

fn wall_time(ms: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(ms))
}

fn section(section: SectionOnWire) -> SectionInfo {
    let held_for = Duration::from_millis(section.held_ms);
    let info = SectionInfo::new(owner(section.owner), section.mode, section.token, held_for);
    match section.expires_ms {
        Some(left) => info.expires_in(Duration::from_millis(left)),
        None => info,
    }
}

fn waiter(waiter: WaiterOnWire) -> WaiterInfo {
    let waited = Duration::from_millis(waiter.waited_ms);
    WaiterInfo::new(owner(waiter.owner), waiter.mode, waited)
}

fn owner(owner: OwnerOnWire) -> OwnerInfo {
    OwnerInfo {
        id: owner.id,
        application: owner.application,
        host: owner.host,
        pid: owner.pid,
        function: owner.function,
        file: owner.file,
        line: owner.line,
    }
}
