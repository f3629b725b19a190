//! When the table has to look at which record again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::record::Record;
use super::request::Party;
use crate::clock::Moment;
use crate::name::LockName;

/// A heap with at most one valid entry per record: the one for the record's `look_at`. Others are
/// left over, and are skipped when their time comes or swept out when they are the greater part.
#[derive(Default)]
pub(super) struct Schedule {
    looks: BinaryHeap<Reverse<(Moment, LockName)>>,
    valid: usize,
}

impl Schedule {
    /// Makes sure that the record is looked at when something is due in it.
    #[inline]
    pub(super) fn renew<H: Party>(&mut self, record: &mut Record<H>) {
        let due = record.next_due();
        // A look that is too early costs a look; moving it later would cost an entry each time.
        if due >= record.look_at {
            return;
        }
        if record.look_at == Moment::NEVER {
            self.valid += 1;
        }
        record.look_at = due;
        self.looks.push(Reverse((due, record.name.clone())));
    }

    /// The record goes away.
    #[inline]
    pub(super) fn forget<H>(&mut self, record: &Record<H>) {
        if record.look_at != Moment::NEVER {
            self.valid -= 1;
        }
    }

    /// Takes out the first look that is due.
    pub(super) fn take_due(&mut self, now: Moment) -> Option<(Moment, LockName)> {
        if self.looks.peek()?.0.0 > now {
            return None;
        }
        self.looks.pop().map(|Reverse(look)| look)
    }

    /// Whether a look that was taken out is the record's valid one; then it is used up.
    pub(super) fn is_current<H>(&mut self, record: &mut Record<H>, at: Moment) -> bool {
        let current = record.look_at == at;
        if current {
            record.look_at = Moment::NEVER;
            self.valid -= 1;
        }
        current
    }

    pub(super) fn first(&self) -> Option<Moment> {
        self.looks.peek().map(|Reverse((at, _))| *at)
    }

    pub(super) fn is_bloated(&self) -> bool {
        self.looks.len() > 64 + 2 * self.valid
    }

    /// Keeps the entries that are valid.
    pub(super) fn compact(&mut self, is_valid: impl Fn(&LockName, Moment) -> bool) {
        self.looks.retain(|Reverse((at, name))| is_valid(name, *at));
        self.looks.shrink_to(2 * self.valid);
    }

    /// Keeps no more room than what it holds may soon need.
    pub(super) fn give_back_room(&mut self) {
        self.looks.shrink_to(2 * self.looks.len());
    }

    /// How many looks it keeps, and room for how many.
    #[cfg(test)]
    pub(super) fn kept(&self) -> (usize, usize) {
        (self.looks.len(), self.looks.capacity())
    }
}
