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

/// After the loss of a node of a cluster, so long passes before those who wait, and what is held,
/// are looked after because of the next: a cluster in trouble is not asked more than otherwise.
const BETWEEN_DOUBTS: Duration = Duration::from_millis(500);

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
    /// The backend is gone.
    closed: Notify,
    /// What was said over a connection that broke was not heard.
    missed: Notify,
    /// A connection to a node of a cluster broke.
    doubted: Notify,
}

struct State {
    now: Now,
    /// How many connections there were.
    number: u64,
    /// When the last one was given up.
    given_up: Option<Moment>,
    /// The one to a cluster works in part, and is to be replaced by one that knows it better.
    is_stale: bool,
    /// When a node of a cluster last answered.
    answered: Option<Moment>,
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
                is_stale: false,
                answered: None,
            }),
            changed: Notify::new(),
            closed: Notify::new(),
            missed: Notify::new(),
            doubted: Notify::new(),
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
        if self.place.is_cluster() {
            runtime.spawn(Arc::clone(self).settle_doubts());
        }
        Ok(())
    }

    /// Nobody uses it any more.
    pub(super) fn close(&self) {
        lock(&self.state).now = Now::Closed;
        self.changed.notify_one();
        self.closed.notify_one();
        self.missed.notify_one();
        self.doubted.notify_one();
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

    /// The number of the connection that there is now.
    pub(super) fn up(&self) -> Result<u64, Failure> {
        let state = lock(&self.state);
        self.up_in(&state).map(|_| state.number)
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
        let sent = self.clock.now();
        let answer = wire.send_where(key, request).await;
        self.heed(number, sent, &answer);
        answer.map_err(|error| fault::of_request(&self.place, &error))
    }

    /// All keys of a pattern, on all servers.
    pub(super) async fn scan(&self, pattern: &str) -> Result<Vec<String>, Failure> {
        let (mut wire, number) = self.wire()?;
        let sent = self.clock.now();
        wire.scan(pattern).await.map_err(|error| {
            let answer = Err(error.clone());
            self.heed(number, sent, &answer);
            fault::of_request(&self.place, &error)
        })
    }

    async fn try_send(&self, request: &Cmd) -> Result<Result<Value, RedisError>, Failure> {
        let (mut wire, number) = self.wire()?;
        let sent = self.clock.now();
        let answer = wire.send(request).await;
        self.heed(number, sent, &answer);
        Ok(answer)
    }

    /// A clone of the connection that there is now.
    pub(super) fn wire(&self) -> Result<(Wire, u64), Failure> {
        let state = lock(&self.state);
        let wire = self.up_in(&state)?.clone();
        Ok((wire, state.number))
    }

    fn up_in<'a>(&self, state: &'a State) -> Result<&'a Wire, Failure> {
        match &state.now {
            Now::Up(wire) => Ok(wire),
            Now::New => Err(Failure::Lasting(fault::not_connected(&self.place))),
            Now::Down(trouble) => Err(Failure::Passing(fault::out_of_reach(&self.place, trouble))),
            Now::Closed => Err(Failure::Lasting(fault::not_connected(&self.place))),
        }
    }

    /// An answer that says that the connection is of no use, or that does not come, ends it.
    fn heed(&self, number: u64, sent: Moment, answer: &Result<Value, RedisError>) {
        let is_cluster = self.place.is_cluster();
        let Err(error) = answer else {
            if is_cluster {
                lock(&self.state).answered = Some(self.clock.now());
            }
            return;
        };
        let is_replica = matches!(
            error.kind(),
            ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
        );
        let is_broken = matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse);
        if is_cluster && !error.is_timeout() {
            // It finds its nodes again by itself.
            if is_broken || is_replica {
                self.doubt();
            }
        } else if is_cluster && self.was_answered_since(sent) {
            // One node is silent: what the others keep goes on over this connection until there
            // is another one, which asks anew who has the place of that node.
            self.distrust(number);
        } else if is_broken || is_replica {
            let trouble = fault::of_request(&self.place, error);
            self.give_up(number, fault::of_failure(trouble));
        }
    }

    /// Whether some node has answered since.
    fn was_answered_since(&self, sent: Moment) -> bool {
        let answered = lock(&self.state).answered;
        answered.is_some_and(|answered| answered >= sent)
    }

    /// A connection has to be replaced as soon as there is another one, unless it was already.
    fn distrust(&self, number: u64) {
        let mut state = lock(&self.state);
        if state.number == number && matches!(state.now, Now::Up(_)) {
            state.is_stale = true;
            drop(state);
            self.changed.notify_one();
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
        self.doubted.notify_one();
    }

    /// After the loss of nodes of a cluster, lets all look that may have missed something.
    async fn settle_doubts(self: Arc<Self>) {
        loop {
            self.doubted.notified().await;
            if self.is_closed() {
                return;
            }
            let mut hears = false;
            while !hears && !self.is_closed() {
                self.look_around();
                hears = self.listen_again().await;
                self.look_around();
                self.clock.sleep(BETWEEN_DOUBTS).await;
            }
        }
    }

    /// Lets all look that may have missed something.
    fn look_around(&self) {
        self.ears.waiters.wake_all();
        self.missed.notify_one();
    }

    /// The node of a cluster over which messages came may be gone, with its place taken by another
    /// that nobody here has anything to do with. Whether they come again.
    async fn listen_again(&self) -> bool {
        let Ok((mut wire, _)) = self.wire() else {
            // The next connection begins with that.
            return true;
        };
        wire.listen(self.ears.channel()).await
    }

    async fn open(self: &Arc<Self>, number: u64) -> Result<Wire, BackendError> {
        let line = Arc::downgrade(self);
        let listener: Listener = Arc::new(move |said| hear(&line, number, said));
        let is_first = matches!(lock(&self.state).now, Now::New);
        Wire::open(&self.place, self.ears.channel(), listener, is_first).await
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
                let _ = first(tokio::time::sleep(jittered), self.closed.notified()).await;
                match first(self.open(next), self.closed.notified()).await {
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
        let is_wanted = match state.now {
            Now::Down(_) => true,
            Now::Up(_) => state.is_stale,
            Now::New | Now::Closed => false,
        };
        is_wanted.then_some(state.number + 1)
    }

    fn go_on(&self, number: u64, wire: Wire) {
        let was_down = {
            let mut state = lock(&self.state);
            if matches!(state.now, Now::Closed) {
                return;
            }
            let was_down = matches!(state.now, Now::Down(_));
            // Nodes of a cluster may have been lost while it was made.
            state.number = number.max(state.number + 1);
            if !was_down {
                state.given_up = Some(self.clock.now());
            }
            (state.now, state.is_stale) = (Now::Up(wire), false);
            was_down
        };
        if was_down {
            observe::back_in_reach(&self.place);
        }
        self.look_around();
        if self.place.is_cluster() {
            self.doubted.notify_one();
        }
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

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn a_cluster_in_trouble_is_looked_after_now_and_then() {
        let time = ManualClock::new();
        let place = Place::parse("redis+cluster://host").unwrap();
        let line = Line::new(place, time.clock(), Ears::new());
        let mut settling = Box::pin(Arc::clone(&line).settle_doubts());
        let mut cx = Context::from_waker(Waker::noop());
        let mut looks = 0;
        for _ in 0..1_000 {
            line.doubt();
            assert!(settling.as_mut().poll(&mut cx).is_pending());
            let look = std::pin::pin!(line.has_missed_something());
            looks += usize::from(look.poll(&mut cx) == Poll::Ready(true));
            time.advance(Duration::from_millis(5));
        }
        assert_eq!(looks, 10, "in 5 s");
        // None is forgotten, and what was sent before is known to be so each time.
        time.advance(BETWEEN_DOUBTS);
        assert!(settling.as_mut().poll(&mut cx).is_pending());
        let look = std::pin::pin!(line.has_missed_something());
        assert_eq!(look.poll(&mut cx), Poll::Ready(true));
        assert_eq!(line.number(), 1_000);
        line.close();
        time.advance(BETWEEN_DOUBTS);
        assert!(settling.as_mut().poll(&mut cx).is_ready());
    }
}
