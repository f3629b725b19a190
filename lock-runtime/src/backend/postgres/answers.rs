//! What the functions in the database answer, and what it means.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use super::fault::{self, Place};
use crate::backend::{self, Answer, Busy, ChangeAnswer, Grant};
use crate::caller::CallerId;
use crate::error::BackendError;
use crate::fencing::FencingToken;
use crate::info::{InTheWay, LockInfo, SectionInfo, WaiterInfo};
use crate::name::LockName;
use crate::options::Mode;
use crate::owner::{OwnerId, OwnerInfo};

/// The answer to a request for a section.
#[derive(Deserialize, Debug)]
pub(super) struct Entered {
    #[serde(default)]
    granted: bool,
    token: Option<u64>,
    busy: Option<Blocker>,
    #[serde(default)]
    ahead: usize,
    /// Where it stands in the queue.
    pub(super) place: Option<u64>,
    /// When the first of those who are in the way is done unless it goes on.
    again_ms: Option<u64>,
    #[serde(default)]
    not_your_turn: bool,
    holder: Option<String>,
    conflict: Option<u32>,
    full: Option<u64>,
    /// It was given up before it arrived.
    #[serde(default)]
    late: bool,
}

#[derive(Deserialize, Debug, Default)]
struct Blocker {
    section: Option<Section>,
    resting_ms: Option<u64>,
    holder: Option<String>,
}

#[derive(Deserialize, Debug)]
struct Section {
    info: OwnerInfo,
    mode: i64,
    token: Option<u64>,
    held_ms: u64,
    ends_ms: u64,
}

/// Who is to be told something, of the process that asked.
#[derive(Deserialize, Debug, Default)]
pub(super) struct News {
    #[serde(default)]
    pub(super) wake: Vec<OwnerId>,
    #[serde(default)]
    pub(super) handed: Vec<String>,
    #[serde(default)]
    pub(super) forced: Vec<OwnerId>,
    pub(super) adopted: Option<OwnerId>,
}

/// The answer to a renewal, a release, or an adoption.
#[derive(Deserialize, Debug)]
pub(super) struct Kept {
    pub(super) held: bool,
    token: Option<u64>,
}

/// The answer to a forced release.
#[derive(Deserialize, Debug)]
pub(super) struct Forced {
    pub(super) ended: usize,
}

/// The answer to a change of the assignment.
#[derive(Deserialize, Debug)]
pub(super) struct Changed {
    #[serde(default)]
    done: bool,
    #[serde(default)]
    not_your_turn: bool,
    holder: Option<String>,
    #[serde(default)]
    section_lost: bool,
}

/// What is known of a lock.
#[derive(Deserialize, Debug)]
pub(super) struct Lock {
    name: String,
    sections: Vec<Section>,
    resting_ms: Option<u64>,
    waiting: usize,
    #[serde(default)]
    queue: Vec<Waiter>,
    holder: Option<String>,
    acquired_at_ms: Option<u64>,
    expires_at_ms: Option<u64>,
}

#[derive(Deserialize, Debug)]
struct Waiter {
    info: OwnerInfo,
    mode: i64,
    waited_ms: u64,
}

/// Reads an answer.
///
/// # Errors
///
/// When it is not one.
pub(super) fn read<'a, T: Deserialize<'a>>(
    place: &Place,
    answer: &'a str,
) -> Result<T, BackendError> {
    serde_json::from_str(answer).map_err(|error| fault::nonsense(place, &error.to_string()))
}

impl Entered {
    /// # Errors
    ///
    /// When the queue is full, or the answer makes no sense.
    pub(super) fn answer(self, place: &Place) -> Result<Answer, BackendError> {
        if self.granted {
            return Ok(Answer::Granted(Grant::new(token(self.token)?)));
        }
        if let Some(blocker) = self.busy {
            let mut busy = Busy::new().ahead(self.ahead);
            if let Some(in_the_way) = blocker.in_the_way(self.ahead)? {
                busy = busy.because_of(in_the_way);
            }
            if let Some(again) = self.again_ms {
                busy = busy.look_again(Duration::from_millis(again));
            }
            return Ok(Answer::Busy(busy));
        }
        if self.not_your_turn {
            let holder = self.holder.map(CallerId::from);
            return Ok(Answer::NotYourTurn { holder });
        }
        if let Some(in_use) = self.conflict {
            return Ok(Answer::Conflict { in_use });
        }
        if let Some(waiting) = self.full {
            return Err(fault::queue_full(place, waiting));
        }
        if self.late {
            // Nobody waits for this answer any more.
            return Ok(Answer::Busy(Busy::new()));
        }
        Err(fault::nonsense(place, "neither a grant nor a refusal"))
    }
}

impl Blocker {
    fn in_the_way(self, ahead: usize) -> Result<Option<InTheWay>, BackendError> {
        if let Some(running) = self.section {
            return Ok(Some(InTheWay::Section(Box::new(section(running)?))));
        }
        if let Some(left) = self.resting_ms {
            return Ok(Some(InTheWay::Resting(Duration::from_millis(left))));
        }
        if let Some(holder) = self.holder {
            return Ok(Some(InTheWay::Assigned(CallerId::from(holder))));
        }
        Ok((ahead > 0).then_some(InTheWay::Queue))
    }
}

impl Kept {
    /// # Errors
    ///
    /// When the token is none.
    pub(super) fn grant(self) -> Result<Option<Grant>, BackendError> {
        let token = token(self.token)?;
        Ok(self.held.then(|| Grant::new(token)))
    }
}

impl Changed {
    /// # Errors
    ///
    /// When the answer makes no sense.
    pub(super) fn answer(self, place: &Place) -> Result<ChangeAnswer, BackendError> {
        if self.done {
            Ok(ChangeAnswer::Done)
        } else if self.not_your_turn {
            let holder = self.holder.map(CallerId::from);
            Ok(ChangeAnswer::NotYourTurn { holder })
        } else if self.section_lost {
            Ok(ChangeAnswer::SectionLost)
        } else {
            Err(fault::nonsense(place, "neither a change nor a refusal"))
        }
    }
}

impl Lock {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// # Errors
    ///
    /// When it is not a lock.
    pub(super) fn info(self, place: &Place, namespace: &str) -> Result<LockInfo, BackendError> {
        let name = LockName::new(&self.name)
            .map_err(|error| fault::nonsense(place, &error.to_string()))?;
        let mut info = LockInfo::free(name.in_namespace(namespace));
        info.holder = self.holder.map(CallerId::from);
        info.acquired_at = self.acquired_at_ms.and_then(wall_time);
        info.expires_at = self.expires_at_ms.and_then(wall_time);
        let sections = self.sections.into_iter().map(section);
        info.sections = sections.collect::<Result<_, _>>()?;
        info.resting = self.resting_ms.map(Duration::from_millis);
        info.waiting = self.waiting;
        let waiters = self.queue.into_iter().map(|waiter| {
            let waited = Duration::from_millis(waiter.waited_ms);
            Ok(WaiterInfo::new(waiter.info, mode(waiter.mode)?, waited))
        });
        info.queue = waiters.collect::<Result<_, BackendError>>()?;
        Ok(info)
    }
}

fn section(section: Section) -> Result<SectionInfo, BackendError> {
    let held_for = Duration::from_millis(section.held_ms);
    let info = SectionInfo::new(
        section.info,
        mode(section.mode)?,
        token(section.token)?,
        held_for,
    );
    Ok(info.expires_in(Duration::from_millis(section.ends_ms)))
}

fn token(number: Option<u64>) -> Result<Option<FencingToken>, BackendError> {
    number.map(backend::token).transpose()
}

fn mode(number: i64) -> Result<Mode, BackendError> {
    let permits = u32::try_from(number)
        .ok()
        .and_then(std::num::NonZeroU32::new);
    match (number, permits) {
        (0, _) => Ok(Mode::Exclusive),
        (-1, _) => Ok(Mode::Shared),
        (_, Some(permits)) => Ok(Mode::Permits(permits)),
        _ => Err(BackendError::new(format!(
            "the store gave {number} as the mode of a lock"
        ))),
    }
}

fn wall_time(ms: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(ms))
}
