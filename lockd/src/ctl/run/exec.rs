//! What becomes the command.
//!
//! It is a process of its own before it is the command, so that it can see to it that it does not
//! outlive lockctl, and so that it does nothing before the warden knows its group.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use crate::ctl::exit;
use crate::ctl::failure::tell;

/// The byte that says: begin.
pub(super) const BEGIN: u8 = b'!';

/// Waits for the word to begin, and becomes the command. Returns an exit code when it does not.
///
/// The arguments are the number of the pipe that the word comes from, the number of lockctl's
/// process, and the command.
pub(in crate::ctl) fn exec(arguments: &[OsString]) -> u8 {
    let [pipe, parent, command, arguments @ ..] = arguments else {
        tell("this is started by `lockctl run` alone");
        return exit::USAGE;
    };
    match wait_for_word(pipe, parent) {
        Ok(true) => {}
        // Nobody is left who would want it.
        Ok(false) => return exit::OS,
        Err(error) => {
            tell(&format!("the command could not be started: {error}"));
            return exit::OS;
        }
    }
    let error = Command::new(command).args(arguments).exec();
    tell(&format!("{}: {error}", command.to_string_lossy()));
    match error.kind() {
        io::ErrorKind::NotFound => exit::NOT_FOUND,
        _ => exit::CANNOT_RUN,
    }
}

fn wait_for_word(pipe: &OsString, parent: &OsString) -> io::Result<bool> {
    let number = |text: &OsString| text.to_str().and_then(|text| text.parse().ok());
    let (Some(pipe), Some(parent)) = (number(pipe), number(parent).and_then(Pid::from_raw)) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let pipe: RawFd = pipe;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() != Some(parent) {
        // It died before that was in place.
        return Ok(false);
    }
    // Opened anew, and the inherited one closed: the command must not inherit it in turn. With
    // nobody at the other end, opening would wait: but then this process dies with lockctl.
    let mut word = File::open(format!("/proc/self/fd/{pipe}"))?;
    nix::unistd::close(pipe)?;
    let mut byte = [0];
    match word.read_exact(&mut byte) {
        Ok(()) => Ok(byte == [BEGIN]),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
