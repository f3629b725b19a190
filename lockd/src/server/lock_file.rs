//! A file that one daemon at a time has for itself, and what it notes there.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::error::ServerError;

/// How often a file is opened anew when it is replaced meanwhile.
const ATTEMPTS: usize = 8;

/// A note is never longer; a file that is has been put there by somebody else.
const LONGEST_NOTE: u64 = 64 * 1024;

/// A file that one daemon at a time has for itself, for as long as this lives. It is never
/// removed: who has it open could otherwise lock a file that nobody else finds.
#[derive(Debug)]
pub(super) struct LockFile {
    file: File,
    path: PathBuf,
    note: Note,
}

/// What is in the file.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Note {
    /// Who has it, while it is locked.
    pid: u32,
    /// When lockd ran here last.
    ran: Option<Ran>,
}

/// A run of lockd that may have given locks away.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Ran {
    /// The boot of the machine that it ran in.
    pub(super) boot: String,
    /// Where it kept its state.
    pub(super) state: String,
    /// The pid namespace whose numbers of processes are in that state.
    pub(super) pid_namespace: String,
}

impl LockFile {
    /// Locks a file of a folder, which is made when it is missing. `what` says in an error what
    /// it is that another process has.
    pub(super) fn take(
        folder: &File,
        path: &Path,
        what: (&'static str, &Path),
    ) -> Result<Self, ServerError> {
        let failed = |error: io::Error| ServerError::io("lock the file", path, error);
        let (_, name) = super::folder::split(path)?;
        for _ in 0..ATTEMPTS {
            let flags = OFlags::RDWR
                | OFlags::CREATE
                | OFlags::NOFOLLOW
                | OFlags::NONBLOCK
                | OFlags::CLOEXEC;
            let file = rustix::fs::openat(folder, &name, flags, Mode::RUSR | Mode::WUSR)
                .map(File::from)
                .map_err(|error| failed(error.into()))?;
            let opened = file.metadata().map_err(failed)?;
            if !opened.is_file() {
                return Err(failed(io::Error::other("it is not a regular file")));
            }
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(ServerError::InUse {
                        what: what.0,
                        path: what.1.to_path_buf(),
                        pid: read(&file)
                            .ok()
                            .map(|note| note.pid)
                            .filter(|pid| *pid != 0),
                    });
                }
                Err(error) => return Err(failed(error.into())),
            }
            // Somebody may have removed it before we had it: then the next one would not meet us.
            match rustix::fs::statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) if (found.st_dev, found.st_ino) == (opened.dev(), opened.ino()) => {}
                Ok(_) | Err(rustix::io::Errno::NOENT) => continue,
                Err(error) => return Err(failed(error.into())),
            }
            let mut note = read(&file).map_err(|error| {
                failed(io::Error::other(format!(
                    "it does not say what lockd writes there ({error}), so that nobody knows \
                     whether lockd has run; remove it if it has not since the machine was booted"
                )))
            })?;
            note.pid = std::process::id();
            let locked = Self {
                file,
                path: path.to_path_buf(),
                note,
            };
            locked.write().map_err(failed)?;
            return Ok(locked);
        }
        Err(failed(io::Error::other("it is replaced again and again")))
    }

    /// When lockd ran here last.
    pub(super) fn ran(&self) -> Option<&Ran> {
        self.note.ran.as_ref()
    }

    /// Notes that lockd runs: from now on its state may be missed.
    pub(super) fn note_run(&mut self, run: Ran) -> io::Result<()> {
        self.note.ran = Some(run);
        self.write()
    }

    /// Another handle of the same lock, for the thread that saves. The lock is free when both
    /// are gone.
    pub(super) fn handle(&self) -> io::Result<Self> {
        Ok(Self {
            file: self.file.try_clone()?,
            path: self.path.clone(),
            note: self.note.clone(),
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// In one write and without emptying the file before, so that a process that is killed
    /// leaves the note before or this one.
    fn write(&self) -> io::Result<()> {
        let mut text = serde_json::to_vec(&self.note)?;
        text.push(b'\n');
        self.file.write_all_at(&text, 0)?;
        self.file.set_len(text.len() as u64)
    }
}

fn read(mut file: &File) -> io::Result<Note> {
    let mut text = Vec::new();
    file.by_ref().take(LONGEST_NOTE).read_to_end(&mut text)?;
    // A longer note is written over a shorter one before the rest is cut off, and the other way
    // round: the first line counts.
    match text.split(|byte| *byte == b'\n').next() {
        None | Some([]) => Ok(Note::default()),
        Some(line) => Ok(serde_json::from_slice(line)?),
    }
}

#[cfg(test)]
mod tests;
