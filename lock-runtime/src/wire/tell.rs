//! What the daemon says to a process.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::frame::Encoding;
use crate::error::Lost;
use crate::fencing::FencingToken;
use crate::options::Mode;
use crate::owner::{Owner, OwnerId};

/// A message to a client. Every answer repeats the number of its request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToClient<'a> {
    /// The name is busy, and the wait, if there was one, is over.
    Busy {
        /// The request's number.
        id: u64,
        /// Who or what is in the way.
        in_the_way: Blocker,
        /// How many came first.
        ahead: usize,
    },
    /// The daemon closes the connection, and why.
    Bye {
        /// For people to read.
        #[serde(borrow)]
        reason: Cow<'a, str>,
    },
    /// The name is in use with another number of permits.
    Conflict {
        /// The request's number.
        id: u64,
        /// That number.
        in_use: u32,
    },
    /// The change is done.
    Done {
        /// The request's number.
        id: u64,
    },
    /// So many sections were ended.
    Ended {
        /// The request's number.
        id: u64,
        /// How many.
        sections: usize,
    },
    /// A message could not be understood, or was refused. It had no effect.
    Error {
        /// The request's number, where the message had one.
        id: Option<u64>,
        /// What kind of fault it is.
        code: ErrorCode,
        /// What is wrong, for people to read.
        #[serde(borrow)]
        message: Cow<'a, str>,
    },
    /// The owner has the section.
    Granted {
        /// The request's number.
        id: u64,
        /// The fencing token, where the mode carries one.
        token: Option<FencingToken>,
        /// The mode: whoever adopts a section does not know it.
        mode: Mode,
        /// Whether it came out of the queue: then it has to be claimed at once, or the next is
        /// served.
        queued: bool,
    },
    /// Whether the owner had the section: the answer to a claim, a release, a reclaim, a detach,
    /// and to an adoption that came too late.
    Held {
        /// The request's number.
        id: u64,
        /// Whether it had.
        held: bool,
    },
    /// The daemon's greeting, always a line of JSON.
    #[serde(borrow)]
    Hello(Welcome<'a>),
    /// What is known of a lock.
    Lock {
        /// The request's number.
        id: u64,
        /// That.
        lock: LockOnWire,
    },
    /// A page of locks, by namespace and name.
    Locks {
        /// The request's number.
        id: u64,
        /// The page.
        locks: Vec<LockOnWire>,
        /// Where it ended, when there is more.
        next: Option<Next>,
    },
    /// A section was lost. Not an answer: it comes by itself.
    Lost {
        /// The acquisition.
        owner: Owner,
        /// Why.
        cause: Lost,
    },
    /// The lock belongs to another caller, or to nobody where somebody is needed.
    NotYourTurn {
        /// The request's number.
        id: u64,
        /// The caller that it belongs to.
        #[serde(borrow)]
        holder: Option<Cow<'a, str>>,
    },
    /// The answer to a ping.
    Pong {
        /// The request's number.
        id: u64,
    },
    /// The leases run anew, but for these.
    Renewed {
        /// The request's number.
        id: u64,
        /// The owners whose sections were lost before.
        lost: Vec<Owner>,
    },
    /// The section that a change was made from is lost.
    SectionLost {
        /// The request's number.
        id: u64,
    },
}

/// The daemon's greeting.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Welcome<'a> {
    /// The version of the protocol.
    pub version: u32,
    /// What the daemon calls itself: `lockd 0.1.0`.
    #[serde(borrow)]
    pub server: Cow<'a, str>,
    /// The encoding of everything that follows, each way.
    pub encoding: Encoding,
    /// Whether the session was known: it goes on.
    pub resumed: bool,
    /// For how long new requests may still have to wait, because the daemon was started anew and
    /// not everybody who may hold something has come back; in milliseconds.
    pub recovering_ms: Option<u64>,
}

/// Who or what keeps a request from entering.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blocker {
    /// The lock is assigned to a caller.
    Assigned(String),
    /// Nobody holds it, but others came first.
    Queue,
    /// The daemon was started anew, and who held the name may still come back for so many
    /// milliseconds.
    RecoveringMs(u64),
    /// The name rests for so many milliseconds, because of `at_least`.
    RestingMs(u64),
    /// Another section runs.
    Section(Box<SectionOnWire>),
}

/// Who runs a section, for people to read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OwnerOnWire {
    /// The owner's public number.
    pub id: OwnerId,
    /// What the service calls itself.
    pub application: String,
    /// The host that it says it runs on.
    pub host: String,
    /// Its process, as the daemon's host knows it.
    pub pid: u32,
    /// The annotated function, where there is one.
    pub function: Option<String>,
    /// The source file of the annotation or of the call.
    pub file: String,
    /// The line in that file.
    pub line: u32,
}

/// One running section.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SectionOnWire {
    /// Who runs it.
    pub owner: OwnerOnWire,
    /// In which mode.
    pub mode: Mode,
    /// Its fencing token, where the mode carries one.
    pub token: Option<FencingToken>,
    /// For how long, in milliseconds.
    pub held_ms: u64,
    /// When its lease ends unless it is renewed, in milliseconds.
    pub expires_ms: Option<u64>,
}

/// What is known of a lock.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LockOnWire {
    /// The lock.
    pub name: String,
    /// The namespace that it is in.
    pub namespace: String,
    /// The caller to whom it is assigned.
    pub holder: Option<String>,
    /// Since when, in milliseconds since 1970.
    pub acquired_at_ms: Option<u64>,
    /// When the assignment ends by itself, in milliseconds since 1970.
    pub expires_at_ms: Option<u64>,
    /// The sections that run.
    pub sections: Vec<SectionOnWire>,
    /// How long the name stays busy although nobody runs, in milliseconds.
    pub resting_ms: Option<u64>,
    /// How many wait.
    pub waiting: usize,
    /// The first of those, in order; empty in a list.
    pub queue: Vec<WaiterOnWire>,
}

/// One who waits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WaiterOnWire {
    /// Who waits.
    pub owner: OwnerOnWire,
    /// In which mode it wants to enter.
    pub mode: Mode,
    /// For how long it has waited, in milliseconds.
    pub waited_ms: u64,
}

/// Where a page of locks ended.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Next {
    /// The namespace of the last lock.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What kind of fault a message has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// The peer is nobody whom this daemon serves.
    Forbidden,
    /// A name that is none, or a number out of its limits.
    Invalid,
    /// One of the daemon's limits is reached.
    Limit,
    /// It is no message of this protocol.
    Malformed,
    /// The daemon is going down.
    ShuttingDown,
    /// The version of the protocol is not spoken here.
    Version,
}
