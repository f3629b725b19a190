//! The listening socket: who may find it, who may take it over, and how it goes away again.

mod activation;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

pub use activation::passed_socket;

use super::error::{ServerError, Shown};
use super::folder;
use super::lock_file::LockFile;
use super::state_file::with_ending;

/// The longest path that fits an address of a Unix socket, which ends with a zero byte.
pub const LONGEST_PATH: usize = 107;

/// How many connections may wait to be accepted; the system's own limit is usually lower.
const BACKLOG: i32 = 4096;

/// Where the daemon listens.
#[derive(Debug)]
pub enum SocketSource {
    /// It makes a socket at a path.
    Path {
        /// The path, absolute.
        path: PathBuf,
        /// Who may connect: the permissions of the socket.
        mode: u32,
        /// The socket's group; `None` for the daemon's own.
        group: Option<u32>,
    },
    /// The service manager made it, and removes it again.
    Passed(OwnedFd),
}

/// A socket that the daemon listens on, and the lock that says that it does.
#[derive(Debug)]
pub(super) struct ListeningSocket {
    listener: UnixListener,
    bound: Option<Bound>,
    path: PathBuf,
    /// The socket's path without links in the folders above it: the same for everybody.
    real_path: PathBuf,
    lock: LockFile,
}

/// A socket's place in the file system, which is ours to remove.
#[derive(Debug)]
struct Bound {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl ListeningSocket {
    /// Takes the socket: from here on nobody else has it, and nobody can connect before
    /// [`listen`](Self::listen).
    pub(super) fn take(source: SocketSource) -> Result<Self, ServerError> {
        match source {
            SocketSource::Path { path, mode, group } => Self::bind(&path, mode, group),
            SocketSource::Passed(socket) => {
                let (listener, path) = activation::check(socket)?;
                let (_, real_path, lock) = lock(&path)?;
                Ok(Self {
                    listener,
                    bound: None,
                    path,
                    real_path,
                    lock,
                })
            }
        }
    }

    fn bind(path: &Path, mode: u32, group: Option<u32>) -> Result<Self, ServerError> {
        check_path(path)?;
        let (_folder, real_path, lock) = lock(path)?;
        remove_stale(path)?;
        let failed = |error: io::Error| ServerError::io("make the socket", path, error);
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .map_err(|error| failed(error.into()))?;
        // The socket gets its permissions from the descriptor, less the umask. Nothing but the
        // owner's until the group is right; and nobody can connect before it listens.
        rustix::fs::fchmod(&socket, Mode::from_raw_mode(mode & 0o700))
            .map_err(|error| failed(error.into()))?;
        let address = SocketAddrUnix::new(path).map_err(|error| failed(error.into()))?;
        rustix::net::bind(&socket, &address).map_err(|error| failed(error.into()))?;
        let bound = Bound::at(path).map_err(failed)?;
        if let Some(group) = group {
            std::os::unix::fs::lchown(path, None, Some(group))
                .map_err(|error| ServerError::io("change the group of the socket", path, error))?;
        }
        let mode = Mode::from_raw_mode(mode);
        rustix::fs::chmodat(rustix::fs::CWD, path, mode, AtFlags::empty())
            .map_err(|error| failed(error.into()))?;
        bound
            .verify(mode, group.map(Gid::from_raw))
            .map_err(failed)?;
        Ok(Self {
            listener: UnixListener::from(socket),
            bound: Some(bound),
            path: path.to_path_buf(),
            real_path,
            lock,
        })
    }

    /// Where it is, as the operator named it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where it is, without links.
    pub(super) fn real_path(&self) -> &Path {
        &self.real_path
    }

    /// The file that keeps others away, and remembers the last run.
    pub(super) fn lock_file(&self) -> &LockFile {
        &self.lock
    }

    /// Begins to listen. Returns the listener, what removes the socket when it is dropped, and
    /// the lock, which is to be kept until everything else has ended.
    pub(super) fn listen(self) -> Result<(UnixListener, SocketPlace, LockFile), ServerError> {
        let failed = |error: io::Error| ServerError::io("listen on", &self.path, error);
        if self.bound.is_some() {
            rustix::net::listen(&self.listener, BACKLOG).map_err(|error| failed(error.into()))?;
        }
        self.listener.set_nonblocking(true).map_err(failed)?;
        Ok((self.listener, SocketPlace { _bound: self.bound }, self.lock))
    }
}

/// The socket's place in the file system. Dropping it removes the socket, where it is ours.
#[derive(Debug)]
pub(super) struct SocketPlace {
    _bound: Option<Bound>,
}

impl Bound {
    fn at(path: &Path) -> io::Result<Self> {
        let found = path.symlink_metadata()?;
        Ok(Self {
            path: path.to_path_buf(),
            device: found.dev(),
            inode: found.ino(),
        })
    }

    fn is_ours(&self, found: &fs::Metadata) -> bool {
        (found.dev(), found.ino()) == (self.device, self.inode)
    }

    /// Whether the permissions are what they are meant to be; some file systems have their own.
    fn verify(&self, mode: Mode, group: Option<Gid>) -> io::Result<()> {
        let found = self.path.symlink_metadata()?;
        if !self.is_ours(&found) || !found.file_type().is_socket() {
            return Err(io::Error::other("somebody has replaced it at once"));
        }
        if found.mode() & 0o7777 != mode.as_raw_mode() {
            return Err(io::Error::other(format!(
                "its mode is {:04o} and not {:04o}; this file system keeps none",
                found.mode() & 0o7777,
                mode.as_raw_mode()
            )));
        }
        if group.is_some_and(|group| group.as_raw() != found.gid()) {
            return Err(io::Error::other(format!("its group is {}", found.gid())));
        }
        Ok(())
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Another daemon's socket may be there, when somebody removed ours and its lock by hand.
        match self.path.symlink_metadata() {
            Ok(found) if self.is_ours(&found) => {
                if let Err(error) = fs::remove_file(&self.path) {
                    tracing::warn!(socket = %Shown(&self.path), %error, "the socket stays behind");
                }
            }
            Ok(_) => {
                tracing::warn!(
                    socket = %Shown(&self.path),
                    "the socket is no longer the one that was made here; it stays"
                );
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(socket = %Shown(&self.path), %error, "the socket stays behind");
            }
        }
    }
}

/// Makes sure of the folder, and that no other daemon has the socket.
fn lock(path: &Path) -> Result<(File, PathBuf, LockFile), ServerError> {
    let (parent, name) = folder::split(path)?;
    let opened = folder::prepare(&parent)?;
    let lock_path = parent.join(with_ending(&name, ".lock"));
    let lock = LockFile::take(&opened, &lock_path, ("the socket", path))?;
    let real_path = parent
        .canonicalize()
        .map_err(|error| ServerError::io("look at the folder", &parent, error))?
        .join(name);
    Ok((opened, real_path, lock))
}

fn check_path(path: &Path) -> Result<(), ServerError> {
    let fault = |fault: String| {
        Err(ServerError::Path {
            path: path.to_path_buf(),
            fault,
        })
    };
    let length = path.as_os_str().len();
    if length > LONGEST_PATH {
        return fault(format!(
            "has {length} bytes; the address of a Unix socket takes {LONGEST_PATH} at most"
        ));
    }
    if !path.is_absolute() {
        return fault("is not absolute; clients may run in another folder".to_owned());
    }
    if path.as_os_str().as_bytes().contains(&0) {
        return fault("has a zero byte in it".to_owned());
    }
    Ok(())
}

/// Removes the socket of a daemon that is gone. To be called with the lock.
fn remove_stale(path: &Path) -> Result<(), ServerError> {
    let found = match path.symlink_metadata() {
        Ok(found) => found.file_type(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(ServerError::io("look at", path, error)),
    };
    let occupied = |found| {
        Err(ServerError::Occupied {
            path: path.to_path_buf(),
            found,
        })
    };
    if found.is_symlink() {
        return occupied("a symbolic link");
    }
    if found.is_dir() {
        return occupied("a folder");
    }
    if !found.is_socket() {
        return occupied("not a socket");
    }
    // Nobody has the lock; yet it may belong to somebody who does not know it, as a service
    // manager that listens itself. That one is refused like a daemon of ours.
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Ok(_) => {
            return Err(ServerError::InUse {
                what: "the socket",
                path: path.to_path_buf(),
                pid: None,
            });
        }
        Err(error) => {
            return Err(ServerError::io(
                "see whether anybody listens on",
                path,
                error,
            ));
        }
    }
    match fs::remove_file(path) {
        Ok(()) => {
            tracing::info!(socket = %Shown(path), "removed the socket of a daemon that is gone");
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(ServerError::io("remove the stale socket", path, error)),
    }
}
