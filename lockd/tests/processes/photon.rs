//! Locks by name. What was seen of another daemon, and is not to be seen of this one, with its
//! number; see `main.rs` for those that are elsewhere.

use std::io::Write;

use serde_json::{Value, json};

use crate::client::Client;
use crate::eye::{Eye, MINUTE, Next, acquire, then};
use crate::process::Process;
use crate::program::Daemon;
use crate::worker::{Settings, Worker};

fn workers<const N: usize>(daemon: &Daemon) -> [Process<Worker>; N] {
    let settings = Settings::new(daemon.url());
    [(); N].map(|()| Process::ready(&settings))
}

// 2: the name was cut at the brace of a placeholder, and everything shared one lock.
#[test]
fn each_value_of_a_placeholder_has_a_lock_of_its_own() {
    let daemon = Daemon::start();
    let [one, other, third] = workers(&daemon);
    one.calls(1, "A-17");
    one.holds(1);
    // Both are inside at the same time.
    other.calls(1, "B-4");
    other.holds(1);
    third.calls(1, "A-17");
    let mut eye = Eye::on(daemon.socket());
    eye.until_waiting("task:A-17", 1);
    let listed = eye.list();
    let names: Vec<&Value> = listed.iter().map(|lock| &lock["name"]).collect();
    assert_eq!(names, ["task:A-17", "task:B-4"]);
    one.finishes(1);
    third.holds(1);
    third.finishes(1);
    other.finishes(1);
    eye.until_nothing_is_left();
}

// 8: two tasks of one process shared a session, and both entered.
#[test]
fn two_tasks_of_one_process_do_not_both_enter() {
    let daemon = Daemon::start();
    let [worker] = workers(&daemon);
    worker.calls(1, "a");
    let (token, _) = worker.holds(1);
    worker.calls(2, "a");
    Eye::on(daemon.socket()).until_waiting("task:a", 1);
    assert!(!worker.has_news_of(2));
    worker.finishes(1);
    assert!(worker.holds(2).0 > token);
    worker.finishes(2);
    Eye::on(daemon.socket()).until_nothing_is_left();
}

// 9: two services shared a name that both happened to use.
#[test]
fn services_with_namespaces_do_not_share_a_name() {
    let daemon = Daemon::start();
    let [chess, go, chess_too] = ["chess", "go", "chess"].map(|namespace| {
        Process::<Worker>::ready(&Settings {
            namespace: namespace.to_owned(),
            ..Settings::new(daemon.url())
        })
    });
    chess.calls(1, "turn");
    chess.holds(1);
    go.calls(1, "turn");
    go.holds(1);
    // The same service is kept out all the same, until its time is up.
    chess_too.calls(1, "turn");
    let mut client = Client::greeted(daemon.socket());
    crate::client::eventually("it waits", || {
        client.say(&json!({"inspect": {"id": 1, "name": "task:turn", "namespace": "chess"}}));
        client.hear()["lock"]["lock"]["waiting"] == json!(1)
    });
    assert!(!chess_too.has_news_of(1));
    chess.finishes(1);
    chess_too.holds(1);
    chess_too.finishes(1);
    go.finishes(1);
    Eye::on(daemon.socket()).until_nothing_is_left();
}

// 10: a lease of 0 was 30 s, −5 was granted and had ended, and "5000" took 569,000 years.
#[test]
fn a_lease_that_makes_no_sense_is_refused() {
    let daemon = Daemon::start();
    let mut client = Client::greeted(daemon.socket());
    let too_long = 24 * 60 * 60 * 1000 + 1;
    for ttl in [
        json!(0),
        json!(-5),
        json!("5000"),
        json!(1.5),
        json!(null),
        json!(too_long),
    ] {
        let mut request = acquire("a", 1, MINUTE, 0);
        request["acquire"]["ttl_ms"] = ttl.clone();
        client.say(&request);
        let refused = client.hear();
        assert!(refused["error"]["message"].is_string(), "{ttl}: {refused}");
        assert_eq!(refused["error"]["id"], json!(1), "{refused}");
        assert_eq!(
            Eye::on(daemon.socket()).list(),
            Vec::<Value>::new(),
            "{ttl}"
        );
    }
    // The connection is as good as before.
    client.say(&acquire("a", 1, MINUTE, 0));
    assert!(client.hear()["granted"].is_object());
}

// 11: a character in two packets made another name.
#[test]
fn a_character_that_comes_in_pieces_stays_one() {
    let daemon = Daemon::start();
    let name = "größe:漢字:🂡";
    let line = format!("{}\n", acquire(name, 1, MINUTE, 0)).into_bytes();
    for at in 1..line.len() {
        let mut client = Client::greeted(daemon.socket());
        client.stream().write_all(&line[..at]).expect("written");
        // The daemon reads what was written before it answers somebody who came later.
        let mut eye = Eye::on(daemon.socket());
        assert_eq!(
            eye.lock(name)["sections"],
            json!([]),
            "half a request is none"
        );
        client.stream().write_all(&line[at..]).expect("written");
        assert!(client.hear()["granted"].is_object(), "in two at {at}");
        assert_eq!(eye.list()[0]["name"], json!(name), "in two at {at}");
        client.say(&then("release", name, 1));
        assert_eq!(client.hear()["held"]["held"], json!(true));
    }
}

// 11: what was sent without the end of a line was kept without a limit.
#[test]
fn a_line_without_an_end_is_cut_off_and_harms_nobody() {
    let daemon = Daemon::start();
    let [worker] = workers(&daemon);
    worker.calls(1, "a");
    worker.holds(1);
    let mut client = Client::greeted(daemon.socket());
    let mut stream = client.stream().try_clone().expect("a duplicate");
    // Writing fails when the daemon has hung up, and ends when it reads no more.
    let written = (0..1024)
        .take_while(|_| stream.write_all(&[b'x'; 4096]).is_ok())
        .count();
    assert!(written < 1024, "all was taken");
    let refused = client.hear_or_end();
    assert!(
        refused.is_none_or(|said| said["error"].is_object() || said["bye"].is_object()),
        "it was served"
    );
    worker.finishes(1);
    Eye::on(daemon.socket()).until_nothing_is_left();
}

// 12: what had ended was still listed.
#[test]
fn a_lock_whose_lease_has_ended_is_not_listed() {
    let daemon = Daemon::start();
    let mut client = Client::greeted(daemon.socket());
    client.say(&acquire("a", 1, 100, 0));
    assert!(client.hear()["granted"].is_object());
    let lost = client.hear();
    assert_eq!(lost["lost"]["cause"], json!("expired"), "{lost}");
    assert_eq!(Eye::on(daemon.socket()).list(), Vec::<Value>::new());
}

// 12: when the daemon failed, the body ran without a lock.
#[test]
fn a_body_does_not_run_without_its_lock_when_the_daemon_fails() {
    let mut daemon = Daemon::start();
    let worker = Process::<Worker>::ready(&Settings {
        wait_ms: 100,
        request_timeout_ms: 500,
        ..Settings::new(daemon.url())
    });
    daemon.kill();
    for call in 1..=3 {
        worker.calls(call, "a");
        let trouble = worker.failed(call);
        assert_eq!(trouble.kind, "Unavailable", "{trouble:?}");
        assert!(!worker.has_news_of(call), "its body ran");
    }
}

// 13: who found a lock busy was refused at once.
#[test]
fn who_finds_a_lock_busy_waits_and_all_are_served_in_order() {
    let daemon = Daemon::start();
    let [first, second, third, fourth] = workers(&daemon);
    let mut eye = Eye::on(daemon.socket());
    let mut holder = Next::waits(daemon.socket(), "task:a", 1);
    let (mut last, _) = holder.enters();
    let waiting = [
        (&first, 1),
        (&second, 1),
        (&third, 1),
        (&fourth, 1),
        (&first, 2),
    ];
    for (number, (worker, call)) in waiting.into_iter().enumerate() {
        worker.calls(call, "a");
        eye.until_waiting("task:a", number + 1);
    }
    holder.leaves();
    for (worker, call) in waiting {
        let (token, _) = worker.holds(call);
        assert!(token > last, "{token} after {last}");
        last = token;
        worker.finishes(call);
    }
    eye.until_nothing_is_left();
}
