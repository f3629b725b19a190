//! That this process is alive: a short lease, which all of its places in queues belong to. Those
//! of a process that is dead, or frozen, end with it.

use std::time::Duration;

use super::fault::Trouble;
use super::leases::{Leases, ServerLease};
use crate::clock::{Clock, Moment};
use crate::sync::{Mutex, lock};

/// The server may give more: at least one and a half of its election timeouts.
const SECONDS: i64 = 2;

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
            // Who begins to wait at this very moment is told that it has ended, and asks again.
            self.has_ended(id);
            let _ends_by_itself = leases.revoke(id).await;
            return;
        }
        if let Err(Trouble::LeaseGone) = leases.keep_alive(&mut current.lease).await {
            self.has_ended(id);
        }
    }
}
