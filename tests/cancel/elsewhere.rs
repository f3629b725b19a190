//! The memory backend as if it were elsewhere: every request is under way before and after it
//! takes effect, and goes on by one step when the test says so.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lock_runtime::backend::{
    Answer, Backend, Change, ChangeAnswer, Grant, Release, Reply, Request,
};
use lock_runtime::{BackendError, Capabilities, Lease, LockInfo, LockName, MemoryBackend, Owner};
use tokio::sync::Semaphore;

#[derive(Clone)]
pub(crate) struct Elsewhere {
    store: MemoryBackend,
    queue: bool,
    /// Who has asked: a release is told its lease for no longer than the call.
    asked: Arc<Mutex<HashMap<Owner, Arc<Lease>>>>,
    pub(crate) steps: Steps,
}

/// The steps that requests may still take.
#[derive(Clone)]
pub(crate) struct Steps(Arc<(Semaphore, AtomicUsize)>);

impl Steps {
    fn new() -> Self {
        Self(Arc::new((Semaphore::new(0), AtomicUsize::new(0))))
    }

    async fn step(&self) {
        if let Ok(step) = self.0.0.acquire().await {
            step.forget();
        }
        self.0.1.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn allow(&self, number: usize) {
        self.0.0.add_permits(number);
    }

    pub(crate) fn taken(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }

    /// From now on nothing waits for the test.
    pub(crate) fn run_freely(&self) {
        self.0.0.close();
    }
}

impl Elsewhere {
    pub(crate) fn new(store: MemoryBackend, queue: bool) -> Self {
        Self {
            store,
            queue,
            asked: Arc::default(),
            steps: Steps::new(),
        }
    }

    fn remember(&self, request: &Request) -> Request {
        let mut asked = self.asked.lock().unwrap();
        asked.insert(request.owner(), Arc::clone(request.lease()));
        request.clone()
    }

    fn recall(&self, lease: &Lease) -> Arc<Lease> {
        let asked = self.asked.lock().unwrap();
        Arc::clone(&asked[&lease.owner()])
    }

    fn reply<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&MemoryBackend) -> Reply<Result<T, BackendError>> + Send + 'static,
    ) -> Reply<Result<T, BackendError>>
    where
        Result<T, BackendError>: Unpin,
    {
        let (store, steps) = (self.store.clone(), self.steps.clone());
        Reply::later(async move {
            steps.step().await;
            let answer = ask(&store).await;
            steps.step().await;
            answer
        })
    }
}

impl Backend for Elsewhere {
    fn name(&self) -> &str {
        "elsewhere"
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.store.capabilities();
        capabilities.embedded = false;
        capabilities.queue = self.queue;
        capabilities
    }

    fn connect(&self) -> Reply<Result<(), BackendError>> {
        self.store.connect()
    }

    fn try_acquire(&self, request: &Request) -> Reply<Result<Answer, BackendError>> {
        let request = self.remember(request);
        self.reply(move |store| store.try_acquire(&request))
    }

    fn acquire(&self, request: &Request) -> Reply<Result<Answer, BackendError>> {
        let request = self.remember(request);
        self.reply(move |store| store.acquire(&request))
    }

    fn renew(&self, lease: &Lease, ttl: Duration) -> Reply<Result<bool, BackendError>> {
        let lease = self.recall(lease);
        self.reply(move |store| store.renew(&lease, ttl))
    }

    fn release(&self, lease: &Lease, how: Release) -> Reply<Result<bool, BackendError>> {
        let lease = self.recall(lease);
        self.reply(move |store| store.release(&lease, how))
    }

    fn inspect(&self, name: &LockName) -> Reply<Result<LockInfo, BackendError>> {
        let name = name.clone();
        self.reply(move |store| store.inspect(&name))
    }

    fn adopt(&self, giver: Owner, request: &Request) -> Reply<Result<Option<Grant>, BackendError>> {
        let request = self.remember(request);
        self.reply(move |store| store.adopt(giver, &request))
    }

    fn force_release(&self, name: &LockName) -> Reply<Result<usize, BackendError>> {
        let name = name.clone();
        self.reply(move |store| store.force_release(&name))
    }

    fn change(&self, change: &Change) -> Reply<Result<ChangeAnswer, BackendError>> {
        let change = change.clone();
        self.reply(move |store| store.change(&change))
    }
}
