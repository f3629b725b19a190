//! The embedded manager under every kind of schedule.
//!
//! Built with `--cfg shuttle`: its mutexes, atomics and condition variables are then shuttle's,
//! which decides at each of them who goes on, and says so when nobody can.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use shuttle::future::block_on;
use shuttle::sync::Arc;
use shuttle::sync::atomic::{AtomicUsize, Ordering};
use shuttle::thread;

use crate::clock::ManualClock;
use crate::manager::LockManager;
use crate::sync::{Mutex, lock};

const RANDOM: usize = 2_000;
const PRIORITIES: usize = 1_000;

/// How many priority changes a schedule has at most.
const DEPTH: usize = 3;

fn under_every_schedule(act: impl Fn() + Send + Sync + Copy + 'static) {
    shuttle::check_random(act, RANDOM);
    shuttle::check_pct(act, PRIORITIES, DEPTH);
}

/// A manager, its clock, and how many are inside.
#[derive(Clone)]
struct Stage {
    time: ManualClock,
    manager: LockManager,
    inside: Arc<AtomicUsize>,
}

impl Stage {
    fn new() -> Self {
        let time = ManualClock::new();
        let manager = LockManager::builder()
            .clock(time.clock())
            .memory()
            .build()
            .unwrap();
        Self {
            time,
            manager,
            inside: Arc::new(AtomicUsize::new(0)),
        }
    }

    /// Takes the lock, and is alone with it.
    fn takes_a_turn(&self) {
        let guard = block_on(self.manager.lock("a").acquire()).unwrap();
        assert_eq!(self.inside.fetch_add(1, Ordering::SeqCst), 0, "two inside");
        thread::yield_now();
        self.inside.fetch_sub(1, Ordering::SeqCst);
        drop(guard);
    }

    /// Asks for the lock, and goes away whatever the answer is.
    fn gives_up(&self) {
        let mut asking = pin!(self.manager.lock("a").acquire());
        let mut cx = Context::from_waker(Waker::noop());
        if asking.as_mut().poll(&mut cx).is_pending() {
            thread::yield_now();
            drop(asking.as_mut().poll(&mut cx));
        }
    }

    fn nothing_is_left(&self) {
        let info = self.manager.lock("a").blocking().info().unwrap();
        assert!(!info.is_locked() && info.waiting == 0, "{info:?}");
        let inner = self.manager.inner();
        assert!(inner.backend.embedded_leases(inner.id).is_empty());
    }

    /// Everybody acts on a thread of their own; then nothing is left.
    fn all(&self, acts: &[fn(&Self)]) {
        let threads: Vec<_> = acts
            .iter()
            .map(|act| {
                let (stage, act) = (self.clone(), *act);
                thread::spawn(move || act(&stage))
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        self.nothing_is_left();
    }
}

#[test]
fn one_is_inside_at_a_time_and_everybody_gets_in() {
    under_every_schedule(|| {
        let act: fn(&Stage) = |stage| {
            stage.takes_a_turn();
            stage.takes_a_turn();
        };
        Stage::new().all(&[act; 3]);
    });
}

#[test]
fn who_gives_up_takes_nobody_else_s_turn() {
    under_every_schedule(|| {
        Stage::new().all(&[
            Stage::takes_a_turn,
            Stage::gives_up,
            Stage::takes_a_turn,
            Stage::gives_up,
        ]);
    });
}

#[test]
fn a_lease_that_ends_lets_the_next_one_in() {
    under_every_schedule(|| {
        let stage = Stage::new();
        let lost = stage.manager.lock("a").ttl(Duration::from_secs(1));
        let lost = lost.renew(false).blocking().acquire().unwrap();
        stage.all(&[
            |stage| stage.time.advance(Duration::from_secs(1)),
            Stage::takes_a_turn,
            Stage::takes_a_turn,
        ]);
        assert!(!lost.is_held());
    });
}

#[test]
fn a_wait_that_ends_while_the_lock_comes_free_leaves_nothing() {
    under_every_schedule(|| {
        let stage = Stage::new();
        let guard = stage.manager.lock("a").blocking().acquire().unwrap();
        let held = Arc::new(Mutex::new(Some(guard)));
        let releasing = thread::spawn(move || drop(lock(&held).take()));
        stage.all(&[
            |stage| stage.time.advance(Duration::from_secs(1)),
            |stage| {
                let asked = stage.manager.lock("a").wait(Duration::from_secs(1));
                match block_on(asked.acquire()) {
                    Ok(guard) => drop(guard),
                    Err(error) => assert!(error.is_busy(), "{error}"),
                }
            },
            |stage| {
                stage.takes_a_turn();
            },
        ]);
        releasing.join().unwrap();
    });
}

#[test]
fn who_is_forced_out_is_told_and_the_next_one_gets_in() {
    under_every_schedule(|| {
        let stage = Stage::new();
        let guard = stage.manager.lock("a").blocking().acquire().unwrap();
        let watch = guard.watch();
        let told = thread::spawn(move || block_on(watch.lost()).is_lost());
        stage.all(&[
            |stage| {
                let forced = stage.manager.lock("a").blocking().force_release();
                assert!(forced.unwrap() <= 1);
            },
            Stage::gives_up,
        ]);
        assert!(told.join().unwrap());
        assert!(guard.release_blocking().unwrap_err().is_lost());
    });
}

#[test]
fn a_shutdown_leaves_nobody_inside_and_nobody_waiting() {
    under_every_schedule(|| {
        let stage = Stage::new();
        let act: fn(&Stage) = |stage| {
            let Ok(guard) = block_on(stage.manager.lock("a").acquire()) else {
                return;
            };
            thread::yield_now();
            drop(guard);
        };
        stage.all(&[act, act, |stage| {
            block_on(stage.manager.shutdown(Duration::ZERO));
        }]);
    });
}

/// A place to be told in that looks first and leaves its waker later: in between, the news may
/// come and wake nobody.
#[derive(Default)]
struct Careless {
    news: Mutex<bool>,
    waker: Mutex<Option<Waker>>,
}

#[test]
#[should_panic(expected = "deadlock")]
fn the_method_finds_a_wake_up_that_is_lost() {
    under_every_schedule(|| {
        let careless = Arc::new(Careless::default());
        let told = Arc::clone(&careless);
        let telling = thread::spawn(move || {
            *lock(&told.news) = true;
            let waker = lock(&told.waker).take();
            waker.into_iter().for_each(Waker::wake);
        });
        block_on(std::future::poll_fn(|cx| {
            if *lock(&careless.news) {
                return Poll::Ready(());
            }
            *lock(&careless.waker) = Some(cx.waker().clone());
            Poll::Pending
        }));
        telling.join().unwrap();
    });
}

#[test]
#[should_panic(expected = "two inside")]
fn the_method_finds_two_inside() {
    under_every_schedule(|| {
        let stage = Stage::new();
        let act: fn(&Stage) = |stage| {
            // It looks, and enters without asking.
            let info = stage.manager.lock("a").blocking().info().unwrap();
            if !info.is_locked() {
                let _guard = stage.manager.lock("a").shared().blocking().acquire();
                assert_eq!(stage.inside.fetch_add(1, Ordering::SeqCst), 0, "two inside");
                thread::yield_now();
                stage.inside.fetch_sub(1, Ordering::SeqCst);
            }
        };
        stage.all(&[act, act]);
    });
}
