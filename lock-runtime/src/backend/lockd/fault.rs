//! What goes wrong with the daemon, and what to do about it, in words.

use std::fmt;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::BackendError;
use crate::info::Shown;
use crate::wire::{ErrorCode, FrameError, VERSION};

/// Where the daemon listens, as it is shown: the path is somebody's input.
#[derive(Clone, Debug)]
pub(super) struct Place(PathBuf);

impl Place {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.0.to_string_lossy();
        write!(f, "lockd at `{}`", path.escape_debug())
    }
}

/// The socket could not be connected to.
pub(super) fn no_connection(place: &Place, error: io::Error) -> BackendError {
    let is_other_file = || {
        let found = std::fs::metadata(place.path());
        found.is_ok_and(|found| !found.file_type().is_socket())
    };
    let what = match error.kind() {
        io::ErrorKind::NotFound => {
            format!("there is no socket of {place}: start lockd, or check the path")
        }
        io::ErrorKind::PermissionDenied => format!(
            "no permission to connect to {place}: this user has to be allowed to use the socket \
             and to pass the folders that it is in"
        ),
        io::ErrorKind::ConnectionRefused if is_other_file() => {
            format!("what is there is not a socket, where {place} was looked for: check the path")
        }
        io::ErrorKind::ConnectionRefused => format!(
            "nobody listens at the socket of {place}: it is left over from one that runs no more; \
             start lockd"
        ),
        io::ErrorKind::InvalidInput => format!(
            "{place} cannot be connected to: the path of a socket has at most 107 bytes, and none \
             of them is zero"
        ),
        _ => format!("{place} cannot be connected to: {error}"),
    };
    BackendError::new(what).caused_by(error)
}

pub(super) fn silent(place: &Place, limit: Duration) -> BackendError {
    BackendError::new(format!(
        "{place} took the connection, and has not answered the greeting within {}: it is busy, or \
         stopped, or something else listens there",
        Shown(limit)
    ))
}

pub(super) fn hung_up(place: &Place) -> BackendError {
    BackendError::new(format!("{place} closed the connection without a word"))
}

pub(super) fn broken(place: &Place, error: io::Error) -> BackendError {
    BackendError::new(format!("the connection to {place} broke: {error}")).caused_by(error)
}

pub(super) fn unreadable(place: &Place, error: FrameError) -> BackendError {
    BackendError::new(format!(
        "what answers as {place} does not speak lockd's protocol: {error}"
    ))
    .caused_by(error)
}

pub(super) fn nonsense(place: &Place, what: &str) -> BackendError {
    BackendError::new(format!("{place} said what makes no sense: {what}"))
}

pub(super) fn other_version(place: &Place, version: u32) -> BackendError {
    BackendError::new(format!(
        "{place} speaks version {version} of the protocol, and this program version {VERSION}: \
         update the older of the two"
    ))
}

pub(super) fn bye(place: &Place, reason: &str) -> BackendError {
    BackendError::new(format!(
        "{place} closed the connection: {}",
        reason.escape_debug()
    ))
}

/// The daemon refused something. What it says is for people, and may hold anything.
pub(super) fn refused(place: &Place, code: ErrorCode, message: &str) -> BackendError {
    let what = match code {
        ErrorCode::Forbidden => "does not serve this process",
        ErrorCode::Limit => "is at one of its limits",
        ErrorCode::ShuttingDown => "is going down",
        ErrorCode::Version => "speaks another version of the protocol",
        ErrorCode::Invalid | ErrorCode::Malformed => "refused the request",
    };
    BackendError::new(format!("{place} {what}: {}", message.escape_debug()))
}

pub(super) fn not_connected(place: &Place) -> BackendError {
    BackendError::new(format!(
        "{place} has not been connected to: call `connect` first"
    ))
}

pub(super) fn connected_already(place: &Place) -> BackendError {
    BackendError::new(format!("{place} is connected already"))
}

pub(super) fn no_runtime(place: &Place) -> BackendError {
    BackendError::new(format!("{place} has to be connected on a tokio runtime"))
}

pub(super) fn ended(place: &Place) -> BackendError {
    BackendError::new(format!(
        "the connection to {place} has ended, with the lock manager that it belonged to"
    ))
}

/// Too many requests wait for an answer, most likely because none comes.
pub(super) fn too_many(place: &Place, limit: usize, trouble: Option<&str>) -> BackendError {
    let why = trouble.map_or_else(String::new, |trouble| {
        format!(", which is out of reach: {trouble}")
    });
    BackendError::new(format!("{limit} requests wait for {place} already{why}"))
}

/// A request has waited for so long that nobody can want it any more.
pub(super) fn too_late(place: &Place, was_sent: bool, trouble: Option<&str>) -> BackendError {
    let why = trouble.map_or_else(String::new, |trouble| format!(": {trouble}"));
    let error = BackendError::new(format!("{place} has been out of reach for too long{why}"));
    if was_sent {
        error.effect_unknown()
    } else {
        error
    }
}

/// A renewal while so many of the same lease have no answer.
pub(super) fn renewing_already(place: &Place, trouble: Option<&str>) -> BackendError {
    let why = trouble.map_or_else(String::new, |trouble| format!(": {trouble}"));
    BackendError::new(format!(
        "{place} has not answered the renewals before this one{why}"
    ))
}

pub(super) fn too_long(what: &str, limit: usize) -> BackendError {
    BackendError::new(format!(
        "{what} has more than {limit} bytes, which lockd does not take"
    ))
}

/// An adoption that was sent twice, and refused the second time.
pub(super) fn unknown_adoption(place: &Place) -> BackendError {
    BackendError::new(format!(
        "the connection to {place} was cut while the section was adopted"
    ))
    .effect_unknown()
}
