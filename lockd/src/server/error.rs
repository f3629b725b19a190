//! Why the daemon could not be started, or did not end well.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::engine::Unreadable;

/// Why the daemon could not be started, or did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The sockets that the service manager passed are not what the daemon needs.
    #[error("{0}")]
    Activation(String),
    /// A folder is not safe to keep a socket or a state in.
    #[error("the folder {} {fault}", Shown(path))]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        fault: String,
    },
    /// Another daemon has what this one needs.
    #[error("{what} {} is in use by {}; stop that one first, or choose another path",
        Shown(path), Process(*pid))]
    InUse {
        /// What it is: `the socket`, `the state file`.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// The process that has it, where it is known.
        pid: Option<u32>,
    },
    /// The operating system refused something.
    #[error("could not {doing} {}: {source}", Shown(path))]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Something that is not a socket is where the socket should be.
    #[error(
        "{} is {found}; it stays as it is: remove it, or choose another --socket",
        Shown(path)
    )]
    Occupied {
        /// The path of the socket.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// The path is none for a Unix socket.
    #[error("the socket's path {} {fault}", Shown(path))]
    Path {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
    /// The state is missing, or another one than that of the last run.
    #[error(
        "{0}; locks may still be held that only it knows of. If nothing that used them runs \
             any more, start once with --reset-state"
    )]
    StateMissing(String),
    /// The last changes could not be saved before the daemon had to end.
    #[error(
        "the last changes could not be saved in {}: nobody was told that they were done",
        Shown(path)
    )]
    StateNotSaved {
        /// The state file.
        path: PathBuf,
    },
    /// The state cannot be read.
    #[error(
        "the state file {} cannot be gone on from: {fault}. Put a good one in its place, or, \
             if nothing that used its locks runs any more, start once with --reset-state",
        Shown(path)
    )]
    StateUnreadable {
        /// The state file.
        path: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
}

impl ServerError {
    pub(super) fn io(doing: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io {
            doing,
            path: path.to_path_buf(),
            source: source.into(),
        }
    }

    pub(super) fn folder(path: &Path, fault: impl Into<String>) -> Self {
        Self::Folder {
            path: path.to_path_buf(),
            fault: fault.into(),
        }
    }

    pub(super) fn unreadable(path: &Path, fault: &Unreadable) -> Self {
        Self::StateUnreadable {
            path: path.to_path_buf(),
            fault: fault.to_string(),
        }
    }
}

/// A path as it is safe on a terminal and in a log, whoever chose it.
pub(crate) struct Shown<'a>(pub(crate) &'a Path);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.to_string_lossy().escape_debug())
    }
}

struct Process(Option<u32>);

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(pid) => write!(f, "process {pid}"),
            None => f.write_str("another process"),
        }
    }
}
