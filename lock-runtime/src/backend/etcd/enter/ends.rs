//! What a section is to end with: its lease, and the lease of its rest.

use std::time::Duration;

use super::Asking;
use crate::backend::etcd::fault::Trouble;
use crate::backend::etcd::keys::REST;
use crate::backend::etcd::leases::{ServerLease, whole_seconds};
use crate::backend::etcd::stored::{RestValue, write_owned};
use crate::backend::etcd::transaction::Put;

/// A rest is counted from the grant of its lease, which is a little before the section's.
const REST_MARGIN: Duration = Duration::from_millis(250);

/// A lease that was used before is started anew when this part of the time is over: so much of it a
/// holder may miss. Who does not renew it misses no more than the drift of a clock is taken to be.
const MISSED: u32 = 10;
const MISSED_WITHOUT_RENEWAL: u32 = 100;

impl Asking<'_> {
    /// How long ago a lease may have been started when the section begins.
    pub(super) fn oldest(&self) -> Duration {
        let lease = self.request.lease();
        let part = if lease.is_renewed() {
            MISSED
        } else {
            MISSED_WITHOUT_RENEWAL
        };
        self.request.ttl() / part
    }

    /// What the section ends with: most of its time is to come.
    async fn lease(&mut self) -> Result<ServerLease, Trouble> {
        let (leases, oldest) = (&self.shared.leases, self.oldest());
        let lease = match self.left.lease {
            Some(lease) => leases.freshen(lease, oldest).await?,
            None => {
                let seconds = whole_seconds(self.request.ttl());
                leases.take(seconds, oldest).await?
            }
        };
        Ok(*self.left.lease.insert(lease))
    }

    /// What one of the leases belonged to has ended with it. Neither is used again.
    pub(super) async fn drop_leases(&mut self) -> Result<(), Trouble> {
        let leases = [self.left.lease, self.left.rest];
        for lease in leases.into_iter().flatten() {
            self.shared.leases.revoke(lease.id).await?;
        }
        // Not before: what may still come with them is refused only from now on.
        (self.left.lease, self.left.rest) = (None, None);
        self.left.lease_is_unsure = false;
        Ok(())
    }

    /// The section does not end with this lease. What may still come with it is refused.
    pub(super) async fn give_up_lease(&mut self) -> Result<(), Trouble> {
        if self.left.lease_is_unsure {
            return self.drop_leases().await;
        }
        if let Some(lease) = self.left.lease.take() {
            self.shared.leases.put_back(lease);
        }
        Ok(())
    }

    /// Both of them, with the rest's key.
    pub(super) async fn leases(&mut self) -> Result<(ServerLease, Option<Put>), Trouble> {
        Ok((self.lease().await?, self.rest().await?))
    }

    /// What keeps the name busy for `at_least`, whatever becomes of the section: it has a lease of
    /// its own, which nobody renews.
    async fn rest(&mut self) -> Result<Option<Put>, Trouble> {
        let at_least = self.request.lease().at_least();
        if at_least.is_zero() {
            return Ok(None);
        }
        let (owner, mode) = (self.ask.owner, self.ask.mode);
        let seconds = whole_seconds(at_least + REST_MARGIN);
        let mut lease = match self.left.rest {
            Some(lease) => lease,
            None => self.shared.leases.grant(seconds).await?,
        };
        if self.shared.clock.now() - lease.counted_from > REST_MARGIN / 2 {
            self.shared.leases.keep_alive(&mut lease).await?;
        }
        self.left.rest = Some(lease);
        Ok(Some(Put {
            key: self.keys.of_owner(REST, owner.id()),
            value: write_owned(owner, &RestValue { mode }),
            lease: lease.id,
        }))
    }

    /// A rest that began too long before the section is started anew: it must not end too early.
    pub(super) async fn prolong_rest(&mut self) {
        let Some(mut rest) = self.left.rest else {
            return;
        };
        if self.shared.clock.now() - rest.counted_from > REST_MARGIN {
            // The store has just answered. Should it be silent now, the rest is a little short.
            let _ends_sooner = self.shared.leases.keep_alive(&mut rest).await;
            self.left.rest = Some(rest);
        }
    }
}
