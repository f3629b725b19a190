//! Processes, told from every other of this boot, and descriptors that see their end.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::{getsockopt, sockopt::PeerPidfd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::engine::Process;

/// The process that made a connection, and a descriptor that sees its end.
///
/// `None` when it cannot be told for sure: it is in another pid namespace, `/proc` does not show
/// it, or it has ended already and what is at the other end is another process that inherited
/// the connection. Its sections then end with their leases.
pub(super) fn of_connection(socket: &impl AsFd, pid: u32) -> Option<(Process, OwnedFd)> {
    if pid == 0 {
        return None;
    }
    match getsockopt(socket, PeerPidfd) {
        // The kernel says which process it was. While that one lives its number is its own.
        Ok(descriptor) => identify(pid, descriptor),
        // Older kernels do not know the question.
        Err(nix::errno::Errno::ENOPROTOOPT) => match find(pid) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(pid, %error, "the end of a process cannot be seen");
                None
            }
        },
        // It has ended already; older kernels say so in one of these ways.
        Err(nix::errno::Errno::ESRCH | nix::errno::Errno::EINVAL) => None,
        Err(error) => {
            tracing::warn!(pid, %error, "the end of a process cannot be seen");
            None
        }
    }
}

/// A process of the run before: a descriptor that sees its end, or `None` when it has ended.
///
/// # Errors
///
/// When neither can be told.
pub(super) fn find_again(process: Process) -> io::Result<Option<OwnedFd>> {
    match find(process.pid)? {
        Some((found, descriptor)) if found == process => Ok(Some(descriptor)),
        // Another one has the number now, or nobody has.
        Some(_) | None => Ok(None),
    }
}

/// The process that has a number. `None` when nobody has it, which is more than that nobody is
/// to be seen: `/proc` may hide processes, and what is hidden may be alive.
fn find(pid: u32) -> io::Result<Option<(Process, OwnedFd)>> {
    let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Ok(None);
    };
    if !is_shown() {
        return Err(io::Error::other("/proc is that of another pid namespace"));
    }
    let before = start_time(pid);
    let descriptor = match pidfd_open(number, PidfdFlags::empty()) {
        Ok(descriptor) => descriptor,
        Err(Errno::SRCH) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let after = start_time(pid);
    if has_ended(&descriptor) {
        return Ok(None);
    }
    // The same before and after, and alive at the end: the descriptor is of that very process.
    let started = after?;
    if before? != started {
        return Err(io::Error::other(
            "its number was given to another process just now",
        ));
    }
    Ok(Some((Process { pid, started }, descriptor)))
}

/// The process behind a descriptor, as long as it lives.
fn identify(pid: u32, descriptor: OwnedFd) -> Option<(Process, OwnedFd)> {
    if !is_shown() {
        return None;
    }
    let started = match start_time(pid) {
        Ok(started) => started,
        Err(error) => {
            tracing::debug!(pid, %error, "the start of a process is not shown");
            return None;
        }
    };
    // It was alive after that was read; so it was read of this process, and of no later one.
    (!has_ended(&descriptor)).then_some((Process { pid, started }, descriptor))
}

/// Whether a process has ended. What cannot be told has not.
fn has_ended(descriptor: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(descriptor, PollFlags::IN)];
    poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// Whether `/proc` speaks of the same processes as the kernel does to us: in a container it may
/// be that of the host, where our number is another one's.
fn is_shown() -> bool {
    fs::read_link("/proc/self")
        .is_ok_and(|own| own.to_str() == Some(&std::process::id().to_string()))
}

/// What tells the numbers of this process's pid namespace from those of another.
///
/// # Errors
///
/// When `/proc` does not show it.
pub(in crate::server) fn pid_namespace() -> io::Result<String> {
    let link = fs::read_link("/proc/self/ns/pid")?;
    Ok(link.to_string_lossy().into_owned())
}

/// When a process was started, in clock ticks since boot.
fn start_time(pid: u32) -> io::Result<u64> {
    let stat = fs::read(format!("/proc/{pid}/stat"))?;
    parse_start_time(&stat)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc shows no start time"))
}

/// Field 22 of `/proc/PID/stat`. The second field is the program's name in parentheses, which
/// may hold spaces, parentheses and anything else: the last `)` ends it.
fn parse_start_time(stat: &[u8]) -> Option<u64> {
    const FIELD: usize = 22;
    /// The number of the first field after the name.
    const AFTER_NAME: usize = 3;
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&stat[end + 1..]).ok()?;
    rest.split_ascii_whitespace()
        .nth(FIELD - AFTER_NAME)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests;
