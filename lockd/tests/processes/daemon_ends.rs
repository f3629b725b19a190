//! The daemon ends, stands still, or comes back.

use std::time::Duration;

use crate::client::eventually;
use crate::eye::Eye;
use crate::process::{Process, now};
use crate::program::Daemon;
use crate::worker::{Said, Settings, Worker};

/// A worker that does not wait long, for anything.
fn impatient(daemon: &Daemon) -> Settings {
    Settings {
        wait_ms: 100,
        request_timeout_ms: 500,
        ..Settings::new(daemon.url())
    }
}

/// One who holds `task:a`, one who waits for it, and the token of the first.
fn holder_and_rival(daemon: &Daemon) -> (Process<Worker>, Process<Worker>, u64) {
    let settings = Settings::new(daemon.url());
    let [holder, rival] = [(); 2].map(|()| Process::<Worker>::ready(&settings));
    holder.calls(1, "a");
    let (token, _) = holder.holds(1);
    rival.calls(1, "a");
    Eye::on(daemon.socket()).until_waiting("task:a", 1);
    (holder, rival, token)
}

#[test]
fn while_the_daemon_stands_still_calls_fail_in_time_and_afterwards_they_do_not() {
    let daemon = Daemon::start();
    let worker = Process::<Worker>::ready(&impatient(&daemon));
    worker.calls(1, "held");
    let (token, _) = worker.holds(1);
    daemon.freeze(true);
    let asked = now();
    worker.calls(2, "other");
    let trouble = worker.failed(2);
    let took = now() - asked;
    assert_eq!(trouble.kind, "Unavailable", "{trouble:?}");
    let text = &trouble.text;
    assert!(
        text.starts_with("Could not acquire lock: task:other"),
        "{text}"
    );
    // A machine that is busy with other things takes longer; the lease is a minute.
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(!worker.has_news_of(1), "its lease has not ended");
    daemon.freeze(false);
    worker.calls(3, "other");
    assert!(worker.holds(3).0 > token);
    worker.finishes(3);
    worker.finishes(1);
    Eye::on(daemon.socket()).until_nothing_is_left();
}

#[test]
fn without_a_daemon_nothing_is_entered_and_what_is_held_is_lost_before_its_lease_ends() {
    const TTL: Duration = Duration::from_secs(2);
    let mut daemon = Daemon::start();
    let worker = Process::<Worker>::ready(&Settings {
        ttl_ms: TTL.as_millis() as u64,
        wait_ms: 100,
        ..Settings::new(daemon.url())
    });
    worker.calls(1, "a");
    worker.holds(1);
    daemon.kill();
    // No renewal was sent after this.
    let killed = now();
    worker.calls(2, "b");
    let last_ran = worker.loses(1);
    assert!(last_ran < killed + TTL, "{:?}", last_ran - killed);
    let trouble = worker.failed(2);
    assert_eq!(trouble.kind, "Unavailable", "{trouble:?}");
    let text = &trouble.text;
    assert!(text.starts_with("Could not acquire lock: task:b"), "{text}");
    let socket = daemon.socket().to_str().expect("text");
    assert!(
        text.contains(socket) && text.contains("start lockd"),
        "{text}"
    );

    // The service goes on when there is one again.
    daemon.start_again();
    eventually("it is served again", || {
        worker.calls(3, "a");
        worker.hear(|said| match said {
            Said::Holds { call: 3, .. } => Some(true),
            Said::Ended { call: 3, .. } => Some(false),
            _ => None,
        })
    });
    worker.finishes(3);
    Eye::on(daemon.socket()).until_nothing_is_left();
}

#[test]
fn a_daemon_that_comes_back_within_the_lease_is_not_noticed() {
    let mut daemon = Daemon::start();
    let (holder, rival, token) = holder_and_rival(&daemon);
    for _ in 0..3 {
        daemon.kill();
        daemon.start_again();
        let mut eye = Eye::on(daemon.socket());
        eye.until_held("task:a");
        eye.until_waiting("task:a", 1);
        assert_eq!(eye.lock("task:a")["sections"][0]["token"], token);
    }
    assert!(!holder.has_news_of(1), "its body runs on");
    assert!(!rival.has_news_of(1), "it is kept out");
    holder.finishes(1);
    assert!(rival.holds(1).0 > token);
    rival.finishes(1);
    Eye::on(daemon.socket()).until_nothing_is_left();
}

#[test]
fn whoever_dies_while_there_is_no_daemon_keeps_nobody_waiting() {
    let mut daemon = Daemon::start();
    let (holder, rival, token) = holder_and_rival(&daemon);
    daemon.kill();
    holder.kill();
    let restarted = now();
    daemon.start_again();
    let (next_token, since) = rival.holds(1);
    assert!(next_token > token);
    assert!(
        since - restarted < Duration::from_secs(20),
        "the lease is a minute"
    );
    rival.finishes(1);
    Eye::on(daemon.socket()).until_nothing_is_left();
}

#[test]
fn after_a_restart_nobody_enters_beside_a_holder_that_cannot_say_a_word() {
    const TTL: Duration = Duration::from_secs(2);
    let mut daemon = Daemon::start();
    let settings = Settings {
        ttl_ms: TTL.as_millis() as u64,
        ..Settings::new(daemon.url())
    };
    let [holder, rival] = [(); 2].map(|()| Process::<Worker>::ready(&settings));
    holder.calls(1, "a");
    let (token, since) = holder.holds(1);
    rival.calls(1, "a");
    Eye::on(daemon.socket()).until_waiting("task:a", 1);
    holder.freeze(true);
    daemon.kill();
    daemon.start_again();
    let (next_token, entered) = rival.holds(1);
    assert!(next_token > token);
    // It was held for a moment before it was seen to be.
    let drift = Duration::from_millis(100);
    assert!(entered + drift > since + TTL, "{:?}", entered - since);
    holder.freeze(false);
    assert!(holder.loses(1) < entered);
    rival.finishes(1);
    Eye::on(daemon.socket()).until_nothing_is_left();
}
