//! Who is told of a loss, and how: never while a lock of the runtime is held.

use super::*;

/// A waker that looks at the lock that it is woken about, as an executor might that drops the
/// task instead of running it.
struct Looks(LockManager);

impl Wake for Looks {
    fn wake(self: Arc<Self>) {
        let looked = self.0.lock("a").blocking().info();
        assert!(looked.is_ok());
    }
}

fn ends_in_time(act: impl FnOnce() + Send + 'static) {
    let done = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&done);
    thread::spawn(move || {
        act();
        told.store(true, Ordering::SeqCst);
    });
    eventually("it waits for itself", || done.load(Ordering::SeqCst));
}

#[test]
fn a_body_that_is_woken_may_use_the_lock_at_once() {
    let (_time, manager) = embedded();
    let waker = Waker::from(Arc::new(Looks(manager.clone())));
    let mut body = Box::pin(manager.lock("a").run(forever));
    assert!(
        body.as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    ends_in_time(move || {
        manager.lock("a").blocking().force_release().unwrap();
    });
}

#[test]
fn a_watcher_that_is_woken_may_use_the_lock_at_once() {
    let (_time, manager) = embedded();
    let waker = Waker::from(Arc::new(Looks(manager.clone())));
    let guard = run(manager.lock("a").acquire()).unwrap();
    let watch = guard.watch();
    let mut lost = Box::pin(async move { watch.lost().await });
    assert!(
        lost.as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    ends_in_time(move || {
        manager.lock("a").blocking().force_release().unwrap();
    });
}

#[test]
fn a_waiter_that_is_woken_may_use_the_lock_at_once() {
    let (_time, manager) = embedded();
    let waker = Waker::from(Arc::new(Looks(manager.clone())));
    let guard = run(manager.lock("a").acquire()).unwrap();
    let mut waiting = Box::pin(manager.lock("a").acquire());
    assert!(
        waiting
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    ends_in_time(move || drop(guard));
}
