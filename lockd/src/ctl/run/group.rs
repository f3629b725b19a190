//! The command's process group: who is in it, and how it ends.

use std::fs;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpgrp, kill_process_group};
use tokio::time::Instant;

/// How often a group that is to end is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A process group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group(Pid);

impl Group {
    /// The group that this process leads or led.
    pub(super) fn of(leader: Pid) -> Self {
        Self(leader)
    }

    pub(super) fn id(self) -> Pid {
        self.0
    }

    /// Sends a signal to all members. `false` when there are none, not even dead ones: then the
    /// number may be another's soon.
    pub(super) fn signal(self, signal: Signal) -> bool {
        // A member of another user's counts: it is still there.
        kill_process_group(self.0, signal) != Err(Errno::SRCH)
    }

    /// Whether a member is alive. One that has ended and was not reaped is not.
    pub(super) fn is_alive(self) -> bool {
        processes().any(|process| process.group == self.0.as_raw_pid() && process.is_alive())
    }

    /// Ends it: SIGTERM, and SIGKILL after this long to those who are still there. Returns when
    /// no member is alive.
    ///
    /// # Cancel safety
    ///
    /// What was sent was sent; calling it again begins anew.
    pub(super) async fn end(self, grace: Duration) {
        if !self.signal(Signal::TERM) {
            return;
        }
        // One that is stopped would not see it.
        self.signal(Signal::CONT);
        let deadline = Instant::now() + grace;
        while self.is_alive() && Instant::now() < deadline {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        // Always, and looked at again: a look can miss a process that was started during it.
        // After this signal the group starts none.
        while self.signal(Signal::KILL) && self.is_alive() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// Whether nobody outside of this process's own group, in its session, would continue it if it
/// stopped.
pub(super) fn is_own_group_orphaned() -> bool {
    let own = getpgrp().as_raw_pid();
    let all: Vec<Process> = processes().collect();
    !all.iter()
        .filter(|member| member.group == own)
        .any(|member| {
            all.iter().any(|parent| {
                parent.pid == member.parent
                    && parent.group != own
                    && parent.session == member.session
            })
        })
}

/// A process as `/proc/PID/stat` describes it.
#[derive(Debug, PartialEq, Eq)]
struct Process {
    pid: i32,
    state: char,
    parent: i32,
    group: i32,
    session: i32,
}

impl Process {
    fn read(stat: &str) -> Option<Self> {
        let pid = stat.split_whitespace().next()?.parse().ok()?;
        // The program's name is in parentheses, and may itself hold some.
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        let state = fields.next()?.chars().next()?;
        let mut number = || fields.next()?.parse().ok();
        Some(Self {
            pid,
            state,
            parent: number()?,
            group: number()?,
            session: number()?,
        })
    }

    fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// All processes that can be seen. One that ends meanwhile is left out.
fn processes() -> impl Iterator<Item = Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let name = entry.file_name();
        let is_process = name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
        // A program's name may be no text.
        let stat = is_process.then(|| fs::read(entry.path().join("stat")).ok())??;
        Process::read(&String::from_utf8_lossy(&stat))
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn leader(script: &str) -> (Child, Group) {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped());
        let child = command.process_group(0).spawn();
        let child = child.unwrap();
        let pid = Pid::from_child(&child);
        (child, Group::of(pid))
    }

    #[test]
    fn a_name_with_parentheses_is_skipped() {
        let process = Process::read("12 (a) b) Z 3 4 5 6").unwrap();
        assert_eq!((process.pid, process.parent), (12, 3));
        assert_eq!((process.group, process.session), (4, 5));
        assert!(!process.is_alive());
        assert_eq!(Process::read("12 (a"), None);
    }

    #[tokio::test]
    async fn a_group_that_ignores_the_first_signal_ends() {
        let (mut child, group) = leader("trap '' TERM; echo deaf; sleep 1000 & exec sleep 1000");
        let mut word = [0; 5];
        child.stdout.take().unwrap().read_exact(&mut word).unwrap();
        assert!(group.is_alive());
        group.end(Duration::from_millis(50)).await;
        assert!(!group.is_alive());
        assert!(group.signal(Signal::TERM), "the dead leader is still there");
        child.wait().unwrap();
    }

    #[tokio::test]
    async fn a_stopped_group_ends() {
        let (mut child, group) = leader("sleep 1000");
        group.signal(Signal::STOP);
        group.end(Duration::from_secs(60)).await;
        assert!(!group.is_alive());
        child.wait().unwrap();
    }
}
