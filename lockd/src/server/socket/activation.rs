//! A socket that the service manager made and passed on: systemd's socket activation.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, sockopt};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

use crate::server::error::ServerError;

/// The socket that the service manager has passed on, when this process was started by it.
///
/// It is a duplicate; the one that was passed stays open until the process ends, as the service
/// manager's own does.
///
/// # Errors
///
/// When something else than exactly one descriptor was passed, or it cannot be taken over.
pub fn passed_socket() -> Result<Option<OwnedFd>, ServerError> {
    let failed = |error: &dyn std::fmt::Display| {
        ServerError::Activation(format!(
            "the service manager's socket could not be taken over: {error}"
        ))
    };
    let mut passed = sd_notify::listen_fds().map_err(|error| failed(&error))?;
    let Some(socket) = passed.next() else {
        return Ok(None);
    };
    if passed.len() > 0 {
        return Err(ServerError::Activation(format!(
            "the service manager passed {} sockets, where lockd listens on one: leave one \
             ListenStream= in its socket unit",
            passed.len() + 1
        )));
    }
    // A number that came in the environment becomes a descriptor that is known to be open by
    // asking the kernel for it, as another process would.
    let own = pidfd_open(getpid(), PidfdFlags::empty()).map_err(|error| failed(&error))?;
    pidfd_getfd(&own, socket, PidfdGetfdFlags::empty())
        .map(Some)
        .map_err(|error| failed(&error))
}

/// Makes sure that it is a listening Unix stream socket with a path, and says which.
pub(super) fn check(socket: OwnedFd) -> Result<(UnixListener, PathBuf), ServerError> {
    let wrong = |what: &str| {
        Err(ServerError::Activation(format!(
            "the service manager passed {what}, where lockd needs a Unix stream socket that \
             listens at a path: ListenStream=/run/lockd/lockd.sock"
        )))
    };
    if sockopt::socket_domain(&socket) != Ok(AddressFamily::UNIX) {
        return wrong("something else than a Unix socket");
    }
    if sockopt::socket_type(&socket) != Ok(SocketType::STREAM) {
        return wrong("a socket that is no stream");
    }
    if sockopt::socket_acceptconn(&socket) != Ok(true) {
        return wrong("a connection (Accept=yes in the socket unit?)");
    }
    let address = rustix::net::getsockname(&socket)
        .ok()
        .and_then(|address| SocketAddrUnix::try_from(address).ok());
    // One without a path has no permissions either: everybody could connect, from any folder.
    let path = address.as_ref().and_then(SocketAddrUnix::path_bytes);
    match path {
        Some([b'/', ..]) => {}
        _ => return wrong("a socket without an absolute path"),
    }
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(path.unwrap_or_default()));
    Ok((UnixListener::from(socket), path))
}
