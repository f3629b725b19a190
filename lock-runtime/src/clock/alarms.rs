//! Who wants to be called when: a sorted set of moments that a thread, or a test, works off.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use super::{Moment, Source};
use crate::sync::{Condvar, Mutex, lock};

/// Somebody who is called when a moment has come.
pub(crate) trait Alarm: Send + Sync {
    /// The moment has come. Called without any lock held.
    fn ring(&self, now: Moment);
}

#[derive(Default)]
pub(super) struct Alarms {
    state: Mutex<State>,
    earlier: Condvar,
}

#[derive(Default)]
struct State {
    last_id: u64,
    due: BTreeSet<(Moment, u64)>,
    listeners: HashMap<u64, Listener>,
    /// When the thread that waits looks again by itself; `None` while none does.
    looks_at: Option<Moment>,
}

struct Listener {
    alarm: Weak<dyn Alarm>,
    at: Option<Moment>,
}

impl Alarms {
    fn register(&self, alarm: Weak<dyn Alarm>) -> u64 {
        let mut state = lock(&self.state);
        state.last_id += 1;
        let id = state.last_id;
        state.listeners.insert(id, Listener { alarm, at: None });
        id
    }

    fn remove(&self, id: u64) {
        let mut state = lock(&self.state);
        if let Some(Listener { at: Some(at), .. }) = state.listeners.remove(&id) {
            state.due.remove(&(at, id));
        }
    }

    fn set(&self, id: u64, at: Moment, only_earlier: bool) {
        let mut state = lock(&self.state);
        let Some(listener) = state.listeners.get_mut(&id) else {
            return;
        };
        let before = listener.at;
        if only_earlier && before.is_some_and(|before| before <= at) {
            return;
        }
        listener.at = Some(at);
        if let Some(before) = before {
            state.due.remove(&(before, id));
        }
        state.due.insert((at, id));
        // A thread that looks early enough by itself is left asleep: most alarms are taken off long
        // before they are due.
        if state.looks_at.is_some_and(|looks_at| at < looks_at) {
            state.looks_at = Some(at);
            self.earlier.notify_one();
        }
    }

    /// Takes out the first alarm that is due, if one is.
    pub(super) fn take_due(&self, now: Moment) -> Option<(Moment, Weak<dyn Alarm>)> {
        let mut state = lock(&self.state);
        let &(at, id) = state.due.first()?;
        if at > now {
            return None;
        }
        state.due.pop_first();
        let listener = state.listeners.get_mut(&id)?;
        listener.at = None;
        Some((at, Weak::clone(&listener.alarm)))
    }

    /// Blocks until the first alarm may be due, or for `longest`.
    pub(super) fn wait(&self, now: impl Fn() -> Moment, longest: Duration) {
        let mut state = lock(&self.state);
        let Some(&(at, _)) = state.due.first() else {
            state.looks_at = Some(Moment::NEVER);
            state = self
                .earlier
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.looks_at = None;
            return;
        };
        let now = now();
        let wait = (at - now).min(longest);
        if !wait.is_zero() {
            state.looks_at = Some(now + wait);
            let waited = self.earlier.wait_timeout(state, wait);
            waited.unwrap_or_else(PoisonError::into_inner).0.looks_at = None;
        }
    }
}

/// A registered alarm; dropping it takes it off the clock.
pub(crate) struct AlarmHandle {
    source: Arc<Source>,
    id: u64,
}

impl AlarmHandle {
    pub(super) fn new(source: Arc<Source>, alarm: Weak<dyn Alarm>) -> Self {
        let id = source.alarms.register(alarm);
        Self { source, id }
    }

    /// Rings at this moment, and no longer at one set before.
    pub(crate) fn set(&self, at: Moment) {
        self.source.alarms.set(self.id, at, false);
    }

    /// Rings at this moment unless it rings earlier anyway.
    pub(crate) fn set_earlier(&self, at: Moment) {
        self.source.alarms.set(self.id, at, true);
    }
}

impl Drop for AlarmHandle {
    fn drop(&mut self) {
        self.source.alarms.remove(self.id);
    }
}

impl std::fmt::Debug for AlarmHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlarmHandle({})", self.id)
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::thread;
    use std::time::Instant;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    struct Nobody;

    impl Alarm for Nobody {
        fn ring(&self, _now: Moment) {}
    }

    #[test]
    fn a_thread_that_waits_is_woken_by_an_earlier_alarm_alone() {
        let alarms = Arc::new(Alarms::default());
        let after = |hours| Moment::from_nanos(0) + HOUR * hours;
        let set = |hours| {
            let id = alarms.register(Weak::<Nobody>::new());
            alarms.set(id, after(hours), false);
            id
        };
        let looks_at = || lock(&alarms.state).looks_at;
        let eventually = |what: &str, is_true: &dyn Fn() -> bool| {
            let start = Instant::now();
            while !is_true() {
                assert!(start.elapsed() < Duration::from_secs(20), "{what}");
                thread::sleep(Duration::from_millis(1));
            }
        };
        let first = set(2);
        let waited_for = Arc::clone(&alarms);
        let waiting = thread::spawn(move || waited_for.wait(|| after(0), HOUR * 24));
        eventually("it does not wait", &|| looks_at() == Some(after(2)));
        set(3);
        alarms.remove(first);
        set(4);
        assert_eq!(looks_at(), Some(after(2)), "it looks early enough");
        set(1);
        eventually("it is not woken", &|| waiting.is_finished());
        assert_eq!(looks_at(), None);
    }
}
