//! lockd's protocol: what is said between a process and the daemon, and how it is framed.
//!
//! The page `lockd/PROTOCOL.md` describes it with examples, for clients in other languages. The
//! daemon and the backend `lockd` meet here and nowhere else.
//!
//! A connection begins with a line of JSON each way, [`ToDaemon::Hello`] and [`ToClient::Hello`];
//! they agree on the [`Encoding`] of everything after them. Requests carry a number that the
//! client chose, and answers repeat it, in any order. A request that gets no answer took effect
//! or did not: it may be sent again on the next connection, because every one of them names the
//! acquisition or the attempt that it is about.

mod ask;
mod frame;
mod nonce;
mod tell;

pub use ask::{
    Acquire, Adopt, Assign, Auth, By, Hello, Reclaim, Renewal, SiteInfo, ToDaemon, Transfer,
    Unassign,
};
pub use frame::{Encoding, Frame, FrameError, next_frame};
pub use nonce::Nonce;
pub use tell::{
    Blocker, ErrorCode, LockOnWire, Next, OwnerOnWire, SectionOnWire, ToClient, WaiterOnWire,
    Welcome,
};

/// The version of the protocol. A daemon refuses every other.
pub const VERSION: u32 = 1;

/// The longest frame to the daemon, in bytes, with its line end or its length.
pub const MAX_REQUEST: usize = 64 * 1024;

/// The longest greeting, in bytes: it comes from somebody who has not said yet who it is.
pub const MAX_HELLO: usize = 8 * 1024;

/// The longest frame to a client, in bytes.
pub const MAX_REPLY: usize = 1024 * 1024;

/// The longest caller's identity, in bytes.
pub const MAX_CALLER: usize = 1024;

/// The longest application, host, function or file, in bytes.
pub const MAX_TEXT: usize = 512;

#[cfg(test)]
mod tests;
