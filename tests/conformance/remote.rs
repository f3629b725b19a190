//! A store as far away as one on another host.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lock_runtime::backend::{
    Answer, Backend, Change, ChangeAnswer, Grant, Release, Reply, Request,
};
use lock_runtime::{BackendError, Capabilities, Lease, LockInfo, LockName, Owner};
use tokio::sync::Notify;

/// A connection that can be cut.
#[derive(Clone, Default)]
pub(crate) struct Line(Arc<State>);

#[derive(Default)]
struct State {
    is_cut: AtomicBool,
    mended: Notify,
}

impl Line {
    pub(crate) fn cut(&self, is_cut: bool) {
        self.0.is_cut.store(is_cut, Ordering::SeqCst);
        self.0.mended.notify_waiters();
    }

    fn is_cut(&self) -> bool {
        self.0.is_cut.load(Ordering::SeqCst)
    }

    async fn until_mended(&self) {
        loop {
            let mended = self.0.mended.notified();
            if !self.is_cut() {
                return;
            }
            mended.await;
        }
    }
}

/// Every answer takes a moment, and the connection can be cut.
#[derive(Clone)]
pub(crate) struct Remote {
    store: Arc<dyn Backend>,
    line: Line,
    can_queue: bool,
}

impl Remote {
    /// One that pushes, or else has to be asked again and again.
    pub(crate) fn over(store: impl Backend, line: &Line, can_queue: bool) -> Self {
        Self {
            can_queue,
            store: Arc::new(store),
            line: line.clone(),
        }
    }

    /// Sends a request when the connection is whole, and loses the answer when it is not.
    fn carry<T: Send + Unpin + 'static>(
        &self,
        send: impl FnOnce(&dyn Backend) -> Reply<Result<T, BackendError>> + Send + 'static,
    ) -> Reply<Result<T, BackendError>> {
        let (store, line) = (Arc::clone(&self.store), self.line.clone());
        Reply::later(async move {
            tokio::time::sleep(Duration::from_micros(100)).await;
            if line.is_cut() {
                return Err(BackendError::new("the connection is cut").effect_unknown());
            }
            let answer = send(&*store).await;
            tokio::time::sleep(Duration::from_micros(100)).await;
            if line.is_cut() {
                return Err(BackendError::new("the connection was cut").effect_unknown());
            }
            answer
        })
    }

    /// What the store does for a lease it does at once: only the answer takes its time.
    fn at_once<T: Send + Unpin + 'static>(
        &self,
        send: impl FnOnce(&dyn Backend) -> Reply<Result<T, BackendError>>,
    ) -> Reply<Result<T, BackendError>> {
        if self.line.is_cut() {
            return Reply::now(Err(BackendError::new("the connection is cut")));
        }
        let answer = send(&*self.store);
        self.carry(move |_| answer)
    }
}

impl Backend for Remote {
    fn name(&self) -> &str {
        "remote"
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.store.capabilities();
        capabilities.queue = self.can_queue;
        capabilities
    }

    fn connect(&self) -> Reply<Result<(), BackendError>> {
        self.carry(|store| store.connect())
    }

    fn try_acquire(&self, request: &Request) -> Reply<Result<Answer, BackendError>> {
        let request = request.clone();
        self.carry(move |store| store.try_acquire(&request))
    }

    fn acquire(&self, request: &Request) -> Reply<Result<Answer, BackendError>> {
        let (request, line) = (request.clone(), self.line.clone());
        self.carry(move |store| {
            let answer = store.acquire(&request);
            // Who waits asks again when the connection is back, and gets the same answer.
            Reply::later(async move {
                let answer = answer.await;
                line.until_mended().await;
                answer
            })
        })
    }

    fn renew(&self, lease: &Lease, ttl: Duration) -> Reply<Result<bool, BackendError>> {
        self.at_once(|store| store.renew(lease, ttl))
    }

    fn release(&self, lease: &Lease, how: Release) -> Reply<Result<bool, BackendError>> {
        if how == Release::Finished || !self.line.is_cut() {
            return self.at_once(|store| store.release(lease, how));
        }
        // What is taken back is taken back later, and all that comes after it is cut off as well.
        let answer = self.store.release(lease, how);
        let line = self.line.clone();
        Reply::later(async move {
            line.until_mended().await;
            answer.await
        })
    }

    fn inspect(&self, name: &LockName) -> Reply<Result<LockInfo, BackendError>> {
        let name = name.clone();
        self.carry(move |store| store.inspect(&name))
    }

    fn adopt(&self, giver: Owner, request: &Request) -> Reply<Result<Option<Grant>, BackendError>> {
        let request = request.clone();
        self.carry(move |store| store.adopt(giver, &request))
    }

    fn force_release(&self, name: &LockName) -> Reply<Result<usize, BackendError>> {
        let name = name.clone();
        self.carry(move |store| store.force_release(&name))
    }

    fn change(&self, change: &Change) -> Reply<Result<ChangeAnswer, BackendError>> {
        let change = change.clone();
        self.carry(move |store| store.change(&change))
    }

    fn list(&self, namespace: &str, prefix: &str) -> Reply<Result<Vec<LockInfo>, BackendError>> {
        let (namespace, prefix) = (namespace.to_owned(), prefix.to_owned());
        self.carry(move |store| store.list(&namespace, &prefix))
    }
}
