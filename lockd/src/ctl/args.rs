//! The arguments.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use lock_runtime::Wait;

use super::exit;
use super::text;

/// Looks after the locks of a store: shows them, takes one for a command, sets one free.
#[derive(Debug, Parser)]
#[command(
    name = "lockctl",
    version,
    after_help = exit::HELP,
    subcommand_required = true,
    arg_required_else_help = false
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) store: Store,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Which store.
#[derive(Args, Debug)]
pub(super) struct Store {
    /// Where the locks live, such as unix:/run/lockd/lockd.sock. Default: the lockd at
    /// $XDG_RUNTIME_DIR/lockd/lockd.sock or /run/lockd/lockd.sock, where there is one
    #[arg(long, global = true, env = "LOCK_URL", hide_env_values = true)]
    pub(super) url: Option<String>,

    /// The namespace of the service whose locks are meant
    #[arg(long, global = true, env = "LOCK_NAMESPACE")]
    pub(super) namespace: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    List(List),
    Show(Show),
    Watch(Watch),
    Run(Run),
    Release(Release),
    Assign(Assign),
    Transfer(Transfer),
    Ping(Ping),
    Completions(Completions),
    Man(Man),
}

/// Lists the locks that are held, assigned, resting or waited for
///
/// With --json, one array of objects. Every field is always there, null where there is nothing to
/// say; times are in milliseconds:
///
///   name, namespace
///   state           held, shared, permits, resting, assigned, waited_for or free
///   locked          whether a section runs, or the name rests
///   holder          the caller to whom it is assigned
///   assigned_at_ms, assignment_ends_at_ms   since 1970
///   resting_ms      how long the name stays busy although nobody runs
///   waiting         how many wait
///   sections        an array of owner, application, host, pid, function, file, line,
///                   mode (exclusive, shared or permits), permits, token, held_ms,
///                   lease_left_ms
///   queue           the first of those who wait, for `show` alone: an array of owner,
///                   application, host, pid, function, file, line, mode, permits, waited_ms
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct List {
    /// Only names that begin with this
    #[arg(default_value = "")]
    pub(super) prefix: String,
    /// Writes one JSON array
    #[arg(long)]
    pub(super) json: bool,
}

/// Shows everything that is known of one lock
///
/// The exit code is 0 whether it is locked or not; the field `locked` says which. With --quiet,
/// nothing is written, and the exit code says it: 0 when it is free, 1 when it is locked.
#[derive(Args, Debug)]
pub(super) struct Show {
    /// The lock
    pub(super) name: String,
    /// Writes one JSON object, with the fields that `list` has
    #[arg(long)]
    pub(super) json: bool,
    /// Writes nothing: exit code 0 when it is free, 1 when a section runs or the name rests
    #[arg(long, short, conflicts_with = "json")]
    pub(super) quiet: bool,
}

/// Shows the list of locks, again at every change
///
/// On a terminal the table is drawn in its place, until Ctrl-C. In a pipe one block, or one line
/// of JSON, is written per change: {"locks": […]} as `list` has them, or {"error": "…"} while the
/// store is away. How long something takes is not a change.
#[derive(Args, Debug)]
pub(super) struct Watch {
    /// Only names that begin with this
    #[arg(default_value = "")]
    pub(super) prefix: String,
    /// How often to look
    #[arg(long, default_value = "1s", value_parser = interval)]
    pub(super) interval: Duration,
    /// Writes one line of JSON per change
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs a command while a lock is held
///
/// Ends with the command's exit code, or 128+n when signal n ended it. The command has LOCK_NAME
/// and, where the lock gives one, the fencing token in LOCK_TOKEN in its environment.
///
/// The command has a process group of its own, and all of it has ended before the lock is given
/// back: what the command leaves running in it gets SIGTERM, and SIGKILL 5 s later. When the lock
/// cannot be renewed, the group gets SIGTERM when a quarter of the lease is left and SIGKILL when
/// a tenth is left; when the lock was taken away by force, SIGKILL at once. When lockctl itself
/// dies, even by SIGKILL, a second process of its own, the warden, ends the group and gives the
/// lock back only then; when lockctl stands still, as after Ctrl-Z, the warden kills the group
/// before the lease ends. What starts a session or a group of its own (setsid) is not part of the
/// group.
///
/// SIGINT, SIGTERM, SIGHUP and SIGQUIT go on to the group, SIGUSR1 and SIGUSR2 to the command.
#[derive(Args, Clone, Debug)]
#[command(after_help = exit::HELP)]
pub(super) struct Run {
    /// The lock
    pub(super) name: String,
    /// How long to wait for the lock: such as 500ms, 30s or 1m30s, or `forever`.
    /// Default: LOCK_WAIT, or else 30s
    #[arg(long, short, value_parser = text::wait)]
    pub(super) wait: Option<Wait>,
    /// Does not wait
    #[arg(long = "try", short = 'n', conflicts_with = "wait")]
    pub(super) no_wait: bool,
    /// The lease: for how long the lock outlives a lost connection or a dead host. Default:
    /// LOCK_TTL, or else 30s
    #[arg(long, value_parser = text::duration)]
    pub(super) ttl: Option<Duration>,
    /// Beside others who ask for it shared
    #[arg(long, short, conflicts_with = "permits")]
    pub(super) shared: bool,
    /// At most so many owners at a time
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) permits: Option<u32>,
    /// The exit code when the lock was not to be had in time
    #[arg(long, short = 'E', value_name = "CODE", default_value_t = exit::BUSY)]
    pub(super) conflict_exit_code: u8,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}

/// Takes a lock back from the caller to whom it is assigned, or ends its sections by force
///
/// Without --force: takes the assignment back, on the operator's word. Refused with exit code 1
/// while a section runs. A lock that is not assigned stays as it is.
///
/// With --force: ends every section that runs, and says how many. Whoever was inside is told that
/// the lock is lost, and may still be writing. An assignment stays; `release` once more takes it
/// back.
#[derive(Args, Debug)]
pub(super) struct Release {
    /// The lock
    pub(super) name: String,
    /// Ends the sections that run
    #[arg(long)]
    pub(super) force: bool,
    /// Writes one JSON object: name, ended (how many sections), taken_from (a caller or null)
    #[arg(long)]
    pub(super) json: bool,
}

/// Assigns a lock to a caller, on the operator's word: whoever holds it
#[derive(Args, Debug)]
pub(super) struct Assign {
    /// The lock
    pub(super) name: String,
    /// The new holder
    pub(super) caller: String,
    /// The assignment ends by itself after this time. Default: never
    #[arg(long, value_parser = text::duration)]
    pub(super) ttl: Option<Duration>,
    /// Writes one JSON object: name, holder
    #[arg(long)]
    pub(super) json: bool,
}

/// Moves a lock to another caller, on the operator's word: with the kind of end it had
#[derive(Args, Debug)]
pub(super) struct Transfer {
    /// The lock
    pub(super) name: String,
    /// The new holder
    pub(super) caller: String,
    /// Only if this caller holds it; otherwise it is refused with exit code 1
    #[arg(long, value_name = "CALLER")]
    pub(super) from: Option<String>,
    /// Writes one JSON object: name, holder
    #[arg(long)]
    pub(super) json: bool,
}

/// Asks the store for a sign of life, and says how long it took
#[derive(Args, Debug)]
pub(super) struct Ping {
    /// Writes one JSON object: url, connect_ms, round_trip_ms, with fractions
    #[arg(long)]
    pub(super) json: bool,
}

/// Writes a completion script for a shell
#[derive(Args, Debug)]
pub(super) struct Completions {
    /// The shell
    pub(super) shell: clap_complete::Shell,
}

/// Writes the manual pages of lockctl and lockd into a directory, or without one lockctl's own to
/// the output
#[derive(Args, Debug)]
pub(super) struct Man {
    /// The directory, which must exist
    pub(super) directory: Option<PathBuf>,
}

/// How often to look: at least ten times a second is enough for people, and kind to the store.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = text::duration(text)?;
    if (Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&interval) {
        Ok(interval)
    } else {
        Err("it must be between 100ms and 1h".to_owned())
    }
}

/// Says why arguments were refused, or gives the help that was asked for; returns the exit code.
pub(super) fn refuse(error: &clap::Error) -> u8 {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Who reads no more has enough.
            let _written = error.print();
            exit::OK
        }
        _ => {
            let text = error.to_string();
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            // It has lines of its own; every one of them is made harmless.
            for (number, line) in text.trim_end().lines().enumerate() {
                if number == 0 {
                    super::failure::tell(line);
                } else {
                    eprintln_quietly(line);
                }
            }
            exit::USAGE
        }
    }
}

fn eprintln_quietly(line: &str) {
    use std::io::Write;
    let _told = writeln!(std::io::stderr(), "{}", text::Clean(line));
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
