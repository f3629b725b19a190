//! The leases that are watched over, and when each is looked at.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::clock::Moment;
use crate::lease::Lease;

#[derive(Default)]
pub(super) struct Watched {
    places: Vec<Option<Entry>>,
    free: Vec<usize>,
    /// When which place is looked at; the entry says whether that is still meant.
    due: BinaryHeap<Reverse<(Moment, usize)>>,
}

struct Entry {
    lease: Arc<Lease>,
    /// When it was first looked at, which is not before it was granted.
    since: Moment,
    next: Moment,
}

impl Watched {
    /// One more, to be looked at for the first time at `next`.
    pub(super) fn add(&mut self, lease: &Arc<Lease>, since: Moment, next: Moment) {
        let place = self.free.pop().unwrap_or(self.places.len());
        if place == self.places.len() {
            self.places.push(None);
        }
        lease.set_watched_at(place);
        self.places[place] = Some(Entry {
            lease: Arc::clone(lease),
            since,
            next,
        });
        self.due.push(Reverse((next, place)));
        self.sweep_out();
    }

    pub(super) fn remove(&mut self, lease: &Lease) {
        let Some(place) = lease.watched_at() else {
            return;
        };
        if self.entry_of(lease).is_some() {
            self.places[place] = None;
            self.free.push(place);
        }
        if self.free.len() == self.places.len() {
            self.clear();
        }
    }

    /// Looks at it at this moment already, unless that is planned anyway. Says whether it is
    /// watched at all.
    pub(super) fn look_again(&mut self, lease: &Lease, at: Moment) -> bool {
        let Some(place) = lease.watched_at() else {
            return false;
        };
        let Some(entry) = self.entry_of(lease) else {
            return false;
        };
        entry.next = entry.next.min(at);
        self.due.push(Reverse((at, place)));
        true
    }

    /// Those whose time has come, each with the moment since when it is watched.
    pub(super) fn take_due(&mut self, now: Moment) -> Vec<(Arc<Lease>, Moment)> {
        let mut due = Vec::new();
        while let Some(Reverse((at, place))) = self.due.peek().copied() {
            if at > now {
                break;
            }
            self.due.pop();
            let entry = self.places.get_mut(place).and_then(Option::as_mut);
            if let Some(entry) = entry.filter(|entry| entry.next <= at) {
                entry.next = Moment::NEVER;
                due.push((Arc::clone(&entry.lease), entry.since));
            }
        }
        due
    }

    pub(super) fn next_look(&self) -> Option<Moment> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    pub(super) fn leases(&self) -> impl Iterator<Item = &Arc<Lease>> {
        self.places.iter().flatten().map(|entry| &entry.lease)
    }

    /// How many looks it keeps.
    #[cfg(test)]
    pub(super) fn looks(&self) -> usize {
        self.due.len()
    }

    /// The place that a lease remembers may be another's by now.
    fn entry_of(&mut self, lease: &Lease) -> Option<&mut Entry> {
        let entry = self.places.get_mut(lease.watched_at()?)?.as_mut()?;
        std::ptr::eq(&*entry.lease, lease).then_some(entry)
    }

    /// Throws out looks that are no longer meant, when they are the greater part: sections that
    /// ended long before their time leave one each.
    fn sweep_out(&mut self) {
        if self.due.len() > 64 + 4 * self.places.len() {
            let places = &self.places;
            self.due.retain(|Reverse((at, place))| {
                let entry = places.get(*place).and_then(Option::as_ref);
                entry.is_some_and(|entry| entry.next == *at)
            });
        }
    }

    fn clear(&mut self) {
        const KEPT: usize = 1024;
        self.places.clear();
        self.free.clear();
        self.due.clear();
        self.places.shrink_to(KEPT);
        self.free.shrink_to(KEPT);
        self.due.shrink_to(KEPT);
    }
}
