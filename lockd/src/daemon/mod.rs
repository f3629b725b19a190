//! The program `lockd`: its options, its log, its signals; what it does is in [`crate::server`].

mod options;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

pub use options::Options;

use crate::engine::Limits;
use crate::server::{self, Settings, Shown, passed_socket};

/// It could not be started, or did not end well.
pub const EXIT_FAILURE: u8 = 1;

/// It was called in a way that it does not understand.
pub const EXIT_USAGE: u8 = 2;

/// Runs the program with the arguments and the environment of this process.
#[must_use]
pub fn main() -> ExitCode {
    // Help, the version and mistakes are answered in there.
    let options = Options::parse();
    if let Err(fault) = start_log(&options.log) {
        return usage(&fault);
    }
    let passed = match passed_socket() {
        Ok(passed) => passed,
        Err(error) => return failure(&error),
    };
    let settings = match options.settings(passed, &|name| std::env::var_os(name)) {
        Ok(settings) => settings,
        Err(fault) => return usage(&fault),
    };
    raise_descriptors(&settings.limits);
    let runtime = match server::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return failure(&error),
    };
    let ended = runtime.block_on(run(settings));
    // A look-up that hangs must not keep the program.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure(&*error),
    }
}

async fn run(settings: Settings) -> Result<(), Box<dyn std::error::Error>> {
    // Before anybody hears that it runs: who hears it may stop it.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let stop = async {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => {
                    tracing::info!("SIGHUP is ignored: there is no configuration to read again");
                }
            }
        }
        tracing::info!("stopping");
        notify(&NotifyState::Stopping);
    };
    server::run(settings, announce, stop).await?;
    Ok(())
}

fn announce(path: &Path) {
    let line = format!("lockd listens on unix:{}", Shown(path));
    let mut out = std::io::stdout();
    if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
        tracing::warn!(%error, "nobody reads the standard output");
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "{line}");
    notify(&NotifyState::Ready);
}

fn notify(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

fn start_log(filter: &str) -> Result<(), String> {
    let parsed = EnvFilter::try_new(filter).map_err(|error| {
        format!(
            "--log `{}` is no filter: {error}; try `info`, `debug` or `lockd=debug`",
            filter.escape_debug()
        )
    })?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // The journal has the time already.
    let started = if std::env::var_os("JOURNAL_STREAM").is_some() {
        log.without_time().try_init()
    } else {
        log.try_init()
    };
    started.map_err(|error| format!("the log could not be started: {error}"))
}

/// Lets the process have as many descriptors as the system allows it.
fn raise_descriptors(limits: &Limits) {
    let before = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, most) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    // Every connection is one, and so is every process.
    let connections = u64::try_from(limits.connections).unwrap_or(u64::MAX);
    let needed = connections.saturating_mul(2);
    if let Some(may) = getrlimit(Resource::Nofile).current
        && may < needed
    {
        tracing::info!(
            may,
            needed,
            "this process may not open enough files for --max-connections processes: further \
             ones are refused; raise LimitNOFILE= or `ulimit -Hn` for more"
        );
    }
}

fn failure(error: &dyn std::error::Error) -> ExitCode {
    complain(&error.to_string());
    ExitCode::from(EXIT_FAILURE)
}

fn usage(fault: &str) -> ExitCode {
    complain(&format!("{fault}\n\nFor more information, try '--help'."));
    ExitCode::from(EXIT_USAGE)
}

fn complain(fault: &str) {
    // Where nobody reads it, the exit code has to do.
    let _written = writeln!(std::io::stderr(), "error: {fault}");
}
