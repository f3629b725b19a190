//! The thread that requests to a remote backend run on.
//!
//! It is the manager's own: a blocked, busy or ended runtime of the user's neither loses a lease
//! nor leaks one.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, oneshot};

use crate::clock::Clock;
use crate::error::LockError;
use crate::sync::atomic::{AtomicUsize, Ordering};

pub(super) struct Driver {
    runtime: Arc<Thread>,
    under_way: Arc<UnderWay>,
}

/// The runtime, kept by every request that runs on it: what was sent is driven to its end, also
/// when the manager is gone.
struct Thread {
    /// `None` only while it is being dropped.
    runtime: Option<Runtime>,
}

/// Requests that still run.
#[derive(Default)]
struct UnderWay {
    requests: AtomicUsize,
    changed: Notify,
}

struct Request(Arc<UnderWay>);

impl Driver {
    pub(super) fn start() -> Result<Self, LockError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("lock-manager")
            .enable_all()
            .build()
            .map_err(|error| {
                LockError::invalid_option(format!(
                    "no thread could be started for the lock manager: {error}"
                ))
            })?;
        Ok(Self {
            runtime: Arc::new(Thread {
                runtime: Some(runtime),
            }),
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
        if let Some(runtime) = &self.runtime.runtime {
            let kept = Arc::clone(&self.runtime);
            runtime.spawn(async move {
                let answer = request.await;
                // Nobody waits for it any more: then the answer is dropped, and undoes itself.
                drop(sender.send(answer));
                drop(under_way);
                drop(kept);
            });
        }
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

impl Drop for Thread {
    fn drop(&mut self) {
        // The last user may be a task of some runtime, where waiting for a thread is forbidden;
        // it may even be a task of this one.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
