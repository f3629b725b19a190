//! What the scripts answer, read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::Value;

use crate::backend::{Answer, Busy, ChangeAnswer, Grant, token};
use crate::caller::CallerId;
use crate::info::{InTheWay, LockInfo, SectionInfo, WaiterInfo};
use crate::name::LockName;
use crate::options::Mode;
use crate::owner::OwnerInfo;

/// What is wrong with an answer that cannot be read.
type Read<T> = Result<T, String>;

/// The answer to a question for a section.
pub(super) enum Entered {
    Answered(Answer),
    /// It waits, at this place of the queue.
    Queued(Answer, u64),
    /// The owner was released, or forced out, before.
    IsOver,
    /// So many wait already.
    QueueIsFull(u64),
}

pub(super) fn entered(answer: Value) -> Read<Entered> {
    let mut parts = match answer {
        // The shortest answer is the most frequent one: a token.
        Value::Int(number) => return granted(number).map(Entered::Answered),
        answer => Parts::of(answer)?,
    };
    let answer = match parts.text()?.as_str() {
        "busy" => busy(parts)?,
        "conflict" => Answer::Conflict {
            in_use: u32::try_from(parts.number()?).map_err(|error| error.to_string())?,
        },
        "dead" => return Ok(Entered::IsOver),
        "full" => return Ok(Entered::QueueIsFull(parts.number()?)),
        "granted" => granted(parts.integer()?)?,
        "queued" => {
            let answer = queued(parts.integer()?);
            return Ok(Entered::Queued(answer, parts.number()?));
        }
        "turn" => not_your_turn(parts)?,
        other => return Err(unknown(other)),
    };
    Ok(Entered::Answered(answer))
}

fn granted(number: i64) -> Read<Answer> {
    fencing(number).map(|token| Answer::Granted(Grant::new(token)))
}

/// Grants that overlap have none: they are answered with zero.
fn fencing(number: i64) -> Read<Option<crate::fencing::FencingToken>> {
    let number = u64::try_from(number).map_err(|error| error.to_string())?;
    if number == 0 {
        return Ok(None);
    }
    token(number).map(Some).map_err(|error| error.to_string())
}

fn busy(mut parts: Parts) -> Read<Answer> {
    let ends = parts.integer()?;
    let ahead = usize::try_from(parts.number()?).map_err(|error| error.to_string())?;
    let mut why = Parts::of(parts.next()?)?;
    let in_the_way = match why.text()?.as_str() {
        "assigned" => InTheWay::Assigned(CallerId::new(why.text()?)),
        "queue" => InTheWay::Queue,
        "resting" => InTheWay::Resting(why.duration()?),
        "section" => InTheWay::Section(Box::new(section(why.next()?)?)),
        other => return Err(unknown(other)),
    };
    let busy = Busy::new().because_of(in_the_way).ahead(ahead);
    Ok(Answer::Busy(look_again(busy, ends)))
}

/// A place in the queue.
pub(super) fn queued(next_end: i64) -> Answer {
    Answer::Busy(look_again(Busy::new(), next_end))
}

/// In how many milliseconds something ends by itself; less than zero for never.
fn look_again(busy: Busy, after: i64) -> Busy {
    match u64::try_from(after) {
        Ok(after) => busy.look_again(Duration::from_millis(after)),
        Err(_) => busy,
    }
}

fn not_your_turn(mut parts: Parts) -> Read<Answer> {
    Ok(Answer::NotYourTurn {
        holder: parts.optional_text()?.map(CallerId::new),
    })
}

pub(super) fn changed(answer: Value) -> Read<ChangeAnswer> {
    let mut parts = Parts::of(answer)?;
    match parts.text()?.as_str() {
        "done" => Ok(ChangeAnswer::Done),
        "lost" => Ok(ChangeAnswer::SectionLost),
        "turn" => Ok(ChangeAnswer::NotYourTurn {
            holder: parts.optional_text()?.map(CallerId::new),
        }),
        other => Err(unknown(other)),
    }
}

/// The section that was adopted, if the giver still had one.
pub(super) fn adopted(answer: &Value) -> Read<Option<Grant>> {
    match answer {
        Value::Int(-1) => Ok(None),
        Value::Int(number) => fencing(*number).map(|token| Some(Grant::new(token))),
        other => Err(format!("{other:?}")),
    }
}

pub(super) fn count(answer: &Value) -> Read<u64> {
    match answer {
        Value::Int(number) => u64::try_from(*number).map_err(|error| error.to_string()),
        other => Err(format!("{other:?}")),
    }
}

/// The answers to several.
pub(super) fn integers(answer: Value) -> Read<Vec<i64>> {
    let mut parts = Parts::of(answer)?;
    (0..parts.0.len()).map(|_| parts.integer()).collect()
}

pub(super) fn lock(name: &LockName, answer: Value) -> Read<LockInfo> {
    let mut info = LockInfo::free(name.clone());
    if matches!(answer, Value::Nil | Value::Boolean(false)) {
        return Ok(info);
    }
    let mut parts = Parts::of(answer)?;
    match parts.next()? {
        Value::Nil | Value::Boolean(false) => {}
        assignment => {
            let mut assignment = Parts::of(assignment)?;
            info.holder = Some(CallerId::new(assignment.text()?));
            info.acquired_at = wall_time(assignment.integer()?);
            info.expires_at = wall_time(assignment.integer()?);
        }
    }
    let Parts(sections) = Parts::of(parts.next()?)?;
    info.sections = sections.map(section).collect::<Read<_>>()?;
    info.resting = u64::try_from(parts.integer()?)
        .ok()
        .map(Duration::from_millis);
    info.waiting = usize::try_from(parts.number()?).map_err(|error| error.to_string())?;
    let Parts(queue) = Parts::of(parts.next()?)?;
    info.queue = queue.map(waiter).collect::<Read<_>>()?;
    Ok(info)
}

fn section(value: Value) -> Read<SectionInfo> {
    let mut parts = Parts::of(value)?;
    let owner = parts.owner()?;
    let mode = parts.mode()?;
    let token = fencing(parts.integer()?)?;
    let held_for = parts.duration()?;
    Ok(SectionInfo::new(owner, mode, token, held_for).expires_in(parts.duration()?))
}

fn waiter(value: Value) -> Read<WaiterInfo> {
    let mut parts = Parts::of(value)?;
    Ok(WaiterInfo::new(
        parts.owner()?,
        parts.mode()?,
        parts.duration()?,
    ))
}

fn wall_time(ms: i64) -> Option<SystemTime> {
    let ms = u64::try_from(ms).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_millis(ms))
}

fn unknown(what: &str) -> String {
    format!("`{}`", what.escape_debug())
}

/// How a mode is written down.
pub(super) fn spell(mode: Mode) -> String {
    match mode {
        Mode::Exclusive => "x".to_owned(),
        Mode::Permits(number) => format!("p{number}"),
        Mode::Shared => "s".to_owned(),
    }
}

fn mode_of(text: &str) -> Option<Mode> {
    match text {
        "x" => Some(Mode::Exclusive),
        "s" => Some(Mode::Shared),
        permits => permits.strip_prefix('p')?.parse().ok().map(Mode::Permits),
    }
}

/// The parts of an answer, one after the other.
struct Parts(std::vec::IntoIter<Value>);

impl Parts {
    fn of(value: Value) -> Read<Self> {
        match value {
            Value::Array(parts) => Ok(Self(parts.into_iter())),
            other => Err(format!("{other:?}")),
        }
    }

    fn next(&mut self) -> Read<Value> {
        self.0
            .next()
            .ok_or_else(|| "too short an answer".to_owned())
    }

    fn text(&mut self) -> Read<String> {
        self.optional_text()?.ok_or_else(|| "no text".to_owned())
    }

    fn optional_text(&mut self) -> Read<Option<String>> {
        match self.next()? {
            Value::BulkString(bytes) => String::from_utf8(bytes)
                .map(Some)
                .map_err(|error| error.to_string()),
            Value::Nil | Value::Boolean(false) => Ok(None),
            other => Err(format!("{other:?}")),
        }
    }

    fn integer(&mut self) -> Read<i64> {
        match self.next()? {
            Value::Int(number) => Ok(number),
            other => Err(format!("{other:?}")),
        }
    }

    fn number(&mut self) -> Read<u64> {
        u64::try_from(self.integer()?).map_err(|error| error.to_string())
    }

    fn duration(&mut self) -> Read<Duration> {
        self.number().map(Duration::from_millis)
    }

    fn owner(&mut self) -> Read<OwnerInfo> {
        serde_json::from_str(&self.text()?).map_err(|error| error.to_string())
    }

    fn mode(&mut self) -> Read<Mode> {
        let text = self.text()?;
        mode_of(&text).ok_or_else(|| unknown(&text))
    }
}
