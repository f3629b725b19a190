//! What is asked of the table, and what it answers.

use std::time::Duration;

use smallvec::SmallVec;

use crate::caller::CallerId;
use crate::clock::Moment;
use crate::error::Lost;
use crate::fencing::FencingToken;
use crate::info::InTheWay;
use crate::name::LockName;
use crate::options::Mode;
use crate::owner::{Owner, OwnerInfo};

/// How the shell knows an acquisition.
pub trait Party: Clone {
    /// Who it is, for people to read.
    fn describe(&self) -> OwnerInfo;

    /// The owner that the acquisition is for.
    fn owner(&self) -> Owner;
}

/// Where fencing tokens come from: each larger than all before, over every name.
pub trait TokenSource {
    /// The next token.
    fn next(&self) -> FencingToken;
}

/// A request for a section.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The lock.
    pub name: &'a LockName,
    /// The acquisition.
    pub owner: Owner,
    /// Who may be in at the same time.
    pub mode: Mode,
    /// The lease; `None` for an owner that cannot fall silent without the table.
    pub ttl: Option<Duration>,
    /// Until when the request queues; `None` when it does not.
    pub wait_until: Option<Moment>,
    /// As whom it wants to enter.
    pub entry: Entry<'a>,
    /// For how long after the grant the name stays busy once the body has run.
    pub at_least: Duration,
}

/// As whom a request wants to enter.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// As a caller, or as nobody where that is allowed.
    Caller {
        /// Who calls; `None` for an anonymous caller.
        id: Option<&'a CallerId>,
        /// Whether the lock has to be assigned to somebody.
        must_be_assigned: bool,
    },
    /// Without regard to callers: enters only while the lock is not assigned.
    Plain,
}

/// Which way a request goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// It is granted at once.
    Granted,
    /// It waits.
    Queued,
}

/// A place in a queue: smaller is earlier.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place(pub(super) u64);

/// The answer to a request for a section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acquired {
    /// The owner has the section.
    Granted {
        /// Its fencing token, where the mode carries one.
        token: Option<FencingToken>,
    },
    /// It waits, here.
    Queued(Place),
}

/// Why a request was not granted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The name is busy.
    Busy {
        /// Who or what is in the way.
        in_the_way: InTheWay,
        /// How many came first.
        ahead: usize,
    },
    /// The name is in use with another number of permits.
    Conflict {
        /// That number.
        in_use: u32,
    },
    /// The lock belongs to another caller, or to nobody where somebody is needed.
    NotYourTurn {
        /// The caller that it belongs to.
        holder: Option<CallerId>,
    },
    /// The queue of the name is as long as it may become.
    QueueFull {
        /// How many wait.
        waiting: usize,
    },
    /// The section that the request was made from is no longer held.
    SectionLost,
}

/// The owner has no section of the name: it never had one, or it was lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotHeld;

/// What has to be told to somebody who is not the one that asks just now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect<H> {
    /// A queued request was granted; it has to be claimed before the claim window ends.
    Granted(H),
    /// A queued request was refused, or its time is up.
    Refused(H, Refusal),
    /// A section was lost.
    Lost(H, Lost),
}

/// What has to be told to others, in this order.
pub type Effects<H> = SmallVec<[Effect<H>; 1]>;
