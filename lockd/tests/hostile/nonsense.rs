//! Bytes that are no messages, and messages that make no sense.

use std::io::Read;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::daemon::{Daemon, LONG};
use crate::peer::{Peer, acquire};

/// A few pages for each of the connections below; none of them may cost more.
const LITTLE_KIB: u64 = 24 * 1024;

/// Bytes that look like nothing, the same in every run.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn garbage_is_answered_with_an_error_and_the_end() {
    let daemon = Daemon::start(&[]);
    daemon.endures("garbage", LITTLE_KIB, || {
        for seed in 0..200 {
            // Before the greeting a single line of it is enough; after it, so many.
            for greeted in [false, true] {
                let mut peer = match greeted {
                    true => Peer::greeted(daemon.socket()),
                    false => Peer::connect(daemon.socket()),
                };
                let mut bytes = noise(seed, 2000);
                bytes.extend(std::iter::repeat_n(b"x\n", 64).flatten());
                peer.takes(&bytes);
                let said = peer.hear_out();
                let errors = said.matches("\"malformed\"").count();
                let expected = if greeted { 64 } else { 1 };
                // The end may overtake what was said before it, when more comes in afterwards.
                assert!(errors <= expected, "{said}");
            }
        }
    });
    daemon.gives_back_its_descriptors();
}

#[test]
fn whatever_is_no_message_is_said_to_be_none() {
    let daemon = Daemon::start(&[]);
    let deep = format!("{}\n", "[".repeat(60_000));
    let fields = format!("{{\"ping\":{{\"id\":1{}}}}}\n", ",\"id\":1".repeat(8_000));
    let lines: [&[u8]; 14] = [
        b"{}\n",
        b"[]\n",
        b"null\n",
        b"\"ping\"\n",
        b"17\n",
        b"{\"nonsense\":{}}\n",
        b"{\"ping\":{}}\n",
        b"{\"ping\":{\"id\":-1}}\n",
        b"{\"ping\":{\"id\":1e400}}\n",
        b"{\"ping\":{\"id\":1}}{\"ping\":{\"id\":2}}\n",
        b"{\"release\":{\"id\":1,\"name\":\"\xe2\x82\",\"owner\":\"\"}}\n",
        b"{\"acquire\":{\"id\":1,\"name\":\"\\ud800\",\"owner\":\"\",\"ttl_ms\":1}}\n",
        deep.as_bytes(),
        fields.as_bytes(),
    ];
    daemon.endures("messages that are none", LITTLE_KIB, || {
        for _ in 0..20 {
            let mut peer = Peer::greeted(daemon.socket());
            for line in lines {
                peer.push(line);
                let heard = peer.hear();
                assert_eq!(heard["error"]["code"], "malformed", "{heard}");
            }
            peer.say(&json!({"ping": {"id": 7}}));
            assert_eq!(peer.hear(), json!({"pong": {"id": 7}}));
        }
    });
}

#[test]
fn a_line_without_an_end_is_cut_off() {
    let daemon = Daemon::start(&[]);
    daemon.endures("lines without an end", LITTLE_KIB, || {
        for greeted in [false, true].into_iter().cycle().take(40) {
            let mut peer = match greeted {
                true => Peer::greeted(daemon.socket()),
                false => Peer::connect(daemon.socket()),
            };
            let mut sent = 0_usize;
            while peer.takes(&[b'a'; 4096]) {
                sent += 4096;
                // Its limit, and what sockets keep.
                assert!(sent < 4 * 1024 * 1024, "{sent} bytes were taken");
            }
        }
    });
    daemon.gives_back_its_descriptors();
}

#[test]
fn a_message_that_never_ends_is_not_waited_for() {
    let daemon = Daemon::start(&["--message-timeout", "500ms", "--greeting-timeout", "500ms"]);
    daemon.endures("half messages, a byte at a time", LITTLE_KIB, || {
        let mut peers: Vec<(Peer, bool)> = (0..400)
            .map(|number| match number % 2 {
                0 => (Peer::connect(daemon.socket()), false),
                _ => (Peer::greeted(daemon.socket()), false),
            })
            .collect();
        let begun = Instant::now();
        for (peer, _) in &mut peers {
            let timeout = Some(Duration::from_millis(1));
            peer.stream().set_read_timeout(timeout).expect("set");
            peer.push(b"{\"");
        }
        while peers.iter().any(|(_, ended)| !ended) {
            assert!(begun.elapsed() < LONG, "some of them go on");
            for (peer, ended) in peers.iter_mut().filter(|(_, ended)| !ended) {
                // It makes progress all the time.
                *ended = !peer.takes(b"h") || is_closed(peer);
            }
        }
    });
    daemon.gives_back_its_descriptors();
}

fn is_closed(peer: &mut Peer) -> bool {
    let mut bytes = [0; 1024];
    match peer.stream().read(&mut bytes) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

#[test]
fn compact_frames_of_absurd_lengths_are_refused() {
    let daemon = Daemon::start(&[]);
    // The number of `renew` among the messages, an id, and how many leases come: far too many.
    let mut leases = vec![13_u8, 1];
    leases.extend([0xff; 9]);
    leases.push(1);
    let framed = |message: &[u8]| {
        let length = u32::try_from(message.len()).expect("short");
        [&length.to_le_bytes(), message].concat()
    };
    let frames = [
        u32::MAX.to_le_bytes().to_vec(),
        (64 * 1024_u32 - 3).to_le_bytes().to_vec(),
        framed(&[]),
        framed(&[0xff; 10]),
        framed(&noise(1, 60_000)),
        framed(&leases),
        // A name with more bytes than follow.
        framed(&[0, 1, 0xff, 0xff, 0xff, 0xff, 0x0f]),
    ];
    daemon.endures("compact frames of absurd lengths", LITTLE_KIB, || {
        for _ in 0..50 {
            for frame in &frames {
                let mut peer = Peer::compact(daemon.socket());
                peer.push(frame);
                let said = peer.hear_out();
                assert!(said.contains("message"), "{frame:?}: {said:?}");
            }
        }
    });
    daemon.gives_back_its_descriptors();
}

#[test]
fn numbers_that_are_used_again_and_second_greetings_harm_nobody() {
    let daemon = Daemon::start(&[]);
    daemon.endures("the same number again and again", LITTLE_KIB, || {
        let mut peer = Peer::greeted(daemon.socket());
        for _ in 0..2_000 {
            peer.say(&json!({"hello": {"version": 1}}));
            assert_eq!(peer.hear()["error"]["code"], "malformed");
        }
        // One owner for many names, one number for many requests, one request many times.
        let mut lines = String::new();
        for name in 0..5_000 {
            let line = acquire(&format!("same:{}", name % 50), 7, 0, "exclusive");
            lines += &line;
        }
        peer.push(lines.as_bytes());
        for _ in 0..5_000 {
            let heard = peer.hear();
            assert_eq!(heard["granted"]["id"], 7, "{heard}");
        }
        peer.say(&json!({"goodbye": {}}));
        peer.hear_out();
    });
    daemon.gives_back_its_descriptors();
}
