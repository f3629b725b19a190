//! A server's process, which can be killed, stopped, paused and started again.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use crate::folder::Folder;
use crate::port::PortTaken;
use crate::wait::{LONG, comes_true, eventually};

/// A server's process with all its children, in a folder of its own.
///
/// They are killed at the latest when this is dropped, or when the process that started them is
/// dead. It keeps its data and its ports from one start to the next.
pub struct Program {
    what: &'static str,
    command: Command,
    is_ready: Box<dyn Fn() -> bool + Send + Sync>,
    stop: Signal,
    child: Option<Child>,
    folder: Folder,
}

/// What a program is started with.
pub(crate) struct Launch {
    pub(crate) what: &'static str,
    pub(crate) command: Command,
    /// Whether it answers.
    pub(crate) is_ready: Box<dyn Fn() -> bool + Send + Sync>,
    /// The signal on which it ends in good order.
    pub(crate) stop: Signal,
}

impl Program {
    /// Starts it. Comes back when it answers.
    pub(crate) fn start(folder: Folder, launch: Launch) -> Result<Self, PortTaken> {
        let mut program = Self::spawn(folder, launch);
        program.becomes_ready()?;
        Ok(program)
    }

    /// Starts it, and does not wait for it.
    pub(crate) fn spawn(folder: Folder, launch: Launch) -> Self {
        let log = File::create(folder.path().join("log")).expect("a log");
        let mut command = launch.command;
        command
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a duplicate"))
            .stderr(log)
            // A signal from the terminal is for the tests.
            .process_group(0);
        let mut program = Self {
            what: launch.what,
            command,
            is_ready: launch.is_ready,
            stop: launch.stop,
            child: None,
            folder,
        };
        program.spawn_again();
        program
    }

    /// Waits until it answers.
    pub(crate) fn becomes_ready(&mut self) -> Result<(), PortTaken> {
        let child = self.child.as_mut().expect("it runs");
        let mut ended = None;
        let is_ready = comes_true(|| {
            ended = child.try_wait().expect("it is a child");
            ended.is_some() || (self.is_ready)()
        });
        let Some(status) = ended else {
            assert!(is_ready, "{} does not answer within {LONG:?}", self.what);
            return Ok(());
        };
        self.child = None;
        let log = self.log().to_lowercase();
        if log.contains("address already in use") {
            return Err(PortTaken);
        }
        panic!("{} ended while it was started: {status}", self.what);
    }

    pub(crate) fn spawn_again(&mut self) {
        assert!(self.child.is_none(), "{} runs", self.what);
        let child = self.command.spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("{}: {error}", self.what)));
    }

    /// Starts it after it was killed or stopped, on the same ports with the same data. Comes back
    /// when it answers.
    pub fn start_again(&mut self) {
        self.spawn_again();
        let started = self.becomes_ready();
        started.unwrap_or_else(|PortTaken| panic!("somebody took a port of {}", self.what));
    }

    /// Stops it, and starts it again.
    pub fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// Kills it with all its children, as `kill -9` does. Comes back when they are dead. What it
    /// has written is kept, as the machine goes on.
    pub fn kill(&mut self) {
        // Nobody is born any more, and none sees that another is dead already.
        self.pause();
        let family = self.family();
        for &process in &family {
            let _gone = kill_process(process, Signal::KILL);
        }
        let mut child = self.child.take().expect("it runs");
        child.wait().expect("it is dead");
        eventually("all its processes are dead", || {
            // Whoever inherits them may not care that they are dead.
            family.iter().all(|&process| is_in(process, "ZX"))
        });
    }

    /// Stops it in good order. Comes back when it has ended.
    pub fn stop(&mut self) {
        let child = self.child.as_mut().expect("it runs");
        kill_process(Pid::from_child(child), self.stop).expect("sent");
        let mut status = None;
        eventually("it stops", || {
            status = child.try_wait().expect("it is a child");
            status.is_some()
        });
        self.child = None;
        let status = status.expect("it has ended");
        // etcd ends by the signal that it was stopped with, PgBouncer with a status of its own.
        let signal = status.signal();
        let is_in_order = signal.is_none_or(|signal| signal == self.stop.as_raw());
        assert!(is_in_order, "{} stopped with {status}", self.what);
    }

    /// Stops it with all its children where they stand, as `kill -STOP` does. Comes back when
    /// they stand. Connections stay open, and new ones are made, but nobody answers.
    pub fn pause(&mut self) {
        let mut before = Vec::new();
        eventually("all its processes stand still", || {
            let family = self.family();
            let mut all_stand = true;
            for &process in &family {
                if !is_in(process, "TZX") {
                    all_stand = false;
                    // It may have ended meanwhile.
                    let _gone = kill_process(process, Signal::STOP);
                }
            }
            // One that was born while the others were looked at is seen the second time.
            let is_over = all_stand && before == family;
            before = family;
            is_over
        });
    }

    /// Lets it go on after a pause.
    pub fn resume(&mut self) {
        for process in self.family() {
            let _gone = kill_process(process, Signal::CONT);
        }
    }

    /// What it has written to its log so far.
    pub fn log(&self) -> String {
        let log = fs::read(self.folder.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The number of its process, the parent of the others.
    ///
    /// # Panics
    ///
    /// When it is not running.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Its process with all that descend from it.
    fn family(&self) -> Vec<Pid> {
        let child = self.child.as_ref().expect("it runs");
        let mut family = vec![Pid::from_child(child)];
        let mut next = 0;
        while let Some(&process) = family.get(next) {
            family.extend(children(process));
            next += 1;
        }
        family
    }
}

fn children(process: Pid) -> Vec<Pid> {
    let children = threads(process).flat_map(|thread| {
        let children = fs::read_to_string(thread.join("children")).unwrap_or_default();
        let children = children.split_whitespace();
        let numbers = children.filter_map(|number| number.parse().ok());
        numbers.filter_map(Pid::from_raw).collect::<Vec<_>>()
    });
    children.collect()
}

/// Whether a process is in one of these states with all its threads, or is no more: a signal takes
/// effect in each thread when that gets to it.
fn is_in(process: Pid, wanted: &str) -> bool {
    threads(process).all(|thread| {
        let Ok(stat) = fs::read_to_string(thread.join("stat")) else {
            return true;
        };
        let state = stat.rsplit(") ").next().unwrap_or_default();
        state.starts_with(|state| wanted.contains(state))
    })
}

fn threads(process: Pid) -> impl Iterator<Item = PathBuf> {
    let threads = fs::read_dir(format!("/proc/{process}/task"));
    let threads = threads.into_iter().flatten().flatten();
    threads.map(|thread| thread.path())
}

impl Drop for Program {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(40)..];
            eprintln!("the end of the log of {}:\n{}", self.what, last.join("\n"));
        }
        if self.child.is_some() {
            self.kill();
        }
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("what", &self.what)
            .field("child", &self.child)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}
