//! `lockctl run` and the real daemon: commands of several processes never overlap, whoever dies.

mod ctl_support;

use std::fs;
use std::time::{Duration, Instant};

use ctl_support::daemon::Daemon;
use ctl_support::patience::eventually;
use ctl_support::{Running, code, is_alive, signal_to, stderr, stdout, warden};

/// Holds a lock until its input ends, and says its token.
const HOLD: &str = "echo $LOCK_TOKEN; read line; exit 0";

#[test]
fn commands_do_not_overlap_and_tokens_rise() {
    let daemon = Daemon::start();
    let log = daemon.file("log");
    let script = format!(
        "echo in $LOCK_TOKEN >>{0}; sleep 0.02; echo out $LOCK_TOKEN >>{0}",
        log.display()
    );
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..4 {
                    let (code, _, errors) = daemon.run(&[], "log", &script).end();
                    assert_eq!((code, errors.as_str()), (Some(0), ""));
                }
            });
        }
    });
    let text = fs::read_to_string(log).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 32, "{text}");
    let mut last = 0;
    for pair in lines.chunks(2) {
        let token = pair[0].strip_prefix("in ").expect(&text);
        assert_eq!(pair[1], format!("out {token}"), "{text}");
        let token: u64 = token.parse().unwrap();
        assert!(token > last, "{text}");
        last = token;
    }
}

#[test]
fn a_lock_that_is_not_to_be_had_has_an_exit_code() {
    let daemon = Daemon::start();
    let mut holder = daemon.run(&[], "task:1", HOLD);
    let _token = holder.token();
    for (options, expected) in [
        (&["--try"][..], 1),
        (&["--wait", "100ms"], 1),
        (&["--wait", "0"], 1),
        (&["--try", "-E", "42"], 42),
        (&["--wait", "100ms", "--conflict-exit-code", "0"], 0),
        (&["--try", "--shared", "-E", "43"], 43),
    ] {
        let start = Instant::now();
        let mut command = daemon.lockctl(&["run"]);
        command.args(options).args(["task:1", "--", "echo", "ran"]);
        let output = command.output().unwrap();
        let text = stderr(&output);
        assert_eq!((code(&output), stdout(&output)), (expected, ""), "{text}");
        assert!(
            text.starts_with("lockctl: Could not acquire lock: task:1"),
            "{text}"
        );
        assert!(text.contains(&format!("pid {}", holder.pid())), "{text}");
        let waits = options.contains(&"100ms");
        assert!(
            !waits || start.elapsed() >= Duration::from_millis(100),
            "{options:?}"
        );
    }
    // It has an exit code of its own only when the lock is what is missing.
    let output = daemon
        .lockctl(&["run", "two words", "-E", "42", "--", "true"])
        .output();
    assert_eq!(code(&output.unwrap()), 64);
    drop(holder.child.stdin.take());
    assert_eq!(holder.end().0, Some(0));
}

#[test]
fn who_is_asked_to_end_while_it_waits_leaves_the_queue() {
    let daemon = Daemon::start();
    let mut holder = daemon.run(&[], "task:1", HOLD);
    let _token = holder.token();
    for (signal, expected) in [("INT", 130), ("TERM", 143), ("HUP", 129), ("QUIT", 131)] {
        let waiter = daemon.run(&["--wait", "forever"], "task:1", "echo ran");
        eventually("it waits", || daemon.waiting("task:1") == 1);
        waiter.signal(signal);
        assert_eq!(waiter.end(), (Some(expected), String::new(), String::new()));
        assert_eq!(daemon.waiting("task:1"), 0, "it has taken its request back");
    }
    let mut waiter = daemon.run(&["--wait", "forever"], "task:1", "echo ran");
    eventually("it waits", || daemon.waiting("task:1") == 1);
    waiter.signal("KILL");
    waiter.child.wait().unwrap();
    eventually("it is seen to be dead", || daemon.waiting("task:1") == 0);
    drop(holder.child.stdin.take());
    assert_eq!(holder.end().0, Some(0));
}

#[test]
fn a_lock_that_is_taken_away_ends_the_command() {
    let daemon = Daemon::start();
    let script = "sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.01; done' & wait";
    let mut holder = daemon.run(&[], "task:1", script);
    let stubborn = holder.number();
    daemon.says(&["release", "task:1", "--force"]);
    let (code, _, errors) = holder.end();
    assert_eq!(code, Some(75), "{errors}");
    assert!(!is_alive(stubborn));
    assert!(errors.contains("the command was ended: "), "{errors}");
}

/// A command that leaves its mark until its last moment: a process of its group is deaf to
/// everything but SIGKILL. It says the number of that process.
fn stubborn(daemon: &Daemon, options: &[&str]) -> Running {
    let script = format!(
        "sh -c 'trap \"\" TERM HUP INT; echo $$; while :; do echo one >>{}; sleep 0.005; done' & \
         wait",
        daemon.file("log").display()
    );
    daemon.run(options, "task:1", &script)
}

/// The next command, which notes whether that process still runs.
fn next(daemon: &Daemon, stubborn: i32) -> Running {
    let script = format!(
        "case $(sed 's/.*) //' /proc/{stubborn}/stat 2>/dev/null) in ''|Z*|X*) echo two alone;; \
         *) echo two beside the other;; esac >>{}",
        daemon.file("log").display()
    );
    let next = daemon.run(&["--wait", "forever"], "task:1", &script);
    eventually("it waits", || daemon.waiting("task:1") == 1);
    next
}

/// What both have left: first marks of the one, then one of the other.
#[track_caller]
fn assert_one_after_the_other(daemon: &Daemon) {
    let text = fs::read_to_string(daemon.file("log")).unwrap();
    let mut lines = text.lines().skip_while(|line| *line == "one");
    assert_eq!(lines.next(), Some("two alone"), "{text}");
    assert_eq!(lines.next(), None, "{text}");
}

/// Kills a `lockctl` whose command is stubborn: the next command begins before the lease is over,
/// and after the stubborn one has ended.
#[track_caller]
fn the_next_one_follows(daemon: &Daemon, mut first: Running, stubborn: i32) {
    let second = next(daemon, stubborn);
    let start = Instant::now();
    first.signal("KILL");
    first.child.wait().unwrap();
    let (code, _, errors) = second.end();
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert!(start.elapsed() < LEASE / 2, "the lease was waited for");
    assert_one_after_the_other(daemon);
}

/// The lease, unless it is said otherwise.
const LEASE: Duration = Duration::from_secs(30);

#[test]
fn when_lockctl_is_killed_the_command_has_ended_before_the_next_begins() {
    let daemon = Daemon::start();
    let mut first = stubborn(&daemon, &[]);
    let stubborn = first.number();
    the_next_one_follows(&daemon, first, stubborn);
}

#[test]
fn a_warden_that_took_the_place_of_another_does_the_same() {
    let daemon = Daemon::start();
    let mut first = stubborn(&daemon, &[]);
    let stubborn = first.number();
    let dead = warden(first.pid()).expect("one watches");
    signal_to(dead, "KILL");
    let replaced = || warden(first.pid()).filter(|warden| *warden != dead);
    eventually("another watches", || replaced().is_some_and(is_ready));
    assert!(is_alive(stubborn));
    the_next_one_follows(&daemon, first, stubborn);
}

/// Whether a warden has begun to wait for orders: it has all its signals blocked before it does.
fn is_ready(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << 14) != 0)
}

#[test]
fn when_the_warden_is_killed_too_the_lease_protects_the_command() {
    let daemon = Daemon::start();
    let mut first = daemon.run(&["--ttl", "3s"], "task:1", "echo $$; exec sleep 1000");
    let command = first.number();
    let second = next(&daemon, command);
    // Neither sees the other die.
    first.signal("STOP");
    signal_to(warden(first.pid()).expect("one watches"), "KILL");
    let start = Instant::now();
    first.signal("KILL");
    first.child.wait().unwrap();
    let (code, _, errors) = second.end();
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert!(
        start.elapsed() > Duration::from_secs(1),
        "nobody saw to the command"
    );
    assert_one_after_the_other(&daemon);
}

#[test]
fn a_restart_of_the_daemon_is_not_noticed() {
    let mut daemon = Daemon::start();
    let mut holder = daemon.run(&[], "task:1", HOLD);
    let token = holder.token();
    let mut waiter = daemon.run(&["--wait", "forever"], "task:1", HOLD);
    eventually("it waits", || daemon.waiting("task:1") == 1);
    daemon.kill();
    daemon.start_again();
    let shown = || daemon.json(&["show", "task:1"]);
    eventually("both are back", || {
        let shown = shown();
        shown["sections"][0]["token"] == token && shown["waiting"] == 1
    });
    drop(holder.child.stdin.take());
    let (code, _, errors) = holder.end();
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert!(waiter.token() > token);
    drop(waiter.child.stdin.take());
    let (code, _, errors) = waiter.end();
    assert_eq!((code, errors.as_str()), (Some(0), ""));
}

#[test]
fn a_daemon_that_stays_away_ends_the_command_within_the_lease() {
    let mut daemon = Daemon::start();
    let mut holder = daemon.run(&["--ttl", "2s"], "task:1", "echo $$; exec sleep 1000");
    let command = holder.number();
    daemon.kill();
    let start = Instant::now();
    eventually("it is ended", || !is_alive(command));
    assert!(
        start.elapsed() <= Duration::from_secs(2),
        "another could have had it"
    );
    let (code, _, errors) = holder.end();
    assert_eq!(code, Some(75), "{errors}");
    assert!(errors.contains("could not be renewed in time"), "{errors}");
}

#[test]
fn a_killed_lockctl_and_a_restarted_daemon_at_once() {
    let mut daemon = Daemon::start();
    let mut first = stubborn(&daemon, &["--ttl", "4s"]);
    let stubborn = first.number();
    let second = next(&daemon, stubborn);
    let start = Instant::now();
    daemon.kill();
    first.signal("KILL");
    first.child.wait().unwrap();
    daemon.start_again();
    let (code, _, errors) = second.end();
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert!(start.elapsed() < LEASE, "longer than any lease");
    assert_one_after_the_other(&daemon);
}
