//! How a manager is put together.

use std::any::Any;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::Duration;

use once_cell::sync::OnceCell;
use tokio::sync::Notify;

use super::acquire::Unclaimed;
use super::driver::Driver;
use super::hold::Live;
use super::renewals::Renewals;
use super::{Defaults, Inner, LockManager, url};
use crate::backend::Backend;
use crate::backend::memory::MemoryBackend;
use crate::clock::Clock;
use crate::error::LockError;
use crate::name;
use crate::options::{
    DEFAULT_MAX_IDLE, DEFAULT_RELEASE_TIMEOUT, DEFAULT_TTL, DEFAULT_WAIT, Wait, check_ttl,
    check_wait,
};
use crate::owner::Process;

/// How long a remote backend may take to answer before the caller is told.
const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// A section that runs this long is worth a line in the log.
const DEFAULT_SLOW_HOLD: Duration = Duration::from_secs(60);

/// Puts a [`LockManager`] together. Nothing is checked before the end.
pub struct LockManagerBuilder {
    place: Option<Place>,
    clock: Clock,
    namespace: Option<String>,
    application: Option<String>,
    defaults: Defaults,
    #[cfg(feature = "conformance")]
    wire: Option<crate::conformance::Wire>,
}

enum Place {
    Backend(Arc<dyn Backend>),
    Memory,
    Url(String),
}

impl Default for LockManagerBuilder {
    fn default() -> Self {
        Self {
            place: None,
            clock: Clock::system(),
            namespace: None,
            application: None,
            defaults: Defaults {
                wait: Wait::For(DEFAULT_WAIT),
                ttl: DEFAULT_TTL,
                max_hold: None,
                max_idle: DEFAULT_MAX_IDLE,
                release_timeout: DEFAULT_RELEASE_TIMEOUT,
                request_timeout: DEFAULT_REQUEST_TIMEOUT,
                slow_hold: DEFAULT_SLOW_HOLD,
            },
            #[cfg(feature = "conformance")]
            wire: None,
        }
    }
}

impl LockManagerBuilder {
    /// As the environment describes it; see [`LockManager::from_env`].
    ///
    /// # Errors
    ///
    /// When a variable cannot be understood, or one of the others, or `LOCK_REQUIRED=1`, is set
    /// without `LOCK_URL`.
    pub fn from_env() -> Result<Option<Self>, LockError> {
        url::from_env(|variable| std::env::var(variable).ok())
    }

    /// Locks live in the memory of this process.
    #[must_use]
    pub fn memory(mut self) -> Self {
        self.place = Some(Place::Memory);
        self
    }

    /// Locks live in this backend.
    #[must_use]
    pub fn backend(mut self, backend: impl Backend) -> Self {
        self.place = Some(Place::Backend(Arc::new(backend)));
        self
    }

    /// Locks live where this URL says; see [`LockManager::connect`].
    #[must_use]
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.place = Some(Place::Url(url.into()));
        self
    }

    /// Time is this clock's. Default: the system's.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The clock that was chosen, for a backend that is made with it.
    #[must_use]
    pub fn chosen_clock(&self) -> &Clock {
        &self.clock
    }

    /// Names are kept apart from those of other namespaces in the same store.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// What the service calls itself to others. Default: the program's name.
    #[must_use]
    pub fn application(mut self, application: impl Into<String>) -> Self {
        self.application = Some(application.into());
        self
    }

    /// How long a caller queues. Default: 30 s.
    #[must_use]
    pub fn wait(mut self, wait: impl Into<Wait>) -> Self {
        self.defaults.wait = wait.into();
        self
    }

    /// The lease. Default: 30 s.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.defaults.ttl = ttl;
        self
    }

    /// A section is no longer renewed after this long. Default: never.
    #[must_use]
    pub fn max_hold(mut self, limit: Duration) -> Self {
        self.defaults.max_hold = Some(limit);
        self
    }

    /// A body that was woken and then not polled for this long is no longer renewed.
    /// Default: 5 min.
    #[must_use]
    pub fn max_idle(mut self, limit: Duration) -> Self {
        self.defaults.max_idle = limit;
        self
    }

    /// How long a release is awaited before it goes on in the background. Default: 2 s.
    #[must_use]
    pub fn release_timeout(mut self, limit: Duration) -> Self {
        self.defaults.release_timeout = limit;
        self
    }

    /// How long a remote backend may take to answer before the caller is told. Default: 5 s.
    #[must_use]
    pub fn request_timeout(mut self, limit: Duration) -> Self {
        self.defaults.request_timeout = limit;
        self
    }

    /// A section that runs longer is reported through `tracing`. Default: 60 s.
    #[must_use]
    pub fn slow_hold(mut self, limit: Duration) -> Self {
        self.defaults.slow_hold = limit;
        self
    }

    /// The suite can cut this wire between the manager and its backend.
    #[cfg(feature = "conformance")]
    pub(crate) fn wire(mut self, wire: crate::conformance::Wire) -> Self {
        self.wire = Some(wire);
        self
    }

    /// Builds a manager whose backend answers at once, as the embedded one does.
    ///
    /// # Errors
    ///
    /// When a setting is out of its limits, when no backend was chosen, or when the chosen one
    /// has to be connected; that is what [`LockManagerBuilder::connect`] does.
    pub fn build(self) -> Result<LockManager, LockError> {
        let inner = self.assemble()?;
        if !inner.capabilities.embedded {
            return Err(LockError::invalid_option(format!(
                "the backend `{}` has to be connected: use `connect().await` instead of `build()`",
                inner.backend.name()
            )));
        }
        match inner.backend.connect().ready() {
            Ok(connected) => connected.map_err(LockError::unavailable)?,
            Err(_) => {
                return Err(LockError::invalid_option(
                    "an embedded backend has to connect at once: use `Reply::now`",
                ));
            }
        }
        Ok(LockManager(inner))
    }

    /// Builds a manager and connects its backend.
    ///
    /// # Errors
    ///
    /// When a setting is out of its limits, no backend was chosen, or it cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// The connection is closed again.
    pub async fn connect(self) -> Result<LockManager, LockError> {
        let manager = LockManager(self.assemble()?);
        manager
            .call(|backend| Box::pin(async move { backend.connect().await }))
            .await?;
        Ok(manager)
    }

    fn assemble(self) -> Result<Arc<Inner>, LockError> {
        check_ttl(self.defaults.ttl).map_err(LockError::invalid_option)?;
        check_wait(self.defaults.wait).map_err(LockError::invalid_option)?;
        let limits = [
            ("max_hold", self.defaults.max_hold.unwrap_or(Duration::MAX)),
            ("max_idle", self.defaults.max_idle),
            ("request_timeout", self.defaults.request_timeout),
        ];
        if let Some((option, _)) = limits.iter().find(|(_, limit)| limit.is_zero()) {
            return Err(LockError::invalid_option(format!(
                "`{option}` is zero; give it a time"
            )));
        }
        let namespace = self.namespace.unwrap_or_default();
        if !namespace.is_empty() {
            name::check_namespace(&namespace)
                .map_err(|error| LockError::invalid_option(error.to_string()))?;
        }
        let process = Process::new(self.application);
        let backend = match self.place {
            Some(Place::Backend(backend)) => backend,
            Some(Place::Memory) => Arc::new(MemoryBackend::new(self.clock.clone())),
            Some(Place::Url(url)) => url::backend(&url, &self.clock, &process)?,
            None => {
                return Err(LockError::invalid_option(
                    "no backend was chosen: call `memory()`, `url(…)` or `backend(…)`",
                ));
            }
        };
        #[cfg(feature = "conformance")]
        let backend = match self.wire {
            Some(wire) => wire.to(backend),
            None => backend,
        };
        self.clock.start().map_err(|error| {
            LockError::invalid_option(format!("no thread could be started for the clock: {error}"))
        })?;
        let capabilities = backend.capabilities();
        let any: &dyn Any = &*backend;
        let memory = any
            .downcast_ref()
            .filter(|_| capabilities.embedded)
            .cloned();
        let driver: OnceCell<Driver> = OnceCell::new();
        Ok(Arc::new_cyclic(|inner| Inner {
            id: Inner::next_id(),
            capabilities,
            renewals: Renewals::new(&self.clock, memory.is_some(), Weak::clone(inner)),
            unclaimed: Unclaimed::new(&self.clock),
            clock: self.clock,
            namespace,
            process,
            defaults: self.defaults,
            driver,
            live: Live::default(),
            closed: AtomicBool::new(false),
            closing: Notify::new(),
            memory,
            backend,
        }))
    }
}

impl fmt::Debug for LockManagerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockManagerBuilder")
            .field("namespace", &self.namespace)
            .field("defaults", &self.defaults)
            .finish_non_exhaustive()
    }
}
