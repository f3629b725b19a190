//! The daemon without its I/O: bytes and events go in, bytes and snapshots come out.
//!
//! Nothing here knows a socket, a file, a clock or a task. Time is a parameter; a shell
//! ([`crate::server`]) or a simulation drives it:
//!
//! * it reports what happens: [`Engine::connect`], [`Engine::received`],
//!   [`Engine::disconnected`], [`Engine::process_died`], [`Engine::shut_down`];
//! * it lets time pass: [`Engine::advance`], at [`Engine::next_look`] at the latest;
//! * it sends what there is to send: [`Engine::woken`] names the connections that have news,
//!   [`Engine::output`] is what may be sent to one of them now, [`Engine::written`] takes it
//!   away; one that [`Engine::is_closing`] is closed when its output is empty;
//! * it saves: [`Engine::snapshot`] is what has to be on disk, [`Engine::saved`] says that it is.
//!   Output that depends on what is not saved yet is held back until then.

mod assignments;
mod belonging;
mod connection;
mod durable;
mod greeting;
mod limits;
mod looking;
mod messages;
mod peer;
mod reading;
mod recovery;
mod returning;
mod saved;
mod saying;
mod sections;
mod session;

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use lock_runtime::__daemon::{Code, Effects, Table, TokenSource};
use lock_runtime::wire::Nonce;
use lock_runtime::{FencingToken, Moment, Owner};

pub use limits::Limits;
pub use peer::{Peer, Process};

use connection::Connection;
use durable::Durable;
use recovery::Recovery;
use saved::Times;
use session::{Holder, Session, SessionId};

/// A connection, unlike every other one of this run of the daemon.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId(u64);

/// By a number that the daemon gave out: nobody else chooses it, and every request looks for it
/// several times, so that the hash is a fast one.
pub(crate) type ById<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// What has to be on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// Its number: later ones contain everything of earlier ones.
    pub number: u64,
    /// The file's new content.
    pub text: Vec<u8>,
}

/// What was on disk when the daemon was started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Saved {
    /// Nothing: it is started for the first time, or the operator has reset it.
    Nothing,
    /// The last snapshot's text.
    Text(Vec<u8>),
}

/// What was on disk cannot be gone on from.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

/// The last fencing token that was given out, in common with the table.
#[derive(Clone, Default)]
struct Tokens(Rc<Cell<u64>>);

impl TokenSource for Tokens {
    fn next(&self) -> FencingToken {
        let number = self.0.get() + 1;
        self.0.set(number);
        // A million grants a second reach the largest token after 200 years.
        FencingToken::new(number).unwrap_or(FencingToken::MAX)
    }
}

/// How many bad messages one connection may send: by then it is no slip.
const MAX_MALFORMED: u32 = 64;

/// How often what is over is left out of the state, and how long a session is idle before it is.
const TIDY: Duration = Duration::from_secs(60);

/// The daemon without its I/O.
pub struct Engine {
    limits: Limits,
    boot: String,
    /// A moment by both clocks, for times that people read.
    started: Times,
    table: Table<Holder, Tokens>,
    tokens: Tokens,
    connections: ById<ConnectionId, Connection>,
    sessions: ById<SessionId, Session>,
    by_key: HashMap<Nonce, SessionId>,
    processes: HashMap<Process, OfProcess>,
    last_id: u64,
    /// Acquisitions that stand alone, without a session.
    alone: usize,
    /// Acquisitions for which a lease runs.
    running: usize,
    /// Requests that wait, by their owners: looking through a queue takes long.
    waiting: HashMap<Owner, Holder>,
    /// Grants out of queues that nobody is told of before this snapshot is on disk.
    untold: Vec<(u64, Holder)>,
    /// When idle sessions, and leases that have ended, are left out of the state.
    tidy_at: Moment,
    durable: Durable,
    recovery: Option<Recovery>,
    woken: VecDeque<ConnectionId>,
    /// Connections whose output waits for a snapshot.
    held_back: Vec<ConnectionId>,
    /// When which connection has to have greeted; and to have finished its message.
    greetings: VecDeque<(Moment, ConnectionId)>,
    unfinished: VecDeque<(Moment, ConnectionId)>,
    no_code: Rc<Code>,
    is_shut_down: bool,
}

/// What there is of a process.
#[derive(Debug, Default)]
struct OfProcess {
    connections: usize,
    sessions: Vec<SessionId>,
}

impl Engine {
    /// Goes on from what was saved, in this boot of the machine
    /// (`/proc/sys/kernel/random/boot_id`).
    ///
    /// # Errors
    ///
    /// When what was saved is not a snapshot.
    pub fn new(
        limits: Limits,
        saved: &Saved,
        boot: &str,
        now: Moment,
        wall: SystemTime,
    ) -> Result<Self, Unreadable> {
        let started = Times { now, wall };
        let durable = match saved {
            Saved::Nothing => Durable::begun(wall),
            Saved::Text(text) => saved::read(text, boot, started)?,
        };
        let tokens = Tokens::default();
        tokens.0.set(durable.covered().tokens);
        let mut engine = Self {
            limits,
            boot: boot.to_owned(),
            started,
            table: Table::new(tokens.clone()),
            tokens,
            connections: ById::default(),
            sessions: ById::default(),
            by_key: HashMap::new(),
            processes: HashMap::new(),
            last_id: 0,
            alone: 0,
            running: 0,
            waiting: HashMap::new(),
            untold: Vec::new(),
            tidy_at: now + TIDY,
            recovery: Recovery::of(&durable, now),
            durable,
            woken: VecDeque::new(),
            held_back: Vec::new(),
            greetings: VecDeque::new(),
            unfinished: VecDeque::new(),
            no_code: Rc::default(),
            is_shut_down: false,
        };
        engine.put_back(now);
        Ok(engine)
    }

    /// The processes of the run before that may still hold something: their ends are to be
    /// reported as those of peers.
    #[must_use]
    pub fn processes_to_watch(&self) -> Vec<Process> {
        self.recovery
            .as_ref()
            .map_or_else(Vec::new, |recovery| recovery.processes().collect())
    }

    /// Whether anything depends on the end of a process.
    #[must_use]
    pub fn is_watched(&self, process: Process) -> bool {
        self.processes.contains_key(&process)
            || self
                .recovery
                .as_ref()
                .is_some_and(|recovery| recovery.processes().any(|missing| missing == process))
    }

    /// Somebody has connected. One too many is told so, and closed.
    pub fn connect(&mut self, now: Moment, peer: Peer) -> ConnectionId {
        self.last_id += 1;
        let id = ConnectionId(self.last_id);
        let total = self.connections.len();
        self.connections.insert(id, Connection::new(peer));
        let of_process = peer.process.map_or(0, |process| {
            let known = self.processes.entry(process).or_default();
            known.connections += 1;
            known.connections
        });
        if self.is_shut_down {
            self.say_bye(id, "lockd is going down");
        } else if total >= self.limits.connections {
            let limit = self.limits.connections;
            self.refuse_connection(id, &format!("lockd has {limit} connections already"));
        } else if of_process > self.limits.connections_per_process {
            let limit = self.limits.connections_per_process;
            self.refuse_connection(
                id,
                &format!("this process has {limit} connections already; one is enough"),
            );
        } else {
            self.greetings.push_back((now + self.limits.greeting, id));
        }
        id
    }

    /// A connection has ended, from either side.
    pub fn disconnected(&mut self, now: Moment, connection: ConnectionId) {
        let Some(gone) = self.connections.remove(&connection) else {
            return;
        };
        if let Some(process) = gone.peer.process
            && let Some(known) = self.processes.get_mut(&process)
        {
            known.connections -= 1;
        }
        if let Some(session) = gone.session {
            self.connection_lost(now, session, connection);
        }
        if let Some(process) = gone.peer.process {
            self.forget_process(process);
        }
    }

    /// A process has ended: so does everything that it had, but for what lingers.
    pub fn process_died(&mut self, now: Moment, process: Process) {
        let sessions = self
            .processes
            .get_mut(&process)
            .map(|known| std::mem::take(&mut known.sessions))
            .unwrap_or_default();
        for session in sessions {
            self.end_session(now, session, true);
        }
        if let Some(recovery) = &mut self.recovery {
            for session in recovery.process_died(process) {
                self.durable.forget(session);
            }
            self.recover(now);
        }
        let left: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.peer.process == Some(process))
            .map(|(id, _)| *id)
            .collect();
        for id in left {
            self.close(id);
        }
        self.forget_process(process);
    }

    /// Lets everything happen that is due.
    pub fn advance(&mut self, now: Moment) {
        let mut effects = Effects::new();
        self.table.advance(now, &mut effects);
        self.tell(now, effects);
        self.recover(now);
        self.close_the_slow(now);
        self.tidy(now);
    }

    /// When something is due next.
    #[must_use]
    pub fn next_look(&self) -> Option<Moment> {
        let recovery = self.recovery.as_ref().map(Recovery::next_look);
        let timed = [&self.greetings, &self.unfinished];
        let timed = timed.into_iter().filter_map(|queue| queue.front());
        let timed = timed.map(|(at, _)| *at);
        let looks = self.table.next_look().into_iter().chain(recovery);
        looks.chain(timed).min()
    }

    /// What has to be saved now. `None` when nothing is new, or a snapshot is under way.
    pub fn snapshot(&mut self, now: Moment) -> Option<Snapshot> {
        let times = self.times(now);
        self.durable.snapshot(&self.boot, times)
    }

    /// Whether nobody is connected, has anything, or waits for anything; assignments may be left.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let is_assigned = |name| self.durable.assignments.contains_key(name);
        self.connections.is_empty()
            && self.sessions.is_empty()
            && self.by_key.is_empty()
            && self.processes.is_empty()
            && self.recovery.is_none()
            && self.alone + self.running + self.waiting.len() == 0
            && self.table.names().all(is_assigned)
    }

    /// Stops granting, tells everybody, and closes every connection. What is held stays held.
    pub fn shut_down(&mut self, now: Moment) {
        self.is_shut_down = true;
        let all: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in all {
            self.say_bye(id, "lockd is going down");
        }
        if self.running == 0 && self.recovery.is_none() {
            self.durable.nobody_holds_anything(now);
        } else {
            self.durable.changed_by_the_way();
        }
    }

    fn times(&self, now: Moment) -> Times {
        Times {
            now,
            wall: self.started.wall + (now - self.started.now),
        }
    }

    fn forget_process(&mut self, process: Process) {
        if self
            .processes
            .get(&process)
            .is_some_and(|known| known.connections == 0 && known.sessions.is_empty())
        {
            self.processes.remove(&process);
        }
    }

    /// Leaves out of the state what a restart need not wait for any more.
    fn tidy(&mut self, now: Moment) {
        if now < self.tidy_at || self.recovery.is_some() {
            return;
        }
        self.tidy_at = now + TIDY;
        for session in self.sessions.values_mut() {
            let is_idle = session.held() == 0 && session.last_grant + TIDY <= now;
            let is_idle = is_idle && session.acquisitions.is_empty();
            if session.remembered.is_some() && is_idle && !session.lingers {
                session.remembered = None;
                self.durable.forget(session.key);
                self.durable.changed_by_the_way();
            }
        }
        if self.durable.covered().horizon > now + 2 * TIDY {
            let latest = self.table.latest_end();
            self.durable.lower_horizon(latest.unwrap_or(now).max(now));
        }
    }

    /// Closes connections that take too long for their greeting, or for the end of a message.
    fn close_the_slow(&mut self, now: Moment) {
        while let Some((_, id)) = pop_due(&mut self.greetings, now) {
            let is_greeted = |connection: &Connection| connection.session.is_some();
            if self.connections.get(&id).is_some_and(|c| !is_greeted(c)) {
                self.say_bye(id, "no greeting came; it is the first line of a connection");
            }
        }
        while let Some((_, id)) = pop_due(&mut self.unfinished, now) {
            let Some(connection) = self.connections.get_mut(&id) else {
                continue;
            };
            connection.is_timed = false;
            let Some(since) = connection.unfinished_since else {
                continue;
            };
            let limit = since + self.limits.unfinished;
            if limit <= now {
                self.say_bye(id, "a message was begun and not finished");
            } else {
                connection.is_timed = true;
                let place = self.unfinished.partition_point(|(at, _)| *at <= limit);
                self.unfinished.insert(place, (limit, id));
            }
        }
    }
}

fn pop_due(
    queue: &mut VecDeque<(Moment, ConnectionId)>,
    now: Moment,
) -> Option<(Moment, ConnectionId)> {
    queue.pop_front_if(|(at, _)| *at <= now)
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("connections", &self.connections.len())
            .field("sessions", &self.sessions.len())
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
