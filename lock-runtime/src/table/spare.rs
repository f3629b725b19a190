//! Records that are empty, to be used again: taking a name that nobody wants moves a pointer.

use super::record::Record;
use super::request::Party;
use crate::clock::Moment;
use crate::name::LockName;

/// How many are kept. One is enough for names that are taken and released in turn.
const KEPT: usize = 16;

pub(super) struct Spare<H>(Vec<Box<Record<H>>>);

impl<H> Default for Spare<H> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<H: Party> Spare<H> {
    /// An empty record of this name.
    pub(super) fn take(&mut self, name: &LockName) -> Box<Record<H>> {
        match self.0.pop() {
            Some(mut record) => {
                record.name.clone_from(name);
                record
            }
            None => Box::new(Record::new(name.clone())),
        }
    }

    /// Keeps an empty record, unless it has room for a long queue.
    pub(super) fn keep(&mut self, mut record: Box<Record<H>>) {
        if self.0.len() < KEPT && record.queue.is_small() {
            record.look_at = Moment::NEVER;
            self.0.push(record);
        }
    }
}
