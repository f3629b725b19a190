//! Floods of requests that each of them would be welcome.

use serde_json::json;

use crate::daemon::{Daemon, eventually};
use crate::peer::{Peer, acquire, release};

/// Sends lines and hears as many answers, some at a time.
fn pour(peer: &mut Peer, lines: &[String]) -> Vec<String> {
    let mut answers = Vec::new();
    for some in lines.chunks(500) {
        peer.push(some.concat().as_bytes());
        for _ in some {
            let heard = peer.hear();
            let kind = heard
                .as_object()
                .and_then(|heard| heard.keys().next().cloned());
            answers.push(match &heard["error"]["code"] {
                serde_json::Value::String(code) => code.clone(),
                _ => kind.unwrap_or_default(),
            });
        }
    }
    answers
}

fn count(answers: &[String], kind: &str) -> usize {
    answers.iter().filter(|answer| *answer == kind).count()
}

#[test]
fn locks_beyond_the_limit_are_refused() {
    let daemon = Daemon::start(&["--max-locks", "20000"]);
    let mut peer = Peer::greeted(daemon.socket());
    daemon.endures("25,000 locks, 20,000 allowed", 32 * 1024, || {
        let lines: Vec<String> = (0..25_000)
            .map(|number| acquire(&format!("many:{number}"), number, 0, "exclusive"))
            .collect();
        let answers = pour(&mut peer, &lines);
        assert_eq!(count(&answers, "granted"), 20_000);
        assert_eq!(count(&answers, "limit"), 5_000);
        peer.say(&json!({"goodbye": {}}));
        peer.hear_out();
    });
    daemon.gives_back_its_descriptors();
}

#[test]
fn locks_that_are_left_behind_count_too() {
    let daemon = Daemon::start(&["--max-locks", "100", "--max-connections-per-process", "50"]);
    daemon.endures("locks left behind, 100 a connection", 32 * 1024, || {
        let mut granted = 0;
        for round in 0..200 {
            let mut peer = Peer::connect(daemon.socket());
            peer.takes(b"{\"hello\":{\"version\":1}}\n");
            let heard = peer.hear();
            if heard["error"]["code"] == "limit" {
                continue;
            }
            let lines: Vec<String> = (0..100)
                .map(|n| {
                    acquire(
                        &format!("left:{round}:{n}"),
                        round * 100 + n,
                        0,
                        "exclusive",
                    )
                })
                .collect();
            granted += count(&pour(&mut peer, &lines), "granted");
        }
        assert!(
            granted <= 50 * 100,
            "{granted} locks were given to one process"
        );
    });
}

#[test]
fn a_flood_of_waits_is_bounded_and_leaves_with_its_connection() {
    let daemon = Daemon::start(&["--max-waiting", "8000"]);
    let mut holder = Peer::greeted(daemon.socket());
    holder.push(acquire("wanted", 1, 0, "exclusive").as_bytes());
    assert!(holder.hear()["granted"].is_object());
    let mut waiting = Peer::greeted(daemon.socket());
    daemon.endures("10,000 waits, 8,000 allowed", 32 * 1024, || {
        let mut lines = String::new();
        for number in 2..10_002 {
            lines += &acquire("wanted", number, 3_600_000, "exclusive");
        }
        waiting.push(lines.as_bytes());
        for _ in 0..2_000 {
            let heard = waiting.hear();
            assert_eq!(heard["error"]["code"], "limit", "{heard}");
        }
        // The last ones come first: each has to be found in the queue.
        let mut lines = String::new();
        for number in (6_002..8_002).rev() {
            lines += &release("wanted", number);
        }
        waiting.push(lines.as_bytes());
        for number in (6_002..8_002).rev() {
            waiting.answer(number);
        }
        drop(waiting);
        eventually("nobody waits any more", || {
            holder.say(&json!({"inspect": {"id": 3, "name": "wanted"}}));
            holder.answer(3)["lock"]["lock"]["waiting"] == 0
        });
    });
}

#[test]
fn a_flood_of_readers_of_one_name_is_served() {
    const READERS: u64 = 10_000;
    let daemon = Daemon::start(&[]);
    let mut peer = Peer::greeted(daemon.socket());
    daemon.endures("10,000 readers of one name", 32 * 1024, || {
        let come: Vec<String> = (0..READERS)
            .map(|number| acquire("read", number, 0, "shared"))
            .collect();
        assert_eq!(count(&pour(&mut peer, &come), "granted"), come.len());
        let go: Vec<String> = (0..READERS)
            .rev()
            .map(|number| release("read", number))
            .collect();
        assert_eq!(count(&pour(&mut peer, &go), "held"), go.len());
    });
}

#[test]
fn a_flood_of_lists_stops_nobody() {
    let daemon = Daemon::start(&[]);
    let mut peer = Peer::greeted(daemon.socket());
    let lines: Vec<String> = (0..20_000)
        .map(|number| acquire(&format!("listed:{number}"), number, 0, "exclusive"))
        .collect();
    assert_eq!(count(&pour(&mut peer, &lines), "granted"), lines.len());
    daemon.endures("500 lists of 20,000 locks", 32 * 1024, || {
        // Each looks at all of them and finds none.
        let lists: Vec<String> = (0..500)
            .map(|id| format!("{{\"list\":{{\"id\":{id},\"prefix\":\"none\"}}}}\n"))
            .collect();
        peer.push(lists.concat().as_bytes());
        for _ in &lists {
            assert!(peer.hear()["locks"].is_object());
        }
    });
}

#[test]
fn a_flood_of_assignments_is_saved_and_stops_nobody() {
    const ASSIGNMENTS: u64 = 3_000;
    let daemon = Daemon::start(&[]);
    let mut peer = Peer::greeted(daemon.socket());
    let lines = |change: &str, attempts: u64| -> Vec<String> {
        (0..ASSIGNMENTS)
            .map(|number| {
                let to = if change == "assign" {
                    "\"to\":\"alice\","
                } else {
                    ""
                };
                format!(
                    "{{\"{change}\":{{\"id\":{number},\"attempt\":\"{:032x}\",\
                     \"name\":\"turn:{number}\",{to}\"by\":{{\"caller\":\"alice\"}}}}}}\n",
                    attempts + number,
                )
            })
            .collect()
    };
    daemon.endures("3,000 assignments, made and taken back", 64 * 1024, || {
        let before = daemon.state_bytes();
        let made = pour(&mut peer, &lines("assign", 0));
        assert_eq!(count(&made, "done"), made.len());
        let most = daemon.state_bytes();
        println!(
            "{ASSIGNMENTS} assignments: {} bytes of state each",
            (most - before) / ASSIGNMENTS
        );
        assert!(most < before + 512 * ASSIGNMENTS, "{most} bytes of state");
        let taken = pour(&mut peer, &lines("unassign", ASSIGNMENTS));
        assert_eq!(count(&taken, "done"), taken.len());
        // For a minute it remembers which attempts are done.
        let attempts = 128 * 2 * ASSIGNMENTS;
        let left = daemon.state_bytes();
        assert!(left < before + attempts, "{left} of {most} bytes are left");
    });
}
