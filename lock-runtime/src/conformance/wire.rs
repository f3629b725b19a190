//! The wire between a manager and its backend, which a case can cut.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::backend::{
    Answer, Backend, Capabilities, Change, ChangeAnswer, Grant, Release, Reply, Request,
};
use crate::clock::Moment;
use crate::error::BackendError;
use crate::info::LockInfo;
use crate::lease::Lease;
use crate::name::LockName;
use crate::owner::Owner;

const WHOLE: u8 = 0;
const REFUSING: u8 = 1;
const SILENT: u8 = 2;
const LOSING_REPLIES: u8 = 3;
const HOLDING: u8 = 4;

/// A wire that a case can cut and mend.
#[derive(Clone, Default)]
pub(crate) struct Wire(Arc<State>);

#[derive(Default)]
struct State {
    mode: AtomicU8,
    /// How many requests were held back and have not ended.
    held: AtomicUsize,
    changed: Notify,
}

impl Wire {
    /// Everything gets through; what was held back does so now.
    pub(super) fn mend(&self) {
        self.set(WHOLE);
    }

    /// Requests for sections are held back until the wire is mended; all others overtake them.
    pub(super) fn hold(&self) {
        self.set(HOLDING);
    }

    /// How many requests were held back and have not been answered, nor given up.
    pub(super) fn held(&self) -> usize {
        self.0.held.load(Ordering::SeqCst)
    }

    /// Nothing gets through, and the manager is told so at once.
    pub(super) fn refuse(&self) {
        self.set(REFUSING);
    }

    /// Nothing gets through, and no answer ever comes.
    pub(super) fn silence(&self) {
        self.set(SILENT);
    }

    /// Requests take effect, and their answers are lost.
    pub(super) fn lose_replies(&self) {
        self.set(LOSING_REPLIES);
    }

    fn set(&self, mode: u8) {
        self.0.mode.store(mode, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }

    fn mode(&self) -> u8 {
        self.0.mode.load(Ordering::SeqCst)
    }

    pub(crate) fn to(self, backend: Arc<dyn Backend>) -> Arc<dyn Backend> {
        Arc::new(Wired {
            wire: self,
            backend,
        })
    }

    fn carry<T: Send + Unpin + 'static>(
        &self,
        send: impl FnOnce() -> Reply<Result<T, BackendError>>,
    ) -> Reply<Result<T, BackendError>> {
        match self.mode() {
            WHOLE | HOLDING => send(),
            REFUSING => Reply::now(Err(BackendError::new("the wire is cut"))),
            LOSING_REPLIES => {
                let reply = send();
                Reply::later(async move {
                    drop(reply.await);
                    std::future::pending().await
                })
            }
            _ => Reply::later(std::future::pending()),
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wire({})", self.mode())
    }
}

type Entering = Reply<Result<Answer, BackendError>>;

struct Wired {
    wire: Wire,
    backend: Arc<dyn Backend>,
}

impl Wired {
    /// Carries a request for a section, now or when nothing is held back any more.
    fn enter(&self, request: &Request, send: fn(&dyn Backend, &Request) -> Entering) -> Entering {
        if self.wire.mode() != HOLDING {
            return self.wire.carry(|| send(&*self.backend, request));
        }
        let (wire, backend) = (self.wire.clone(), Arc::clone(&self.backend));
        let request = request.clone();
        let held = Held::new(&wire);
        Reply::later(async move {
            loop {
                let changed = wire.0.changed.notified();
                if wire.mode() != HOLDING {
                    break;
                }
                changed.await;
            }
            let answer = send(&*backend, &request).await;
            drop(held);
            answer
        })
    }
}

/// A request that was held back, until it ends.
struct Held(Arc<State>);

impl Held {
    fn new(wire: &Wire) -> Self {
        wire.0.held.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(&wire.0))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Backend for Wired {
    fn name(&self) -> &str {
        self.backend.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    fn connect(&self) -> Reply<Result<(), BackendError>> {
        self.backend.connect()
    }

    fn try_acquire(&self, request: &Request) -> Reply<Result<Answer, BackendError>> {
        self.enter(request, |backend, request| backend.try_acquire(request))
    }

    fn renew(&self, lease: &Lease, ttl: Duration) -> Reply<Result<bool, BackendError>> {
        self.wire.carry(|| self.backend.renew(lease, ttl))
    }

    fn release(&self, lease: &Lease, how: Release) -> Reply<Result<bool, BackendError>> {
        self.wire.carry(|| self.backend.release(lease, how))
    }

    fn inspect(&self, name: &LockName) -> Reply<Result<LockInfo, BackendError>> {
        self.wire.carry(|| self.backend.inspect(name))
    }

    fn acquire(&self, request: &Request) -> Reply<Result<Answer, BackendError>> {
        self.enter(request, |backend, request| backend.acquire(request))
    }

    fn adopt(&self, giver: Owner, request: &Request) -> Reply<Result<Option<Grant>, BackendError>> {
        self.wire.carry(|| self.backend.adopt(giver, request))
    }

    fn detach(&self, lease: &Lease) -> Reply<Result<bool, BackendError>> {
        self.wire.carry(|| self.backend.detach(lease))
    }

    fn force_release(&self, name: &LockName) -> Reply<Result<usize, BackendError>> {
        self.wire.carry(|| self.backend.force_release(name))
    }

    fn change(&self, change: &Change) -> Reply<Result<ChangeAnswer, BackendError>> {
        self.wire.carry(|| self.backend.change(change))
    }

    fn list(&self, namespace: &str, prefix: &str) -> Reply<Result<Vec<LockInfo>, BackendError>> {
        self.wire.carry(|| self.backend.list(namespace, prefix))
    }

    fn embedded_leases(&self, manager: u64) -> Vec<(Arc<Lease>, Moment)> {
        self.backend.embedded_leases(manager)
    }
}
