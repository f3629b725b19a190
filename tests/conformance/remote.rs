//! Locks in memory, as far away as a store on another host.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lock_runtime::backend::{
    Answer, Backend, Change, ChangeAnswer, Grant, Release, Reply, Request,
};
use lock_runtime::{
    BackendError, Capabilities, Clock, Lease, LockInfo, LockName, MemoryBackend, Owner,
};

/// Every answer takes a moment, and the connection can be cut.
#[derive(Clone)]
pub(crate) struct Remote {
    store: MemoryBackend,
    is_cut: Arc<AtomicBool>,
    can_queue: bool,
}

impl Remote {
    /// One that queues and pushes.
    pub(crate) fn pushing() -> Self {
        Self {
            store: MemoryBackend::leased(Clock::system()),
            is_cut: Arc::default(),
            can_queue: true,
        }
    }

    /// One that has to be asked again and again.
    pub(crate) fn polled() -> Self {
        Self {
            can_queue: false,
            ..Self::pushing()
        }
    }

    pub(crate) fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::SeqCst);
    }

    /// Sends a request when the connection is whole, and loses the answer when it is not.
    fn carry<T: Send + Unpin + 'static>(
        &self,
        send: impl FnOnce(&MemoryBackend) -> Reply<Result<T, BackendError>> + Send + 'static,
    ) -> Reply<Result<T, BackendError>> {
        let (store, is_cut) = (self.store.clone(), Arc::clone(&self.is_cut));
        Reply::later(async move {
            tokio::time::sleep(Duration::from_micros(100)).await;
            if is_cut.load(Ordering::SeqCst) {
                return Err(BackendError::new("the connection is cut").effect_unknown());
            }
            let answer = send(&store).await;
            tokio::time::sleep(Duration::from_micros(100)).await;
            if is_cut.load(Ordering::SeqCst) {
                return Err(BackendError::new("the connection was cut").effect_unknown());
            }
            answer
        })
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
        self.carry(Backend::connect)
    }

    fn try_acquire(&self, request: &Request) -> Reply<Result<Answer, BackendError>> {
        let request = request.clone();
        self.carry(move |store| store.try_acquire(&request))
    }

    fn acquire(&self, request: &Request) -> Reply<Result<Answer, BackendError>> {
        let request = request.clone();
        self.carry(move |store| store.acquire(&request))
    }

    fn renew(&self, lease: &Lease, ttl: Duration) -> Reply<Result<bool, BackendError>> {
        // What the store does for a lease it does at once: only the answer takes its time.
        let answer = self.at_once(|store| store.renew(lease, ttl));
        self.carry(move |_| answer)
    }

    fn release(&self, lease: &Lease, how: Release) -> Reply<Result<bool, BackendError>> {
        let answer = self.at_once(|store| store.release(lease, how));
        self.carry(move |_| answer)
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

impl Remote {
    fn at_once<T: Send + 'static>(
        &self,
        send: impl FnOnce(&MemoryBackend) -> Reply<Result<T, BackendError>>,
    ) -> Reply<Result<T, BackendError>> {
        if self.is_cut.load(Ordering::SeqCst) {
            Reply::now(Err(BackendError::new("the connection is cut")))
        } else {
            send(&self.store)
        }
    }
}
