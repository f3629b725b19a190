//! What a backend can do.

use serde::{Deserialize, Serialize};

/// What a backend can do beyond exclusive locks.
///
/// Each field is named after the method, the option or the promise that needs it. A service
/// whose annotations need more than its backend declares is refused at start-up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Capabilities {
    /// A section can go on in another process.
    pub adopt: bool,
    /// A name can stay busy for a while, whatever becomes of body and process.
    pub at_least: bool,
    /// It lives in this process: it answers at once, its futures may be dropped, and its leases
    /// end with the process, so that nothing has to be renewed.
    pub embedded: bool,
    /// Exclusive grants carry fencing tokens that rise over all names.
    pub fencing: bool,
    /// An operator can end sections.
    pub force_release: bool,
    /// Locks can be assigned to callers.
    pub identity: bool,
    /// Locks can be listed.
    pub list: bool,
    /// Several owners at a time, up to a number.
    pub permits: bool,
    /// Waiters queue in the backend, in order, and are woken by it. Without, they poll.
    pub queue: bool,
    /// Readers beside each other, writers alone.
    pub shared: bool,
}

impl Capabilities {
    /// Everything that can be declared, with `embedded` left out.
    #[must_use]
    pub const fn all() -> Self {
        Self {
            adopt: true,
            at_least: true,
            embedded: false,
            fencing: true,
            force_release: true,
            identity: true,
            list: true,
            permits: true,
            queue: true,
            shared: true,
        }
    }

    /// Nothing but exclusive locks with fencing tokens: what the five required methods give.
    #[must_use]
    pub const fn fenced() -> Self {
        let mut capabilities = Self::none();
        capabilities.fencing = true;
        capabilities
    }

    /// Nothing but exclusive locks.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            adopt: false,
            at_least: false,
            embedded: false,
            fencing: false,
            force_release: false,
            identity: false,
            list: false,
            permits: false,
            queue: false,
            shared: false,
        }
    }
}
