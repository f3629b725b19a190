//! The lock manager: a backend, its defaults, and everything that goes on around it.

mod acquire;
mod builder;
mod call;
mod detach;
mod driver;
mod hold;
mod renewals;
mod sites;
mod url;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use once_cell::sync::OnceCell;
use tokio::sync::Notify;

pub(crate) use acquire::Acquiring;
pub use builder::LockManagerBuilder;
pub(crate) use hold::{Hold, Reentry, Released, Releasing};
pub(crate) use url::missing_feature;

use crate::backend::memory::MemoryBackend;
use crate::backend::{Backend, Capabilities};
use crate::clock::Clock;
use crate::error::LockError;
use crate::info::LockInfo;
use crate::name::{IntoLockName, LockName, NameError};
use crate::options::Wait;
use crate::owner::Process;
use acquire::Unclaimed;
use driver::Driver;
use hold::Live;
use renewals::Renewals;

/// What a service configures: where its locks live, and how they are asked for by default.
///
/// A service makes one at start-up and hands it to [`set_lock_manager`](crate::set_lock_manager);
/// every `#[locked]` function then uses it. Clones are the same manager.
///
/// ```
/// use lock_runtime::LockManager;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let manager = LockManager::memory();
/// let guard = manager.lock("report").acquire().await?;
/// assert!(manager.lock("report").try_acquire().await?.is_none(), "somebody has it");
/// guard.release().await?;
/// # Ok::<(), lock_runtime::LockError>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct LockManager(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) id: u64,
    pub(crate) backend: Arc<dyn Backend>,
    /// The backend once more, where it is the embedded one: it has a short way in and out.
    memory: Option<MemoryBackend>,
    pub(crate) capabilities: Capabilities,
    pub(crate) clock: Clock,
    pub(crate) namespace: String,
    pub(crate) process: Arc<Process>,
    pub(crate) defaults: Defaults,
    driver: OnceCell<Driver>,
    renewals: Arc<Renewals>,
    unclaimed: Arc<Unclaimed>,
    live: Live,
    closed: AtomicBool,
    closing: Notify,
}

/// How often a shutdown looks whether anything still runs.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What is used where a site or a call says nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defaults {
    pub(crate) wait: Wait,
    pub(crate) ttl: Duration,
    pub(crate) max_hold: Option<Duration>,
    pub(crate) max_idle: Duration,
    pub(crate) release_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) slow_hold: Duration,
}

impl LockManager {
    /// A manager with its locks in the memory of this process, and every default.
    ///
    /// # Panics
    ///
    /// When the operating system gives no thread for the clock. [`LockManager::builder`] reports
    /// that as an error.
    #[must_use]
    pub fn memory() -> Self {
        match Self::builder().memory().build() {
            Ok(manager) => manager,
            Err(error) => panic!("{error}"),
        }
    }

    /// Starts with every default.
    #[must_use]
    pub fn builder() -> LockManagerBuilder {
        LockManagerBuilder::default()
    }

    /// A manager for the backend that a URL names, with every default.
    ///
    /// | URL | where locks live |
    /// |---|---|
    /// | `memory:` | in this process |
    /// | `unix:/run/lockd.sock` | in the daemon `lockd` that listens there, for the processes of one host; needs the feature `lockd` |
    /// | `redis://host`, and those of Sentinels, clusters and sockets | in Redis, for the processes of many hosts; needs the feature `redis`, whose `RedisBackend` says more |
    /// | `postgres://user@host/database` | in PostgreSQL, for the processes of many hosts; needs the feature `postgres`, whose `PostgresBackend` says more |
    /// | `etcd://one,two` | in etcd, for the processes of many hosts; needs the feature `etcd`, whose `EtcdBackend` says more |
    ///
    /// Which one to take, and all that their URLs can say, is in
    /// [`manual::choosing`](crate::manual::choosing).
    ///
    /// # Errors
    ///
    /// When the URL names no backend of this build, or the backend cannot be reached.
    pub async fn connect(url: &str) -> Result<Self, LockError> {
        Self::builder().url(url).connect().await
    }

    /// A manager as the environment describes it: `LOCK_URL`, `LOCK_NAMESPACE`, `LOCK_TTL` and
    /// `LOCK_WAIT` (such as `30s`; a wait may be `forever`). `None` without `LOCK_URL`.
    ///
    /// # Errors
    ///
    /// When a variable cannot be understood, when one of the others, or `LOCK_REQUIRED=1`, is set
    /// without `LOCK_URL`, or when the backend cannot be reached.
    pub async fn from_env() -> Result<Option<Self>, LockError> {
        match LockManagerBuilder::from_env()? {
            Some(builder) => builder.connect().await.map(Some),
            None => Ok(None),
        }
    }

    /// What the backend can do.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.0.capabilities
    }

    /// The clock that leases and waits are measured with.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.0.clock.clone()
    }

    /// Every lock whose name begins with a prefix, by name.
    ///
    /// # Errors
    ///
    /// When the backend cannot list, or cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// Looking changes nothing.
    pub async fn list(&self, prefix: &str) -> Result<Vec<LockInfo>, LockError> {
        self.0
            .check_capability(self.0.capabilities.list, "listing")?;
        let (namespace, prefix) = (self.0.namespace.clone(), prefix.to_owned());
        self.call(move |backend| Box::pin(async move { backend.list(&namespace, &prefix).await }))
            .await
    }

    /// Stops granting, waits up to `limit` for the sections that run, and releases the rest.
    ///
    /// New requests fail, and so do those that wait. A section that still runs after `limit` is
    /// lost: its async body is dropped. Returns how many were cut short like that.
    ///
    /// # Cancel safety
    ///
    /// Granting has stopped; calling it again goes on with the wait.
    pub async fn shutdown(&self, limit: Duration) -> usize {
        self.0.closed.store(true, Ordering::SeqCst);
        self.0.closing.notify_waiters();
        if let Some(memory) = &self.0.memory {
            memory.send_away(self.0.id);
        }
        let deadline = self.0.clock.now() + limit;
        let manager = self.reference();
        // Looked at now and then: those who leave do not stop to tell.
        while manager.running() > 0 && self.0.clock.now() < deadline {
            let again = self.0.clock.now() + LOOK_AGAIN;
            self.0.clock.sleep_until(again.min(deadline)).await;
        }
        let lost = self.0.renewals.lose_all(manager.embedded_leases());
        for lease in &lost {
            hold::release_in_background(&manager, Arc::clone(lease));
        }
        if let Some(driver) = self.0.driver.get() {
            driver
                .drain(&self.0.clock, self.0.defaults.release_timeout)
                .await;
        }
        // One that was being granted just now has no body that could have been cut short.
        lost.iter().filter(|lease| lease.has_body_begun()).count()
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.0
    }

    pub(crate) fn reference(&self) -> ManagerRef {
        ManagerRef::Shared(Arc::clone(&self.0))
    }

    pub(crate) fn global_reference(&'static self) -> ManagerRef {
        ManagerRef::Global(&self.0)
    }
}

impl Inner {
    /// A name that was given as it is, in this manager's namespace.
    pub(crate) fn resolve(&self, name: impl IntoLockName) -> Result<LockName, LockError> {
        Ok(name.into_lock_name()?.in_namespace(&self.namespace))
    }

    pub(crate) fn make_name(
        &self,
        write: impl FnOnce(&mut crate::name::NameWriter<'_>),
    ) -> Result<LockName, NameError> {
        crate::name::write_name(&self.namespace, write)
    }

    pub(crate) fn check_capability(&self, has: bool, what: &str) -> Result<(), LockError> {
        if has {
            Ok(())
        } else {
            Err(LockError::unsupported(self.backend.name(), what))
        }
    }

    #[inline]
    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    pub(crate) fn check_open(&self) -> Result<(), LockError> {
        if self.is_closed() {
            Err(LockError::closed())
        } else {
            Ok(())
        }
    }

    /// The thread that remote requests run on.
    fn driver(&self) -> Result<&Driver, LockError> {
        self.driver.get_or_try_init(Driver::start)
    }

    fn next_id() -> u64 {
        static LAST: AtomicU64 = AtomicU64::new(0);
        LAST.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl fmt::Debug for LockManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockManager")
            .field("backend", &self.0.backend.name())
            .field("namespace", &self.0.namespace)
            .field("defaults", &self.0.defaults)
            .finish_non_exhaustive()
    }
}

/// A manager in use. The global one is never dropped, and costs no reference count.
#[derive(Clone)]
pub(crate) enum ManagerRef {
    Global(&'static Inner),
    Shared(Arc<Inner>),
}

impl Deref for ManagerRef {
    type Target = Inner;

    #[inline]
    fn deref(&self) -> &Inner {
        match self {
            Self::Global(inner) => inner,
            Self::Shared(inner) => inner,
        }
    }
}

impl fmt::Debug for ManagerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ManagerRef({})", self.id)
    }
}

#[cfg(test)]
mod tests;
