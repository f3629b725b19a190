//! The embedded backend: the lock table in this process, in shards, answering at once.

mod embedded;
mod shard;
mod tokens;
mod wait;

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use smallvec::SmallVec;

use super::{
    Answer, Backend, Busy, Capabilities, Change, ChangeAnswer, Grant, OnWhoseWord, Release, Reply,
    Request,
};
use crate::clock::{Clock, Moment};
use crate::error::BackendError;
use crate::info::LockInfo;
use crate::lease::Lease;
use crate::name::LockName;
use crate::options::AuthPolicy;
use crate::owner::Owner;
use crate::table::{Acquired, Ask, Description, Entry, Giver, Refusal, Within};
use shard::Shard;
use tokens::Tokens;
pub(crate) use wait::WaitInQueue;
use wait::{Holding, Waiting};

/// Enough that threads on different names seldom meet, few enough to be looked through.
const SHARDS: usize = 64;

/// Locks in the memory of this process.
///
/// Clones share their locks, so that two managers of one process can be kept apart, or together,
/// by their namespaces. Everything is gone with the process, and nothing is left behind by names
/// that were released.
#[derive(Clone)]
pub struct MemoryBackend(Arc<Store>);

struct Store {
    clock: Clock,
    /// Whether a lease ends although the runtime renews it, should the renewals stay away.
    is_leased: bool,
    shards: Box<[Arc<Shard>]>,
}

impl MemoryBackend {
    /// An empty store that measures time with this clock, which has to be its managers' too.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self::with(clock, false)
    }

    /// An empty store for owners that may fall silent: every lease ends unless it is renewed.
    ///
    /// Locks in memory do without, because their owners end with them. This is the same store as
    /// a remote one: requests run on the manager's thread, leases are renewed, and can be lost
    /// without a word.
    /// For tests of that, and for backends that serve others from it.
    #[must_use]
    pub fn leased(clock: Clock) -> Self {
        Self::with(clock, true)
    }

    fn with(clock: Clock, is_leased: bool) -> Self {
        let tokens = Tokens::default();
        let shards = (0..SHARDS)
            .map(|_| {
                Arc::new_cyclic(|shard: &Weak<Shard>| {
                    let alarm = clock.alarm(Weak::<Shard>::clone(shard));
                    Shard::new(alarm, tokens.clone(), !is_leased)
                })
            })
            .collect();
        Self(Arc::new(Store {
            clock,
            is_leased,
            shards,
        }))
    }

    fn shard(&self, name: &LockName) -> &Arc<Shard> {
        // The table's own buckets use the low bits, and its tags the highest.
        let index = (name.hash64() >> 40) as usize % SHARDS;
        &self.0.shards[index]
    }

    fn now(&self) -> Moment {
        self.0.clock.now()
    }

    /// A lease that the runtime renews cannot fall silent without this process: it has no end
    /// here, unless others are served from this store.
    fn lease_length(&self, lease: &Lease, ttl: Duration) -> Option<Duration> {
        (self.0.is_leased || !lease.is_renewed()).then_some(ttl)
    }

    /// Grants, refuses, or puts the request into the queue, with a seat to be told in.
    fn ask(&self, request: &Request, may_wait: bool, now: Moment) -> Result<Answer, Waiting> {
        let lease = &request.lease;
        let ask = Ask {
            name: lease.name(),
            owner: lease.owner(),
            mode: lease.mode(),
            ttl: self.lease_length(lease, lease.ttl()),
            wait_until: request.patience.deadline(now).filter(|_| may_wait),
            entry: entry(request),
            at_least: lease.at_least(),
        };
        let mut seat = None;
        let acquired = self.shard(lease.name()).with(|table, effects| {
            table.acquire(
                now,
                &ask,
                |way| Holding::new(lease, way, &mut seat),
                effects,
            )
        });
        match (acquired, seat) {
            (Ok(Acquired::Granted { token }), _) => Ok(Answer::Granted(Grant::new(token))),
            (Ok(Acquired::Queued(place)), Some(seat)) => Err(Waiting { seat, place }),
            // A queued request always has a seat; without one nothing would wake it.
            (Ok(Acquired::Queued(_)), None) => Ok(Answer::Busy(Busy::new())),
            (Err(refusal), _) => Ok(answer(refusal)),
        }
    }

    fn reply(&self, request: &Request, may_wait: bool) -> Reply<Result<Answer, BackendError>> {
        let now = self.now();
        match self.ask(request, may_wait, now) {
            Ok(answer) => Reply::now(Ok(answer)),
            Err(waiting) => Reply::later(WaitInQueue::new(
                self.clone(),
                request.clone(),
                waiting,
                now,
            )),
        }
    }

    fn describe(&self, name: &LockName) -> LockInfo {
        let now = self.now();
        let description = self
            .shard(name)
            .with(|table, effects| table.describe(now, name, effects));
        info(&self.0.clock, name, description)
    }
}

fn entry(request: &Request) -> Entry<'_> {
    match request.auth() {
        None => Entry::Plain,
        Some(policy) => Entry::Caller {
            id: request.caller(),
            must_be_assigned: policy == AuthPolicy::Assigned,
        },
    }
}

fn answer(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::Busy { in_the_way, ahead } => {
            Answer::Busy(Busy::new().because_of(in_the_way).ahead(ahead))
        }
        Refusal::QueueFull { waiting } => Answer::Busy(Busy::new().ahead(waiting)),
        Refusal::Conflict { in_use } => Answer::Conflict { in_use },
        Refusal::NotYourTurn { holder } => Answer::NotYourTurn { holder },
        Refusal::SectionLost => Answer::Busy(Busy::new()),
    }
}

fn info(clock: &Clock, name: &LockName, description: Description) -> LockInfo {
    let mut info = LockInfo::free(name.clone());
    if let Some((holder, since, ends)) = description.assignment {
        info.holder = Some(holder);
        info.acquired_at = Some(clock.wall_time(since));
        info.expires_at = (ends != Moment::NEVER).then(|| clock.wall_time(ends));
    }
    info.sections = description.sections;
    info.resting = description.resting;
    info.waiting = description.waiting;
    info
}

impl Backend for MemoryBackend {
    fn name(&self) -> &str {
        "memory"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            embedded: !self.0.is_leased,
            ..Capabilities::all()
        }
    }

    fn connect(&self) -> Reply<Result<(), BackendError>> {
        Reply::now(self.0.clock.start().map_err(|error| {
            BackendError::new("no thread could be started for the clock").caused_by(error)
        }))
    }

    fn try_acquire(&self, request: &Request) -> Reply<Result<Answer, BackendError>> {
        self.reply(request, false)
    }

    fn acquire(&self, request: &Request) -> Reply<Result<Answer, BackendError>> {
        self.reply(request, true)
    }

    fn renew(&self, lease: &Lease, ttl: Duration) -> Reply<Result<bool, BackendError>> {
        let now = self.now();
        let renewed = self.shard(lease.name()).with(|table, effects| {
            table.renew(
                now,
                lease.name(),
                lease.owner(),
                self.lease_length(lease, ttl),
                effects,
            )
        });
        Reply::now(Ok(renewed.is_ok()))
    }

    fn release(&self, lease: &Lease, how: Release) -> Reply<Result<bool, BackendError>> {
        let body_ran = how == Release::Finished;
        let released = self.shard(lease.name()).with(|table, effects| {
            let (name, owner) = (lease.name(), lease.owner());
            let released = table.release(|| self.now(), name, owner, body_ran, effects);
            // What never began may wait still.
            match how {
                Release::Abandoned if released.is_err() => {
                    table.withdraw(self.now(), name, owner, effects)
                }
                _ => released,
            }
        });
        Reply::now(Ok(released.is_ok()))
    }

    fn inspect(&self, name: &LockName) -> Reply<Result<LockInfo, BackendError>> {
        let mut info = self.describe(name);
        let now = self.now();
        info.queue = self.shard(name).with_untold(|table| table.queue(now, name));
        Reply::now(Ok(info))
    }

    fn adopt(&self, giver: Owner, request: &Request) -> Reply<Result<Option<Grant>, BackendError>> {
        let lease = &request.lease;
        let now = self.now();
        let adopted = self.shard(lease.name()).with(|table, effects| {
            let taker = (lease.owner(), Holding::Lease(Arc::clone(lease)));
            let ttl = self.lease_length(lease, lease.ttl());
            table.adopt(now, lease.name(), giver, taker, ttl, effects)
        });
        Reply::now(Ok(adopted.ok().map(Grant::new)))
    }

    fn force_release(&self, name: &LockName) -> Reply<Result<usize, BackendError>> {
        let now = self.now();
        let ended = self
            .shard(name)
            .with(|table, effects| table.force_release(now, name, effects));
        Reply::now(Ok(ended))
    }

    fn change(&self, change: &Change) -> Reply<Result<ChangeAnswer, BackendError>> {
        let now = self.now();
        let changed = self
            .shard(change.name())
            .with(|table, effects| match change {
                Change::Assign {
                    name,
                    to,
                    ttl,
                    giver: word,
                    within,
                } => table.assign(
                    now,
                    name,
                    (to, *ttl),
                    giver(word),
                    within.map(Within),
                    effects,
                ),
                Change::Transfer {
                    name,
                    to,
                    giver: word,
                    within,
                } => table.transfer(now, name, to, giver(word), within.map(Within), effects),
                Change::Unassign {
                    name,
                    giver: word,
                    within,
                } => table.unassign(now, name, giver(word), within.map(Within), effects),
            });
        Reply::now(Ok(match changed {
            Ok(()) => ChangeAnswer::Done,
            Err(Refusal::SectionLost) => ChangeAnswer::SectionLost,
            Err(Refusal::NotYourTurn { holder }) => ChangeAnswer::NotYourTurn { holder },
            // The other refusals belong to requests for sections.
            Err(_) => ChangeAnswer::NotYourTurn { holder: None },
        }))
    }

    fn embedded_leases(&self, manager: u64) -> Vec<(Arc<Lease>, Moment)> {
        let mut leases = Vec::new();
        for shard in &*self.0.shards {
            shard.with_untold(|table| {
                let sections = table
                    .sections()
                    .map(|(party, since)| (party.lease(), since));
                let own =
                    sections.filter(|(lease, _)| lease.manager() == manager && lease.is_running());
                leases.extend(own.map(|(lease, since)| (Arc::clone(lease), since)));
            });
        }
        leases
    }

    fn list(&self, namespace: &str, prefix: &str) -> Reply<Result<Vec<LockInfo>, BackendError>> {
        let mut names: SmallVec<[LockName; 8]> = SmallVec::new();
        for shard in &*self.0.shards {
            shard.with(|table, _| {
                let wanted = |name: &&LockName| {
                    name.namespace() == namespace && name.as_str().starts_with(prefix)
                };
                names.extend(table.names().filter(wanted).cloned());
            });
        }
        names.sort();
        Reply::now(Ok(names.iter().map(|name| self.describe(name)).collect()))
    }
}

fn giver(word: &OnWhoseWord) -> Giver<'_> {
    match word {
        OnWhoseWord::Caller(caller) => Giver::Caller(caller),
        OnWhoseWord::Holder(caller) => Giver::Holder(caller),
        OnWhoseWord::Operator => Giver::Operator,
    }
}

impl fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBackend").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
