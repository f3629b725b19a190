//! Many connections, at a time and one after the other.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::daemon::{Daemon, eventually};
use crate::peer::Peer;

/// As many descriptors as the system allows this process. Says how many connections that are.
fn raise_descriptors() -> usize {
    let before = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    setrlimit(Resource::Nofile, most).expect("up to the hard limit");
    let descriptors = before.maximum.unwrap_or(u64::MAX);
    // The daemon inherits the limit, and has others besides.
    usize::try_from(descriptors.saturating_sub(200)).unwrap_or(usize::MAX)
}

#[test]
fn one_connection_too_many_is_refused_and_all_others_are_served() {
    let daemon = Daemon::start(&[
        "--max-connections",
        "300",
        "--max-connections-per-process",
        "200",
    ]);
    daemon.endures("connections beyond the limit", 24 * 1024, || {
        // The honest client is of this process too.
        let mut peers: Vec<Peer> = (0..199).map(|_| Peer::greeted(daemon.socket())).collect();
        for _ in 0..2_000 {
            let refused = Peer::connect(daemon.socket()).hear_out();
            assert!(
                refused.contains("\"limit\"") && refused.contains("200"),
                "{refused}"
            );
        }
        for peer in &mut peers {
            peer.say(&json!({"ping": {"id": 1}}));
            assert_eq!(peer.hear(), json!({"pong": {"id": 1}}));
        }
        peers.pop();
        eventually("there is room again", || {
            let mut peer = Peer::connect(daemon.socket());
            peer.takes(b"{\"hello\":{\"version\":1}}\n");
            peer.hear_or_end()
                .is_some_and(|heard| heard["hello"].is_object())
        });
    });
    daemon.gives_back_its_descriptors();

    drop(daemon);
    let daemon = Daemon::start(&["--max-connections", "20"]);
    let _peers: Vec<Peer> = (0..20).map(|_| Peer::greeted(daemon.socket())).collect();
    let refused = Peer::connect(daemon.socket()).hear_out();
    assert!(
        refused.contains("\"limit\"") && refused.contains("20"),
        "{refused}"
    );
}

#[test]
fn ten_thousand_connections_are_served() {
    let number = raise_descriptors().min(10_000);
    let daemon = Daemon::start(&[
        "--max-connections",
        "20000",
        "--max-connections-per-process",
        "20000",
        "--greeting-timeout",
        "60s",
    ]);
    let quiet = daemon.resident_kib();
    let each_kib = 20;
    let most = 20 * u64::try_from(number).expect("few");
    daemon.endures("ten thousand connections", most, || {
        let mut peers: Vec<Peer> = (0..number)
            .map(|_| Peer::connect(daemon.socket()))
            .collect();
        for peer in &mut peers {
            peer.say(&json!({"hello": {"version": 1}}));
        }
        for (id, peer) in peers.iter_mut().enumerate() {
            assert!(peer.hear()["hello"].is_object());
            peer.say(&json!({"ping": {"id": id}}));
        }
        for (id, peer) in peers.iter_mut().enumerate() {
            assert_eq!(peer.hear(), json!({"pong": {"id": id}}));
        }
        let grown = (daemon.resident_kib() - quiet) * 1024;
        let bytes = grown / u64::try_from(number).expect("few");
        println!("{number} connections: {bytes} bytes each (target: {each_kib} kB)");
    });
    daemon.gives_back_its_descriptors();
}

#[test]
fn connections_that_come_and_go_leave_nothing() {
    const ROUNDS: u64 = 4;
    let daemon = Daemon::start(&[]);
    let mut resident = Vec::new();
    daemon.endures("20,000 connections, one after the other", 24 * 1024, || {
        for round in 0..ROUNDS {
            for number in 0..5_000 {
                match number % 5 {
                    // Gone before the daemon has looked.
                    0..=2 => drop(Peer::connect(daemon.socket())),
                    3 => drop(Peer::greeted(daemon.socket())),
                    _ => come_with_a_session(&daemon, round * 5_000 + number),
                }
            }
            resident.push(daemon.resident_kib());
        }
    });
    println!("resident after each quarter: {resident:?} KiB");
    let (first, last) = (resident[0], resident[resident.len() - 1]);
    assert!(last < first + 4 * 1024, "from {first} to {last} KiB");
    daemon.gives_back_its_descriptors();
}

/// A client that could come back, and does not.
fn come_with_a_session(daemon: &Daemon, number: u64) {
    let mut peer = Peer::connect(daemon.socket());
    let session = format!("{number:032x}");
    peer.say(&json!({"hello": {"version": 1, "session": session, "connection": 1}}));
    assert_eq!(peer.hear()["hello"]["resumed"], false);
}
