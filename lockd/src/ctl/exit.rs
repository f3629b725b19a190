//! Exit codes. Each has one meaning, in every subcommand; the large ones are those of
//! `sysexits.h` where it has a fitting one.
//!
//! `run` ends with the command's own code, which may be any of these.

/// It is done.
pub(super) const OK: u8 = 0;

/// Somebody else has the lock: it was not to be had in time, is not given up, or is not free.
pub(super) const BUSY: u8 = 1;

/// The arguments, the URL or the name are wrong.
pub(super) const USAGE: u8 = 64;

/// The store cannot be reached or failed, or there is none.
pub(super) const UNAVAILABLE: u8 = 69;

/// The store cannot do what was asked for.
pub(super) const UNSUPPORTED: u8 = 70;

/// The operating system refused a process, a pipe or the like.
pub(super) const OS: u8 = 71;

/// The output could not be written.
pub(super) const OUTPUT: u8 = 74;

/// The lock was lost while the command ran, or could not be renewed in time; the command was
/// ended.
pub(super) const LOST: u8 = 75;

/// The command was found but cannot be run.
pub(super) const CANNOT_RUN: u8 = 126;

/// The command was not found.
pub(super) const NOT_FOUND: u8 = 127;

/// The command, or lockctl itself, was ended by a signal, whose number is added to this.
pub(super) const SIGNAL: u8 = 128;

/// What `--help` says of the codes.
pub(super) const HELP: &str = "\
Exit codes:
    0  it is done
    1  somebody else has the lock: it was not to be had in time, is not given up,
       or is not free (`show --quiet`)
   64  the arguments, the URL or the name are wrong
   69  the store cannot be reached or failed, or there is none
   70  the store cannot do what was asked for
   71  the operating system refused a process, a pipe or the like
   74  the output could not be written
   75  the lock was lost while the command ran, or could not be renewed in time;
       the command was ended
  126  the command was found but cannot be run
  127  the command was not found
128+n  the command, or lockctl itself, was ended by signal n

`run` ends with the command's own code, which may be any of these.";

/// The code of an end by this signal.
pub(super) fn by_signal(signal: i32) -> u8 {
    u8::try_from(signal).map_or(u8::MAX, |signal| SIGNAL.saturating_add(signal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_the_help_once() {
        let codes = [
            OK,
            BUSY,
            USAGE,
            UNAVAILABLE,
            UNSUPPORTED,
            OS,
            OUTPUT,
            LOST,
            CANNOT_RUN,
            NOT_FOUND,
        ];
        let told: Vec<u8> = HELP
            .lines()
            .filter_map(|line| line.split_whitespace().next()?.parse().ok())
            .collect();
        assert_eq!(told, codes);
        assert!(HELP.contains(&format!("{SIGNAL}+n")));
    }

    #[test]
    fn a_signal_is_added() {
        assert_eq!(by_signal(15), 143);
        assert_eq!(by_signal(9), 137);
        assert_eq!(by_signal(1000), 255);
    }
}
