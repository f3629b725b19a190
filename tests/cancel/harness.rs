//! Drops a future after each of its steps, in a new world every time, and looks what is left.

use std::cell::Cell;
use std::future::{Future, IntoFuture};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use lock_runtime::{DEFAULT_TTL, Guard, LockInfo, LockManager, ManualClock, MemoryBackend};

use crate::elsewhere::{Elsewhere, Steps};

pub(crate) type Dropped = Pin<Box<dyn Future<Output = ()>>>;

/// The longest that a test waits for another thread before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Where locks live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    Embedded,
    /// Elsewhere, with a queue of its own.
    Queueing,
    /// Elsewhere, and asked again and again.
    Polled,
}

pub(crate) const PLACES: [Place; 3] = [Place::Embedded, Place::Queueing, Place::Polled];

/// What somebody else does with the lock `a` meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rival {
    Absent,
    /// Has it all the time.
    Stays,
    /// Has it, and lets go of it after so many steps.
    Leaves(usize),
}

const RIVALS: [Rival; 5] = [
    Rival::Absent,
    Rival::Stays,
    Rival::Leaves(1),
    Rival::Leaves(2),
    Rival::Leaves(4),
];

/// Locks, the manager under test, and one beside it that looks into the store.
pub(crate) struct World {
    pub(crate) time: ManualClock,
    pub(crate) manager: LockManager,
    pub(crate) beside: LockManager,
    /// Whether a ticket may be left that nobody used: its lease ends in the end.
    pub(crate) lapses: Cell<bool>,
    steps: Option<Steps>,
}

impl World {
    pub(crate) fn new(place: Place) -> Self {
        let time = ManualClock::new();
        let store = MemoryBackend::new(time.clock());
        let builder = || LockManager::builder().clock(time.clock());
        let beside = builder().backend(store.clone()).build().unwrap();
        let (manager, steps) = match place {
            Place::Embedded => (builder().backend(store).build().unwrap(), None),
            Place::Queueing | Place::Polled => {
                let elsewhere = Elsewhere::new(store, place == Place::Queueing);
                let steps = elsewhere.steps.clone();
                let connecting = builder().backend(elsewhere).connect();
                (run(connecting).unwrap(), Some(steps))
            }
        };
        Self {
            time,
            manager,
            beside,
            lapses: Cell::new(false),
            steps,
        }
    }

    /// Requests that are under way go on by one step, if any are.
    fn step(&self, woken: &Woken) {
        let Some(steps) = &self.steps else {
            return;
        };
        let taken = steps.taken();
        steps.allow(1);
        let start = Instant::now();
        while steps.taken() == taken && start.elapsed() < Duration::from_millis(2) {
            thread::yield_now();
        }
        // What comes of the step may wake the task.
        while !woken.is_set() && start.elapsed() < Duration::from_millis(1) {
            thread::yield_now();
        }
        self.time.advance(Duration::from_millis(3));
    }

    pub(crate) fn run_freely(&self) {
        if let Some(steps) = &self.steps {
            steps.run_freely();
        }
    }

    /// No lock, no waiter, no section is left, and the lock can be had again.
    pub(crate) fn is_quiet(&self, what: &str) {
        self.run_freely();
        // It waits for the requests that are under way, and for what comes of them.
        let still_running = self.shut_down();
        if self.lapses.get() {
            self.time.advance(DEFAULT_TTL);
        }
        assert_eq!(still_running, 0, "{what}: sections are left behind");
        let start = Instant::now();
        while let Some(left) = self.left() {
            assert!(start.elapsed() < PATIENCE, "{what}: left behind: {left:#?}");
            self.time.advance(Duration::from_millis(3));
            thread::sleep(Duration::from_millis(1));
        }
        for name in ["a", "b"] {
            // A turn belongs to a person, and does not end with a call.
            run(self.beside.release_lock(name).as_operator().into_future()).unwrap();
            let guard = run(self.beside.lock(name).try_acquire()).unwrap();
            assert!(guard.is_some(), "{what}: {name} cannot be had");
        }
    }

    /// How many sections still ran when time was up.
    fn shut_down(&self) -> usize {
        // Time goes on here faster than the thread of the requests may: it gets plenty.
        let mut shutdown = pin!(self.manager.shutdown(Duration::from_secs(60)));
        let start = Instant::now();
        loop {
            let mut cx = Context::from_waker(Waker::noop());
            if let Poll::Ready(running) = shutdown.as_mut().poll(&mut cx) {
                return running;
            }
            assert!(start.elapsed() < PATIENCE, "the shutdown does not end");
            self.time.advance(Duration::from_millis(3));
            thread::sleep(Duration::from_micros(200));
        }
    }

    fn left(&self) -> Option<Vec<LockInfo>> {
        let mut locks = run(self.beside.list("")).unwrap();
        locks.retain(|lock| lock.is_locked() || lock.waiting > 0);
        (!locks.is_empty()).then_some(locks)
    }
}

/// Drops the future after none of its steps, after one, and so on, until it ends by itself; with
/// every kind of rival, everywhere. Says at how many points it was dropped.
pub(crate) fn drop_everywhere(what: &str, make: impl Fn(&World) -> Dropped) -> usize {
    let mut points = 0;
    for place in PLACES {
        for rival in RIVALS {
            let what = format!("{what}, {place:?}, rival {rival:?}");
            points += (0..MOST_STEPS)
                .take_while(|steps| !drop_after(*steps, &what, place, rival, &make))
                .count();
        }
    }
    points
}

/// More than any future takes that is not waiting for ever.
const MOST_STEPS: usize = 24;

/// Says whether it ended before it could be dropped.
fn drop_after(
    steps: usize,
    what: &str,
    place: Place,
    rival: Rival,
    make: &impl Fn(&World) -> Dropped,
) -> bool {
    let world = World::new(place);
    let lock = || run(world.beside.lock("a").acquire()).unwrap();
    let mut holder: Option<Guard> = (rival != Rival::Absent).then(lock);
    let mut future = make(&world);
    let woken = Woken::new();
    let mut has_ended = false;
    for step in 0..steps {
        if rival == Rival::Leaves(step) {
            holder = None;
        }
        has_ended = future
            .as_mut()
            .poll(&mut Context::from_waker(&Waker::from(Arc::clone(&woken))))
            .is_ready();
        if has_ended {
            break;
        }
        world.step(&woken);
    }
    drop(future);
    drop(holder);
    world.is_quiet(&format!("{what}, dropped after {steps} steps"));
    has_ended
}

/// Drives a future on this thread.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = Box::pin(future);
    let woken = Woken::new();
    let start = Instant::now();
    loop {
        woken.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&woken));
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        while !woken.is_set() {
            assert!(start.elapsed() < PATIENCE, "nobody wakes it");
            thread::park_timeout(Duration::from_millis(10));
        }
    }
}

struct Woken(AtomicBool, Thread);

impl Woken {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicBool::new(false), thread::current()))
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
        self.1.unpark();
    }
}

/// A body that is suspended twice.
pub(crate) async fn body() {
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
}
