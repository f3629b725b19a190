//! Clients that ask for much and read little.

use std::io::Read;

use serde_json::json;

use crate::daemon::{Daemon, eventually};
use crate::peer::{Peer, acquire};

/// What waits for one client that does not read, twice, and some room.
const LITTLE_KIB: u64 = 24 * 1024;

#[test]
fn who_never_reads_is_disconnected_before_a_million_requests() {
    let daemon = Daemon::start(&[]);
    let mut peer = Peer::greeted(daemon.socket());
    let mut requests = String::new();
    for id in 0..1_000 {
        requests += &format!("{{\"ping\":{{\"id\":{id}}}}}\n");
    }
    daemon.endures("a million requests, no answer read", LITTLE_KIB, || {
        let all = (0..1_000).all(|_| peer.takes(requests.as_bytes()));
        assert!(!all, "all of them were taken");
    });
    drop(peer);
    daemon.gives_back_its_descriptors();
}

#[test]
fn slow_readers_of_long_answers_wait_for_themselves_alone() {
    const READERS: usize = 60;
    let daemon = Daemon::start(&[]);
    let mut holder = Peer::greeted(daemon.socket());
    for number in 0..2_000 {
        let name = format!("long:{number}:{}", "x".repeat(400));
        holder.push(acquire(&name, number, 0, "exclusive").as_bytes());
        assert!(holder.hear()["granted"].is_object());
    }
    // A mebibyte for each, and as much again while an answer is made.
    let most = 2 * 1024 * u64::try_from(READERS).expect("few");
    daemon.endures("slow readers of long answers", most, || {
        let mut readers: Vec<Peer> = (0..READERS)
            .map(|_| Peer::greeted(daemon.socket()))
            .collect();
        eventually("all of them were disconnected", || {
            readers.retain_mut(|reader| {
                let mut bytes = [0; 64];
                reader.takes(b"{\"list\":{\"id\":1}}\n")
                    && reader.stream().read(&mut bytes).is_ok_and(|read| read > 0)
            });
            readers.is_empty()
        });
    });
    holder.say(&json!({"goodbye": {}}));
    holder.hear_out();
    daemon.gives_back_its_descriptors();
}
