use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::*;

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_sleep_ends_at_its_moment_and_not_before() {
    let time = ManualClock::new();
    let woken = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    let mut sleep = pin!(time.clock().sleep(Duration::from_secs(5)));

    assert_eq!(sleep.as_mut().poll(&mut cx), Poll::Pending);
    time.advance(Duration::from_secs(5) - Duration::from_nanos(1));
    assert_eq!(woken.0.load(Ordering::SeqCst), 0);
    assert_eq!(sleep.as_mut().poll(&mut cx), Poll::Pending);
    time.advance(Duration::from_nanos(1));
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    assert_eq!(sleep.as_mut().poll(&mut cx), Poll::Ready(()));
}

#[test]
fn alarms_ring_in_order_at_their_own_moments() {
    struct Log(Mutex<Vec<Moment>>);
    impl Alarm for Log {
        fn ring(&self, now: Moment) {
            lock(&self.0).push(now);
        }
    }
    let time = ManualClock::new();
    let clock = time.clock();
    let start = clock.now();
    let log = Arc::new(Log(Mutex::default()));
    let weak = || -> Weak<dyn Alarm> {
        let weak: Weak<Log> = Arc::downgrade(&log);
        weak
    };
    let (first, second, third) = (
        clock.alarm(weak()),
        clock.alarm(weak()),
        clock.alarm(weak()),
    );
    first.set(start + Duration::from_secs(3));
    second.set(start + Duration::from_secs(1));
    second.set_earlier(start + Duration::from_secs(2));
    third.set(start + Duration::from_secs(2));
    drop(third);
    time.advance(Duration::from_secs(10));

    let seconds: Vec<u64> = lock(&log.0)
        .iter()
        .map(|at| (*at - start).as_secs())
        .collect();
    assert_eq!(seconds, [1, 3]);
    assert_eq!((clock.now() - start).as_secs(), 10);
}

#[test]
fn the_systems_alarms_ring() {
    let clock = Clock::system();
    clock.start().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let start = clock.now();
    runtime.block_on(clock.sleep(Duration::from_millis(2)));
    assert!(clock.now() - start >= Duration::from_millis(2));
}

use crate::sync::{Mutex, lock};

#[test]
fn the_cheap_reading_is_late_by_little_and_never_early() {
    let clock = Clock::system();
    for _ in 0..10_000 {
        let before = clock.now();
        let coarse = clock.coarse_now();
        assert!(coarse <= clock.now());
        // The slowest kernel ticks every 10 ms.
        assert!(before - coarse < Duration::from_millis(100), "{coarse:?}");
    }
}
