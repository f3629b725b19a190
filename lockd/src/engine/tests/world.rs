//! A daemon without I/O, its clients, and time that passes when a test says so.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lock_runtime::__daemon::moment;
use lock_runtime::Moment;
use serde_json::{Value, json};

use super::super::{ConnectionId, Engine, Limits, Peer, Process, Saved};

pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) now: Moment,
    pub(super) disk: Saved,
    /// Whether snapshots get to the disk as soon as they are made.
    pub(super) saves: bool,
    pub(super) limits: Limits,
    boot: String,
    last_owner: u64,
}

/// A connection, and what was read from it.
pub(super) struct Client {
    pub(super) id: ConnectionId,
    read: Vec<u8>,
}

pub(super) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn process(pid: u32) -> Process {
    Process { pid, started: 7 }
}

pub(super) fn session(number: u64) -> String {
    format!("{number:032x}")
}

impl World {
    pub(super) fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    pub(super) fn with_limits(limits: Limits) -> Self {
        let now = start();
        let engine = Engine::new(limits, &Saved::Nothing, "boot-1", now, wall(now)).unwrap();
        Self {
            engine,
            now,
            disk: Saved::Nothing,
            saves: true,
            limits,
            boot: "boot-1".to_owned(),
            last_owner: 0,
        }
    }

    /// The daemon dies and is started anew.
    pub(super) fn crash(&mut self) {
        let wall = wall(self.now);
        let engine = Engine::new(self.limits, &self.disk, &self.boot, self.now, wall);
        self.engine = engine.unwrap();
    }

    /// The machine is started anew.
    pub(super) fn reboot(&mut self) {
        self.boot.push('+');
        self.now = moment(0) + secs(100);
        self.crash();
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.engine.next_look().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.engine.advance(self.now);
            self.save();
        }
        self.now = until;
        self.engine.advance(until);
        self.save();
    }

    pub(super) fn save(&mut self) {
        while self.saves
            && let Some(snapshot) = self.engine.snapshot(self.now)
        {
            self.disk = Saved::Text(snapshot.text);
            self.engine.saved(self.now, snapshot.number);
        }
    }

    pub(super) fn connect(&mut self, pid: u32) -> Client {
        let peer = Peer {
            uid: 1000,
            pid,
            process: Some(process(pid)),
        };
        let id = self.engine.connect(self.now, peer);
        Client {
            id,
            read: Vec::new(),
        }
    }

    /// A client that has greeted, in a session of its own number.
    pub(super) fn client(&mut self, pid: u32, number: u64) -> Client {
        let mut client = self.connect(pid);
        let hello = json!({"version": 1, "application": "test", "session": session(number)});
        self.send(&client, &json!({ "hello": hello }));
        let welcome = self.receive(&mut client);
        assert!(welcome.get("hello").is_some(), "{welcome}");
        client
    }

    pub(super) fn send(&mut self, client: &Client, message: &Value) {
        self.send_raw(client, format!("{message}\n").as_bytes());
    }

    pub(super) fn send_raw(&mut self, client: &Client, bytes: &[u8]) {
        self.engine.received(self.now, client.id, bytes);
        self.save();
    }

    /// Everything that was said to a client since the last time.
    pub(super) fn all(&mut self, client: &mut Client) -> Vec<Value> {
        let output = self.engine.output(client.id).to_vec();
        self.engine.written(client.id, output.len());
        client.read.extend(output);
        let mut found = Vec::new();
        while let Some(end) = client.read.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = client.read.drain(..=end).collect();
            found.push(serde_json::from_slice(&line).unwrap());
        }
        found
    }

    /// The one thing that was said to a client since the last time.
    #[track_caller]
    pub(super) fn receive(&mut self, client: &mut Client) -> Value {
        let mut all = self.all(client);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    #[track_caller]
    pub(super) fn nothing(&mut self, client: &mut Client) {
        let all = self.all(client);
        assert!(all.is_empty(), "{all:?}");
    }

    #[track_caller]
    pub(super) fn ask(&mut self, client: &mut Client, message: &Value) -> Value {
        self.send(client, message);
        self.receive(client)
    }

    pub(super) fn disconnect(&mut self, client: &Client) {
        self.engine.disconnected(self.now, client.id);
        self.save();
    }

    pub(super) fn kill(&mut self, pid: u32) {
        self.engine.process_died(self.now, process(pid));
        self.save();
    }

    /// A new owner.
    pub(super) fn owner(&mut self) -> String {
        self.last_owner += 1;
        format!("{:048x}", self.last_owner)
    }

    /// Acquires without queueing; the token when it is granted.
    #[track_caller]
    pub(super) fn acquire(&mut self, client: &mut Client, name: &str, owner: &str) -> Option<u64> {
        let answer = self.ask(client, &acquire(1, name, owner, 0));
        let granted = answer.get("granted")?;
        assert_eq!(granted["queued"], false);
        granted["token"].as_u64()
    }

    /// Releases; whether it was held.
    #[track_caller]
    pub(super) fn release(&mut self, client: &mut Client, name: &str, owner: &str) -> bool {
        let release = json!({"id": 9, "name": name, "owner": owner, "body_ran": true});
        let answer = self.ask(client, &json!({ "release": release }));
        answer["held"]["held"].as_bool().unwrap()
    }

    #[track_caller]
    pub(super) fn reclaim(
        &mut self,
        client: &mut Client,
        name: &str,
        owner: &str,
        token: Option<u64>,
    ) -> bool {
        let reclaim =
            json!({"id": 8, "name": name, "owner": owner, "token": token, "ttl_ms": 10_000});
        let answer = self.ask(client, &json!({ "reclaim": reclaim }));
        answer["held"]["held"].as_bool().unwrap()
    }

    #[track_caller]
    pub(super) fn settle(&mut self, client: &mut Client) {
        self.send(client, &json!({"settled": {"id": 7}}));
        let all = self.all(client);
        assert!(all.contains(&json!({"done": {"id": 7}})), "{all:?}");
    }
}

/// A request with a lease of 10 s that queues for so many milliseconds.
pub(super) fn acquire(id: u64, name: &str, owner: &str, wait_ms: u64) -> Value {
    json!({"acquire": {
        "id": id, "name": name, "owner": owner, "ttl_ms": 10_000, "wait_ms": wait_ms,
    }})
}

pub(super) fn claim(id: u64, name: &str, owner: &str) -> Value {
    json!({"claim": {"id": id, "name": name, "owner": owner}})
}

pub(super) fn held(id: u64, held: bool) -> Value {
    json!({"held": {"id": id, "held": held}})
}

/// The first token of a daemon that began without a state.
pub(super) fn first_token() -> u64 {
    let since_epoch = wall(start()).duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since_epoch.as_micros()).unwrap() + 1
}

/// When a world begins.
fn start() -> Moment {
    moment(0) + secs(1_000)
}

fn wall(now: Moment) -> SystemTime {
    UNIX_EPOCH + secs(1_700_000_000) + now.since_start()
}
