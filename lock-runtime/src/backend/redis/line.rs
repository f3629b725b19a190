//! The connection that there is now, and its successors: made anew for as long as the backend
//! lives.

use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::{Cmd, ErrorKind, PushInfo, PushKind, RedisError, ServerErrorKind, Value};
use tokio::sync::Notify;

use super::connection::{Listener, Wire};
use super::ears::Ears;
use super::fault;
use super::place::Place;
use super::scripts::Script;
use crate::backend::waiting::Failure;
use crate::clock::{Clock, Moment};
use crate::error::BackendError;
use crate::observe;
use crate::race::{First, first};
use crate::sync::{Mutex, lock};

/// The first pause between two attempts to connect, and the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(300);

/// What was sent over a connection that was given up may arrive for so long.
pub(super) const MAY_ARRIVE_FOR: Duration = Duration::from_secs(120);

/// The way to a Redis.
pub(super) struct Line {
    pub(super) place: Place,
    clock: Clock,
    ears: Ears,
    state: Mutex<State>,
    /// The connection broke, or the backend is gone.
    changed: Notify,
    /// What was said over a connection that broke was not heard.
    missed: Notify,
}

struct State {
    now: Now,
    /// How many connections there were.
    number: u64,
    /// When the last one was given up.
    given_up: Option<Moment>,
}

enum Now {
    Closed,
    Down(BackendError),
    New,
    Up(Wire),
}

impl Line {
    pub(super) fn new(place: Place, clock: Clock, ears: Ears) -> Arc<Self> {
        Arc::new(Self {
            place,
            clock,
            ears,
            state: Mutex::new(State {
                now: Now::New,
                number: 0,
                given_up: None,
            }),
            changed: Notify::new(),
            missed: Notify::new(),
        })
    }

    /// Connects for the first time, and stays connected from then on.
    ///
    /// # Errors
    ///
    /// When no connection can be made, or what is there is not fit to keep locks.
    pub(super) async fn connect(self: &Arc<Self>) -> Result<(), BackendError> {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return Err(fault::no_runtime(&self.place));
        };
        let wire = self.open(1).await?;
        {
            let mut state = lock(&self.state);
            if !matches!(state.now, Now::New) {
                return Err(fault::connected_already(&self.place));
            }
            (state.now, state.number) = (Now::Up(wire), 1);
        }
        runtime.spawn(Arc::clone(self).keep());
        Ok(())
    }

    /// Nobody uses it any more.
    pub(super) fn close(&self) {
        lock(&self.state).now = Now::Closed;
        self.changed.notify_one();
        self.missed.notify_one();
    }

    /// Waits until something may have been said that was not heard. `false` when the line is
    /// closed.
    pub(super) async fn has_missed_something(&self) -> bool {
        self.missed.notified().await;
        !self.is_closed()
    }

    pub(super) fn ears(&self) -> &Ears {
        &self.ears
    }

    /// How many connections there were: what was sent over an earlier one may still arrive.
    pub(super) fn number(&self) -> u64 {
        lock(&self.state).number
    }

    /// Whether what was sent over an earlier connection may still arrive.
    pub(super) fn has_sent_astray(&self) -> bool {
        let given_up = lock(&self.state).given_up;
        given_up.is_some_and(|at| self.clock.now() < at + MAY_ARRIVE_FOR)
    }

    /// Runs a script in one round trip; in two where the server does not know it yet.
    pub(super) async fn run(
        &self,
        script: &Script,
        keys: &[&str],
        arguments: &[&str],
    ) -> Result<Value, Failure> {
        let call = |how: &str, script: &str| {
            let size = keys
                .iter()
                .chain(arguments)
                .map(|part| part.len())
                .sum::<usize>();
            let mut call = Cmd::with_capacity(
                3 + keys.len() + arguments.len(),
                size + how.len() + script.len() + 8,
            );
            call.arg(how)
                .arg(script)
                .arg(keys.len())
                .arg(keys)
                .arg(arguments);
            call
        };
        let answer = self.try_send(&call("EVALSHA", script.digest())).await?;
        match answer {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.send(&call("EVAL", script.text())).await
            }
            answer => answer.map_err(|error| fault::of_request(&self.place, &error)),
        }
    }

    pub(super) async fn send(&self, request: &Cmd) -> Result<Value, Failure> {
        let answer = self.try_send(request).await?;
        answer.map_err(|error| fault::of_request(&self.place, &error))
    }

    /// Sends a request that names no key to where this key is.
    pub(super) async fn send_where(&self, key: &str, request: &Cmd) -> Result<Value, Failure> {
        let (mut wire, number) = self.wire()?;
        let answer = wire.send_where(key, request).await;
        self.heed(number, &answer);
        answer.map_err(|error| fault::of_request(&self.place, &error))
    }

    /// All keys of a pattern, on all servers.
    pub(super) async fn scan(&self, pattern: &str) -> Result<Vec<String>, Failure> {
        let (mut wire, number) = self.wire()?;
        wire.scan(pattern).await.map_err(|error| {
            let answer = Err(error.clone());
            self.heed(number, &answer);
            fault::of_request(&self.place, &error)
        })
    }

    async fn try_send(&self, request: &Cmd) -> Result<Result<Value, RedisError>, Failure> {
        let (mut wire, number) = self.wire()?;
        let answer = wire.send(request).await;
        self.heed(number, &answer);
        Ok(answer)
    }

    /// A clone of the connection that there is now.
    pub(super) fn wire(&self) -> Result<(Wire, u64), Failure> {
        let state = lock(&self.state);
        match &state.now {
            Now::Up(wire) => Ok((wire.clone(), state.number)),
            Now::New => Err(Failure::Lasting(fault::not_connected(&self.place))),
            Now::Down(trouble) => Err(Failure::Passing(fault::out_of_reach(&self.place, trouble))),
            Now::Closed => Err(Failure::Lasting(fault::not_connected(&self.place))),
        }
    }

    /// An answer that says that the connection is of no use, or that does not come, ends it.
    fn heed(&self, number: u64, answer: &Result<Value, RedisError>) {
        let Err(error) = answer else { return };
        let is_replica = matches!(
            error.kind(),
            ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
        );
        let is_broken = matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse);
        if self.place.is_cluster() && !error.is_timeout() {
            // It finds its nodes again by itself.
            if is_broken || is_replica {
                self.doubt();
            }
        } else if is_broken || is_replica {
            let trouble = fault::of_request(&self.place, error);
            self.give_up(number, fault::of_failure(trouble));
        }
    }

    /// A connection is of no use any more, unless it was replaced already.
    fn give_up(&self, number: u64, trouble: BackendError) {
        let mut state = lock(&self.state);
        if state.number != number || !matches!(state.now, Now::Up(_)) {
            return;
        }
        state.given_up = Some(self.clock.now());
        let why = trouble.to_string();
        // The connection ends with its last user; none of them waits for longer than an answer
        // may take.
        state.now = Now::Down(trouble);
        drop(state);
        self.changed.notify_one();
        observe::out_of_reach(&self.place, &why);
    }

    /// A connection to a node of a cluster was replaced: what was sent over it may still arrive,
    /// and what was said over it was not heard.
    fn doubt(&self) {
        {
            let mut state = lock(&self.state);
            state.number += 1;
            state.given_up = Some(self.clock.now());
        }
        self.ears.waiters.wake_all();
        self.missed.notify_one();
    }

    async fn open(self: &Arc<Self>, number: u64) -> Result<Wire, BackendError> {
        let line = Arc::downgrade(self);
        let listener: Listener = Arc::new(move |said| hear(&line, number, said));
        Wire::open(&self.place, self.ears.channel(), listener).await
    }

    /// Replaces the connection whenever it has broken.
    async fn keep(self: Arc<Self>) {
        while !self.is_closed() {
            self.changed.notified().await;
            let mut pause = FIRST_PAUSE;
            while let Some(next) = self.next_number() {
                // Those who lost the same server do not come back all at once, and one that hangs
                // up again and again is not asked without a pause.
                let jittered = pause.mul_f64(rand::random_range(0.5..1.0));
                pause = (pause * 2).min(LONGEST_PAUSE);
                let _ = first(tokio::time::sleep(jittered), self.changed.notified()).await;
                match first(self.open(next), self.changed.notified()).await {
                    First::Left(Ok(wire)) => self.go_on(next, wire),
                    First::Left(Err(trouble)) => {
                        if let Now::Down(known) = &mut lock(&self.state).now {
                            *known = trouble;
                        }
                    }
                    First::Right(()) => {}
                }
            }
        }
    }

    fn is_closed(&self) -> bool {
        matches!(lock(&self.state).now, Now::Closed)
    }

    /// The number of the connection that has to be made; `None` when there is one, or nobody wants
    /// any.
    fn next_number(&self) -> Option<u64> {
        let state = lock(&self.state);
        matches!(state.now, Now::Down(_)).then_some(state.number + 1)
    }

    fn go_on(&self, number: u64, wire: Wire) {
        {
            let mut state = lock(&self.state);
            if matches!(state.now, Now::Closed) {
                return;
            }
            (state.now, state.number) = (Now::Up(wire), number);
        }
        observe::back_in_reach(&self.place);
        self.ears.waiters.wake_all();
        self.missed.notify_one();
    }
}

/// Something that the server, or the library, says by itself.
fn hear(line: &Weak<Line>, number: u64, said: PushInfo) {
    let Some(line) = line.upgrade() else { return };
    match said.kind {
        PushKind::Message => {
            if let [_channel, Value::BulkString(message)] = said.data.as_slice() {
                line.ears.hear(message);
            }
        }
        PushKind::Disconnection if line.place.is_cluster() => line.doubt(),
        PushKind::Disconnection => {
            let trouble = fault::hung_up(&line.place);
            line.give_up(number, trouble);
        }
        _ => {}
    }
}
