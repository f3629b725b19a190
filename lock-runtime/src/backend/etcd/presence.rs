//! That this process is alive: a short lease, which all of its places in queues belong to, and the
//! sections that were handed to those who had them, until they are renewed. Those of a process that
//! is dead, or frozen, end with it.

use std::time::Duration;

use super::fault::Trouble;
use super::leases::{Leases, ServerLease};
use crate::backend::waiting::LEFT_TO_RENEW;
use crate::clock::{Clock, Moment};
use crate::sync::{Mutex, lock};

/// The server may give more: at least one and a half of its election timeouts.
const SECONDS: i64 = 2;

/// The same: a section that was handed to one of those who wait here lasts so long, from when the
/// lease was last started anew.
pub(super) const LENGTH: Duration = Duration::from_secs(SECONDS.unsigned_abs());

/// How long it is kept when nobody waits any more.
const KEPT_FOR: Duration = Duration::from_secs(10);

pub(super) struct Presence {
    clock: Clock,
    /// One at a time is asked for.
    granting: tokio::sync::Mutex<()>,
    current: Mutex<Option<Current>>,
}

#[derive(Clone, Copy)]
struct Current {
    lease: ServerLease,
    used: Moment,
}

impl Presence {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            granting: tokio::sync::Mutex::default(),
            current: Mutex::default(),
        }
    }

    /// The lease that a place in a queue is to belong to.
    pub(super) async fn lease(&self, leases: &Leases) -> Result<i64, Trouble> {
        if let Some(lease) = self.in_use() {
            return Ok(lease.id);
        }
        let _alone = self.granting.lock().await;
        if let Some(lease) = self.in_use() {
            return Ok(lease.id);
        }
        let lease = leases.grant(SECONDS).await?;
        let used = self.clock.now();
        *lock(&self.current) = Some(Current { lease, used });
        Ok(lease.id)
    }

    fn in_use(&self) -> Option<ServerLease> {
        let mut current = lock(&self.current);
        let current = current.as_mut()?;
        current.used = self.clock.now();
        Some(current.lease)
    }

    /// A lease that places belonged to, with enough time left for a section that ends with it to be
    /// renewed. `None` when it has ended.
    pub(super) async fn keep(
        &self,
        leases: &Leases,
        id: i64,
        length: Duration,
    ) -> Result<Option<ServerLease>, Trouble> {
        let now = self.clock.now();
        let current = lock(&self.current).map(|current| current.lease);
        if let Some(lease) = current.filter(|lease| lease.id == id)
            && now + LEFT_TO_RENEW <= lease.counted_from + length
        {
            return Ok(Some(lease));
        }
        let mut lease = ServerLease {
            id,
            seconds: SECONDS,
            counted_from: now,
        };
        match leases.keep_alive(&mut lease).await {
            Ok(()) => {
                self.was_kept(lease);
                Ok(Some(lease))
            }
            Err(Trouble::LeaseGone) => {
                self.has_ended(id);
                Ok(None)
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// The server has said that there is no such lease.
    pub(super) fn has_ended(&self, id: i64) {
        let mut current = lock(&self.current);
        if current.is_some_and(|current| current.lease.id == id) {
            *current = None;
        }
    }

    /// Lets everything end that belongs to it: those who still wait take new places.
    pub(super) fn abandon(&self) {
        *lock(&self.current) = None;
    }

    /// Shows that this process is alive, as long as anybody waits.
    pub(super) async fn show(&self, leases: &Leases, anybody_waits: bool) {
        let Some(mut current) = *lock(&self.current) else {
            return;
        };
        let id = current.lease.id;
        if !anybody_waits && self.clock.now() - current.used > KEPT_FOR {
            // It ends by itself, and not at once: a section that was handed over a moment ago counts
            // on it.
            self.has_ended(id);
            return;
        }
        match leases.keep_alive(&mut current.lease).await {
            Ok(()) => self.was_kept(current.lease),
            Err(Trouble::LeaseGone) => self.has_ended(id),
            // It is shown again soon.
            Err(_) => {}
        }
    }

    fn was_kept(&self, lease: ServerLease) {
        let mut current = lock(&self.current);
        if let Some(current) = current.as_mut().filter(|known| known.lease.id == lease.id) {
            current.lease = lease;
        }
    }
}
