//! The only names that the daemon `lockd` may use beside the public ones and the protocol in
//! `wire`: the table that it keeps, and what that needs. Nothing here is for people.

pub use crate::name::{LockName, NameError};
pub use crate::table::{
    Acquired, Ask, Assigned, Description, Effect, Effects, Entry, Found, Giver, NotHeld, Party,
    Place, Refusal, Table, TokenSource, Way, Within,
};

use crate::clock::Moment;
use crate::owner::{OwnerId, OwnerInfo};

/// The moment so many nanoseconds after the clock's start.
#[must_use]
pub fn moment(nanos: u64) -> Moment {
    Moment::from_nanos(nanos)
}

/// A name in a namespace, which is empty for none.
///
/// # Errors
///
/// When either is none.
pub fn lock_name(namespace: &str, name: &str) -> Result<LockName, NameError> {
    if !namespace.is_empty() {
        crate::name::check_namespace(namespace)?;
    }
    Ok(LockName::new(name)?.in_namespace(namespace))
}

/// Checks a lease that was asked for.
///
/// # Errors
///
/// When it is too short or too long; the error says the limits.
pub fn check_ttl(ttl: std::time::Duration) -> Result<(), String> {
    crate::options::check_ttl(ttl)
}

/// A duration as people write it, such as `30s` or `1m 30s`; `None` when it is none.
#[must_use]
pub fn duration(text: &str) -> Option<std::time::Duration> {
    crate::options::duration(text)
}

/// The feature that the scheme of a lock URL needs, where this build is without it.
#[must_use]
pub fn missing_feature(url: &str) -> Option<&'static str> {
    crate::manager::missing_feature(url)
}

/// Where in the code a section was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Code {
    /// The annotated function, where there is one.
    pub function: Option<String>,
    /// The source file.
    pub file: String,
    /// The line in it.
    pub line: u32,
}

/// An owner as it is shown to people.
#[must_use]
pub fn owner_info(
    id: OwnerId,
    (application, host, pid): (&str, &str, u32),
    code: &Code,
) -> OwnerInfo {
    OwnerInfo {
        id,
        application: application.to_owned(),
        host: host.to_owned(),
        pid,
        function: code.function.clone(),
        file: code.file.clone(),
        line: code.line,
    }
}
