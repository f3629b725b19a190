//! After a restart: who may still hold something, and who has to wait for that.
//!
//! Sessions that may hold something are named in the state file. Until each of them has come back
//! and said what it holds, or its process is seen to be dead, or every lease that it may have has
//! ended, nothing new is granted: requests that may wait do so here, in their order.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use lock_runtime::Moment;
use lock_runtime::wire::{Blocker, Nonce, ToClient};

use super::durable::{Durable, Remembered};
use super::reading::Wanted;
use super::saved::millis;
use super::session::{Holder, Queued};
use super::{Engine, Process};
use lock_runtime::__daemon::{Effects, LockName};

#[derive(Debug)]
pub(super) struct Recovery {
    /// By then every lease of the run before has ended.
    until: Moment,
    missing: BTreeMap<Nonce, Remembered>,
    /// In the order in which they came.
    deferred: BTreeMap<u64, (Holder, Wanted)>,
    last_deferred: u64,
    /// Names whose sections an operator has ended, known or not.
    forced: HashSet<LockName>,
    /// No deferred request's time is up before this.
    earliest: Moment,
    /// No token of the run before is larger.
    pub(super) last_token: u64,
}

impl Recovery {
    /// `None` when nobody can hold anything.
    pub(super) fn of(durable: &Durable, now: Moment) -> Option<Self> {
        let cover = durable.covered();
        (cover.horizon > now && !durable.sessions.is_empty()).then(|| Self {
            until: cover.horizon,
            missing: durable.sessions.clone(),
            deferred: BTreeMap::new(),
            last_deferred: 0,
            forced: HashSet::new(),
            earliest: Moment::NEVER,
            last_token: cover.tokens,
        })
    }

    /// The processes of those who are missing.
    pub(super) fn processes(&self) -> impl Iterator<Item = Process> {
        self.missing
            .values()
            .filter_map(|remembered| remembered.process)
    }

    /// A process has ended: nobody waits for its sessions any more, which are returned, but for
    /// those that may have left something behind.
    pub(super) fn process_died(&mut self, process: Process) -> Vec<Nonce> {
        let is_over = |missing: &Remembered| missing.process == Some(process) && !missing.lingers;
        let over = self.missing.iter().filter(|(_, missing)| is_over(missing));
        let over: Vec<Nonce> = over.map(|(session, _)| *session).collect();
        self.missing.retain(|_, missing| !is_over(missing));
        over
    }

    /// The process of a session that is missing; `None` when it is not.
    pub(super) fn missing(&self, session: Nonce) -> Option<Remembered> {
        self.missing.get(&session).copied()
    }

    /// A session has said everything that it holds, or has ended.
    pub(super) fn is_back(&mut self, session: Nonce) {
        self.missing.remove(&session);
    }

    pub(super) fn left(&self, now: Moment) -> Duration {
        self.until - now
    }

    pub(super) fn defer(&mut self, holder: Holder, wanted: Wanted) {
        if let Some(deadline) = wanted.wait_until {
            self.earliest = self.earliest.min(deadline);
        }
        self.last_deferred += 1;
        holder.0.queued.set(Queued::Deferred(self.last_deferred));
        self.deferred.insert(self.last_deferred, (holder, wanted));
    }

    /// Takes a deferred request out.
    pub(super) fn withdraw(&mut self, holder: &Holder) {
        if let Queued::Deferred(number) = holder.0.queued.replace(Queued::Nowhere) {
            self.deferred.remove(&number);
        }
    }

    /// Whoever may still hold this name does so no longer.
    pub(super) fn force_out(&mut self, name: LockName) {
        self.forced.insert(name);
    }

    pub(super) fn is_forced(&self, name: &LockName) -> bool {
        self.forced.contains(name)
    }

    pub(super) fn next_look(&self) -> Moment {
        self.until.min(self.earliest)
    }

    fn is_over(&self, now: Moment) -> bool {
        now >= self.until || self.missing.is_empty()
    }

    /// Takes out the deferred requests whose time is up.
    fn take_overdue(&mut self, now: Moment) -> Vec<(usize, Holder)> {
        if self.earliest > now {
            return Vec::new();
        }
        self.earliest = Moment::NEVER;
        let mut overdue = Vec::new();
        let mut ahead = 0;
        self.deferred.retain(|_, (holder, wanted)| {
            let deadline = wanted.wait_until.unwrap_or(now);
            let is_overdue = deadline <= now;
            if is_overdue {
                holder.0.queued.set(Queued::Nowhere);
                overdue.push((ahead, holder.clone()));
            } else {
                self.earliest = self.earliest.min(deadline);
                ahead += 1;
            }
            !is_overdue
        });
        overdue
    }
}

impl Engine {
    /// Puts back what does not depend on anybody's return.
    pub(super) fn put_back(&mut self, now: Moment) {
        let Durable {
            assignments, rests, ..
        } = &self.durable;
        for (name, kept) in assignments {
            self.table.restore_assignment(now, name, &kept.assigned);
        }
        for ((name, _), rest) in rests {
            if rest.until > now {
                self.table.rest(now, name, rest.mode, rest.until);
            }
        }
        if self.recovery.is_none() {
            self.durable.sessions.clear();
        }
    }

    /// The processes of the run before cannot be told from others: nobody is taken for dead.
    pub fn forget_processes(&mut self) {
        if let Some(recovery) = &mut self.recovery {
            for missing in recovery.missing.values_mut() {
                missing.process = None;
            }
        }
        for remembered in self.durable.sessions.values_mut() {
            remembered.process = None;
        }
    }

    /// Goes on with the recovery, and ends it when there is nobody to wait for.
    pub(super) fn recover(&mut self, now: Moment) {
        let Some(recovery) = &mut self.recovery else {
            return;
        };
        let overdue = recovery.take_overdue(now);
        let left = recovery.left(now);
        let deferred = if recovery.is_over(now) {
            self.end_recovery()
        } else {
            BTreeMap::new()
        };
        for (ahead, holder) in overdue {
            let connection = self.connection_of(&holder);
            let id = holder.0.request.get();
            self.let_go(&holder);
            if let Some(connection) = connection {
                self.say(connection, &recovering(id, left, ahead));
            }
        }
        for (holder, wanted) in deferred.into_values() {
            holder.0.queued.set(Queued::Nowhere);
            let mut effects = Effects::new();
            self.ask_table(now, &holder, &wanted, &mut effects);
            self.tell(now, effects);
        }
    }

    fn end_recovery(&mut self) -> BTreeMap<u64, (Holder, Wanted)> {
        let Some(recovery) = self.recovery.take() else {
            return BTreeMap::new();
        };
        // Those who did not come back cannot any more.
        for session in recovery.missing.keys() {
            if !self.by_key.contains_key(session) {
                self.durable.forget(*session);
            }
        }
        self.durable.changed_by_the_way();
        recovery.deferred
    }
}

/// The answer to a request that may not wait, or no longer.
pub(super) fn recovering(id: u64, left: Duration, ahead: usize) -> ToClient<'static> {
    ToClient::Busy {
        id,
        in_the_way: Blocker::RecoveringMs(millis(left)),
        ahead,
    }
}
