//! One process: a model of what a client of the protocol does, and what it believes.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::network::Micros;
use crate::random::Random;

pub(crate) const TTL_MS: u64 = 300;
const NAMES: u64 = 3;

/// What a client counts a lease with: a little less than was asked for.
const BELIEVED: Micros = (TTL_MS - TTL_MS / 100 - 2) * 1000;

pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) is_alive: bool,
    /// Stands still until then.
    pub(crate) frozen_until: Micros,
    pub(crate) wire: Option<usize>,
    pub(crate) connect_at: Micros,
    pub(crate) is_greeted: bool,
    session: String,
    connections: u64,
    pub(crate) tasks: Vec<Task>,
    asked: HashMap<u64, (usize, Asked, Micros)>,
    last_id: u64,
    read: Vec<u8>,
    pub(crate) out: Vec<Value>,
}

/// One thing after another that a process does under a lock.
pub(crate) struct Task {
    pub(crate) state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Idle {
        until: Micros,
    },
    Waiting {
        lock: Lock,
        deadline: Micros,
    },
    Holding {
        lock: Lock,
        token: u64,
        /// Until when it believes that it holds the lock.
        believes_until: Micros,
        renew_at: Micros,
        body_until: Micros,
        since: Micros,
    },
    Releasing {
        lock: Lock,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lock {
    pub(crate) name: String,
    pub(crate) owner: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Acquire,
    Claim(u64),
    Renew,
    Release,
    Reclaim,
    Settled,
}

/// What a process tells the judge.
pub(crate) enum News {
    Entered {
        name: String,
        token: u64,
        until: Micros,
    },
}

impl Process {
    pub(crate) fn new(pid: u32, now: Micros, random: &mut Random) -> Self {
        Self {
            pid,
            is_alive: true,
            frozen_until: 0,
            wire: None,
            connect_at: now + random.below(20_000),
            is_greeted: false,
            session: format!("{:016x}{:016x}", random.next(), random.next()),
            connections: 0,
            tasks: (0..2)
                .map(|_| Task {
                    state: State::Idle {
                        until: now + random.below(50_000),
                    },
                })
                .collect(),
            asked: HashMap::new(),
            last_id: 0,
            read: Vec::new(),
            out: Vec::new(),
        }
    }

    /// When it does something by itself next.
    pub(crate) fn next_act(&self) -> Micros {
        let tasks = self.tasks.iter().map(|task| match &task.state {
            State::Idle { until } => *until,
            State::Waiting { .. } | State::Releasing { .. } => Micros::MAX,
            State::Holding {
                believes_until,
                renew_at,
                body_until,
                ..
            } => *believes_until.min(renew_at).min(body_until),
        });
        let connect = if self.wire.is_none() {
            self.connect_at
        } else {
            Micros::MAX
        };
        let first = tasks.chain([connect]).min().unwrap_or(Micros::MAX);
        first.max(self.frozen_until)
    }

    /// Until when the process believes that it holds a name.
    pub(crate) fn believes(&self, name: &str) -> Option<Micros> {
        let holding = self.tasks.iter().filter_map(|task| match &task.state {
            State::Holding {
                lock,
                believes_until,
                ..
            } if lock.name == name => Some(*believes_until),
            _ => None,
        });
        holding.filter(|_| self.is_alive).max()
    }

    pub(crate) fn is_idle(&self) -> bool {
        let mut tasks = self.tasks.iter();
        tasks.all(|task| matches!(task.state, State::Idle { .. }))
    }

    /// The connection is there: greets, says what it holds, asks again for what it waits for.
    pub(crate) fn connected(&mut self, now: Micros) {
        self.is_greeted = false;
        self.asked.clear();
        self.read.clear();
        self.out.clear();
        self.connections += 1;
        let hello = json!({
            "version": 1, "application": "model",
            "session": self.session, "connection": self.connections,
        });
        self.out.push(json!({ "hello": hello }));
        for index in 0..self.tasks.len() {
            match self.tasks[index].state.clone() {
                State::Idle { .. } => {}
                State::Waiting { lock, deadline } => self.acquire(now, index, &lock, deadline),
                State::Holding {
                    lock, token, since, ..
                } => {
                    let id = self.ask(now, index, Asked::Reclaim);
                    self.out.push(json!({"reclaim": {
                        "id": id, "name": lock.name, "owner": lock.owner, "token": token,
                        "ttl_ms": TTL_MS, "held_ms": (now - since) / 1000,
                    }}));
                }
                State::Releasing { lock } => self.release(now, index, &lock),
            }
        }
        let id = self.ask(now, 0, Asked::Settled);
        self.out.push(json!({"settled": {"id": id}}));
    }

    pub(crate) fn disconnected(&mut self, now: Micros, random: &mut Random) {
        self.wire = None;
        self.asked.clear();
        self.connect_at = now + 1_000 + random.below(60_000);
    }

    fn ask(&mut self, now: Micros, task: usize, asked: Asked) -> u64 {
        self.last_id += 1;
        self.asked.insert(self.last_id, (task, asked, now));
        self.last_id
    }

    fn acquire(&mut self, now: Micros, index: usize, lock: &Lock, deadline: Micros) {
        let id = self.ask(now, index, Asked::Acquire);
        let wait_ms = deadline.saturating_sub(now) / 1000;
        self.out.push(json!({"acquire": {
            "id": id, "name": lock.name, "owner": lock.owner,
            "ttl_ms": TTL_MS, "wait_ms": wait_ms,
        }}));
    }

    fn release(&mut self, now: Micros, index: usize, lock: &Lock) {
        let id = self.ask(now, index, Asked::Release);
        self.out.push(json!({"release": {
            "id": id, "name": lock.name, "owner": lock.owner, "body_ran": true,
        }}));
    }

    /// Does what is due.
    pub(crate) fn act(&mut self, now: Micros, is_over: bool, random: &mut Random) {
        for index in 0..self.tasks.len() {
            match self.tasks[index].state.clone() {
                State::Idle { until } if until <= now && !is_over => {
                    let lock = Lock {
                        name: format!("n:{}", random.below(NAMES)),
                        owner: format!(
                            "{:016x}{:016x}{:016x}",
                            random.next(),
                            random.next(),
                            random.next()
                        ),
                    };
                    let wait = if random.once_in(4) {
                        0
                    } else {
                        random.below(2_000_000)
                    };
                    let deadline = now + wait;
                    if self.wire.is_some() {
                        self.acquire(now, index, &lock, deadline);
                    }
                    self.tasks[index].state = State::Waiting { lock, deadline };
                }
                State::Idle { until } if until <= now => {
                    self.tasks[index].state = State::Idle { until: Micros::MAX };
                }
                State::Holding {
                    lock,
                    believes_until,
                    body_until,
                    ..
                } if believes_until <= now || body_until <= now => {
                    if self.wire.is_some() {
                        self.release(now, index, &lock);
                    }
                    self.tasks[index].state = State::Releasing { lock };
                }
                State::Holding { lock, renew_at, .. } if renew_at <= now => {
                    if self.wire.is_some() {
                        let id = self.ask(now, index, Asked::Renew);
                        let lease =
                            json!({"name": lock.name, "owner": lock.owner, "ttl_ms": TTL_MS});
                        self.out
                            .push(json!({"renew": {"id": id, "leases": [lease]}}));
                    }
                    if let State::Holding { renew_at, .. } = &mut self.tasks[index].state {
                        *renew_at = now + TTL_MS * 1000 / 3;
                    }
                }
                _ => {}
            }
        }
    }

    /// Bytes have come in.
    pub(crate) fn received(&mut self, now: Micros, bytes: &[u8], random: &mut Random) -> Vec<News> {
        self.read.extend_from_slice(bytes);
        let mut news = Vec::new();
        while let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.read.drain(..=end).collect();
            let message: Value = serde_json::from_slice(&line).expect("the daemon speaks JSON");
            let (kind, body) = message
                .as_object()
                .and_then(|object| object.iter().next())
                .expect("a message has one field");
            news.extend(self.message(now, kind, body, random));
        }
        news
    }

    fn message(
        &mut self,
        now: Micros,
        kind: &str,
        body: &Value,
        random: &mut Random,
    ) -> Option<News> {
        match kind {
            "hello" => {
                self.is_greeted = true;
                return None;
            }
            "bye" => return None,
            "lost" => {
                let owner = body["owner"].as_str().expect("an owner");
                self.lost(now, owner, random);
                return None;
            }
            _ => {}
        }
        let id = body["id"]
            .as_u64()
            .unwrap_or_else(|| panic!("{kind}: {body}"));
        let (index, asked, sent) = self.asked.remove(&id)?;
        let token = body["token"].as_u64();
        match (asked, kind, self.tasks[index].state.clone()) {
            (Asked::Settled, "done", _) => None,
            (Asked::Acquire, "granted", State::Waiting { lock, .. }) => {
                let token = token.unwrap_or(0);
                if body["queued"] == true {
                    let id = self.ask(now, index, Asked::Claim(token));
                    self.out.push(json!({"claim": {
                        "id": id, "name": lock.name, "owner": lock.owner,
                    }}));
                    return None;
                }
                self.enter(now, index, lock, token, sent, random)
            }
            (Asked::Acquire, "busy", State::Waiting { .. }) => {
                self.rest(now, index, random);
                None
            }
            (Asked::Claim(token), "held", State::Waiting { lock, deadline }) => {
                if body["held"] == true {
                    return self.enter(now, index, lock, token, sent, random);
                }
                // Came too late for it: queues again.
                self.acquire(now, index, &lock, deadline);
                None
            }
            (Asked::Renew, "renewed", State::Holding { lock, .. }) => {
                let lost = body["lost"].as_array().expect("a list");
                if lost.iter().any(|owner| *owner == lock.owner.as_str()) {
                    self.rest(now, index, random);
                } else {
                    self.believe(index, sent);
                }
                None
            }
            (Asked::Reclaim, "held", State::Holding { .. }) => {
                if body["held"] == true {
                    self.believe(index, sent);
                } else {
                    self.rest(now, index, random);
                }
                None
            }
            (Asked::Release, "held", State::Releasing { .. }) => {
                self.rest(now, index, random);
                None
            }
            // Answers that came after the task went on: a renewal after the release.
            (Asked::Renew | Asked::Reclaim, _, State::Releasing { .. } | State::Idle { .. }) => {
                None
            }
            (asked, kind, state) => {
                panic!("{asked:?} was answered with {kind} {body} in {state:?}")
            }
        }
    }

    fn enter(
        &mut self,
        now: Micros,
        index: usize,
        lock: Lock,
        token: u64,
        sent: Micros,
        random: &mut Random,
    ) -> Option<News> {
        let believes_until = sent + BELIEVED;
        if believes_until <= now {
            self.release(now, index, &lock);
            self.tasks[index].state = State::Releasing { lock };
            return None;
        }
        let name = lock.name.clone();
        let longest = if random.once_in(8) { 600_000 } else { 20_000 };
        self.tasks[index].state = State::Holding {
            lock,
            token,
            believes_until,
            renew_at: sent + TTL_MS * 1000 / 3,
            body_until: now + random.below(longest),
            since: now,
        };
        Some(News::Entered {
            name,
            token,
            until: believes_until,
        })
    }

    /// The lease was started anew by a message of this moment.
    fn believe(&mut self, index: usize, sent: Micros) {
        if let State::Holding { believes_until, .. } = &mut self.tasks[index].state {
            *believes_until = (*believes_until).max(sent + BELIEVED);
        }
    }

    fn lost(&mut self, now: Micros, owner: &str, random: &mut Random) {
        let lost = self.tasks.iter().position(
            |task| matches!(&task.state, State::Holding { lock, .. } if lock.owner == owner),
        );
        if let Some(index) = lost {
            self.rest(now, index, random);
        }
    }

    fn rest(&mut self, now: Micros, index: usize, random: &mut Random) {
        self.tasks[index].state = State::Idle {
            until: now + random.below(30_000),
        };
    }
}
