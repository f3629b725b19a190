//! What outlives the daemon, and which answers have to wait until it is on disk.
//!
//! Tokens and lease ends are covered in advance, so that an ordinary grant waits for nothing: a
//! block of tokens is reserved, and the horizon, the latest moment at which any lease can end, is
//! kept some seconds ahead. Assignments, rests, and who was forced out are written before they
//! are answered.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lock_runtime::__daemon::{Assigned, LockName};
use lock_runtime::wire::Nonce;
use lock_runtime::{FencingToken, MAX_TTL, Mode, Moment, OwnerId};

use super::saved::{Times, write};
use super::{Process, Snapshot};

/// How many tokens are reserved at a time. 2^53 tokens are enough for 2^33 blocks.
const TOKEN_BLOCK: u64 = 1 << 20;

/// A clock that is centuries ahead leaves some tokens all the same.
const LATEST_BEGINNING: u64 = FencingToken::MAX.get() / 2;

/// How far ahead of the last lease's end the horizon is kept. It is also how much longer than its
/// lease a holder that never comes back can hold up others after a restart.
const AHEAD: Duration = Duration::from_secs(10);

/// For how long an attempt is remembered, and how many are: twice as long as a client sends it
/// again.
const REMEMBERED: Duration = Duration::from_secs(60);
const MAX_ATTEMPTS: usize = 16_384;

/// How many owners that were forced out are remembered.
const MAX_FORCED_OUT: usize = 4096;

/// What has to outlive the daemon.
#[derive(Debug, Default)]
pub(super) struct Durable {
    pub(super) assignments: BTreeMap<LockName, Kept>,
    /// Names that rest after their sections, whatever becomes of those.
    pub(super) rests: HashMap<(LockName, OwnerId), Rest>,
    /// Who was forced out, and until when its lease may have been thought to run.
    pub(super) forced_out: HashMap<OwnerId, Moment>,
    /// Attempts at changes that are done, the latest last, and since when.
    attempts: VecDeque<(Moment, Nonce)>,
    /// Sessions that may hold something.
    pub(super) sessions: BTreeMap<Nonce, Remembered>,
    cover: Cover,
    /// What the last snapshot on disk covers.
    on_disk: Cover,
    under_way: Option<(u64, Cover)>,
    /// The number of the last snapshot that was made.
    last: u64,
    /// Answers that are given now have to wait for this snapshot.
    awaited: u64,
    is_changed: bool,
}

/// A session that may hold something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Remembered {
    /// Its process, where the end of that can be seen.
    pub(super) process: Option<Process>,
    /// Whether something of it may outlive the process.
    pub(super) lingers: bool,
}

/// An assignment, and the attempt that made it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Kept {
    pub(super) assigned: Assigned,
    pub(super) attempt: Nonce,
}

/// A name that rests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rest {
    pub(super) mode: Mode,
    pub(super) until: Moment,
    /// The whole length, which it can never exceed.
    pub(super) length: Duration,
}

/// What need not be written any more, because it was written in advance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cover {
    /// No token is larger.
    pub(super) tokens: u64,
    /// No lease ends later.
    pub(super) horizon: Moment,
}

impl Default for Cover {
    fn default() -> Self {
        Self {
            tokens: 0,
            horizon: lock_runtime::__daemon::moment(0),
        }
    }
}

impl Cover {
    fn covers(self, other: Self) -> bool {
        self.tokens >= other.tokens && self.horizon >= other.horizon
    }

    fn ahead_of(self, needed: Self, by: Self) -> bool {
        self.tokens >= needed.tokens + by.tokens
            && self.horizon >= needed.horizon + by.horizon.since_start()
    }
}

impl Durable {
    /// Nothing was saved, or nothing of it is known any more: tokens begin at the microseconds of
    /// the wall clock. Fewer than that were given out before, and what the resources remember of
    /// them stays smaller than every one that comes.
    pub(super) fn begun(wall: SystemTime) -> Self {
        let since_epoch = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX);
        let tokens = micros.min(LATEST_BEGINNING);
        let mut durable = Self::default();
        durable.start_from(Cover {
            tokens,
            ..Cover::default()
        });
        durable
    }

    /// What was saved before covers this.
    pub(super) fn start_from(&mut self, on_disk: Cover) {
        self.cover = on_disk;
        self.on_disk = on_disk;
    }

    pub(super) fn covered(&self) -> Cover {
        self.cover
    }

    /// A token was given out, or a lease begun: makes sure that a restart knows. Says which
    /// snapshot has to be on disk before anybody is told, if one has to.
    pub(super) fn cover(&mut self, token: u64, lease_ends: Moment) -> Option<u64> {
        let needed = Cover {
            tokens: token.max(1),
            horizon: lease_ends,
        };
        let (half_a_block, half_ahead) = (TOKEN_BLOCK / 2, AHEAD / 2);
        let half = Cover {
            tokens: half_a_block,
            horizon: lock_runtime::__daemon::moment(0) + half_ahead,
        };
        if self.sure().ahead_of(needed, half) {
            return None;
        }
        if !self.cover.ahead_of(needed, half) {
            self.cover.tokens = self.cover.tokens.max(needed.tokens + TOKEN_BLOCK);
            self.cover.horizon = self.cover.horizon.max(lease_ends + AHEAD);
            self.is_changed = true;
        }
        if self.sure().covers(needed) {
            return None;
        }
        let is_under_way = self
            .under_way
            .filter(|(_, cover)| cover.covers(needed))
            .map(|(number, _)| number);
        let number = is_under_way.unwrap_or(self.last + 1);
        self.await_snapshot(number);
        Some(number)
    }

    /// What is covered whichever of the snapshots is on disk.
    fn sure(&self) -> Cover {
        match self.under_way {
            None => self.on_disk,
            Some((_, cover)) => Cover {
                tokens: cover.tokens.min(self.on_disk.tokens),
                horizon: cover.horizon.min(self.on_disk.horizon),
            },
        }
    }

    /// Something has changed that the next answers depend on.
    pub(super) fn changed(&mut self) {
        self.is_changed = true;
        self.await_snapshot(self.last + 1);
    }

    /// Something has changed that is to be written, and that no answer depends on.
    pub(super) fn changed_by_the_way(&mut self) {
        self.is_changed = true;
    }

    fn await_snapshot(&mut self, number: u64) {
        self.awaited = self.awaited.max(number);
    }

    /// The snapshot that what is said now has to wait for, if it has to.
    pub(super) fn awaited(&self) -> Option<u64> {
        (self.awaited > self.saved_number()).then_some(self.awaited)
    }

    fn saved_number(&self) -> u64 {
        match self.under_way {
            Some((number, _)) => number - 1,
            None => self.last,
        }
    }

    /// An attempt is done.
    pub(super) fn note_attempt(&mut self, now: Moment, attempt: Nonce) {
        if self.attempts.len() == MAX_ATTEMPTS {
            self.attempts.pop_front();
        }
        self.attempts.push_back((now, attempt));
    }

    pub(super) fn is_done(&self, attempt: Nonce) -> bool {
        self.attempts.iter().rev().any(|(_, done)| *done == attempt)
    }

    pub(super) fn attempts(&self) -> impl Iterator<Item = &(Moment, Nonce)> {
        self.attempts.iter()
    }

    /// An owner was forced out, and stays so over a restart, for as long as its lease may have
    /// been.
    pub(super) fn force_out(&mut self, now: Moment, owner: OwnerId) {
        if self.forced_out.len() < MAX_FORCED_OUT {
            self.forced_out.insert(owner, now + MAX_TTL);
        }
    }

    /// No lease ends later than this any more.
    pub(super) fn lower_horizon(&mut self, latest_end: Moment) {
        let horizon = latest_end + AHEAD;
        if horizon < self.cover.horizon {
            self.cover.horizon = horizon;
            self.is_changed = true;
        }
    }

    /// A session may hold something from now on. Says which snapshot names it.
    pub(super) fn remember(
        &mut self,
        session: Nonce,
        process: Option<Process>,
        lingers: bool,
    ) -> u64 {
        let known = self.sessions.get(&session);
        let lingers = lingers || known.is_some_and(|known| known.lingers);
        self.sessions
            .insert(session, Remembered { process, lingers });
        self.is_changed = true;
        self.last + 1
    }

    /// What is said from now on waits for this snapshot.
    pub(super) fn wait_for(&mut self, number: u64) {
        self.await_snapshot(number);
    }

    /// A session holds nothing any more. Nothing depends on it: it is written with the next.
    pub(super) fn forget(&mut self, session: Nonce) {
        self.sessions.remove(&session);
    }

    /// Nobody holds anything: a restart has nobody to wait for.
    pub(super) fn nobody_holds_anything(&mut self, now: Moment) {
        self.cover.horizon = self.cover.horizon.min(now);
        self.is_changed = true;
    }

    /// What has to be written now. One at a time: what changes meanwhile comes with the next.
    pub(super) fn snapshot(&mut self, boot: &str, times: Times) -> Option<Snapshot> {
        if !self.is_changed || self.under_way.is_some() {
            return None;
        }
        self.is_changed = false;
        self.last += 1;
        self.under_way = Some((self.last, self.cover));
        let now = times.now;
        self.attempts.retain(|(done, _)| *done + REMEMBERED > now);
        self.rests.retain(|_, rest| rest.until > now);
        self.forced_out.retain(|_, until| *until > now);
        self.assignments.retain(|_, kept| kept.assigned.ends > now);
        Some(Snapshot {
            number: self.last,
            text: write(self, boot, times),
        })
    }

    /// A snapshot is on disk.
    pub(super) fn saved(&mut self, saved: u64) {
        if let Some((number, cover)) = self.under_way.filter(|(number, _)| *number == saved) {
            self.on_disk = cover;
            self.under_way = None;
            debug_assert_eq!(number, self.last);
        }
    }
}
