//! What was sent, checked.

use std::time::Duration;

use lock_runtime::__daemon::{LockName, check_ttl, lock_name};
use lock_runtime::wire::{Acquire, MAX_CALLER};
use lock_runtime::{CallerId, MAX_WAIT, Moment};

use super::messages::{Fault, invalid};

/// The longest rest after a section.
const MAX_AT_LEAST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// A namespace and a name, as they were sent.
pub(super) type Sent<'a> = (&'a str, &'a str);

/// What a request wants beyond what its acquisition says.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) wait_until: Option<Moment>,
    /// As which caller, and whether the lock has to be assigned.
    pub(super) auth: Option<(Option<CallerId>, bool)>,
    /// Whether it had to wait already: then its lease runs only once it is claimed.
    pub(super) was_deferred: bool,
}

pub(super) fn name_of((namespace, name): Sent<'_>) -> Result<LockName, Fault> {
    lock_name(namespace, name).map_err(invalid)
}

pub(super) fn ttl_of(milliseconds: u64) -> Result<Duration, Fault> {
    let ttl = Duration::from_millis(milliseconds);
    check_ttl(ttl).map_err(invalid)?;
    Ok(ttl)
}

pub(super) fn at_least_of(milliseconds: u64) -> Result<Duration, Fault> {
    let at_least = Duration::from_millis(milliseconds);
    if at_least > MAX_AT_LEAST {
        return Err(invalid(format!(
            "at_least_ms = {milliseconds} is more than 366 days"
        )));
    }
    Ok(at_least)
}

pub(super) fn wanted(now: Moment, asked: &Acquire<'_>) -> Result<Wanted, Fault> {
    let wait_until = match asked.wait_ms {
        Some(0) => None,
        None => Some(Moment::NEVER),
        Some(wait) => {
            let wait = Duration::from_millis(wait);
            if wait > MAX_WAIT {
                return Err(invalid(format!(
                    "wait_ms = {} is more than 24 h; `null` waits without a limit",
                    wait.as_millis()
                )));
            }
            Some(now + wait)
        }
    };
    let auth = match &asked.auth {
        None => None,
        Some(auth) => {
            let caller = auth.caller.as_deref().map(caller_of).transpose()?;
            Some((caller, auth.assigned))
        }
    };
    Ok(Wanted {
        wait_until,
        auth,
        was_deferred: false,
    })
}

/// A caller's identity, as it was sent.
pub(super) fn caller_of(id: &str) -> Result<CallerId, Fault> {
    if (1..=MAX_CALLER).contains(&id.len()) {
        Ok(CallerId::new(id))
    } else {
        Err(invalid(format!(
            "a caller's identity has between 1 and {MAX_CALLER} bytes"
        )))
    }
}
