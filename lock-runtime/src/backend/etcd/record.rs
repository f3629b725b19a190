//! One name, as it was at one revision of the store, kept up to date by what the store tells.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::keys::{ASSIGNED, EXCLUSIVE, PERMIT, QUEUE, REST, SHARED, Slot, WITHDRAWN};
use super::stored::{AssignmentValue, RestValue, SectionValue, WaiterValue, read, read_owned};
use crate::owner::{Owner, OwnerId};

/// What is known of a name.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    /// The revision of the store that this is of.
    pub(super) revision: i64,
    pub(super) exclusive: Option<Section>,
    /// Readers and permits, by their keys.
    pub(super) others: BTreeMap<String, Section>,
    /// By the public numbers of their owners.
    pub(super) rests: BTreeMap<String, Rest>,
    /// Those who wait, by the revision in which they came: that is their order.
    pub(super) queue: BTreeMap<i64, Waiter>,
    places: HashMap<String, i64>,
    pub(super) assignment: Option<Assignment>,
    withdrawn: BTreeSet<String>,
    /// Keys that hold what this version cannot read.
    unreadable: BTreeSet<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Section {
    pub(super) owner: Owner,
    pub(super) value: SectionValue,
    pub(super) created: i64,
    pub(super) modified: i64,
    pub(super) lease: i64,
    /// Which key it has, if it runs alone.
    pub(super) slot: Slot,
}

#[derive(Clone, Debug)]
pub(super) struct Rest {
    pub(super) value: RestValue,
    pub(super) owner: Owner,
    pub(super) lease: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Waiter {
    pub(super) owner: Owner,
    pub(super) value: WaiterValue,
    /// The lease of its process.
    pub(super) lease: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Assignment {
    pub(super) value: AssignmentValue,
    pub(super) modified: i64,
    pub(super) lease: i64,
}

/// A key with its value, as the store gives it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored<'a> {
    pub(super) value: &'a [u8],
    pub(super) created: i64,
    pub(super) modified: i64,
    pub(super) lease: i64,
}

impl Record {
    pub(super) fn at(revision: i64) -> Self {
        Self {
            revision,
            ..Self::default()
        }
    }

    /// A key was written.
    pub(super) fn put(&mut self, part: &str, stored: Stored<'_>) {
        self.delete(part);
        if self.keep(part, stored).is_none() {
            self.unreadable.insert(part.to_owned());
        }
    }

    fn keep(&mut self, part: &str, stored: Stored<'_>) -> Option<()> {
        if part == ASSIGNED {
            self.assignment = Some(Assignment {
                value: read(stored.value)?,
                modified: stored.modified,
                lease: stored.lease,
            });
        } else if let Some(slot) = part.strip_prefix(EXCLUSIVE) {
            self.exclusive = Some(section(stored, Slot::of_key(slot)?)?);
        } else if part.starts_with(SHARED) || part.starts_with(PERMIT) {
            let section = section(stored, Slot::default())?;
            self.others.insert(part.to_owned(), section);
        } else if let Some(id) = part.strip_prefix(REST) {
            let (owner, value) = read_owned(stored.value)?;
            let lease = stored.lease;
            let rest = Rest {
                value,
                owner,
                lease,
            };
            self.rests.insert(id.to_owned(), rest);
        } else if let Some(id) = part.strip_prefix(QUEUE) {
            let (owner, value) = read_owned(stored.value)?;
            self.places.insert(id.to_owned(), stored.created);
            let lease = stored.lease;
            let waiter = Waiter {
                owner,
                value,
                lease,
            };
            self.queue.insert(stored.created, waiter);
        } else if let Some(id) = part.strip_prefix(WITHDRAWN) {
            self.withdrawn.insert(id.to_owned());
        } else {
            return None;
        }
        Some(())
    }

    /// A key was deleted, or its lease has ended.
    pub(super) fn delete(&mut self, part: &str) {
        self.unreadable.remove(part);
        if part == ASSIGNED {
            self.assignment = None;
        } else if let Some(slot) = part.strip_prefix(EXCLUSIVE) {
            // The other one may have been handed the name in the same step.
            let slot = Slot::of_key(slot);
            self.exclusive.take_if(|section| Some(section.slot) == slot);
        } else if let Some(id) = part.strip_prefix(REST) {
            self.rests.remove(id);
        } else if let Some(id) = part.strip_prefix(QUEUE) {
            if let Some(place) = self.places.remove(id) {
                self.queue.remove(&place);
            }
        } else if let Some(id) = part.strip_prefix(WITHDRAWN) {
            self.withdrawn.remove(id);
        } else {
            self.others.remove(part);
        }
    }

    /// A key that this version cannot read, if there is one: nothing may be decided then.
    pub(super) fn unreadable(&self) -> Option<&str> {
        self.unreadable.first().map(String::as_str)
    }

    /// Those of them that stand where a section would.
    pub(super) fn unreadable_sections(&self) -> impl Iterator<Item = &str> {
        let parts = self.unreadable.iter().map(String::as_str);
        parts.filter(|part| {
            let of_sections = [EXCLUSIVE, SHARED, PERMIT, REST];
            of_sections.iter().any(|of| part.starts_with(of))
        })
    }

    /// Whether nothing is known of the name but what was taken back.
    pub(super) fn is_empty(&self) -> bool {
        self.exclusive.is_none()
            && self.others.is_empty()
            && self.rests.is_empty()
            && self.queue.is_empty()
            && self.assignment.is_none()
            && self.unreadable.is_empty()
    }

    /// The sections that run, in the order in which they began.
    pub(super) fn sections(&self) -> Vec<&Section> {
        let mut sections: Vec<_> = self.exclusive.iter().chain(self.others.values()).collect();
        sections.sort_by_key(|section| section.created);
        sections
    }

    /// The section of an owner. Who knows only the public number has none.
    pub(super) fn section_of(&self, owner: Owner) -> Option<&Section> {
        let mut sections = self.exclusive.iter().chain(self.others.values());
        sections.find(|section| section.owner == owner)
    }

    /// The revision in which an owner came to the queue.
    pub(super) fn place_of(&self, owner: Owner) -> Option<i64> {
        let place = *self.places.get(&owner.id().to_string())?;
        let waiter = self.queue.get(&place)?;
        (waiter.owner == owner).then_some(place)
    }

    pub(super) fn has_place(&self, id: OwnerId) -> bool {
        self.places.contains_key(&id.to_string())
    }

    pub(super) fn is_withdrawn(&self, owner: Owner) -> bool {
        self.withdrawn.contains(&owner.id().to_string())
    }

    /// The rests of sections that do not run any more.
    pub(super) fn resting(&self) -> impl Iterator<Item = &Rest> {
        self.rests
            .values()
            .filter(|rest| self.section_of(rest.owner).is_none())
    }
}

pub(super) fn section(stored: Stored<'_>, slot: Slot) -> Option<Section> {
    let (owner, value) = read_owned(stored.value)?;
    Some(Section {
        owner,
        value,
        created: stored.created,
        modified: stored.modified,
        lease: stored.lease,
        slot,
    })
}
