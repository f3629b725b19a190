//! The terminal, which one process group at a time may read.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use rustix::fs::OFlags;
use rustix::process::{Pid, getpgrp};
use rustix::termios::{isatty, tcgetpgrp, tcsetpgrp};

use super::group::Group;

/// The terminal that lockctl was started from.
#[derive(Debug)]
pub(super) struct Terminal {
    tty: File,
    own: Pid,
    command: Group,
}

impl Terminal {
    /// The terminal, if there is one.
    pub(super) fn find(command: Group) -> Option<Self> {
        let flags = i32::try_from(OFlags::NOCTTY.bits()).ok()?;
        let mut options = OpenOptions::new();
        let tty = options
            .read(true)
            .write(true)
            .custom_flags(flags)
            .open("/dev/tty");
        Some(Self {
            tty: tty.ok()?,
            own: getpgrp(),
            command,
        })
    }

    /// Whether a person works with the command directly. Otherwise a pager beside lockctl in a
    /// pipeline may need the terminal, and the command gets it only when it asks.
    pub(super) fn is_direct() -> bool {
        isatty(io::stdin()) && isatty(io::stdout())
    }

    /// Lets the command read it, if it is lockctl's to give. Says whether the command has it.
    pub(super) fn lend(&self) -> bool {
        match tcgetpgrp(&self.tty) {
            Ok(group) if group == self.own => self.give_to(self.command.id()),
            Ok(group) => group == self.command.id(),
            Err(_) => false,
        }
    }

    /// Takes it back, if the command has it.
    pub(super) fn take_back(&self) {
        if tcgetpgrp(&self.tty) == Ok(self.command.id()) {
            self.give_to(self.own);
        }
    }

    fn give_to(&self, group: Pid) -> bool {
        // Who does this from the background is stopped by SIGTTOU, unless it is blocked.
        let mut stop = SigSet::empty();
        stop.add(Signal::SIGTTOU);
        let Ok(before) = stop.thread_swap_mask(SigmaskHow::SIG_BLOCK) else {
            return false;
        };
        let given = tcsetpgrp(&self.tty, group).is_ok();
        let _restored = before.thread_set_mask();
        given
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.take_back();
    }
}
