//! What has to be in place before anybody is served: the socket, the state, the engine.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::error::{ServerError, Shown};
use super::lock_file::{LockFile, Ran};
use super::peer::pid_namespace;
use super::socket::ListeningSocket;
use super::state_file::{StateFile, name_for};
use super::time::Time;
use super::{Settings, StatePlace};
use crate::engine::{Engine, Limits, Saved};

/// The boot of this machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What a daemon has in hand before it serves anybody.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) socket: ListeningSocket,
    pub(super) state: StateFile,
    pub(super) engine: Engine,
    /// This run, to be noted as soon as its state may be missed.
    pub(super) run: Ran,
    /// Whether the state is there, so that it may be missed from now on.
    pub(super) state_is_there: bool,
    /// Whether the state speaks of processes by the numbers that they have here.
    pub(super) processes_are_known: bool,
}

impl Prepared {
    pub(super) fn new(
        socket: super::SocketSource,
        place: &StatePlace,
        reset: bool,
        limits: Limits,
        time: &Time,
    ) -> Result<Self, ServerError> {
        let boot = boot_id()?;
        let socket = ListeningSocket::take(socket)?;
        let state = StateFile::open(&state_path(place, socket.real_path())?)?;
        let run = Ran {
            boot,
            state: text_of(state.path())?,
            pid_namespace: pid_namespace()
                .map_err(|error| ServerError::io("read", Path::new("/proc/self/ns/pid"), error))?,
        };
        let processes_are_known = state
            .ran()
            .is_some_and(|ran| (&ran.boot, &ran.pid_namespace) == (&run.boot, &run.pid_namespace));
        let saved = saved(socket.lock_file(), &state, &run, reset)?;
        let engine = Engine::new(limits, &saved, &run.boot, time.now(), time.wall())
            .map_err(|fault| ServerError::unreadable(state.path(), &fault))?;
        Ok(Self {
            socket,
            state,
            engine,
            run,
            state_is_there: matches!(saved, Saved::Text(_)),
            processes_are_known,
        })
    }
}

/// What was saved, where nothing that has to be there is missing.
fn saved(
    socket: &LockFile,
    state: &StateFile,
    run: &Ran,
    reset: bool,
) -> Result<Saved, ServerError> {
    if reset {
        reset_state(state)?;
        return Ok(Saved::Nothing);
    }
    // The last run in this boot: its clients may still hold what only its state knows of. Both
    // locks know of one: the socket's of the last on this socket, the state's of the last with
    // this state.
    let ran = [socket.ran(), state.ran()]
        .into_iter()
        .flatten()
        .find(|ran| ran.boot == run.boot);
    match (state.read()?, ran) {
        (_, Some(ran)) if ran.state != run.state => Err(ServerError::StateMissing(format!(
            "lockd has run on this socket since the machine was booted, and kept its state in {}, \
             not in {}: start it with that --state",
            Shown(Path::new(&ran.state)),
            Shown(state.path())
        ))),
        (None, Some(_)) => Err(ServerError::StateMissing(format!(
            "lockd has run since the machine was booted, but its state file {} is missing",
            Shown(state.path())
        ))),
        (Some(text), _) => Ok(Saved::Text(text)),
        (None, None) => Ok(Saved::Nothing),
    }
}

fn reset_state(state: &StateFile) -> Result<(), ServerError> {
    let aside = state.set_aside()?;
    tracing::warn!(
        state = %Shown(state.path()),
        aside = aside.map(|aside| Shown(&aside).to_string()),
        "the state is reset: whoever still holds a lock of the run before is not known any more"
    );
    Ok(())
}

fn state_path(place: &StatePlace, socket: &Path) -> Result<PathBuf, ServerError> {
    match place {
        StatePlace::File(path) => std::path::absolute(path)
            .map_err(|error| ServerError::io("find the state file", path, error)),
        StatePlace::Folder(folder) => {
            let folder = std::path::absolute(folder)
                .map_err(|error| ServerError::io("find the folder", folder, error))?;
            // It is nobody's but the daemon's by its very name; above it are folders that
            // belong to the user or the system, and are there but on the first day.
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)
                .map_err(|error| ServerError::io("make the folder", &folder, error))?;
            Ok(folder.join(name_for(socket)))
        }
    }
}

/// A path as it is noted.
fn text_of(path: &Path) -> Result<String, ServerError> {
    match path.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(ServerError::Path {
            path: path.to_path_buf(),
            fault: "of its state is not UTF-8; choose another --state".to_owned(),
        }),
    }
}

fn boot_id() -> Result<String, ServerError> {
    let path = Path::new(BOOT_ID);
    let id = std::fs::read_to_string(path).map_err(|error| ServerError::io("read", path, error))?;
    Ok(id.trim().to_owned())
}

impl Settings {
    pub(super) fn prepare(self, time: &Time) -> Result<(Prepared, super::Allowed), ServerError> {
        let prepared = Prepared::new(
            self.socket,
            &self.state,
            self.reset_state,
            self.limits,
            time,
        )?;
        Ok((prepared, self.allowed))
    }
}

#[cfg(test)]
mod tests;
