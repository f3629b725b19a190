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
use super::link::{ANSWERED_WITHIN, Link};
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

    /// A lease that was started at most so long ago.
    pub(super) async fn take(
        &self,
        seconds: i64,
        oldest: Duration,
    ) -> Result<ServerLease, Trouble> {
        while let Some(lease) = self.pop(seconds) {
            match self.freshen(lease, oldest).await {
                Err(Trouble::LeaseGone) => {}
                taken => return taken,
            }
        }
        self.grant(seconds).await
    }

    /// The same lease, started anew if that was longer ago.
    pub(super) async fn freshen(
        &self,
        mut lease: ServerLease,
        oldest: Duration,
    ) -> Result<ServerLease, Trouble> {
        if self.clock.now() - lease.counted_from > oldest {
            self.keep_alive(&mut lease).await?;
        }
        Ok(lease)
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
        self.keep_alive_within(ANSWERED_WITHIN, lease).await
    }

    /// The same, by a server that has so long to answer.
    pub(super) async fn keep_alive_within(
        &self,
        limit: Duration,
        lease: &mut ServerLease,
    ) -> Result<(), Trouble> {
        let (id, sent) = (lease.id, self.clock.now());
        self.link
            .call_within(limit, |connected| async move {
                connected.lease().keep_alive(id).await
            })
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
        let now = self.clock.now();
        let has_one = |idle: &HashMap<i64, Vec<ServerLease>>| {
            let mut kept = idle.get(&seconds).into_iter().flatten().rev();
            kept.any(|lease| !lease.is_over(now))
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

    /// One that has not ended yet, as far as is known here.
    fn pop(&self, seconds: i64) -> Option<ServerLease> {
        let now = self.clock.now();
        let mut idle = lock(&self.idle);
        let kept = idle.get_mut(&seconds)?;
        // The one used last is at the end. Those that were renewed too long ago end by themselves:
        // to ask about one after the other would take longer than a new one.
        std::iter::from_fn(|| kept.pop()).find(|lease| !lease.is_over(now))
    }

    /// Takes out what has not been used for long, and answers what has to be revoked of it: some
    /// end by themselves.
    pub(super) fn take_unused(&self) -> Vec<ServerLease> {
        let now = self.clock.now();
        let mut unused = Vec::new();
        let mut idle = lock(&self.idle);
        idle.retain(|_, kept| {
            kept.retain(|lease| !lease.is_over(now));
            let is_unused = |lease: &mut ServerLease| now - lease.counted_from > KEPT_FOR;
            unused.extend(kept.extract_if(.., is_unused));
            !kept.is_empty()
        });
        unused
    }
}

impl ServerLease {
    /// Whether it may have ended.
    fn is_over(&self, now: Moment) -> bool {
        now - self.counted_from >= Duration::from_secs(self.seconds.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::etcd::settings::Settings;
    use crate::clock::ManualClock;

    #[test]
    fn leases_that_have_ended_are_not_asked_about() {
        let time = ManualClock::new();
        // Nobody is connected to: a question would fail.
        let settings = Settings::parse("etcd://127.0.0.1").unwrap();
        let leases = Leases::new(Arc::new(Link::new(settings)), time.clock());
        let put_back = |id, seconds| {
            let counted_from = time.clock().now();
            leases.put_back(ServerLease {
                id,
                seconds,
                counted_from,
            });
        };
        put_back(1, 2);
        put_back(2, 2);
        time.advance(Duration::from_secs(1));
        put_back(3, 2);
        put_back(4, 90);
        time.advance(Duration::from_millis(999));
        assert_eq!(leases.pop(2).unwrap().id, 3);
        assert_eq!(leases.pop(2).unwrap().id, 2);
        time.advance(Duration::from_millis(1));
        assert_eq!(leases.pop(2), None);
        put_back(5, 2);
        time.advance(KEPT_FOR);
        // Only the one that has not ended by itself.
        let unused = leases.take_unused();
        assert_eq!(unused.iter().map(|lease| lease.id).collect::<Vec<_>>(), [4]);
        assert!(lock(&leases.idle).is_empty());
    }

    #[test]
    fn a_length_is_rounded_up() {
        for (length, seconds) in [(0, 1), (100, 1), (1_000, 1), (1_001, 2), (30_000, 30)] {
            assert_eq!(whole_seconds(Duration::from_millis(length)), seconds);
        }
    }
}
