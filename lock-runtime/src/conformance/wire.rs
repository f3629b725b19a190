//! The wire between a manager and its backend, which a case can cut.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

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

/// A wire that a case can cut and mend.
#[derive(Clone, Default)]
pub(crate) struct Wire(Arc<AtomicU8>);

impl Wire {
    /// Everything gets through.
    pub(super) fn mend(&self) {
        self.0.store(WHOLE, Ordering::SeqCst);
    }

    /// Nothing gets through, and the manager is told so at once.
    pub(super) fn refuse(&self) {
        self.0.store(REFUSING, Ordering::SeqCst);
    }

    /// Nothing gets through, and no answer ever comes.
    pub(super) fn silence(&self) {
        self.0.store(SILENT, Ordering::SeqCst);
    }

    /// Requests take effect, and their answers are lost.
    pub(super) fn lose_replies(&self) {
        self.0.store(LOSING_REPLIES, Ordering::SeqCst);
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
        match self.0.load(Ordering::SeqCst) {
            WHOLE => send(),
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
        write!(f, "Wire({})", self.0.load(Ordering::SeqCst))
    }
}

struct Wired {
    wire: Wire,
    backend: Arc<dyn Backend>,
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
        self.wire.carry(|| self.backend.try_acquire(request))
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
        self.wire.carry(|| self.backend.acquire(request))
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
