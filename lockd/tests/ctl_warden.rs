//! The warden by itself: it ends a group when lockctl has died or stands still past its lease,
//! and leaves it alone otherwise.

mod ctl_support;

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ctl_support::patience::eventually;
use ctl_support::{Running, is_alive};
use lock_runtime::LockManager;
use serde_json::json;

/// A warden that watches a process group of one.
struct Watched {
    warden: Running,
    group: Child,
}

impl Watched {
    fn start() -> Self {
        let mut sleep = Command::new("sleep");
        let group = sleep.arg("1000").process_group(0).spawn().unwrap();
        let locks = LockManager::memory();
        let guard = locks.lock("task:1").blocking().acquire().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockctl"));
        command.arg("__warden").stdin(Stdio::piped());
        let mut warden = Running::start(command);
        assert_eq!(warden.line(), "ready");
        let mut watched = Self { warden, group };
        watched.order(&json!({"watch": {
            "place": {"url": "memory:", "namespace": null},
            "ticket": guard.ticket().unwrap(),
            "ttl": {"secs": 30, "nanos": 0},
            "group": watched.pid(),
        }}));
        assert_eq!(watched.warden.line(), "watching");
        watched
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.group.id()).unwrap()
    }

    fn order(&mut self, order: &serde_json::Value) {
        let stdin = self.warden.child.stdin.as_mut().unwrap();
        stdin.write_all(format!("{order}\n").as_bytes()).unwrap();
    }

    /// It has to kill the group after so long.
    fn kill_in(&mut self, time: Duration) -> u64 {
        let at = now() + u64::try_from(time.as_millis()).unwrap();
        self.order(&json!({"kill_at": at}));
        at
    }

    fn say_no_more(&mut self) {
        drop(self.warden.child.stdin.take());
    }

    fn end(mut self) {
        self.say_no_more();
        let (code, _, errors) = self.warden.end();
        assert_eq!((code, errors.as_str()), (Some(0), ""));
        let _killed = self.group.kill();
        self.group.wait().unwrap();
    }
}

/// Milliseconds of the clock that goes on during suspend.
fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(now.tv_sec * 1_000 + now.tv_nsec / 1_000_000).unwrap()
}

#[test]
fn a_lockctl_that_stands_still_past_its_lease() {
    let mut watched = Watched::start();
    let pid = watched.pid();
    watched.kill_in(Duration::from_secs(1000));
    let at = watched.kill_in(Duration::from_millis(700));
    eventually("the group is killed", || !is_alive(pid));
    assert!(now() >= at, "not before");
    watched.order(&json!("done"));
    watched.end();
}

#[test]
fn a_lease_that_is_renewed() {
    let mut watched = Watched::start();
    let pid = watched.pid();
    // Each word comes before the time that the last one gave; the last one is over meanwhile.
    let first = watched.kill_in(Duration::from_millis(600));
    watched.kill_in(Duration::from_secs(1000));
    eventually("time passes", || now() > first + 100);
    assert!(is_alive(pid));
    watched.order(&json!("done"));
    watched.end();
}

#[test]
fn a_lockctl_that_has_died() {
    let mut watched = Watched::start();
    let pid = watched.pid();
    watched.say_no_more();
    eventually("the group ends", || !is_alive(pid));
    watched.end();
}

#[test]
fn a_lockctl_that_talks_nonsense_is_as_dead() {
    let mut watched = Watched::start();
    let pid = watched.pid();
    watched.order(&json!("nonsense"));
    eventually("the group ends", || !is_alive(pid));
    watched.end();
}

#[test]
fn a_lockctl_that_is_done() {
    let mut watched = Watched::start();
    let pid = watched.pid();
    watched.order(&json!("done"));
    eventually("it leaves", || !is_alive(watched.warden.pid()));
    assert!(
        is_alive(pid),
        "what is not under the lock any more is left alone"
    );
    watched.end();
}
