//! The file that the daemon's state is in.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::error::ServerError;
use super::folder;
use super::lock_file::{LockFile, Ran};

/// The state file, which one daemon at a time has for itself.
#[derive(Debug)]
pub(super) struct StateFile {
    folder: File,
    path: PathBuf,
    name: PathBuf,
    lock: LockFile,
}

impl StateFile {
    /// Takes the file, which need not exist.
    pub(super) fn open(path: &Path) -> Result<Self, ServerError> {
        let (parent, name) = folder::split(path)?;
        // The service manager gives folders of state by a link, which is its own business.
        let parent = parent.canonicalize().unwrap_or(parent);
        let folder = folder::prepare(&parent)?;
        let lock = parent.join(with_ending(&name, ".lock"));
        let lock = LockFile::take(&folder, &lock, ("the state file", path))?;
        Ok(Self {
            folder,
            path: parent.join(&name),
            name,
            lock,
        })
    }

    /// Where it is, without links.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The last run that used it.
    pub(super) fn ran(&self) -> Option<&Ran> {
        self.lock.ran()
    }

    /// Notes that this run uses it.
    pub(super) fn note_run(&mut self, run: Ran) -> io::Result<()> {
        self.lock.note_run(run)
    }

    /// What is in it. `None` when there is no such file.
    pub(super) fn read(&self) -> Result<Option<Vec<u8>>, ServerError> {
        let failed = |error: io::Error| ServerError::StateUnreadable {
            path: self.path.clone(),
            fault: error.to_string(),
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = match rustix::fs::openat(&self.folder, &self.name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(failed(error.into())),
        };
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(failed(io::Error::other("it is not a regular file")));
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(failed)?;
        Ok(Some(text))
    }

    /// Puts what is there out of the way, for people to look at. Returns where it is now, or
    /// `None` when nothing was there.
    pub(super) fn set_aside(&self) -> Result<Option<PathBuf>, ServerError> {
        let aside = with_ending(&self.name, ".old");
        match rustix::fs::renameat(&self.folder, &self.name, &self.folder, &aside) {
            Ok(()) => Ok(Some(self.path.with_file_name(aside))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(ServerError::io("set aside", &self.path, error)),
        }
    }

    /// Puts a text in its place, durably: afterwards, and after a loss of power at any point,
    /// the file has what it had before or this text, in whole.
    pub(super) fn write(&self, text: &[u8]) -> io::Result<()> {
        let new = with_ending(&self.name, ".new");
        // Left behind by a process that was killed. Nobody else writes here: we have the lock.
        match rustix::fs::unlinkat(&self.folder, &new, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, &new, flags, Mode::RUSR | Mode::WUSR)?;
        let mut file = File::from(file);
        // What could not be written must not take the room that the next attempt needs.
        if let Err(error) = file.write_all(text).and_then(|()| file.sync_all()) {
            let _removed = rustix::fs::unlinkat(&self.folder, &new, AtFlags::empty());
            return Err(error);
        }
        rustix::fs::renameat(&self.folder, &new, &self.folder, &self.name)?;
        self.folder.sync_all()
    }
}

/// The name of a socket's state file: of two sockets, never the same.
pub(super) fn name_for(socket: &Path) -> PathBuf {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};

    let mut name = Vec::new();
    let path = socket.as_os_str().as_bytes();
    for byte in path.strip_prefix(b"/").unwrap_or(path) {
        match byte {
            b'/' => name.push(b'-'),
            b'-' => name.extend_from_slice(b"~d"),
            b'~' => name.extend_from_slice(b"~t"),
            other => name.push(*other),
        }
    }
    name.extend_from_slice(b".state");
    PathBuf::from(OsString::from_vec(name))
}

/// A file's name with something behind it.
pub(super) fn with_ending(name: &Path, ending: &str) -> PathBuf {
    let mut name = name.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests;
