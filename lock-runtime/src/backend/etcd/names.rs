//! The names that somebody here waits for, or has held for a while: what is known of each is kept
//! up to date by the watch, so that a waiter asks the store only when it is its turn.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::decide::{Ask, Next, Step};
use super::record::{Record, Stored};
use crate::backend::waiting::Waiters;
use crate::clock::{Clock, Moment};
use crate::lease::Lease;
use crate::name::LockName;
use crate::owner::{Owner, OwnerId};
use crate::sync::{Mutex, lock};

/// What was told so long ago is read again before anything is decided by it: a watch that has
/// gone silent without a word costs a waiter no more than this.
const TRUSTED_FOR: Duration = Duration::from_secs(2);

/// How long one waiter has for that, before the next one tries.
const READ_WITHIN: Duration = Duration::from_millis(500);

/// A name is watched for a while after the last one who waited for it: the next one may come soon.
const LINGERS_FOR: Duration = Duration::from_secs(2);

/// What the task of the watch is told.
#[derive(Debug)]
pub(super) enum Command {
    /// To tell what happens to a name from a revision on.
    Follow(LockName, i64),
    /// Nobody wants to know of it any more.
    Forget(LockName),
}

pub(super) struct Names {
    clock: Clock,
    waiters: Arc<Waiters>,
    views: Mutex<HashMap<LockName, View>>,
    commands: mpsc::UnboundedSender<Command>,
}

struct View {
    /// `None` until it has been read over the present connection.
    record: Option<Record>,
    /// When it was read, or last told of.
    as_of: Moment,
    waiting: HashSet<OwnerId>,
    holding: HashMap<OwnerId, Holding>,
    unused_since: Option<Moment>,
}

struct Holding {
    owner: Owner,
    lease: Arc<Lease>,
}

/// A section that is not in the store any more.
#[derive(Debug)]
pub(super) struct Vanished {
    pub(super) lease: Arc<Lease>,
    /// Whether somebody went on with it.
    pub(super) adopted: bool,
}

/// One thing that happened to a key of a name.
#[derive(Debug)]
pub(super) enum Happened<'a> {
    Put(&'a str, Stored<'a>),
    Deleted(&'a str, i64),
}

impl Names {
    pub(super) fn new(
        clock: Clock,
        waiters: Arc<Waiters>,
    ) -> (Self, mpsc::UnboundedReceiver<Command>) {
        let (commands, receiver) = mpsc::unbounded_channel();
        let names = Self {
            clock,
            waiters,
            views: Mutex::default(),
            commands,
        };
        (names, receiver)
    }

    /// What is to be done about a request, where it is known without asking the store: it may be
    /// its turn, which the store then confirms, it was handed the name, or others come first. Nothing
    /// else is decided here.
    pub(super) fn decide(&self, name: &LockName, ask: &Ask) -> Option<Step> {
        let now = self.clock.now();
        let mut views = lock(&self.views);
        let view = views.get_mut(name)?;
        let record = view.record.as_ref()?;
        if record.unreadable().is_some() {
            return None;
        }
        if now - view.as_of > TRUSTED_FOR {
            // One reads it again; the others need not do so at the same time.
            view.as_of = now.saturating_sub(TRUSTED_FOR - READ_WITHIN);
            return None;
        }
        let step = record.decide(ask);
        if let Step::Busy {
            is_queued: true, ..
        } = step
        {
            // The answer that would have said so may have been lost.
            view.waiting.insert(ask.owner.id());
            view.mark_use(now);
        }
        let is_known = matches!(step, Step::Busy { .. } | Step::Enter(_) | Step::Held(_));
        is_known.then_some(step)
    }

    /// Who enters when this owner leaves, as far as is known without asking the store, which then
    /// confirms it.
    pub(super) fn next_after(&self, name: &LockName, owner: Owner) -> Option<Next> {
        let views = lock(&self.views);
        views.get(name)?.record.as_ref()?.next_after(owner)
    }

    /// Somebody waits for a name of which this is known.
    pub(super) fn wait(&self, name: &LockName, owner: OwnerId, record: Record) -> Vec<Vanished> {
        self.follow(name, record, |view| {
            view.waiting.insert(owner);
        })
    }

    /// Somebody has held a name for a while. Answers whose sections are not there any more: it may
    /// be this one's, too.
    pub(super) fn hold(&self, lease: &Arc<Lease>, record: Record) -> Vec<Vanished> {
        let owner = lease.owner();
        self.follow(lease.name(), record, |view| {
            let lease = Arc::clone(lease);
            view.holding.insert(owner.id(), Holding { owner, lease });
        })
    }

    /// An owner waits no more, and holds no more.
    pub(super) fn leave(&self, name: &LockName, owner: OwnerId) {
        if let Some(view) = lock(&self.views).get_mut(name) {
            view.waiting.remove(&owner);
            view.holding.remove(&owner);
            view.mark_use(self.clock.now());
        }
    }

    /// An owner that waited has entered.
    pub(super) fn waits_no_more(&self, name: &LockName, owner: OwnerId) {
        if let Some(view) = lock(&self.views).get_mut(name) {
            view.waiting.remove(&owner);
            view.mark_use(self.clock.now());
        }
    }

    pub(super) fn is_held(&self, name: &LockName, owner: OwnerId) -> bool {
        let views = lock(&self.views);
        views
            .get(name)
            .is_some_and(|view| view.holding.contains_key(&owner))
    }

    /// Whether anybody waits.
    pub(super) fn anybody_waits(&self) -> bool {
        lock(&self.views)
            .values()
            .any(|view| !view.waiting.is_empty())
    }

    fn follow(
        &self,
        name: &LockName,
        record: Record,
        change: impl FnOnce(&mut View),
    ) -> Vec<Vanished> {
        let now = self.clock.now();
        let mut views = lock(&self.views);
        let view = views.entry(name.clone()).or_insert_with(|| {
            let next = record.revision + 1;
            // The task is gone only when the backend is.
            let _gone = self.commands.send(Command::Follow(name.clone(), next));
            View {
                record: None,
                as_of: now,
                waiting: HashSet::new(),
                holding: HashMap::new(),
                unused_since: None,
            }
        });
        change(view);
        view.take_up(now, record);
        let vanished = view.tell(&self.waiters);
        view.mark_use(now);
        vanished
    }

    /// What was read of a name that is followed. Those who may act on it are woken.
    pub(super) fn learn(&self, name: &LockName, record: Record) -> Vec<Vanished> {
        let now = self.clock.now();
        let mut views = lock(&self.views);
        let Some(view) = views.get_mut(name) else {
            return Vec::new();
        };
        view.take_up(now, record);
        view.tell(&self.waiters)
    }

    /// Something happened to a name that is followed. All of it is of one answer of the store, in
    /// which no revision is torn.
    pub(super) fn happened<'a>(
        &self,
        name: &LockName,
        events: impl IntoIterator<Item = Happened<'a>>,
    ) -> Vec<Vanished> {
        let now = self.clock.now();
        let mut views = lock(&self.views);
        let Some(view) = views.get_mut(name) else {
            return Vec::new();
        };
        let Some(record) = &mut view.record else {
            return Vec::new();
        };
        view.as_of = now;
        let known = record.revision;
        for event in events {
            let revision = match &event {
                Happened::Put(_, stored) => stored.modified,
                Happened::Deleted(_, revision) => *revision,
            };
            if revision <= known {
                continue;
            }
            record.revision = record.revision.max(revision);
            match event {
                Happened::Put(part, stored) => record.put(part, stored),
                Happened::Deleted(part, _) => record.delete(part),
            }
        }
        view.tell(&self.waiters)
    }

    /// A name that is followed was read; the watch is to go on from this revision.
    pub(super) fn follow_from(&self, name: &LockName, revision: i64) {
        let _gone = self.commands.send(Command::Follow(name.clone(), revision));
    }

    /// The connection is a new one: everything has to be read again.
    pub(super) fn forget_records(&self) -> Vec<LockName> {
        let mut views = lock(&self.views);
        for view in views.values_mut() {
            view.record = None;
        }
        views.keys().cloned().collect()
    }

    /// The watch of a name has ended. Says whether anybody still wants to know of it.
    pub(super) fn forget_record(&self, name: &LockName) -> bool {
        let mut views = lock(&self.views);
        let view = views.get_mut(name);
        view.map(|view| view.record = None).is_some()
    }

    pub(super) fn is_followed(&self, name: &LockName) -> bool {
        lock(&self.views).contains_key(name)
    }

    /// Lets go of names that nobody has used for a while.
    pub(super) fn tidy(&self) {
        let now = self.clock.now();
        lock(&self.views).retain(|name, view| {
            let is_unused = |since: Moment| now - since >= LINGERS_FOR;
            if view.unused_since.is_none_or(|since| !is_unused(since)) {
                return true;
            }
            let _gone = self.commands.send(Command::Forget(name.clone()));
            false
        });
    }
}

impl View {
    fn mark_use(&mut self, now: Moment) {
        let is_used = !self.waiting.is_empty() || !self.holding.is_empty();
        self.unused_since = (!is_used).then_some(now);
    }

    /// Goes on with what was read, unless more is known already.
    fn take_up(&mut self, now: Moment, record: Record) {
        self.as_of = now;
        let is_news = match &self.record {
            Some(known) => known.revision < record.revision,
            None => true,
        };
        if is_news {
            self.record = Some(record);
        }
    }

    /// Wakes those who may enter or are sent away, and takes out the sections that are gone.
    fn tell(&mut self, waiters: &Waiters) -> Vec<Vanished> {
        let Some(record) = &self.record else {
            return Vec::new();
        };
        let has_lost_its_place = |id: &&OwnerId| !record.has_place(**id);
        let lost = self.waiting.iter().filter(has_lost_its_place);
        for id in record.called().iter().chain(lost) {
            waiters.wake(*id);
        }
        let is_gone = |holding: &Holding| record.section_of(holding.owner).is_none();
        let gone = self.holding.extract_if(|_, holding| is_gone(holding));
        gone.map(|(_, holding)| Vanished {
            // Whoever adopts a section writes over its key; everybody else makes a new one.
            adopted: record.exclusive.as_ref().is_some_and(|section| {
                section.token().is_some() && section.token() == holding.lease.token()
            }),
            lease: holding.lease,
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::etcd::stored::{Millis, SectionValue, WaiterValue, write_owned};
    use crate::clock::ManualClock;
    use crate::options::Mode;
    use crate::owner::{OwnerInfo, Process};
    use crate::site::Origin;

    const ALONE: Mode = Mode::Exclusive;

    fn info(owner: Owner) -> OwnerInfo {
        let origin = Origin::Called(std::panic::Location::caller());
        Process::new(None).describe(owner.id(), origin)
    }

    fn stored(value: &[u8], created: i64) -> Stored<'_> {
        Stored {
            value,
            created,
            modified: created,
            lease: 1,
        }
    }

    fn record(revision: i64, holder: Owner, waiters: &[Owner]) -> Record {
        let mut record = Record::at(revision);
        let since = Millis::now();
        let section = SectionValue {
            owner: info(holder),
            mode: ALONE,
            since,
            is_handed: false,
        };
        record.put("exclusive/a", stored(&write_owned(holder, &section), 1));
        for (place, waiter) in (2..).zip(waiters) {
            let value = WaiterValue {
                owner: info(*waiter),
                mode: ALONE,
                auth: None,
                caller: None,
                since,
                may_be_handed: true,
            };
            let part = format!("queue/{}", waiter.id());
            record.put(&part, stored(&write_owned(*waiter, &value), place));
        }
        record
    }

    #[test]
    fn whoever_has_a_place_is_one_of_those_who_wait() {
        let time = ManualClock::new();
        let (names, _commands) = Names::new(time.clock(), Arc::default());
        let name = LockName::new("name").unwrap();
        let [holder, first, second] = [(); 3].map(|()| Owner::random());
        let record = record(3, holder, &[first, second]);
        assert!(names.wait(&name, first.id(), record).is_empty());
        // The answer that told the second one of its place was lost.
        let ask = Ask {
            owner: second,
            mode: ALONE,
            auth: None,
            caller: None,
        };
        let step = names.decide(&name, &ask);
        let is_queued = matches!(
            step,
            Some(Step::Busy {
                is_queued: true,
                ..
            })
        );
        assert!(is_queued, "{step:?}");
        names.leave(&name, first.id());
        assert!(names.anybody_waits());
        names.leave(&name, second.id());
        assert!(!names.anybody_waits());
        time.advance(LINGERS_FOR);
        names.tidy();
        assert!(!names.is_followed(&name));
    }
}
