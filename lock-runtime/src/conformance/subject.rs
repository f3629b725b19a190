//! What the suite is told of the store under test.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::clock::ManualClock;
use crate::error::LockError;
use crate::manager::{LockManager, LockManagerBuilder};

type Connecting = Pin<Box<dyn Future<Output = Result<LockManager, LockError>> + Send>>;
type Connect = Box<dyn Fn(LockManagerBuilder) -> Connecting + Send + Sync>;
type Cut = Box<dyn Fn(bool) + Send + Sync>;
type Stop = Box<dyn Fn(bool) + Send + Sync>;

/// Short enough for a case to wait for its end, long enough for a busy machine to renew it.
const SHORT_TTL: Duration = Duration::from_millis(600);

/// Ten times what the slowest honest answer took on a machine that does other things.
const PATIENCE: Duration = Duration::from_secs(10);

/// A store, as the suite gets to it.
///
/// The suite makes one for every case. Cases that run at the same time use different namespaces,
/// so that they can all have one server in common.
pub struct Subject {
    connect: Connect,
    pub(super) time: Option<ManualClock>,
    pub(super) short_ttl: Duration,
    pub(super) patience: Duration,
    pub(super) cut: Option<Cut>,
    pub(super) stop: Option<Stop>,
}

impl Subject {
    /// A store to which managers are connected like this.
    ///
    /// The function gets a builder on which the suite has set what the case needs, and adds where
    /// the locks live. It is called several times in a case: the managers that it makes stand for
    /// several processes, and must see the same locks.
    pub fn new<F, C>(connect: F) -> Self
    where
        F: Fn(LockManagerBuilder) -> C + Send + Sync + 'static,
        C: Future<Output = Result<LockManager, LockError>> + Send + 'static,
    {
        Self {
            connect: Box::new(move |manager| Box::pin(connect(manager))),
            time: None,
            short_ttl: SHORT_TTL,
            patience: PATIENCE,
            cut: None,
            stop: None,
        }
    }

    /// Time passes only when the suite moves this clock. For stores that measure it with the
    /// manager's clock and answer at once.
    #[must_use]
    pub fn manual_clock(mut self, time: ManualClock) -> Self {
        self.time = Some(time);
        self
    }

    /// The shortest lease that the store keeps to; cases wait for several of them. Default:
    /// 600 ms. A store that counts in whole seconds needs at least one.
    #[must_use]
    pub fn short_ttl(mut self, ttl: Duration) -> Self {
        self.short_ttl = ttl;
        self
    }

    /// How long to wait for something that has to happen, before it counts as not happening.
    /// Default: 10 s.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How the connections of all managers of this subject are cut (`true`) and mended (`false`),
    /// for cases in which the real connection breaks.
    #[must_use]
    pub fn breakable(mut self, cut: impl Fn(bool) + Send + Sync + 'static) -> Self {
        self.cut = Some(Box::new(cut));
        self
    }

    /// How the store itself is stopped without a warning (`true`) and started again with what it
    /// had kept (`false`). Needs a store that the case has to itself: see [`Suite::cases_of`].
    ///
    /// The function is called on a thread on which it may block, and returns when the store has
    /// ended, or answers again.
    ///
    /// [`Suite::cases_of`]: super::Suite::cases_of
    #[must_use]
    pub fn restartable(mut self, stop: impl Fn(bool) + Send + Sync + 'static) -> Self {
        self.stop = Some(Box::new(stop));
        self
    }

    pub(super) async fn connect(
        &self,
        builder: LockManagerBuilder,
    ) -> Result<LockManager, LockError> {
        (self.connect)(builder).await
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("time", &self.time)
            .field("short_ttl", &self.short_ttl)
            .field("patience", &self.patience)
            .field("breakable", &self.cut.is_some())
            .field("restartable", &self.stop.is_some())
            .finish_non_exhaustive()
    }
}
