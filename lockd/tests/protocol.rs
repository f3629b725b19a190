//! Every example of PROTOCOL.md, run on a daemon without I/O; and every message has one.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use lock_runtime::__daemon::moment;
use lock_runtime::Moment;
use lock_runtime::wire::{Encoding, ToClient, ToDaemon};
use lockd::engine::{ConnectionId, Engine, Limits, Peer, Process, Saved};

const PAGE: &str = include_str!("../PROTOCOL.md");

struct Example {
    engine: Engine,
    disk: Saved,
    now: Moment,
    connections: BTreeMap<char, ConnectionId>,
}

fn beginning() -> Moment {
    moment(0) + Duration::from_secs(100)
}

/// The wall clock of the examples begins with 1970, so that their first token is 1.
fn start(saved: &Saved, now: Moment) -> Engine {
    let wall = SystemTime::UNIX_EPOCH + (now - beginning());
    Engine::new(Limits::default(), saved, "boot", now, wall).expect("a state")
}

impl Example {
    fn new() -> Self {
        let now = beginning();
        Self {
            engine: start(&Saved::Nothing, now),
            disk: Saved::Nothing,
            now,
            connections: BTreeMap::new(),
        }
    }

    fn run(&mut self, line: &str) {
        if let Some(message) = line.get(1..).and_then(|rest| rest.strip_prefix("> ")) {
            let id = self.connection(speaker(line));
            let message = format!("{message}\n");
            self.engine.received(self.now, id, message.as_bytes());
        } else if let Some(expected) = line.get(1..).and_then(|rest| rest.strip_prefix("< ")) {
            let id = self.connection(speaker(line));
            let said = self.engine.output(id).to_vec();
            let end = said.iter().position(|byte| *byte == b'\n');
            let end = end.unwrap_or_else(|| panic!("nothing was said instead of {expected}"));
            self.engine.written(id, end + 1);
            assert_eq!(String::from_utf8_lossy(&said[..end]), expected);
        } else if let Some(seconds) = line.strip_prefix("... ") {
            let seconds: u64 = seconds.trim_end_matches(" s").parse().expect("seconds");
            self.now = self.now + Duration::from_secs(seconds);
            self.engine.advance(self.now);
        } else if line.ends_with("is cut") {
            let id = self
                .connections
                .remove(&speaker(line))
                .expect("a connection");
            self.engine.disconnected(self.now, id);
        } else if line == "lockd is started anew" {
            self.engine = start(&self.disk, self.now);
            self.connections.clear();
        } else if line == "lockd goes down" {
            self.engine.shut_down(self.now);
        } else {
            panic!("what is `{line}`?");
        }
        while let Some(snapshot) = self.engine.snapshot(self.now) {
            self.engine.saved(self.now, snapshot.number);
            self.disk = Saved::Text(snapshot.text);
        }
    }

    fn connection(&mut self, who: char) -> ConnectionId {
        let pid = if who == 'A' { 1 } else { 2 };
        let peer = Peer {
            uid: 1000,
            pid,
            process: Some(Process { pid, started: 1 }),
        };
        let (engine, now) = (&mut self.engine, self.now);
        *self
            .connections
            .entry(who)
            .or_insert_with(|| engine.connect(now, peer))
    }
}

fn speaker(line: &str) -> char {
    line.chars().next().expect("a speaker")
}

fn examples() -> impl Iterator<Item = &'static str> {
    let blocks = PAGE.split("```lockd\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap_or_default())
}

#[test]
fn every_example_is_true() {
    let mut count = 0;
    for example in examples() {
        let mut world = Example::new();
        for line in example.lines() {
            eprintln!("{line}");
            world.run(line);
        }
        for (who, id) in &world.connections {
            let left = String::from_utf8_lossy(world.engine.output(*id)).into_owned();
            assert_eq!(left, "", "{who} was told more than the page says");
        }
        count += 1;
    }
    assert!(count >= 10, "{count}");
}

#[test]
fn every_message_has_an_example() {
    let unknown = br#"{"there is none":{}}"#;
    let expected = [
        (
            ">",
            Encoding::Json.read::<ToDaemon<'_>>(unknown).unwrap_err(),
        ),
        (
            "<",
            Encoding::Json.read::<ToClient<'_>>(unknown).unwrap_err(),
        ),
    ];
    for (direction, error) in expected {
        let error = error.to_string();
        let list = error.split("expected one of ").nth(1).expect("a list");
        let names: Vec<&str> = list.split('`').skip(1).step_by(2).collect();
        assert!(names.len() > 10, "{names:?}");
        for name in names.into_iter().filter(|name| !name.starts_with('{')) {
            let begins = format!("{direction} {{\"{name}\":");
            assert!(PAGE.contains(&begins), "no example of {begins}");
        }
    }
}
