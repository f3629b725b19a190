//! Leases: one for each section, used again by the next, so that an ordinary section costs none.
//!
//! A lease lets the server end what belongs to it without any help of this process, section by
//! section. It is also the name of an attempt: a request that comes late, with a lease that was
//! revoked, is refused by the server. So a lease of which a request may still be on its way is
//! revoked and never used again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::fault::Trouble;
use super::link::Link;
use crate::clock::{Clock, Moment};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, lock};

/// How many unused leases of one length are kept.
const MOST_KEPT: usize = 1_024;

/// An unused lease is given back after so long at the latest.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// A lease of the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ServerLease {
    pub(super) id: i64,
    /// The length that was asked for, in seconds.
    pub(super) seconds: i64,
    /// When the last request was sent that started it anew: it lasts from then at least.
    pub(super) counted_from: Moment,
}

/// The leases that wait for their next section.
pub(super) struct Leases {
    link: Arc<Link>,
    clock: Clock,
    idle: Mutex<HashMap<i64, Vec<ServerLease>>>,
    is_preparing: AtomicBool,
}

/// A length in whole seconds, which is what the server counts in; never shorter than asked for.
pub(super) fn whole_seconds(length: Duration) -> i64 {
    let seconds = length.as_nanos().div_ceil(1_000_000_000).max(1);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

impl Leases {
    pub(super) fn new(link: Arc<Link>, clock: Clock) -> Self {
        Self {
            link,
            clock,
            idle: Mutex::default(),
            is_preparing: AtomicBool::new(false),
        }
    }

    /// A lease with at least two thirds of its time to come.
    pub(super) async fn take(&self, seconds: i64) -> Result<ServerLease, Trouble> {
        while let Some(mut lease) = self.pop(seconds) {
            if self.clock.now() - lease.counted_from <= third(seconds) {
                return Ok(lease);
            }
            match self.keep_alive(&mut lease).await {
                Ok(()) => return Ok(lease),
                Err(Trouble::LeaseGone) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        self.grant(seconds).await
    }

    /// A new lease.
    pub(super) async fn grant(&self, seconds: i64) -> Result<ServerLease, Trouble> {
        let counted_from = self.clock.now();
        let granted = self
            .link
            .call(|connected| async move { connected.lease().grant(seconds, None).await })
            .await?;
        Ok(ServerLease {
            id: granted.id(),
            seconds,
            counted_from,
        })
    }

    /// Starts a lease anew.
    pub(super) async fn keep_alive(&self, lease: &mut ServerLease) -> Result<(), Trouble> {
        let (id, sent) = (lease.id, self.clock.now());
        self.link
            .call(|connected| async move { connected.lease().keep_alive(id).await })
            .await?;
        lease.counted_from = sent;
        Ok(())
    }

    /// How long a lease lasts if nobody renews it; `None` when it has ended.
    pub(super) async fn left(&self, id: i64) -> Result<Option<Duration>, Trouble> {
        let answer = self
            .link
            .call(|connected| async move { connected.lease().time_to_live(id, None).await })
            .await?;
        Ok(u64::try_from(answer.ttl()).ok().map(Duration::from_secs))
    }

    /// Ends a lease, and with it everything that belongs to it.
    pub(super) async fn revoke(&self, id: i64) -> Result<(), Trouble> {
        let revoked = self
            .link
            .call(|connected| async move { connected.lease().revoke(id).await });
        match revoked.await {
            Ok(_) | Err(Trouble::LeaseGone) => Ok(()),
            Err(trouble) => Err(trouble),
        }
    }

    /// A lease that nothing belongs to, and for which no request is on its way.
    pub(super) fn put_back(&self, lease: ServerLease) {
        let mut idle = lock(&self.idle);
        let kept = idle.entry(lease.seconds).or_default();
        if kept.len() < MOST_KEPT {
            kept.push(lease);
        }
    }

    /// Sees to it that there is a lease at hand when the turn of somebody who waits comes.
    pub(super) fn prepare(self: &Arc<Self>, seconds: i64) {
        let has_one = |idle: &HashMap<i64, Vec<ServerLease>>| {
            idle.get(&seconds).is_some_and(|kept| !kept.is_empty())
        };
        if has_one(&lock(&self.idle)) || self.is_preparing.swap(true, Ordering::AcqRel) {
            return;
        }
        let leases = Arc::clone(self);
        drop(tokio::spawn(async move {
            if let Ok(lease) = leases.grant(seconds).await {
                leases.put_back(lease);
            }
            leases.is_preparing.store(false, Ordering::Release);
        }));
    }

    fn pop(&self, seconds: i64) -> Option<ServerLease> {
        lock(&self.idle).get_mut(&seconds)?.pop()
    }

    /// Takes out what has not been used for long: those that have not ended by themselves have to
    /// be revoked.
    pub(super) fn take_unused(&self) -> Vec<ServerLease> {
        let now = self.clock.now();
        let mut unused = Vec::new();
        let mut idle = lock(&self.idle);
        idle.retain(|_, kept| {
            let is_unused = |lease: &mut ServerLease| now - lease.counted_from > KEPT_FOR;
            unused.extend(kept.extract_if(.., is_unused));
            !kept.is_empty()
        });
        unused
    }
}

fn third(seconds: i64) -> Duration {
    Duration::from_secs(seconds.unsigned_abs()) / 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_rounded_up() {
        for (length, seconds) in [(0, 1), (100, 1), (1_000, 1), (1_001, 2), (30_000, 30)] {
            assert_eq!(whole_seconds(Duration::from_millis(length)), seconds);
        }
    }
}
