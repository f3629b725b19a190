//! What can be seen of locks, and how refusals are put into words.

use std::time::Duration;

use lock_runtime::__daemon::{Description, Effects, LockName, Refusal};
use lock_runtime::wire::{
    Blocker, LockOnWire, Next, OwnerOnWire, SectionOnWire, ToClient, WaiterOnWire,
};
use lock_runtime::{InTheWay, Moment, OwnerInfo, SectionInfo, WaiterInfo};

use super::Engine;
use super::messages::{Fault, Speaker};
use super::reading::name_of;
use super::saved::{Times, millis};

/// How many locks a page has at most, how many bytes it may have as JSON before another lock is
/// added, and how many sections of one lock are named: a page is far from the longest message.
const PAGE: usize = 500;
const PAGE_BYTES: usize = 128 * 1024;
const NAMED_SECTIONS: usize = 32;

impl Engine {
    pub(super) fn inspect(
        &mut self,
        by: Speaker,
        id: u64,
        sent: (&str, &str),
    ) -> Result<(), Fault> {
        let name = name_of(sent)?;
        let mut lock = self.describe(by.now, &name);
        let queue = self.table.queue(by.now, &name);
        lock.queue = queue.iter().map(waiter_on_wire).collect();
        self.say(by.connection, &ToClient::Lock { id, lock });
        Ok(())
    }

    /// A page of locks. Each page looks at every name: it is for people, and costs what it costs.
    pub(super) fn list(
        &mut self,
        by: Speaker,
        id: u64,
        namespace: Option<&str>,
        prefix: &str,
        after: Option<&Next>,
    ) {
        let after = after.map(|after| (&*after.namespace, &*after.name));
        let mut names: Vec<LockName> = self
            .table
            .names()
            .filter(|name| {
                namespace.is_none_or(|namespace| name.namespace() == namespace)
                    && name.as_str().starts_with(prefix)
                    && after.is_none_or(|after| (name.namespace(), name.as_str()) > after)
            })
            .cloned()
            .collect();
        let order = |a: &LockName, b: &LockName| {
            (a.namespace(), a.as_str()).cmp(&(b.namespace(), b.as_str()))
        };
        let mut has_more = names.len() > PAGE;
        if has_more {
            names.select_nth_unstable_by(PAGE - 1, order);
            names.truncate(PAGE);
        }
        names.sort_unstable_by(order);
        let (mut locks, mut last, mut bytes) = (Vec::new(), None, 0);
        for name in &names {
            if bytes >= PAGE_BYTES {
                has_more = true;
                break;
            }
            last = Some(name);
            let lock = self.describe(by.now, name);
            // One that has ended by itself just now is not there any more.
            if is_something(&lock) {
                bytes += serde_json::to_vec(&lock).map_or(0, |json| json.len());
                locks.push(lock);
            }
        }
        let next = last.filter(|_| has_more).map(|name| Next {
            namespace: name.namespace().to_owned(),
            name: name.as_str().to_owned(),
        });
        self.say(by.connection, &ToClient::Locks { id, locks, next });
    }

    fn describe(&mut self, now: Moment, name: &LockName) -> LockOnWire {
        let mut effects = Effects::new();
        let description = self.table.describe(now, name, &mut effects);
        self.tell(now, effects);
        lock_on_wire(self.times(now), name, description)
    }
}

fn is_something(lock: &LockOnWire) -> bool {
    lock.holder.is_some()
        || !lock.sections.is_empty()
        || lock.resting_ms.is_some()
        || lock.waiting > 0
}

fn lock_on_wire(times: Times, name: &LockName, description: Description) -> LockOnWire {
    let assignment = description.assignment;
    let expires = assignment.as_ref().map(|(_, _, ends)| *ends);
    LockOnWire {
        name: name.as_str().to_owned(),
        namespace: name.namespace().to_owned(),
        acquired_at_ms: assignment
            .as_ref()
            .map(|(_, since, _)| times.wall_ms(*since)),
        expires_at_ms: expires
            .filter(|ends| *ends != Moment::NEVER)
            .map(|ends| times.wall_ms(ends)),
        holder: assignment.map(|(holder, _, _)| holder.into()),
        sections: description
            .sections
            .iter()
            .take(NAMED_SECTIONS)
            .map(section_on_wire)
            .collect(),
        resting_ms: description.resting.map(millis),
        waiting: description.waiting,
        queue: Vec::new(),
    }
}

fn owner_on_wire(owner: &OwnerInfo) -> OwnerOnWire {
    OwnerOnWire {
        id: owner.id,
        application: owner.application.clone(),
        host: owner.host.clone(),
        pid: owner.pid,
        function: owner.function.clone(),
        file: owner.file.clone(),
        line: owner.line,
    }
}

fn waiter_on_wire(waiter: &WaiterInfo) -> WaiterOnWire {
    WaiterOnWire {
        owner: owner_on_wire(&waiter.owner),
        mode: waiter.mode,
        waited_ms: whole_millis(waiter.waited),
    }
}

fn section_on_wire(section: &SectionInfo) -> SectionOnWire {
    SectionOnWire {
        owner: owner_on_wire(&section.owner),
        mode: section.mode,
        token: section.token,
        held_ms: whole_millis(section.held_for),
        expires_ms: section.expires_in.map(millis),
    }
}

fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Puts a refusal into a message.
pub(super) fn with_refusal(id: u64, refusal: &Refusal, say: impl FnOnce(&ToClient<'_>)) {
    say(&match refusal {
        Refusal::Busy { in_the_way, ahead } => ToClient::Busy {
            id,
            in_the_way: blocker(in_the_way),
            ahead: *ahead,
        },
        Refusal::QueueFull { waiting } => ToClient::Busy {
            id,
            in_the_way: Blocker::Queue,
            ahead: *waiting,
        },
        Refusal::Conflict { in_use } => ToClient::Conflict {
            id,
            in_use: *in_use,
        },
        Refusal::NotYourTurn { holder } => ToClient::NotYourTurn {
            id,
            holder: holder.as_ref().map(|holder| holder.as_str().into()),
        },
        Refusal::SectionLost => ToClient::SectionLost { id },
    });
}

fn blocker(in_the_way: &InTheWay) -> Blocker {
    match in_the_way {
        InTheWay::Section(section) => Blocker::Section(Box::new(section_on_wire(section))),
        InTheWay::Assigned(holder) => Blocker::Assigned(holder.as_str().to_owned()),
        InTheWay::Resting(left) => Blocker::RestingMs(millis(*left)),
        // The table knows nothing else.
        _ => Blocker::Queue,
    }
}
