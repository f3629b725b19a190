//! The daemon's I/O around [`crate::engine`]: the socket, its connections, the state file, time.
//!
//! Everything runs on one thread, in one local set, but for the thread that saves. [`Driver`] is
//! what its tasks share; a simulation drives the engine with the same [`Driver`] and
//! [`Connection`] over streams and a store of its own.

mod accept;
mod connection;
pub use connection::Connection;
mod descriptor;
mod driver;
pub use driver::Driver;
mod error;
pub use error::ServerError;
pub(crate) use error::Shown;
mod folder;
mod lock_file;
mod peer;
pub use peer::Allowed;
mod run;
pub use run::run;
mod socket;
pub use socket::{LONGEST_PATH, SocketSource, passed_socket};
mod start;
mod state_file;
mod store;
mod thread;
pub use thread::Server;
pub(crate) use thread::runtime;
mod time;
pub use time::Time;

use std::path::PathBuf;

use crate::engine::Limits;

/// What a daemon is started with.
#[derive(Debug)]
pub struct Settings {
    /// Where it listens.
    pub socket: SocketSource,
    /// Where its state is kept.
    pub state: StatePlace,
    /// Whether it begins anew, whatever it has known before.
    pub reset_state: bool,
    /// Who may connect.
    pub allowed: Allowed,
    /// What a peer is allowed.
    pub limits: Limits,
}

/// Where the state is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StatePlace {
    /// In this file, whose folder is made when it is missing, but not those above it.
    File(PathBuf),
    /// In a file of this folder that is named after the socket. Folders that are missing are
    /// made.
    Folder(PathBuf),
}
