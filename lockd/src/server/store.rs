//! Saves snapshots on a thread of its own: the disk may take its time.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::engine::Snapshot;

/// How long to wait after the first write that failed; twice as long after every further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The thread that saves. Dropping it ends the thread once a write that is under way has ended.
#[derive(Debug)]
pub(super) struct Store {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    work: Mutex<Work>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Work {
    /// The newest snapshot. It supersedes every older one.
    newest: Option<Snapshot>,
    over: bool,
}

/// Gives snapshots to the thread.
#[derive(Clone, Debug)]
pub(super) struct Saver(Arc<Shared>);

impl Store {
    /// Starts the thread, which makes texts durable with `write`. The numbers of what is saved
    /// come out of the channel, which closes when the thread has ended.
    ///
    /// A write that fails is repeated until it succeeds, or until something newer is there to be
    /// written.
    pub(super) fn start(
        write: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static,
    ) -> io::Result<(Self, UnboundedReceiver<u64>)> {
        let shared = Arc::<Shared>::default();
        let (saved, numbers) = unbounded_channel();
        let works = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("lockd-store".to_owned())
            .spawn(move || run(&works, write, &saved))?;
        let store = Self {
            shared,
            thread: Some(thread),
        };
        Ok((store, numbers))
    }

    /// What gives it work.
    pub(super) fn saver(&self) -> Saver {
        Saver(Arc::clone(&self.shared))
    }

    /// Lets the thread end. What could not be saved so far is not.
    pub(super) fn end(&self) {
        self.shared.lock().over = true;
        self.shared.changed.notify_one();
    }

    /// Waits for the thread. To be called when its channel has closed: then this is at once.
    pub(super) fn join(mut self) {
        self.end();
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            tracing::error!("the thread that saves has panicked");
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.end();
    }
}

impl Saver {
    /// Saves a snapshot, and no longer an older one.
    pub(super) fn save(&self, snapshot: Snapshot) {
        self.0.lock().newest = Some(snapshot);
        self.0.changed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Work> {
        // Nothing that panics is done under it.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest snapshot, as soon as there is one, or `older` when nothing newer comes during
    /// the pause. `None` when it is over.
    fn next(&self, older: Option<(Snapshot, Duration)>) -> Option<Snapshot> {
        let nothing_new = |work: &mut Work| work.newest.is_none() && !work.over;
        let work = self.lock();
        let mut work = match &older {
            None => self
                .changed
                .wait_while(work, nothing_new)
                .unwrap_or_else(PoisonError::into_inner),
            Some((_, pause)) => {
                self.changed
                    .wait_timeout_while(work, *pause, nothing_new)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        };
        // What came before the end is still written, once; what failed before it is not.
        match work.newest.take() {
            Some(newest) => Some(newest),
            None if work.over => None,
            None => older.map(|(older, _)| older),
        }
    }
}

fn run(
    shared: &Shared,
    mut write: impl FnMut(&[u8]) -> io::Result<()>,
    saved: &UnboundedSender<u64>,
) {
    let mut failures = 0_u32;
    let mut older = None;
    while let Some(snapshot) = shared.next(older.take()) {
        match write(&snapshot.text) {
            Ok(()) => {
                if failures > 0 {
                    tracing::info!(failures, "the state can be saved again");
                }
                failures = 0;
                if saved.send(snapshot.number).is_err() {
                    // Nobody wants to know any more.
                    return;
                }
            }
            Err(error) => {
                let pause = FIRST_PAUSE
                    .saturating_mul(1 << failures.min(16))
                    .min(LONGEST_PAUSE);
                failures = failures.saturating_add(1);
                tracing::error!(
                    %error,
                    failures,
                    again_in = ?pause,
                    "the state cannot be saved; whatever depends on it is not answered until it is"
                );
                older = Some((snapshot, pause));
            }
        }
    }
}

#[cfg(test)]
mod tests;
