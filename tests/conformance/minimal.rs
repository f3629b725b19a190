//! Locks in memory that implement and declare no more than they must.

use std::sync::Arc;
use std::time::Duration;

use lock_runtime::backend::{Answer, Backend, Release, Reply, Request};
use lock_runtime::{BackendError, Capabilities, Lease, LockInfo, LockName, MemoryBackend};

/// An embedded store that cannot queue, and has nothing but exclusive locks.
#[derive(Clone)]
pub(crate) struct Minimal(pub(crate) MemoryBackend);

impl Backend for Minimal {
    fn name(&self) -> &str {
        "minimal"
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::fenced();
        capabilities.embedded = true;
        capabilities
    }

    fn connect(&self) -> Reply<Result<(), BackendError>> {
        self.0.connect()
    }

    fn try_acquire(&self, request: &Request) -> Reply<Result<Answer, BackendError>> {
        self.0.try_acquire(request)
    }

    fn renew(&self, lease: &Lease, ttl: Duration) -> Reply<Result<bool, BackendError>> {
        self.0.renew(lease, ttl)
    }

    fn release(&self, lease: &Lease, how: Release) -> Reply<Result<bool, BackendError>> {
        self.0.release(lease, how)
    }

    fn inspect(&self, name: &LockName) -> Reply<Result<LockInfo, BackendError>> {
        self.0.inspect(name)
    }

    fn embedded_leases(&self, manager: u64) -> Vec<(Arc<Lease>, lock_runtime::Moment)> {
        self.0.embedded_leases(manager)
    }
}
