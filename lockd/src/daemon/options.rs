//! The options of the program `lockd`.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use lock_runtime::__daemon;
use nix::unistd::{Group, User};

use crate::engine::Limits;
use crate::server::{Allowed, Settings, SocketSource, StatePlace};

/// Who may connect when nothing else is said.
const DEFAULT_MODE: u32 = 0o600;

/// Where root's daemon listens and keeps its state.
const SYSTEM_SOCKET: &str = "/run/lockd/lockd.sock";
const SYSTEM_STATE: &str = "/var/lib/lockd";

/// Named locks for the processes of this host.
///
/// lockd listens on a Unix socket and keeps the locks of the services that connect to it with
/// LOCK_URL=unix:PATH. It prints one line when it is ready, and logs to the standard error.
#[derive(Clone, PartialEq, Eq, Debug, Parser)]
#[command(name = "lockd", version, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Options {
    /// The socket to listen on.
    ///
    /// The folder has to belong to this user or to root, and nobody else may write into it; it is
    /// made when it is missing. Default: $XDG_RUNTIME_DIR/lockd/lockd.sock, for root
    /// /run/lockd/lockd.sock. With socket activation the service manager's.
    #[arg(long, value_name = "PATH", env = "LOCKD_SOCKET")]
    pub socket: Option<PathBuf>,

    /// The file to keep the state in.
    ///
    /// Default: a file named after the socket in $STATE_DIRECTORY, or for root in /var/lib/lockd,
    /// for others in $XDG_STATE_HOME/lockd or ~/.local/state/lockd. It has to outlast this
    /// program, though not the machine's boot.
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,

    /// Begin anew, whatever the state says.
    ///
    /// Say this once, and only when nothing that used the locks runs any more: whoever still
    /// holds one is forgotten, assignments too. The state that was there is kept beside it as
    /// `.old`.
    #[arg(long)]
    pub reset_state: bool,

    /// The permissions of the socket, octal.
    ///
    /// Whom they let in has to be allowed besides: see --allow-uid and --allow-group.
    /// Default: 0600.
    #[arg(long, value_name = "MODE", value_parser = mode)]
    pub mode: Option<u32>,

    /// The group of the socket, by name or number. Default: this process's own.
    #[arg(long, value_name = "GROUP", value_parser = group)]
    pub group: Option<u32>,

    /// A user who may connect besides this one and root, by name or number; may be repeated.
    #[arg(long, value_name = "USER", value_parser = user)]
    pub allow_uid: Vec<u32>,

    /// A group whose members may connect, by name or number; may be repeated.
    #[arg(long, value_name = "GROUP", value_parser = group)]
    pub allow_group: Vec<u32>,

    /// Connections at a time.
    #[arg(long, value_name = "N", value_parser = count, default_value_t = Limits::default().connections)]
    pub max_connections: usize,

    /// Connections of one process at a time.
    #[arg(long, value_name = "N", value_parser = count, default_value_t = Limits::default().connections_per_process)]
    pub max_connections_per_process: usize,

    /// Locks that one client holds at a time.
    #[arg(long, value_name = "N", value_parser = count, default_value_t = Limits::default().locks_per_session)]
    pub max_locks: usize,

    /// Requests of one client that wait at a time.
    #[arg(long, value_name = "N", value_parser = count, default_value_t = Limits::default().waiting_per_session)]
    pub max_waiting: usize,

    /// Locks that are assigned to callers at a time, of everybody.
    #[arg(long, value_name = "N", value_parser = count, default_value_t = Limits::default().assignments)]
    pub max_assignments: usize,

    /// Bytes that one client may leave unread; one that reads more slowly is disconnected.
    #[arg(long, value_name = "BYTES", value_parser = count, default_value_t = Limits::default().output)]
    pub max_output: usize,

    /// How long a new connection may take to say who it is: `500ms`, `5s`, `1m`.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "5s")]
    pub greeting_timeout: Duration,

    /// How long the rest of a message may take: `500ms`, `10s`, `1m`.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s")]
    pub message_timeout: Duration,

    /// What to log: `error`, `warn`, `info`, `debug`, or a filter as `lockd::server=debug`.
    #[arg(long, value_name = "FILTER", env = "LOCKD_LOG", default_value = "info")]
    pub log: String,
}

const AFTER_HELP: &str = "\
Signals:
  SIGTERM, SIGINT  stop: clients are told, the state is saved, what they hold stays theirs
  SIGHUP           ignored; there is no configuration to read again

Exit codes:
  0  it was stopped
  1  it could not be started, or could not save its last changes
  2  it was called in a way that it does not understand

Examples:
  lockd
      for the services of this user
  lockd --socket /run/lockd/lockd.sock --mode 0660 --group web --allow-group web
      for the members of the group web
";

impl Options {
    /// What they amount to, with a socket that the service manager passed, if it did, and the
    /// variables of an environment.
    ///
    /// # Errors
    ///
    /// When they contradict each other, or something has to be said that is not.
    pub fn settings(
        self,
        passed: Option<OwnedFd>,
        variable: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Settings, String> {
        let is_root = rustix::process::geteuid().is_root();
        let state = match self.state {
            Some(file) => StatePlace::File(file),
            None => StatePlace::Folder(default_state(is_root, variable)?),
        };
        let limits = Limits {
            connections: self.max_connections,
            connections_per_process: self.max_connections_per_process,
            locks_per_session: self.max_locks,
            waiting_per_session: self.max_waiting,
            assignments: self.max_assignments,
            output: self.max_output,
            greeting: self.greeting_timeout,
            unfinished: self.message_timeout,
        };
        let socket = match passed {
            Some(socket) => {
                // All of that is said in the socket unit; here it would be without effect.
                let fault = [
                    (
                        self.socket.is_some(),
                        "--socket (or LOCKD_SOCKET)",
                        "ListenStream=",
                    ),
                    (self.mode.is_some(), "--mode", "SocketMode="),
                    (self.group.is_some(), "--group", "SocketGroup="),
                ]
                .into_iter()
                .find(|(said, ..)| *said);
                if let Some((_, option, unit)) = fault {
                    return Err(format!(
                        "{option} does not go with a socket of the service manager; say {unit} in \
                         its socket unit"
                    ));
                }
                SocketSource::Passed(socket)
            }
            None => {
                let path = match self.socket {
                    Some(path) => path,
                    None => default_socket(is_root, variable)?,
                };
                SocketSource::Path {
                    path: std::path::absolute(&path)
                        .map_err(|error| format!("--socket is no path: {error}"))?,
                    mode: self.mode.unwrap_or(DEFAULT_MODE),
                    group: self.group,
                }
            }
        };
        Ok(Settings {
            socket,
            state,
            reset_state: self.reset_state,
            allowed: Allowed {
                uids: self.allow_uid,
                gids: self.allow_group,
            },
            limits,
        })
    }
}

/// A variable that names a folder. One that is empty, or not absolute, says nothing.
fn folder(variable: &dyn Fn(&str) -> Option<OsString>, name: &str) -> Option<PathBuf> {
    variable(name)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}

fn default_socket(
    is_root: bool,
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, String> {
    if is_root {
        return Ok(PathBuf::from(SYSTEM_SOCKET));
    }
    folder(variable, "XDG_RUNTIME_DIR")
        .map(|folder| folder.join("lockd").join("lockd.sock"))
        .ok_or_else(|| {
            "XDG_RUNTIME_DIR is not set, so that there is no default socket; say --socket PATH"
                .to_owned()
        })
}

fn default_state(
    is_root: bool,
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, String> {
    // The service manager names several with a colon in between; the first is the state's own.
    if let Some(folders) = variable("STATE_DIRECTORY") {
        let first = std::env::split_paths(&folders).next();
        if let Some(first) = first.filter(|first| first.is_absolute()) {
            return Ok(first);
        }
    }
    if is_root {
        return Ok(PathBuf::from(SYSTEM_STATE));
    }
    folder(variable, "XDG_STATE_HOME")
        .or_else(|| folder(variable, "HOME").map(|home| home.join(".local").join("state")))
        .map(|folder| folder.join("lockd"))
        .ok_or_else(|| {
            "neither XDG_STATE_HOME nor HOME is set, so that there is no default place for the \
             state; say --state FILE"
                .to_owned()
        })
}

fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text.strip_prefix("0o").unwrap_or(text), 8) {
        // Execution means nothing for a socket, and the owner has to get in.
        Ok(mode) if mode & !0o666 == 0 && mode & 0o600 == 0o600 => Ok(mode),
        Ok(_) => Err(
            "read and write alone mean something, and the owner needs both: 0600, \
                      0660 or 0666"
                .to_owned(),
        ),
        Err(_) => Err("an octal number as 0660".to_owned()),
    }
}

fn user(text: &str) -> Result<u32, String> {
    account(text, "user", |name| {
        Ok(User::from_name(name)?.map(|user| user.uid.as_raw()))
    })
}

fn group(text: &str) -> Result<u32, String> {
    account(text, "group", |name| {
        Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()))
    })
}

fn account(
    text: &str,
    kind: &str,
    look_up: impl FnOnce(&str) -> nix::Result<Option<u32>>,
) -> Result<u32, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    match look_up(text) {
        Ok(Some(number)) => Ok(number),
        Ok(None) => Err(format!("there is no {kind} of this name")),
        Err(error) => Err(format!("the {kind} could not be looked up: {error}")),
    }
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1: with none of them nothing could be done".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("a whole number".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(3600);
    match __daemon::duration(text) {
        None => Err("a whole number with its unit: 500ms, 5s or 1m".to_owned()),
        Some(duration) if duration.is_zero() || duration > LONGEST => {
            Err("more than nothing, and one hour at most".to_owned())
        }
        Some(duration) => Ok(duration),
    }
}

#[cfg(test)]
mod tests;
