//! What a case works with: managers, names, time, and patience.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::case::{Failure, Need, Outcome, ensure};
use super::subject::Subject;
use super::wire::Wire;
use crate::backend::Capabilities;
use crate::clock::{Clock, Moment};
use crate::error::LockError;
use crate::manager::{LockManager, LockManagerBuilder};
use crate::name::LockName;

/// A lease that no case lives to see the end of.
pub(super) const LONG: Duration = Duration::from_secs(3600);

/// How often a case looks whether something has happened.
const LOOK: Duration = Duration::from_millis(5);

/// The store under test, with a namespace of the case's own. Clones are the same.
#[derive(Clone)]
pub(super) struct Stage(Arc<Inner>);

struct Inner {
    subject: Subject,
    namespace: String,
    first: LockManager,
}

impl Stage {
    pub(super) async fn set(subject: Subject) -> Result<Self, Failure> {
        // Unlike every other run, so that nothing is left over in a store that outlives it.
        let namespace = format!("case-{:016x}", rand::random::<u64>());
        let first = subject.connect(builder(&subject, &namespace)).await?;
        Ok(Self(Arc::new(Inner {
            subject,
            namespace,
            first,
        })))
    }

    pub(super) fn lacking(&self, need: Need) -> Option<&'static str> {
        need.lacking(self.can(), &self.0.subject)
    }

    pub(super) fn can(&self) -> Capabilities {
        self.0.first.capabilities()
    }

    /// A manager to begin with.
    pub(super) fn first(&self) -> LockManager {
        self.0.first.clone()
    }

    /// One more manager: another process, as far as the store can tell.
    pub(super) async fn another(&self) -> Result<LockManager, Failure> {
        Ok(self.0.subject.connect(self.builder()).await?)
    }

    /// A manager with settings of its own.
    pub(super) async fn manager(
        &self,
        settings: impl FnOnce(LockManagerBuilder) -> LockManagerBuilder,
    ) -> Result<LockManager, Failure> {
        Ok(self.0.subject.connect(settings(self.builder())).await?)
    }

    /// A manager whose wire to the store the case can cut.
    pub(super) async fn wired(&self) -> Result<(LockManager, Wire), Failure> {
        let wire = Wire::default();
        let other_end = wire.clone();
        let manager = self.manager(|builder| builder.wire(other_end)).await?;
        Ok((manager, wire))
    }

    fn builder(&self) -> LockManagerBuilder {
        builder(&self.0.subject, &self.0.namespace)
    }

    pub(super) fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// Cuts (`true`) or mends (`false`) the real connections.
    pub(super) fn cut(&self, is_cut: bool) {
        if let Some(cut) = &self.0.subject.cut {
            cut(is_cut);
        }
    }

    /// Stops the store without a warning, and starts it again.
    pub(super) fn restart(&self) {
        if let Some(stop) = &self.0.subject.stop {
            tokio::task::block_in_place(|| {
                stop(true);
                stop(false);
            });
        }
    }

    /// A lease short enough for a case to wait for its end.
    pub(super) fn ttl(&self) -> Duration {
        self.0.subject.short_ttl
    }

    pub(super) fn patience(&self) -> Duration {
        self.0.subject.patience
    }

    /// The clock of the managers. Those of all subjects' managers are one.
    pub(super) fn clock(&self) -> Clock {
        self.0.first.clock()
    }

    pub(super) fn now(&self) -> Moment {
        self.clock().now()
    }

    pub(super) fn has_manual_clock(&self) -> bool {
        self.0.subject.time.is_some()
    }

    /// Lets time pass.
    pub(super) async fn pass(&self, time: Duration) {
        match &self.0.subject.time {
            None => tokio::time::sleep(time).await,
            Some(clock) => {
                clock.advance(time);
                // Whoever was woken by it gets a chance to run.
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// Lets time pass until a moment of the managers' clock.
    pub(super) async fn pass_until(&self, moment: Moment) {
        self.pass(moment - self.now()).await;
    }

    /// Waits for a future that has to end by itself, without time having to pass.
    pub(super) async fn soon<T>(
        &self,
        what: impl fmt::Display,
        future: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        tokio::time::timeout(self.patience(), future)
            .await
            .map_err(|_| Failure::new(format_args!("{what}: not within {:?}", self.patience())))
    }

    /// Lets time pass until something is so.
    pub(super) async fn until(
        &self,
        what: &str,
        mut is_so: impl AsyncFnMut() -> Result<bool, LockError>,
    ) -> Outcome {
        let limit = Instant::now() + self.patience();
        while !is_so().await? {
            ensure!(
                Instant::now() < limit,
                "{what}: not within {:?}",
                self.patience()
            );
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Waits until somebody can enter, and lets go again.
    pub(super) async fn until_free(&self, manager: &LockManager, name: &str) -> Outcome {
        self.until(&format!("`{name}` becomes free"), async || {
            is_free(manager, name).await
        })
        .await
    }

    /// Waits until so many wait for a name, where the store knows of them; gives them a moment to
    /// begin where it does not.
    pub(super) async fn until_waiting(
        &self,
        manager: &LockManager,
        name: &str,
        waiting: usize,
    ) -> Outcome {
        if !self.can().queue {
            tokio::time::sleep(10 * LOOK).await;
            return Ok(());
        }
        self.until(&format!("{waiting} wait for `{name}`"), async || {
            Ok(manager.lock(name).info().await?.waiting == waiting)
        })
        .await
    }
}

/// Whether a name can be entered. Looking does not leave it busy.
pub(super) async fn is_free(manager: &LockManager, name: &str) -> Result<bool, LockError> {
    match manager.lock(name).try_acquire().await? {
        None => Ok(false),
        Some(guard) => guard.release().await.map(|()| true),
    }
}

/// A name in a manager's namespace.
pub(super) fn name_of(manager: &LockManager, name: &str) -> Result<LockName, LockError> {
    manager.inner().resolve(name)
}

fn builder(subject: &Subject, namespace: &str) -> LockManagerBuilder {
    let builder = LockManager::builder()
        .namespace(namespace)
        .application("conformance")
        .ttl(LONG)
        .wait(LONG);
    match &subject.time {
        None => builder,
        Some(time) => builder.clock(time.clock()),
    }
}
