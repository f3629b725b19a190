//! The state file: what is in it, and how a daemon goes on from it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lock_runtime::__daemon::{Assigned, lock_name, moment};
use lock_runtime::wire::Nonce;
use lock_runtime::{CallerId, FencingToken, Mode, Moment, OwnerId};
use serde::{Deserialize, Serialize};

use super::durable::{Cover, Durable, Kept, Remembered, Rest};
use super::{Process, Unreadable};

/// The version of the file.
const VERSION: u32 = 1;

/// Now, by the clock of this boot and by the wall's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) now: Moment,
    pub(super) wall: SystemTime,
}

impl Times {
    /// The wall-clock time of a moment, in milliseconds since 1970.
    pub(super) fn wall_ms(self, at: Moment) -> u64 {
        let wall = if at >= self.now {
            self.wall.checked_add(at - self.now)
        } else {
            self.wall.checked_sub(self.now - at)
        };
        let since = wall.and_then(|wall| wall.duration_since(UNIX_EPOCH).ok());
        since.map_or(0, millis)
    }
}

/// A duration in whole milliseconds, rounded up.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    lockd: u32,
    /// Which boot of the machine the moments belong to.
    boot: String,
    /// No token that was given out is larger.
    tokens: u64,
    /// No lease that was begun ends later.
    horizon_ns: u64,
    sessions: Vec<Session>,
    assignments: Vec<Assignment>,
    rests: Vec<Resting>,
    forced_out: Vec<ForcedOut>,
    attempts: Vec<(u64, Nonce)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Session {
    session: Nonce,
    process: Option<(u32, u64)>,
    lingers: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Assignment {
    namespace: String,
    name: String,
    holder: String,
    since_ns: u64,
    since_wall_ms: u64,
    /// `None` when it does not end by itself.
    ends_ns: Option<u64>,
    ttl_ns: Option<u64>,
    attempt: Nonce,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Resting {
    namespace: String,
    name: String,
    owner: OwnerId,
    mode: Mode,
    until_ns: u64,
    until_wall_ms: u64,
    length_ns: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ForcedOut {
    owner: OwnerId,
    until_ns: u64,
}

pub(super) fn write(durable: &Durable, boot: &str, times: Times) -> Vec<u8> {
    let cover = durable.covered();
    let sessions = durable.sessions.iter();
    let assignments = durable.assignments.iter();
    let rests = durable.rests.iter();
    let forced_out = durable.forced_out.iter();
    let file = File {
        lockd: VERSION,
        boot: boot.to_owned(),
        tokens: cover.tokens,
        horizon_ns: nanos(cover.horizon.since_start()),
        sessions: sessions
            .map(|(session, remembered)| Session {
                session: *session,
                process: remembered.process.map(|p| (p.pid, p.started)),
                lingers: remembered.lingers,
            })
            .collect(),
        assignments: assignments
            .map(|(name, Kept { assigned, attempt })| Assignment {
                namespace: name.namespace().to_owned(),
                name: name.as_str().to_owned(),
                holder: assigned.holder.as_str().to_owned(),
                since_ns: nanos(assigned.since.since_start()),
                since_wall_ms: times.wall_ms(assigned.since),
                ends_ns: (assigned.ends != Moment::NEVER)
                    .then(|| nanos(assigned.ends.since_start())),
                ttl_ns: assigned.ttl.map(nanos),
                attempt: *attempt,
            })
            .collect(),
        rests: rests
            .map(|((name, owner), rest)| Resting {
                namespace: name.namespace().to_owned(),
                name: name.as_str().to_owned(),
                owner: *owner,
                mode: rest.mode,
                until_ns: nanos(rest.until.since_start()),
                until_wall_ms: times.wall_ms(rest.until),
                length_ns: nanos(rest.length),
            })
            .collect(),
        forced_out: forced_out
            .map(|(owner, until)| ForcedOut {
                owner: *owner,
                until_ns: nanos(until.since_start()),
            })
            .collect(),
        attempts: durable
            .attempts()
            .map(|(done, attempt)| (nanos(done.since_start()), *attempt))
            .collect(),
    };
    let mut text = serde_json::to_vec_pretty(&file).unwrap_or_default();
    text.push(b'\n');
    text
}

/// Reads the state file. What it says of who may hold something holds for its own boot alone.
pub(super) fn read(text: &[u8], boot: &str, times: Times) -> Result<Durable, Unreadable> {
    let file: File = serde_json::from_slice(text)
        .map_err(|error| Unreadable(format!("it is not a state of lockd: {error}")))?;
    if file.lockd != VERSION {
        return Err(Unreadable(format!(
            "it is of version {}, and this lockd reads version {VERSION}",
            file.lockd
        )));
    }
    if file.tokens > FencingToken::MAX.get() {
        return Err(Unreadable(format!(
            "it says that {} tokens are given out, and there are not so many",
            file.tokens
        )));
    }
    let same_boot = file.boot == boot;
    let mut durable = Durable::default();
    durable.start_from(Cover {
        tokens: file.tokens,
        // After a reboot no lease can be left.
        horizon: moment(if same_boot { file.horizon_ns } else { 0 }),
    });
    for kept in file.assignments {
        let name = lock_name(&kept.namespace, &kept.name)
            .map_err(|error| Unreadable(error.to_string()))?;
        durable.assignments.insert(
            name,
            Kept {
                attempt: kept.attempt,
                assigned: restore(&kept, same_boot, times),
            },
        );
    }
    for resting in file.rests {
        let name = lock_name(&resting.namespace, &resting.name)
            .map_err(|error| Unreadable(error.to_string()))?;
        let rest = Rest {
            mode: resting.mode,
            until: resting.until(same_boot, times),
            length: Duration::from_nanos(resting.length_ns),
        };
        durable.rests.insert((name, resting.owner), rest);
    }
    if same_boot {
        for session in file.sessions {
            let remembered = Remembered {
                process: session
                    .process
                    .map(|(pid, started)| Process { pid, started }),
                lingers: session.lingers,
            };
            durable.sessions.insert(session.session, remembered);
        }
        for (done_ns, attempt) in file.attempts {
            durable.note_attempt(moment(done_ns), attempt);
        }
        for forced_out in file.forced_out {
            let until = moment(forced_out.until_ns);
            durable.forced_out.insert(forced_out.owner, until);
        }
    }
    Ok(durable)
}

/// After a reboot an assignment that ends by itself has its whole time anew: the turn of somebody
/// who may still think it is theirs does not lapse because a clock was wrong.
fn restore(kept: &Assignment, same_boot: bool, times: Times) -> Assigned {
    let ttl = kept.ttl_ns.map(Duration::from_nanos);
    let (since, ends) = if same_boot {
        (moment(kept.since_ns), kept.ends_ns.map(moment))
    } else {
        let age = times.wall_ms(times.now).saturating_sub(kept.since_wall_ms);
        let since = times.now.saturating_sub(Duration::from_millis(age));
        (since, ttl.map(|ttl| times.now + ttl))
    };
    Assigned {
        holder: CallerId::new(&kept.holder),
        since,
        ends: ends.unwrap_or(Moment::NEVER),
        ttl,
    }
}

impl Resting {
    /// After a reboot the wall's clock has to do; whatever it says, the rest is not longer than
    /// it was at its beginning.
    fn until(&self, same_boot: bool, times: Times) -> Moment {
        if same_boot {
            return moment(self.until_ns);
        }
        let left = self.until_wall_ms.saturating_sub(times.wall_ms(times.now));
        times.now + Duration::from_millis(left).min(Duration::from_nanos(self.length_ns))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
