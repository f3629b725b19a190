//! Folders that are safe to keep a socket or a state in.

use std::fs::{DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::error::{ServerError, Shown};

/// Only we may look into what we make.
const PRIVATE: u32 = 0o700;

/// Who else may write into a folder that is refused.
const OTHERS_WRITE: u32 = 0o022;

/// Makes sure that there is a folder in which nobody but us and root can put, replace or remove
/// anything, and opens it. It is made, without those above it, when it is missing.
///
/// A folder that others may write into is refused even when it is sticky, as `/tmp` is: anybody
/// could be there first under the socket's name, and clients would take that one's word.
pub(super) fn prepare(path: &Path) -> Result<File, ServerError> {
    match DirBuilder::new().mode(PRIVATE).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) if path.symlink_metadata().is_ok() => {
            // A read-only file system may say so before it says that the folder is there.
            tracing::debug!(folder = %Shown(path), %error, "the folder was not made anew");
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let fault = "cannot be made, because the one above it does not exist; make that first";
            return Err(ServerError::folder(path, fault));
        }
        Err(error) => return Err(ServerError::io("make the folder", path, error)),
    }
    check(path)?;
    // What was checked may have been replaced only by us, by root, or by the owner of a folder
    // above, who could do worse; so this is what was checked.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map(File::from)
        .map_err(|error| ServerError::io("open the folder", path, error))
}

fn check(path: &Path) -> Result<(), ServerError> {
    let found = path
        .symlink_metadata()
        .map_err(|error| ServerError::io("look at the folder", path, error))?;
    if found.is_symlink() {
        let fault = "is a symbolic link, which may lead elsewhere tomorrow; name the folder itself";
        return Err(ServerError::folder(path, fault));
    }
    if !found.is_dir() {
        return Err(ServerError::folder(path, "is not a folder"));
    }
    let own = rustix::process::geteuid().as_raw();
    if found.uid() != own && found.uid() != 0 {
        let fault = format!(
            "belongs to user {}, who could put another socket or state there; it has to belong to \
             user {own} or to root",
            found.uid()
        );
        return Err(ServerError::folder(path, fault));
    }
    if found.mode() & OTHERS_WRITE != 0 {
        let fault = format!(
            "may be written by others (mode {:04o}), who could put another socket or state there; \
             use a folder of its own, or take that away: chmod go-w",
            found.mode() & 0o7777
        );
        return Err(ServerError::folder(path, fault));
    }
    Ok(())
}

/// The folder and the name of a file's path.
pub(super) fn split(path: &Path) -> Result<(PathBuf, PathBuf), ServerError> {
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => Ok((folder.to_path_buf(), PathBuf::from(name))),
        _ => Err(ServerError::Path {
            path: path.to_path_buf(),
            fault: "names no file".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests;
