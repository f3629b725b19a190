//! `lockctl run`: a command under a lock.
//!
//! Three processes work together, so that the command's whole process group has ended before the
//! lock can go to another, whatever becomes of any one of them:
//!
//! * **lockctl** holds the lock, and stands between the command and whoever started it
//!   ([`session`]);
//! * the **warden** ([`mod@warden`]), in a session of its own and deaf to signals, ends the group and
//!   gives the lock back when lockctl has died, and ends the group when lockctl stands still past
//!   its lease;
//! * the **command** begins as lockctl too ([`mod@exec`]): it dies with lockctl, and becomes the
//!   command only when the warden knows its group.

mod exec;
mod group;
mod link;
mod session;
mod signals;
mod terminal;
mod warden;

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lock_runtime::{DEFAULT_TTL, Guard, LockError, LockManager, LockRequest, Wait};
use rustix::process::Signal;

pub(super) use exec::exec;
pub(super) use warden::warden;

use super::args::Run;
use super::exit;
use super::failure::Failure;
use super::place::Place;
use super::text;
use session::Session;
use signals::Signals;

/// The first argument of a lockctl that becomes the command.
pub(super) const EXEC: &str = "__exec";

/// The first argument of a lockctl that is the warden.
pub(super) const WARDEN: &str = "__warden";

/// How long the end waits for what is still to be said to the store.
const FAREWELL: Duration = Duration::from_secs(2);

/// Runs a command while a lock is held, and returns its exit code.
pub(super) async fn run(place: &Place, options: &Run) -> Result<u8, Failure> {
    let mut options = options.clone();
    options.wait = options
        .wait
        .map_or_else(|| set("LOCK_WAIT", text::wait), |wait| Ok(Some(wait)))?;
    options.ttl = options
        .ttl
        .map_or_else(|| set("LOCK_TTL", text::ttl), |ttl| Ok(Some(ttl)))?;
    let options = &options;
    // What is needed to end a group is looked for before there is one.
    File::open("/proc/self/stat").map_err(|error| {
        Failure::os("`run` needs /proc, to see the command's processes", &error)
    })?;
    // From here on a signal is not the end by itself.
    let mut signals = Signals::listen()?;
    let manager = tokio::select! {
        signal = signals.ending() => return Ok(exit::by_signal(signal.as_raw())),
        connected = manager(place, options) => connected?,
    };
    let result = under_lock(&manager, place, options, &mut signals).await;
    // What was taken back or released on the way is told to the store.
    manager.shutdown(FAREWELL).await;
    result
}

/// What a variable of the environment says; an empty one says nothing.
fn set<T>(
    variable: &str,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, Failure> {
    let Some(value) = std::env::var_os(variable).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let value = value.to_string_lossy();
    read(&value)
        .map(Some)
        .map_err(|what| Failure::new(exit::USAGE, format!("{variable} is `{value}`; {what}")))
}

async fn manager(place: &Place, options: &Run) -> Result<LockManager, LockError> {
    let builder = place.builder().application(application(&options.command));
    let builder = builder.ttl(options.ttl.unwrap_or(DEFAULT_TTL));
    builder.connect().await
}

/// What others see of who has the lock: the command's name is what they look for.
fn application(command: &[OsString]) -> String {
    let program = command.first().map(Path::new);
    let name = program.and_then(Path::file_name).unwrap_or_default();
    let name: String = name.to_string_lossy().chars().take(64).collect();
    format!("lockctl run {name}")
}

async fn under_lock(
    manager: &LockManager,
    place: &Place,
    options: &Run,
    signals: &mut Signals,
) -> Result<u8, Failure> {
    let mut request = outlive(manager.lock(options.name.as_str()));
    if options.shared {
        request = request.shared();
    }
    if let Some(permits) = options.permits {
        request = request.permits(permits);
    }
    if options.no_wait {
        request = request.wait(Wait::NONE);
    } else if let Some(wait) = options.wait {
        request = request.wait(wait);
    }
    let guard = tokio::select! {
        biased;
        // Dropping the request takes it back.
        signal = signals.ending() => return Ok(exit::by_signal(signal.as_raw())),
        guard = acquire(request, options) => guard.map_err(|error| refused(error, options))?,
    };
    let mut session = Session::begin(place, options, &guard).await?;
    let ended = session.watch(&guard, signals).await;
    // The group has ended: only now may the lock go on.
    let released = guard.release().await;
    session.dismiss_warden().await;
    let code = ended?;
    match released {
        Ok(()) => Ok(code),
        Err(lost) => Err(Failure::from(lost)),
    }
}

/// A lock with its whole lease: a store may hand it to who waits for a moment only, and the
/// command is ended when less than a part of the lease is left.
async fn acquire(request: LockRequest, options: &Run) -> Result<Guard, LockError> {
    let ttl = options.ttl.unwrap_or(DEFAULT_TTL);
    let guard = request.acquire().await?;
    if guard.expires_in().is_some_and(|left| left < ttl / 2) {
        guard.extend(ttl).await?;
    }
    Ok(guard)
}

/// The section is to outlive this process: should it die, the lock is not free before the warden
/// has ended the command, or the lease has ended.
fn outlive(request: LockRequest) -> LockRequest {
    request.linger()
}

/// A lock that is not to be had has an exit code of the user's choice.
fn refused(error: LockError, options: &Run) -> Failure {
    let mut failure = Failure::from(error);
    if failure.code == exit::BUSY {
        failure.code = options.conflict_exit_code;
    }
    failure
}

/// This very program, also when its file was replaced or removed meanwhile.
fn own_program() -> Command {
    let mut program = Command::new("/proc/self/exe");
    program.arg0("lockctl");
    program
}

/// The variables by which the command knows its lock.
fn name_lock(command: &mut Command, guard: &Guard, name: &str) {
    command.env("LOCK_NAME", name);
    match guard.fencing_token() {
        Some(token) => command.env("LOCK_TOKEN", token.to_string()),
        // One that a command around this one has is not ours.
        None => command.env_remove("LOCK_TOKEN"),
    };
}

/// The signals that ask for an end.
const ENDING: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_see_the_command() {
        let seen = |command: &str| application(&[command.into(), "secret".into()]);
        assert_eq!(seen("/usr/bin/backup"), "lockctl run backup");
        assert_eq!(seen(&"x".repeat(300)).len(), "lockctl run ".len() + 64);
        assert_eq!(seen("/"), "lockctl run ");
    }
}
