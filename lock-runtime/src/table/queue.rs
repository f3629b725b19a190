//! The queue of one name: in order of arrival, with requests leaving from anywhere.

use std::collections::VecDeque;
use std::time::Duration;

use super::request::{Entry, Place};
use crate::caller::CallerId;
use crate::clock::Moment;
use crate::options::Mode;
use crate::owner::Owner;

pub(super) struct Waiter<H> {
    pub(super) owner: Owner,
    pub(super) party: H,
    pub(super) mode: Mode,
    pub(super) ttl: Option<Duration>,
    pub(super) since: Moment,
    pub(super) deadline: Moment,
    pub(super) at_least: Duration,
    pub(super) entry: OwnEntry,
}

/// [`Entry`](super::Entry) with its caller kept.
pub(super) enum OwnEntry {
    Caller {
        id: Option<CallerId>,
        must_be_assigned: bool,
    },
    Plain,
}

impl OwnEntry {
    pub(super) fn borrowed(&self) -> Entry<'_> {
        match self {
            Self::Plain => Entry::Plain,
            Self::Caller {
                id,
                must_be_assigned,
            } => Entry::Caller {
                id: id.as_ref(),
                must_be_assigned: *must_be_assigned,
            },
        }
    }
}

impl From<Entry<'_>> for OwnEntry {
    fn from(entry: Entry<'_>) -> Self {
        match entry {
            Entry::Plain => Self::Plain,
            Entry::Caller {
                id,
                must_be_assigned,
            } => Self::Caller {
                id: id.cloned(),
                must_be_assigned,
            },
        }
    }
}

/// Places rise from front to back. Who leaves from the middle leaves a hole, so that leaving
/// costs a binary search; holes are closed when they are the greater part.
pub(super) struct Queue<H> {
    places: VecDeque<(Place, Option<Waiter<H>>)>,
    last_place: u64,
    waiting: usize,
    /// No waiter's deadline is earlier than this.
    earliest: Moment,
}

impl<H> Queue<H> {
    pub(super) fn new() -> Self {
        Self {
            places: VecDeque::new(),
            last_place: 0,
            waiting: 0,
            earliest: Moment::NEVER,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Whether it keeps room for a few waiters only.
    pub(super) fn is_small(&self) -> bool {
        self.places.capacity() <= 64
    }

    /// No waiter's time is up before this.
    pub(super) fn earliest_deadline(&self) -> Moment {
        self.earliest
    }

    pub(super) fn push(&mut self, waiter: Waiter<H>) -> Place {
        self.last_place += 1;
        let place = Place(self.last_place);
        self.earliest = self.earliest.min(waiter.deadline);
        self.places.push_back((place, Some(waiter)));
        self.waiting += 1;
        place
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Place, &Waiter<H>)> {
        self.places
            .iter()
            .inspect(|_| visit(1))
            .filter_map(|(place, waiter)| Some((*place, waiter.as_ref()?)))
    }

    /// The first waiter after a place.
    pub(super) fn next_after(&self, after: Option<Place>) -> Option<(Place, &Waiter<H>)> {
        let from = match after {
            None => 0,
            Some(after) => self.places.partition_point(|(place, _)| *place <= after),
        };
        self.places
            .range(from..)
            .inspect(|_| visit(1))
            .find_map(|(place, waiter)| Some((*place, waiter.as_ref()?)))
    }

    pub(super) fn get(&self, place: Place) -> Option<&Waiter<H>> {
        let index = self
            .places
            .binary_search_by_key(&place, |(place, _)| *place)
            .ok()?;
        self.places[index].1.as_ref()
    }

    pub(super) fn remove(&mut self, place: Place) -> Option<Waiter<H>> {
        let index = self
            .places
            .binary_search_by_key(&place, |(place, _)| *place)
            .ok()?;
        let waiter = self.places[index].1.take()?;
        self.waiting -= 1;
        self.close_holes();
        Some(waiter)
    }

    /// Takes out those whose time is up, in order of arrival.
    pub(super) fn remove_overdue(&mut self, now: Moment) -> Vec<(usize, Waiter<H>)> {
        if self.earliest > now {
            return Vec::new();
        }
        let mut overdue = Vec::new();
        let mut ahead = 0;
        self.earliest = Moment::NEVER;
        visit(self.places.len());
        for (_, slot) in &mut self.places {
            match slot {
                Some(waiter) if waiter.deadline <= now => {
                    overdue.extend(slot.take().map(|waiter| (ahead, waiter)));
                    ahead += 1;
                }
                Some(waiter) => {
                    self.earliest = self.earliest.min(waiter.deadline);
                    ahead += 1;
                }
                None => {}
            }
        }
        self.waiting -= overdue.len();
        self.close_holes();
        overdue
    }

    fn close_holes(&mut self) {
        while let Some((_, None)) = self.places.front() {
            self.places.pop_front();
        }
        if self.places.len() > 32 && self.places.len() > 2 * self.waiting {
            visit(self.places.len());
            self.places.retain(|(_, waiter)| waiter.is_some());
            self.places.shrink_to(2 * self.waiting);
        }
        if self.waiting == 0 {
            self.earliest = Moment::NEVER;
        }
    }
}

/// The tests count how many places are gone through.
#[cfg(not(test))]
#[inline]
fn visit(_places: usize) {}

#[cfg(test)]
use counted::visit;
#[cfg(test)]
pub(super) use counted::visits;

#[cfg(test)]
mod counted {
    use std::cell::Cell;

    thread_local! {
        static VISITS: Cell<u64> = const { Cell::new(0) };
    }

    pub(super) fn visit(places: usize) {
        VISITS.set(VISITS.get() + places as u64);
    }

    pub(in crate::table) fn visits() -> u64 {
        VISITS.get()
    }

    impl<H> super::Queue<H> {
        pub(in crate::table) fn room(&self) -> usize {
            self.places.capacity()
        }
    }
}
