//! Tests of managers: the embedded one under a clock that the test moves, and the polling of a
//! backend that can do nothing but what every backend must.

mod embedded;
mod expiry;
mod inside;
mod losses;
mod polling;
mod renewing;
mod shutdown;
mod stage;
mod store;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::LockManager;
use crate::clock::ManualClock;
use crate::info::LockInfo;

const NANO: Duration = Duration::from_nanos(1);

/// The longest that a test waits for another thread before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn embedded() -> (ManualClock, LockManager) {
    let time = ManualClock::new();
    let manager = LockManager::builder()
        .clock(time.clock())
        .memory()
        .build()
        .unwrap();
    (time, manager)
}

/// A future that the test polls when it wants to.
struct Task<T> {
    future: Pin<Box<dyn Future<Output = T>>>,
    woken: Arc<Woken>,
}

struct Woken {
    since_poll: AtomicBool,
    times: AtomicUsize,
    thread: Thread,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.since_poll.store(true, Ordering::SeqCst);
        self.times.fetch_add(1, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl<T> Task<T> {
    fn new(future: impl Future<Output = T> + 'static) -> Self {
        Self {
            future: Box::pin(future),
            woken: Arc::new(Woken {
                since_poll: AtomicBool::new(false),
                times: AtomicUsize::new(0),
                thread: thread::current(),
            }),
        }
    }

    /// A task that has been polled once, and waits.
    fn pending(future: impl Future<Output = T> + 'static) -> Self {
        let mut task = Self::new(future);
        assert!(task.poll().is_pending(), "it should wait");
        task
    }

    fn poll(&mut self) -> Poll<T> {
        self.woken.since_poll.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&self.woken));
        let mut cx = Context::from_waker(&waker);
        self.future.as_mut().poll(&mut cx)
    }

    fn is_woken(&self) -> bool {
        self.woken.since_poll.load(Ordering::SeqCst)
    }

    /// The output, which has to be there.
    fn now(&mut self) -> T {
        match self.poll() {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("it should be ready"),
        }
    }

    /// Polls when woken, until the output is there.
    fn wait(mut self) -> T {
        let start = Instant::now();
        loop {
            if let Poll::Ready(output) = self.poll() {
                return output;
            }
            while !self.is_woken() {
                assert!(start.elapsed() < PATIENCE, "nobody wakes it");
                thread::park_timeout(Duration::from_millis(20));
            }
        }
    }

    /// The same while time passes in steps.
    fn wait_while_time_passes(mut self, time: &ManualClock, step: Duration) -> T {
        let start = Instant::now();
        loop {
            if let Poll::Ready(output) = self.poll() {
                return output;
            }
            assert!(start.elapsed() < PATIENCE, "nothing comes of it");
            time.advance(step);
            thread::park_timeout(Duration::from_millis(1));
        }
    }
}

/// Drives a future that needs no time to pass.
fn run<T>(future: impl Future<Output = T> + 'static) -> T {
    Task::new(future).wait()
}

/// Waits for other threads to bring something about.
fn eventually(what: &str, is_true: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn info(manager: &LockManager, name: &str) -> LockInfo {
    run(manager.lock(name).info()).unwrap()
}

fn is_free(manager: &LockManager, name: &str) -> bool {
    let info = info(manager, name);
    !info.is_locked() && info.waiting == 0
}

/// Never comes to an end, and is dropped some time.
async fn forever() {
    std::future::pending().await
}
