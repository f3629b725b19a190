//! What all tasks of the daemon share: the engine, and what has to be done after every call of it.

use std::cell::{Cell, RefCell, RefMut};
use std::fmt;
use std::io;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use lock_runtime::Moment;
use tokio::sync::Notify;

use super::time::{Alarm, Time};
use crate::engine::{ById, ConnectionId, Engine, Peer, Snapshot};

/// How often the engine is asked to look around although nothing seems to be due.
const LOOK_AROUND: Duration = Duration::from_secs(10);

/// How soon the engine is asked again when it says that something is still due that it was just
/// asked to do.
const SOON: Duration = Duration::from_millis(1);

/// How much is read at a time.
const SCRATCH: usize = 64 * 1024;

/// The engine, and what has to be done after every call of it: connections with news are woken,
/// the alarm is set, what has to be saved is given away.
///
/// All tasks are on one thread. The engine is borrowed within a call and never across an `await`.
pub struct Driver {
    engine: RefCell<Engine>,
    /// Who serves a connection, by connection; `None` while it is being polled, or is woken
    /// already. A task is woken by these when the engine has news for it.
    wakers: RefCell<ById<ConnectionId, Option<Waker>>>,
    /// Woken when the last connection has gone, or the last change is saved.
    quiet: Notify,
    time: Time,
    alarm: Alarm,
    save: Box<dyn Fn(Snapshot)>,
    /// The number of the snapshot that is being saved. The engine gives one at a time, so that
    /// everything that changes during a write shares the next one.
    saving: Cell<Option<u64>>,
    /// What every connection reads into, within a poll: an idle one needs no buffer.
    pub(super) scratch: RefCell<Box<[u8]>>,
}

impl Driver {
    /// Drives an engine. What `save` is given has to be made durable, and then reported to
    /// [`Driver::saved`]; until then nothing else is given to it, and output is held back.
    ///
    /// # Errors
    ///
    /// When the operating system gives no timer.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with time and I/O.
    pub fn new(engine: Engine, time: Time, save: Box<dyn Fn(Snapshot)>) -> io::Result<Rc<Self>> {
        let alarm = time.alarm()?;
        let driver = Rc::new(Self {
            engine: RefCell::new(engine),
            wakers: RefCell::default(),
            quiet: Notify::new(),
            time,
            alarm,
            save,
            saving: Cell::new(None),
            scratch: RefCell::new(vec![0; SCRATCH].into_boxed_slice()),
        });
        // What is due at the start, and what is to be saved before anybody comes.
        driver.turn(Engine::advance);
        Ok(driver)
    }

    /// Calls the engine, then does what follows from it.
    pub fn turn<R>(&self, call: impl FnOnce(&mut Engine, Moment) -> R) -> R {
        self.turn_of(None, call)
    }

    /// As [`turn`](Self::turn), by a connection that looks for its own news afterwards.
    pub(super) fn turn_of<R>(
        &self,
        connection: Option<ConnectionId>,
        call: impl FnOnce(&mut Engine, Moment) -> R,
    ) -> R {
        let mut engine = self.engine.borrow_mut();
        let now = self.time.now();
        // What is due comes first: a request must not find what had to be gone before it.
        if engine.next_look().is_some_and(|at| at <= now) {
            engine.advance(now);
        }
        let answer = call(&mut engine, now);
        self.settle(engine, connection, now);
        answer
    }

    fn settle(&self, mut engine: RefMut<'_, Engine>, asks: Option<ConnectionId>, now: Moment) {
        let mut to_wake = Vec::new();
        {
            let mut wakers = self.wakers.borrow_mut();
            while let Some(connection) = engine.woken() {
                if Some(connection) != asks
                    && let Some(waker) = wakers.get_mut(&connection).and_then(Option::take)
                {
                    to_wake.push(waker);
                }
            }
        }
        let snapshot = engine.snapshot(now);
        let next = engine.next_look();
        // Nothing is borrowed any more: what follows may lead back here.
        drop(engine);

        if let Some(at) = next {
            // One that stays due would be rung for without end.
            let at = if at <= now { now + SOON } else { at };
            if let Err(error) = self.alarm.set_earlier(at) {
                tracing::error!(%error, "the alarm could not be set; leases end up to 10 s late");
            }
        }
        if let Some(snapshot) = snapshot {
            self.saving.set(Some(snapshot.number));
            (self.save)(snapshot);
        }
        for waker in to_wake {
            waker.wake();
        }
    }

    /// Looks at the engine without changing it.
    pub(super) fn look<R>(&self, look: impl FnOnce(&Engine) -> R) -> R {
        look(&self.engine.borrow())
    }

    /// Somebody has connected.
    pub(super) fn connect(&self, peer: Peer) -> ConnectionId {
        let connection = self.turn(|engine, now| engine.connect(now, peer));
        self.wakers.borrow_mut().insert(connection, None);
        connection
    }

    /// Who is to be woken when a connection has news.
    pub(super) fn wake_for_news(&self, connection: ConnectionId, waker: &Waker) {
        let before = match self.wakers.borrow_mut().get_mut(&connection) {
            Some(Some(known)) if known.will_wake(waker) => None,
            Some(slot) => slot.replace(waker.clone()),
            None => None,
        };
        // Not while the map is borrowed: the last waker of a task may take the task with it.
        drop(before);
    }

    /// A connection has ended.
    pub(super) fn disconnected(&self, connection: ConnectionId) {
        let waker = self.wakers.borrow_mut().remove(&connection);
        drop(waker);
        self.turn(|engine, now| engine.disconnected(now, connection));
        self.quiet.notify_one();
    }

    /// A snapshot, and every one before it, is on disk.
    pub fn saved(&self, number: u64) {
        if self.saving.get().is_some_and(|saving| saving <= number) {
            self.saving.set(None);
        }
        self.turn(|engine, now| engine.saved(now, number));
        self.quiet.notify_one();
    }

    /// Lets time pass for the engine. Ends with an error alone.
    ///
    /// # Errors
    ///
    /// When the operating system's timer fails.
    ///
    /// # Cancel safety
    ///
    /// While nobody awaits it nothing ends by itself; it may be called again.
    pub async fn let_time_pass(&self) -> io::Error {
        loop {
            tokio::select! {
                rang = self.alarm.rings() => {
                    if let Err(error) = rang {
                        return error;
                    }
                }
                // The safety net, should the alarm not have been set, or not ring.
                () = tokio::time::sleep(LOOK_AROUND) => {}
            }
            self.turn(Engine::advance);
        }
    }

    /// Waits until every connection has gone. One waiter at a time.
    pub(super) async fn all_gone(&self) {
        while !self.wakers.borrow().is_empty() {
            self.quiet.notified().await;
        }
    }

    /// Waits until everything is saved. One waiter at a time.
    pub(super) async fn all_saved(&self) {
        // Every call gives away what is to be saved; so nothing is, when nothing is on its way.
        while self.saving.get().is_some() {
            self.quiet.notified().await;
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("time", &self.time)
            .field("saving", &self.saving)
            .finish_non_exhaustive()
    }
}
