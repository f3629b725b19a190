//! What a process says to the daemon.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::nonce::Nonce;
use crate::fencing::FencingToken;
use crate::options::Mode;
use crate::owner::Owner;

/// A message to the daemon.
///
/// In JSON it is an object with one field, the message's name: `{"ping":{"id":1}}`. Fields that
/// the daemon does not know are an error, so that a misspelled one is not simply ignored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ToDaemon<'a> {
    /// Acquires a lock, or queues for it.
    #[serde(borrow)]
    Acquire(Acquire<'a>),
    /// Goes on with the section of another owner, whose ticket this process has.
    #[serde(borrow)]
    Adopt(Adopt<'a>),
    /// Assigns a lock to a caller.
    #[serde(borrow)]
    Assign(Assign<'a>),
    /// Takes up a grant that came out of a queue: from now on its lease runs.
    Claim {
        /// The request's number.
        id: u64,
        /// The lock.
        #[serde(borrow)]
        name: Cow<'a, str>,
        /// The namespace that it is in.
        #[serde(default, borrow)]
        namespace: Cow<'a, str>,
        /// The acquisition.
        owner: Owner,
    },
    /// The section goes on without this process: it ends with its lease, unless it is adopted.
    Detach {
        /// The request's number.
        id: u64,
        /// The lock.
        #[serde(borrow)]
        name: Cow<'a, str>,
        /// The namespace that it is in.
        #[serde(default, borrow)]
        namespace: Cow<'a, str>,
        /// The acquisition.
        owner: Owner,
    },
    /// Ends every section of a lock: an operator's act.
    ForceRelease {
        /// The request's number.
        id: u64,
        /// The lock.
        #[serde(borrow)]
        name: Cow<'a, str>,
        /// The namespace that it is in.
        #[serde(default, borrow)]
        namespace: Cow<'a, str>,
    },
    /// The process is done: everything that it has is released at once, and the connection ends.
    Goodbye {},
    /// The greeting: the first message of a connection, and always a line of JSON.
    #[serde(borrow)]
    Hello(Hello<'a>),
    /// Asks what is known of a lock.
    Inspect {
        /// The request's number.
        id: u64,
        /// The lock.
        #[serde(borrow)]
        name: Cow<'a, str>,
        /// The namespace that it is in.
        #[serde(default, borrow)]
        namespace: Cow<'a, str>,
    },
    /// Asks for every lock whose name begins with a prefix, a page at a time.
    List {
        /// The request's number.
        id: u64,
        /// The namespace; `None` for all of them.
        #[serde(default, borrow)]
        namespace: Option<Cow<'a, str>>,
        /// What the names begin with.
        #[serde(default, borrow)]
        prefix: Cow<'a, str>,
        /// Where the page before ended: its `next`.
        #[serde(default)]
        after: Option<super::Next>,
    },
    /// Asks for an answer.
    Ping {
        /// The request's number.
        id: u64,
    },
    /// Says on a new connection that a section is still held.
    #[serde(borrow)]
    Reclaim(Reclaim<'a>),
    /// Ends a section, or takes a request back.
    Release {
        /// The request's number.
        id: u64,
        /// The lock.
        #[serde(borrow)]
        name: Cow<'a, str>,
        /// The namespace that it is in.
        #[serde(default, borrow)]
        namespace: Cow<'a, str>,
        /// The acquisition.
        owner: Owner,
        /// Whether the body has run, so that the name rests where `at_least` says so. A request
        /// that is taken back has no body that ran.
        #[serde(default)]
        body_ran: bool,
    },
    /// Starts leases anew.
    Renew {
        /// The request's number.
        id: u64,
        /// Which.
        #[serde(borrow)]
        leases: Vec<Renewal<'a>>,
    },
    /// On a new connection: everything that is still held has been reclaimed, everything that is
    /// still waited for has been asked for. What the session had besides is released.
    Settled {
        /// The request's number.
        id: u64,
    },
    /// Names a place in the code, for requests to refer to.
    #[serde(borrow)]
    Site(SiteInfo<'a>),
    /// Moves a lock from one caller to another.
    #[serde(borrow)]
    Transfer(Transfer<'a>),
    /// Takes a lock back from its holder.
    #[serde(borrow)]
    Unassign(Unassign<'a>),
}

/// The greeting of a process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello<'a> {
    /// The version of the protocol that it speaks.
    pub version: u32,
    /// What the service calls itself.
    #[serde(default, borrow)]
    pub application: Cow<'a, str>,
    /// The host that it says it runs on.
    #[serde(default, borrow)]
    pub host: Cow<'a, str>,
    /// The encoding that it would like for everything after the greetings.
    #[serde(default)]
    pub encoding: super::Encoding,
    /// The session, to be taken up again on another connection; `None` for one that ends with
    /// its connection.
    #[serde(default)]
    pub session: Option<Nonce>,
    /// Which connection of the session this is, counted by the client: one that was given up may
    /// be heard later than the one after it, and is refused then.
    #[serde(default)]
    pub connection: u64,
}

/// A place in the code, under a number that requests refer to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteInfo<'a> {
    /// The number, from zero in steps of one.
    pub number: u32,
    /// The annotated function, where there is one.
    #[serde(default, borrow)]
    pub function: Option<Cow<'a, str>>,
    /// The source file.
    #[serde(borrow)]
    pub file: Cow<'a, str>,
    /// The line in it.
    pub line: u32,
}

/// A request for a section.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acquire<'a> {
    /// The request's number.
    pub id: u64,
    /// The lock.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// The namespace that it is in.
    #[serde(default, borrow)]
    pub namespace: Cow<'a, str>,
    /// The acquisition: random, and secret. The same owner again is the same request again.
    pub owner: Owner,
    /// Who may be in at the same time.
    #[serde(default)]
    pub mode: Mode,
    /// The lease, in milliseconds.
    pub ttl_ms: u64,
    /// How long to queue, in milliseconds; zero does not queue, `None` has no end.
    #[serde(default = "not_at_all")]
    pub wait_ms: Option<u64>,
    /// For how long after the grant the name has to stay busy once the body has run, in
    /// milliseconds.
    #[serde(default)]
    pub at_least_ms: u64,
    /// As which caller; `None` for a request without regard to callers.
    #[serde(default, borrow)]
    pub auth: Option<Auth<'a>>,
    /// Whether the section outlives this process: then it ends with its lease.
    #[serde(default)]
    pub linger: bool,
    /// Where in the code it is asked for: the number of a site.
    #[serde(default)]
    pub site: Option<u32>,
}

// What `default` calls has to return the type of the field.
#[expect(clippy::unnecessary_wraps)]
fn not_at_all() -> Option<u64> {
    Some(0)
}

/// As which caller a request wants to enter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth<'a> {
    /// Who calls; `None` for an anonymous caller.
    #[serde(default, borrow)]
    pub caller: Option<Cow<'a, str>>,
    /// Whether the lock has to be assigned to somebody.
    #[serde(default)]
    pub assigned: bool,
}

/// One lease to be started anew.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renewal<'a> {
    /// The lock.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// The namespace that it is in.
    #[serde(default, borrow)]
    pub namespace: Cow<'a, str>,
    /// The acquisition.
    pub owner: Owner,
    /// The lease from now on, in milliseconds.
    pub ttl_ms: u64,
}

/// A section that a process still holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reclaim<'a> {
    /// The request's number.
    pub id: u64,
    /// The lock.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// The namespace that it is in.
    #[serde(default, borrow)]
    pub namespace: Cow<'a, str>,
    /// The acquisition.
    pub owner: Owner,
    /// The mode that it was granted in.
    #[serde(default)]
    pub mode: Mode,
    /// Its fencing token, where the mode carries one.
    #[serde(default)]
    pub token: Option<FencingToken>,
    /// The lease, in milliseconds.
    pub ttl_ms: u64,
    /// For how long after the grant the name has to stay busy, in milliseconds.
    #[serde(default)]
    pub at_least_ms: u64,
    /// For how long it has been held, in milliseconds.
    #[serde(default)]
    pub held_ms: u64,
    /// Whether the section outlives this process.
    #[serde(default)]
    pub linger: bool,
    /// Where in the code it was asked for: the number of a site.
    #[serde(default)]
    pub site: Option<u32>,
}

/// A section to go on with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adopt<'a> {
    /// The request's number.
    pub id: u64,
    /// The lock.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// The namespace that it is in.
    #[serde(default, borrow)]
    pub namespace: Cow<'a, str>,
    /// The acquisition that is given away: the ticket's owner.
    pub giver: Owner,
    /// The acquisition that goes on.
    pub owner: Owner,
    /// The lease from now on, in milliseconds.
    pub ttl_ms: u64,
    /// Whether the section outlives this process.
    #[serde(default)]
    pub linger: bool,
    /// Where in the code it is adopted: the number of a site.
    #[serde(default)]
    pub site: Option<u32>,
}

/// On whose word a lock changes hands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By<'a> {
    /// A caller: refused when somebody else holds the lock, fine when nobody does.
    #[serde(borrow)]
    Caller(Cow<'a, str>),
    /// A caller who must hold the lock.
    #[serde(borrow)]
    Holder(Cow<'a, str>),
    /// An operator: never refused.
    Operator,
}

/// A lock to be assigned.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assign<'a> {
    /// The request's number.
    pub id: u64,
    /// The attempt: the same again is the same change again.
    pub attempt: Nonce,
    /// The lock.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// The namespace that it is in.
    #[serde(default, borrow)]
    pub namespace: Cow<'a, str>,
    /// The new holder.
    #[serde(borrow)]
    pub to: Cow<'a, str>,
    /// After how many milliseconds it ends by itself; `None` for never.
    #[serde(default)]
    pub ttl_ms: Option<u64>,
    /// On whose word.
    #[serde(borrow)]
    pub by: By<'a>,
    /// The section of this lock that it is done from: refused once that is lost.
    #[serde(default)]
    pub within: Option<Owner>,
}

/// A lock to be moved from one caller to another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer<'a> {
    /// The request's number.
    pub id: u64,
    /// The attempt: the same again is the same change again.
    pub attempt: Nonce,
    /// The lock.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// The namespace that it is in.
    #[serde(default, borrow)]
    pub namespace: Cow<'a, str>,
    /// The new holder.
    #[serde(borrow)]
    pub to: Cow<'a, str>,
    /// On whose word.
    #[serde(borrow)]
    pub by: By<'a>,
    /// The section of this lock that it is done from: refused once that is lost.
    #[serde(default)]
    pub within: Option<Owner>,
}

/// A lock to be taken back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unassign<'a> {
    /// The request's number.
    pub id: u64,
    /// The attempt: the same again is the same change again.
    pub attempt: Nonce,
    /// The lock.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// The namespace that it is in.
    #[serde(default, borrow)]
    pub namespace: Cow<'a, str>,
    /// On whose word.
    #[serde(borrow)]
    pub by: By<'a>,
    /// The section of this lock that it is done from: refused once that is lost.
    #[serde(default)]
    pub within: Option<Owner>,
}
