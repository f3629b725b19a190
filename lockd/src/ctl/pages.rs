//! `lockctl completions` and `lockctl man`.

use std::fs;
use std::io;
use std::path::Path;

use clap::CommandFactory;

use super::args::{Cli, Completions, Man};
use super::failure::Failure;
use super::{exit, output};
use crate::daemon::Options;

/// Writes the completion script of a shell.
pub(super) fn completions(options: &Completions) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "lockctl", &mut script);
    output::write(&String::from_utf8_lossy(&script))?;
    Ok(exit::OK)
}

/// Writes the manual pages.
pub(super) fn man(options: &Man) -> Result<u8, Failure> {
    match &options.directory {
        Some(directory) => write_all(directory).map_err(|error| {
            let place = directory.display();
            Failure::new(
                exit::OUTPUT,
                format!("the manual pages could not be written to {place}: {error}"),
            )
        })?,
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command())
                .render(&mut page)
                .map_err(|error| Failure::output(&error))?;
            output::write(&String::from_utf8_lossy(&page))?;
        }
    }
    Ok(exit::OK)
}

/// A page for lockctl, one for each of its commands, and one for the daemon.
fn write_all(directory: &Path) -> io::Result<()> {
    clap_mangen::generate_to(Cli::command(), directory)?;
    let mut page = Vec::new();
    // The section of programs that belong to the system's administration.
    let daemon = clap_mangen::Man::new(Options::command()).section("8");
    daemon.render(&mut page)?;
    fs::write(directory.join("lockd.8"), page)
}
