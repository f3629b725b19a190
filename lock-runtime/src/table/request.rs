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
pub(crate) trait Party: Clone {
    /// Who it is, for people to read.
    fn describe(&self) -> OwnerInfo;

    /// The owner that the acquisition is for.
    fn owner(&self) -> Owner;
}

/// Where fencing tokens come from: each larger than all before, over every name.
pub(crate) trait TokenSource {
    fn next(&self) -> FencingToken;
}

/// A request for a section.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) name: &'a LockName,
    pub(crate) owner: Owner,
    pub(crate) mode: Mode,
    /// The lease; `None` for an owner that cannot fall silent without the table.
    pub(crate) ttl: Option<Duration>,
    /// Until when the request queues; `None` when it does not.
    pub(crate) wait_until: Option<Moment>,
    pub(crate) entry: Entry<'a>,
    pub(crate) at_least: Duration,
}

/// As whom a request wants to enter.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entry<'a> {
    /// As a caller, or as nobody where that is allowed.
    Caller {
        id: Option<&'a CallerId>,
        /// Whether the lock has to be assigned to somebody.
        must_be_assigned: bool,
    },
    /// Without regard to callers: enters only while the lock is not assigned.
    Plain,
}

/// Which way a request goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Granted,
    Queued,
}

/// A place in a queue: smaller is earlier.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Place(pub(super) u64);

/// The answer to a request for a section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Acquired {
    Granted { token: Option<FencingToken> },
    Queued(Place),
}

/// Why a request was not granted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    Busy {
        in_the_way: InTheWay,
        ahead: usize,
    },
    Conflict {
        in_use: u32,
    },
    NotYourTurn {
        holder: Option<CallerId>,
    },
    /// The queue of the name is as long as it may become.
    QueueFull {
        waiting: usize,
    },
    /// The section that the request was made from is no longer held.
    SectionLost,
}

/// The owner has no section of the name: it never had one, or it was lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NotHeld;

/// What has to be told to somebody who is not the one that asks just now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Effect<H> {
    /// A queued request was granted; it has to be claimed before the claim window ends.
    Granted(H),
    /// A queued request was refused, or its time is up.
    Refused(H, Refusal),
    /// A section was lost.
    Lost(H, Lost),
}

pub(crate) type Effects<H> = SmallVec<[Effect<H>; 1]>;
