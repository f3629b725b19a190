//! `lockctl`, the command line that looks after any lock store by its URL.
//!
//! It uses the public interface of `lock_runtime` alone, so that it works on every backend. One
//! subcommand is one file. `run`, which starts a command under a lock, is a folder: three
//! processes work together there.

mod args;
mod assign;
mod exit;
mod failure;
mod list;
mod output;
mod pages;
mod ping;
mod place;
mod release;
mod run;
mod show;
mod table;
mod text;
mod view;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use failure::Failure;
use place::Place;

/// Runs `lockctl` with these arguments, the program's name first, and returns its exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // The two parts that `run` starts itself: no commands of the user's, so not known to clap.
    match arguments.get(1).and_then(|first| first.to_str()) {
        Some(run::EXEC) => return ExitCode::from(run::exec(&arguments[2..])),
        Some(run::WARDEN) => return ExitCode::from(run::warden()),
        _ => {}
    }
    let code = match Cli::try_parse_from(arguments) {
        Ok(cli) => execute(&cli).unwrap_or_else(|failure| failure.report()),
        Err(error) => args::refuse(&error),
    };
    ExitCode::from(code)
}

/// Does what was asked for. What needs no store does not look for one.
fn execute(cli: &Cli) -> Result<u8, Failure> {
    match &cli.command {
        Command::Completions(options) => return pages::completions(options),
        Command::Man(options) => return pages::man(options),
        _ => {}
    }
    let place = Place::find(&cli.store)?;
    // One thread: a command that is to die with the thread that started it dies with the process.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::os("no runtime could be started", &error))?;
    runtime.block_on(async {
        match &cli.command {
            Command::List(options) => list::list(&place, options).await,
            Command::Show(options) => show::show(&place, options).await,
            Command::Watch(options) => watch::watch(&place, options).await,
            Command::Run(options) => run::run(&place, options).await,
            Command::Release(options) => release::release(&place, options).await,
            Command::Assign(options) => assign::assign(&place, options).await,
            Command::Transfer(options) => assign::transfer(&place, options).await,
            Command::Ping(options) => ping::ping(&place, options).await,
            Command::Completions(options) => pages::completions(options),
            Command::Man(options) => pages::man(options),
        }
    })
}
