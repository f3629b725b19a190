//! A manager of a backend elsewhere, under a clock that the test moves.

use super::store::Store;
use super::*;

/// The steps in which time passes.
pub(super) const STEP: Duration = Duration::from_millis(50);

/// Everything that these tests deal with.
#[derive(Clone)]
pub(super) struct Stage {
    pub(super) time: ManualClock,
    pub(super) store: Store,
    pub(super) manager: LockManager,
}

impl Stage {
    pub(super) fn new() -> Self {
        let time = ManualClock::new();
        let store = Store::new(time.clock());
        let manager = run(LockManager::builder()
            .clock(time.clock())
            .backend(store.clone())
            .ttl(seconds(30))
            .connect());
        Self {
            time,
            store,
            manager: manager.unwrap(),
        }
    }

    pub(super) fn acquire(&self) -> crate::Guard {
        run(self.manager.lock("a").acquire()).unwrap()
    }

    pub(super) fn is_let_go(&self) {
        eventually("the lock is left behind", || !self.store.is_held("a"));
        let manager = self.manager.reference();
        eventually("a section is left behind", || manager.running() == 0);
    }

    /// Lets time pass in steps until something has come about, and says how long it took.
    pub(super) fn until(&self, what: &str, is_true: impl Fn() -> bool) -> Duration {
        let (start, began) = (Instant::now(), self.time.clock().now());
        while !is_true() {
            assert!(start.elapsed() < PATIENCE, "{what}");
            self.time.advance(STEP);
            thread::sleep(Duration::from_millis(1));
        }
        self.time.clock().now() - began
    }
}
