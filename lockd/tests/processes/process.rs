//! A child: this test program again, which does what it is told, a line for each order.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{Write, stdin};
use std::marker::PhantomData;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::LONG;
use crate::program::{freeze, lines};

/// What a child is started with. Without it, the test that is a child does nothing.
const SETTINGS: &str = "LOCKD_TEST_CHILD";

/// What stands before each line that a child says, after what the test harness says.
const MARK: &str = "child: ";

/// What a child can be.
pub(crate) trait Role {
    /// The test that is this child.
    const TEST: &'static str;
    type Settings: Serialize + DeserializeOwned;
    type Order: Serialize + DeserializeOwned + Send + 'static;
    type Said: Serialize + DeserializeOwned + std::fmt::Debug;
}

/// A child, in a process group of its own with all that it starts. All of that is killed at the
/// latest when this is dropped.
pub(crate) struct Process<R: Role> {
    child: Child,
    orders: RefCell<ChildStdin>,
    lines: Receiver<String>,
    /// What was said and nobody has asked for yet.
    said: RefCell<VecDeque<R::Said>>,
    role: PhantomData<R>,
}

impl<R: Role> Process<R> {
    pub(crate) fn start(settings: &R::Settings) -> Self {
        let settings = serde_json::to_string(settings).expect("JSON");
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", R::TEST, "--nocapture", "--test-threads=1"])
            .env(SETTINGS, settings)
            .env_remove("LOCK_REQUIRED")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("it starts");
        Self {
            orders: RefCell::new(child.stdin.take().expect("piped")),
            lines: lines(child.stdout.take().expect("piped")),
            child,
            said: RefCell::default(),
            role: PhantomData,
        }
    }

    pub(crate) fn order(&self, order: &R::Order) {
        let order = serde_json::to_string(order).expect("JSON");
        writeln!(self.orders.borrow_mut(), "{order}").expect("it listens");
    }

    /// The first thing that it has said, or says, of which something can be made.
    #[track_caller]
    pub(crate) fn hear<T>(&self, mut of: impl FnMut(&R::Said) -> Option<T>) -> T {
        let mut said = self.said.borrow_mut();
        let deadline = Instant::now() + LONG;
        let mut next = 0;
        loop {
            while let Some(one) = said.get(next) {
                if let Some(made) = of(one) {
                    said.remove(next);
                    return made;
                }
                next += 1;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => said.extend(read(&line)),
                Err(RecvTimeoutError::Timeout) => panic!("not said in good time, but: {said:?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("it ended, and said: {said:?}"),
            }
        }
    }

    /// Whether it has said such a thing so far, for which nobody has asked yet.
    pub(crate) fn has_said(&self, is_it: impl Fn(&R::Said) -> bool) -> bool {
        let mut said = self.said.borrow_mut();
        said.extend(self.lines.try_iter().filter_map(|line| read(&line)));
        said.iter().any(is_it)
    }

    /// Kills it, as `kill -9` does. What it has started lives on.
    pub(crate) fn kill(&self) {
        kill_process(Pid::from_child(&self.child), Signal::KILL).expect("killed");
    }

    /// Waits until the kernel says that it is dead. It is not buried by that.
    pub(crate) fn is_dead(&self) -> Duration {
        let this = WaitId::Pid(Pid::from_child(&self.child));
        let how = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(this, how).expect("it is a child");
        now()
    }

    /// Stops it where it stands, or lets it go on.
    pub(crate) fn freeze(&self, is_frozen: bool) {
        freeze(&self.child, is_frozen);
    }
}

impl<R: Role> Drop for Process<R> {
    fn drop(&mut self) {
        // Its number is its own until it is waited for, and so is that of its group.
        let _gone = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        drop(self.child.wait());
    }
}

fn read<T: DeserializeOwned>(line: &str) -> Option<T> {
    let (_, said) = line.split_once(MARK)?;
    Some(serde_json::from_str(said).expect("what a child says"))
}

/// What this process is started with, if it is a child.
pub(crate) fn settings<T: DeserializeOwned>() -> Option<T> {
    let settings = std::env::var(SETTINGS).ok()?;
    Some(serde_json::from_str(&settings).expect("what a child is started with"))
}

/// Says something to whoever started this process.
pub(crate) fn say(said: &impl Serialize) {
    let said = serde_json::to_string(said).expect("JSON");
    println!("{MARK}{said}");
}

/// The orders of whoever started this process. When that ends, so does this process.
pub(crate) fn orders<T: DeserializeOwned>() -> impl Iterator<Item = T> {
    let mut lines = stdin().lines();
    std::iter::from_fn(move || match lines.next() {
        Some(Ok(line)) => Some(serde_json::from_str(&line).expect("an order")),
        _ => std::process::exit(0),
    })
}

/// Time that all processes have in common, since the machine was booted.
pub(crate) fn now() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}
