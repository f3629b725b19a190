//! Tests of the table.

mod boundaries;
mod memory;
mod random;
mod steps;
mod world;

use std::cell::Cell;
use std::time::Duration;

use super::known::Known;
use super::{Effects, Table};
use crate::clock::Moment;
use crate::fencing::FencingToken;
use crate::name::LockName;
use crate::owner::{Owner, OwnerInfo};
use crate::table::{Party, TokenSource};

/// How the tests know an acquisition: by the number of the attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Who(u32, Owner);

impl Who {
    fn new(number: u32, owner: Owner) -> Self {
        Self(number, owner)
    }
}

impl Party for Who {
    fn describe(&self) -> OwnerInfo {
        OwnerInfo {
            id: self.1.id(),
            application: String::new(),
            host: String::new(),
            pid: 0,
            function: None,
            file: String::new(),
            line: self.0,
        }
    }

    fn owner(&self) -> Owner {
        self.1
    }
}

/// Tokens from a plain counter.
#[derive(Default)]
struct Counter(Cell<u64>);

impl TokenSource for Counter {
    fn next(&self) -> FencingToken {
        self.0.set(self.0.get() + 1);
        FencingToken::new(self.0.get()).unwrap()
    }
}

/// What a table has kept: records and room for them, looks and room for them.
#[derive(Debug)]
struct Kept {
    records: usize,
    record_room: usize,
    looks: usize,
    look_room: usize,
}

impl<H: Party, T: TokenSource> Table<H, T> {
    fn kept(&self) -> Kept {
        let (looks, look_room) = self.schedule.kept();
        Kept {
            records: self.locks.len(),
            record_room: self.locks.capacity(),
            looks,
            look_room,
        }
    }

    /// The room that the queue of a name has.
    fn queue_room(&self, name: &LockName) -> usize {
        let hash = name.hash64();
        let known = self.locks.find(hash, |known| known.name() == name);
        let record = known.and_then(Known::as_record);
        record.map_or(0, |record| record.queue.room())
    }
}

fn name(number: impl std::fmt::Display) -> LockName {
    LockName::new(format!("name:{number}")).unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const NANO: Duration = Duration::from_nanos(1);

/// A moment that leaves room before it.
fn start() -> Moment {
    Moment::from_nanos(0) + seconds(3600)
}

fn effects() -> Effects<Who> {
    Effects::new()
}
