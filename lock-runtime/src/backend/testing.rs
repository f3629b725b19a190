//! Test doubles: backends that always do the same, to test what a service makes of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Answer, Backend, Busy, Capabilities, Grant, Release, Reply, Request};
use crate::error::BackendError;
use crate::fencing::FencingToken;
use crate::info::LockInfo;
use crate::lease::Lease;
use crate::name::LockName;
use crate::options::Mode;

/// Always free: grants everything at once, to everybody, with rising tokens. It excludes nobody.
#[derive(Debug, Default)]
pub struct AlwaysFree {
    tokens: AtomicU64,
}

/// Always busy: grants nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct AlwaysBusy;

/// Out of reach: every request fails with this message.
#[derive(Clone, Debug)]
pub struct AlwaysFails {
    message: String,
}

/// Grants everything, and loses every section at its renewal after so many successful ones.
///
/// It is not embedded, so that its leases are renewed, at a third of their length.
#[derive(Debug)]
pub struct LosesAfter {
    renewals_left: AtomicU64,
    free: AlwaysFree,
}

impl AlwaysFails {
    /// Fails with this message.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }

    fn fail<T>(&self) -> Reply<Result<T, BackendError>> {
        Reply::now(Err(BackendError::new(self.message.clone())))
    }
}

impl LosesAfter {
    /// Lets so many renewals succeed.
    #[must_use]
    pub fn new(renewals: u64) -> Self {
        Self {
            renewals_left: AtomicU64::new(renewals),
            free: AlwaysFree::default(),
        }
    }
}

impl AlwaysFree {
    fn grant(&self, mode: Mode) -> Answer {
        let number = self.tokens.fetch_add(1, Ordering::Relaxed) + 1;
        let token = FencingToken::new(number).filter(|_| mode == Mode::Exclusive);
        Answer::Granted(Grant::new(token))
    }
}

const EMBEDDED: Capabilities = Capabilities {
    embedded: true,
    fencing: true,
    // What they answer they answer at once, also to those who would wait.
    queue: true,
    shared: true,
    permits: true,
    ..Capabilities::none()
};

impl Backend for AlwaysFree {
    fn name(&self) -> &str {
        "always free"
    }

    fn capabilities(&self) -> Capabilities {
        EMBEDDED
    }

    fn connect(&self) -> Reply<Result<(), BackendError>> {
        Reply::now(Ok(()))
    }

    fn try_acquire(&self, request: &Request) -> Reply<Result<Answer, BackendError>> {
        Reply::now(Ok(self.grant(request.mode())))
    }

    fn renew(&self, _: &Lease, _: Duration) -> Reply<Result<bool, BackendError>> {
        Reply::now(Ok(true))
    }

    fn release(&self, _: &Lease, _: Release) -> Reply<Result<bool, BackendError>> {
        Reply::now(Ok(true))
    }

    fn inspect(&self, name: &LockName) -> Reply<Result<LockInfo, BackendError>> {
        Reply::now(Ok(LockInfo::free(name.clone())))
    }
}

impl Backend for AlwaysBusy {
    fn name(&self) -> &str {
        "always busy"
    }

    fn capabilities(&self) -> Capabilities {
        EMBEDDED
    }

    fn connect(&self) -> Reply<Result<(), BackendError>> {
        Reply::now(Ok(()))
    }

    fn try_acquire(&self, _: &Request) -> Reply<Result<Answer, BackendError>> {
        Reply::now(Ok(Answer::Busy(Busy::new())))
    }

    fn renew(&self, _: &Lease, _: Duration) -> Reply<Result<bool, BackendError>> {
        Reply::now(Ok(false))
    }

    fn release(&self, _: &Lease, _: Release) -> Reply<Result<bool, BackendError>> {
        Reply::now(Ok(false))
    }

    fn inspect(&self, name: &LockName) -> Reply<Result<LockInfo, BackendError>> {
        let mut info = LockInfo::free(name.clone());
        info.resting = Some(Duration::MAX);
        Reply::now(Ok(info))
    }
}

impl Backend for AlwaysFails {
    fn name(&self) -> &str {
        "always fails"
    }

    fn capabilities(&self) -> Capabilities {
        EMBEDDED
    }

    fn connect(&self) -> Reply<Result<(), BackendError>> {
        Reply::now(Ok(()))
    }

    fn try_acquire(&self, _: &Request) -> Reply<Result<Answer, BackendError>> {
        self.fail()
    }

    fn renew(&self, _: &Lease, _: Duration) -> Reply<Result<bool, BackendError>> {
        self.fail()
    }

    fn release(&self, _: &Lease, _: Release) -> Reply<Result<bool, BackendError>> {
        self.fail()
    }

    fn inspect(&self, _: &LockName) -> Reply<Result<LockInfo, BackendError>> {
        self.fail()
    }
}

impl Backend for LosesAfter {
    fn name(&self) -> &str {
        "loses after"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            embedded: false,
            ..EMBEDDED
        }
    }

    fn connect(&self) -> Reply<Result<(), BackendError>> {
        Reply::now(Ok(()))
    }

    fn try_acquire(&self, request: &Request) -> Reply<Result<Answer, BackendError>> {
        self.free.try_acquire(request)
    }

    fn renew(&self, _: &Lease, _: Duration) -> Reply<Result<bool, BackendError>> {
        let left = self
            .renewals_left
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| {
                left.checked_sub(1)
            });
        Reply::now(Ok(left.is_ok()))
    }

    fn release(&self, _: &Lease, _: Release) -> Reply<Result<bool, BackendError>> {
        Reply::now(Ok(true))
    }

    fn inspect(&self, name: &LockName) -> Reply<Result<LockInfo, BackendError>> {
        self.free.inspect(name)
    }
}
