//! The thread that requests to a remote backend run on.
//!
//! It is the manager's own: a blocked, busy or ended runtime of the user's neither loses a lease
//! nor leaks one.
//!
//! Its tasks take turns in the order in which they were woken. So requests that come together are
//! written together: the connection's task, which the first of them wakes, has its turn after the
//! last of them.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::clock::Clock;
use crate::error::LockError;
use crate::sync::atomic::{AtomicUsize, Ordering};

pub(super) struct Driver {
    /// Kept by every request that runs there, too: what was sent is driven to its end, also when
    /// the manager is gone. The thread ends with the last of them.
    requests: mpsc::UnboundedSender<Run>,
    under_way: Arc<UnderWay>,
}

/// A request on its way to the thread.
type Run = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The runtime of the thread; `None` only while it is being dropped.
struct Thread(Option<Runtime>);

/// Requests that still run.
#[derive(Default)]
struct UnderWay {
    requests: AtomicUsize,
    changed: Notify,
}

struct Request(Arc<UnderWay>);

impl Driver {
    pub(super) fn start() -> Result<Self, LockError> {
        let (sender, requests) = mpsc::unbounded_channel();
        let runtime = Builder::new_current_thread().enable_all().build();
        let thread = std::thread::Builder::new().name("lock-manager".into());
        runtime
            .map(|runtime| Thread(Some(runtime)))
            .and_then(|runtime| thread.spawn(move || runtime.serve(requests)))
            .map_err(|error| {
                LockError::invalid_option(format!(
                    "no thread could be started for the lock manager: {error}"
                ))
            })?;
        Ok(Self {
            requests: sender,
            under_way: Arc::default(),
        })
    }

    /// Runs a request to its end, whatever becomes of the one who asked.
    pub(super) fn run<T: Send + 'static>(
        &self,
        request: impl Future<Output = T> + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (sender, receiver) = oneshot::channel();
        self.under_way.requests.fetch_add(1, Ordering::AcqRel);
        let under_way = Request(Arc::clone(&self.under_way));
        let kept = self.requests.clone();
        let run = Box::pin(async move {
            let answer = request.await;
            // Nobody waits for it any more: then the answer is dropped, and undoes itself.
            drop(sender.send(answer));
            drop(under_way);
            drop(kept);
        });
        // The thread runs for as long as anybody can send.
        drop(self.requests.send(run));
        receiver
    }

    /// Waits until nothing runs any more, for at most `limit`.
    pub(super) async fn drain(&self, clock: &Clock, limit: Duration) {
        let deadline = clock.now() + limit;
        loop {
            let changed = self.under_way.changed.notified();
            if self.under_way.requests.load(Ordering::Acquire) == 0 || clock.now() >= deadline {
                return;
            }
            let _ = crate::race::first(changed, clock.sleep_until(deadline)).await;
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_waiters();
    }
}

impl Thread {
    /// What the thread does. Several that have come meanwhile are begun one after the other, before
    /// any of them goes on.
    fn serve(self, mut requests: mpsc::UnboundedReceiver<Run>) {
        let Some(runtime) = &self.0 else { return };
        runtime.block_on(async move {
            while let Some(request) = requests.recv().await {
                tokio::spawn(request);
            }
        });
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // What a backend has left behind is not waited for. Where no thread could be started, it is
        // dropped by a task of some runtime, which must not wait either.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the first of many requests wakes is the task that writes for all of them.
    #[test]
    fn requests_that_come_together_are_begun_before_anything_that_they_wake() {
        let driver = Driver::start().unwrap();
        let begun = Arc::new(AtomicUsize::new(0));
        let wanted = Arc::new(Notify::new());
        let (count, notified) = (Arc::clone(&begun), Arc::clone(&wanted));
        let writing = driver.run(async move {
            notified.notified().await;
            count.load(Ordering::SeqCst)
        });
        let (all_sent, is_busy) = std::sync::mpsc::channel::<()>();
        let (busy, has_begun) = std::sync::mpsc::channel();
        drop(driver.run(async move { busy.send(()).is_ok() && is_busy.recv().is_ok() }));
        has_begun.recv().unwrap();
        for _ in 0..16 {
            let (begun, wanted) = (Arc::clone(&begun), Arc::clone(&wanted));
            drop(driver.run(async move {
                begun.fetch_add(1, Ordering::SeqCst);
                wanted.notify_one();
            }));
        }
        drop(all_sent);
        assert_eq!(writing.blocking_recv(), Ok(16));
    }
}
