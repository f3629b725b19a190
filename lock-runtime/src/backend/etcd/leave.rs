//! Giving back: what an acquisition has in the store, or may still get there.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Txn, TxnOp};

use super::Shared;
use super::attempts::Left;
use super::fault::{self, Trouble};
use super::keys::{Keys, QUEUE, REST, Slot, WITHDRAWN};
use super::leases::ServerLease;
use super::stored::write_owned;
use super::transaction::{self, Put};
use crate::backend::Release;
use crate::error::BackendError;
use crate::lease::{Lease, end_by_owners_clock};
use crate::name::LockName;
use crate::options::Mode;
use crate::owner::Owner;

/// For so long the store remembers that a request was taken back, where it may still come. A
/// server has given up on it, or carried it out, in a tenth of the time.
pub(super) const REMEMBERED_FOR: i64 = 60;

/// The pauses between two tries.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What is given back.
#[derive(Clone, Debug)]
pub(super) struct Leaving {
    pub(super) name: LockName,
    pub(super) owner: Owner,
    pub(super) mode: Mode,
    pub(super) at_least: Duration,
    pub(super) how: Release,
}

impl Leaving {
    pub(super) fn of(lease: &Lease, how: Release) -> Self {
        Self {
            name: lease.name().clone(),
            owner: lease.owner(),
            mode: lease.mode(),
            at_least: lease.at_least(),
            how,
        }
    }
}

impl Left {
    /// Whether a section is all that it can have.
    fn is_plain(&self) -> bool {
        !self.may_wait && !self.lease_is_unsure && !self.place_is_unsure
    }

    /// Whether it may keep others out for longer than a lease of its own lasts: what belongs to
    /// this process stays as long as this process is alive.
    fn keeps_others_out(&self) -> bool {
        self.may_wait || self.place_is_unsure || self.handed.is_some()
    }

    /// Whether nothing of it can be in the store, or get there.
    fn is_nothing(&self) -> bool {
        self.is_plain() && self.entered.is_none()
    }
}

impl Shared {
    /// Says whether there was a section to give back. It goes on when nobody waits for it any more,
    /// from the first moment: what may still come has to be refused.
    pub(super) async fn release(self: Arc<Self>, leaving: Leaving) -> Result<bool, BackendError> {
        let given_back = tokio::spawn(self.leave(leaving));
        given_back.await.unwrap_or_else(|_| Err(fault::ended()))
    }

    pub(super) async fn leave(self: Arc<Self>, leaving: Leaving) -> Result<bool, BackendError> {
        let owner = leaving.owner;
        let attempt = self.attempts.find(owner);
        let left = match &attempt {
            // After the answer to what is under way.
            Some(attempt) => {
                let mut left = attempt.gate.lock().await;
                let taken = std::mem::take(&mut *left);
                left.is_over = true;
                attempt.let_go();
                taken
            }
            None => Left::default(),
        };
        // What was under way may have made it one of those who wait or hold; nothing does so from
        // now on.
        self.attempts.forget(owner);
        self.names.leave(&leaving.name, owner.id());
        if attempt.is_some() && left.is_nothing() {
            self.settle_leases(&left, true, false);
            return Ok(false);
        }
        self.give_back(&leaving, &left).await
    }

    async fn give_back(&self, leaving: &Leaving, left: &Left) -> Result<bool, BackendError> {
        let keys = self.keys(&leaving.name);
        let (mut pause, mut was_found, mut is_unsure) = (FIRST_PAUSE, false, false);
        let given_up_at = self.clock.now() + self.worth_giving_back(left);
        loop {
            match self
                .give_back_once(&keys, leaving, left, &mut was_found)
                .await
            {
                Ok(()) => {
                    self.settle_leases(left, was_found, is_unsure);
                    return Ok(was_found);
                }
                Err(trouble) => {
                    // Nobody else ends what was held a moment ago: it was the try before.
                    is_unsure |= trouble.is_effect_unknown();
                    was_found |= is_unsure;
                    let keeps_others_out = left.keeps_others_out();
                    let is_lasting = matches!(trouble, Trouble::Lasting(_));
                    if is_lasting && !keeps_others_out || self.clock.now() >= given_up_at {
                        if keeps_others_out {
                            self.presence.abandon();
                        }
                        return Err(trouble.into_error());
                    }
                }
            }
            let jittered = pause.mul_f64(rand::random_range(0.5..1.0));
            self.clock.sleep(jittered).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// A section ends with its lease by itself; a place in the queue is kept by this process, as is
    /// what was handed over, and has to be given back.
    fn worth_giving_back(&self, left: &Left) -> Duration {
        let lease = left.lease.map_or(REMEMBERED_FOR, |lease| lease.seconds);
        let seconds = if left.may_wait || left.handed.is_some() {
            lease.max(REMEMBERED_FOR)
        } else {
            lease
        };
        Duration::from_secs(seconds.unsigned_abs())
    }

    async fn give_back_once(
        &self,
        keys: &Keys,
        leaving: &Leaving,
        left: &Left,
        was_found: &mut bool,
    ) -> Result<(), Trouble> {
        let owner = leaving.owner;
        let is_plain = left.is_plain() && left.entered.is_some() && leaving.at_least.is_zero();
        if is_plain && self.end_plainly(keys, leaving, left, was_found).await? {
            *was_found = true;
            return Ok(());
        }
        // It may have been handed the name, and not have heard of it.
        let slots = match leaving.mode {
            Mode::Exclusive => &Slot::ALL[..],
            Mode::Shared | Mode::Permits(_) => &Slot::ALL[..1],
        };
        let sections = slots
            .iter()
            .map(|slot| keys.of_section(leaving.mode, owner.id(), *slot));
        let delete_own = |key| transaction::delete_own(key, owner);
        let mut operations: Vec<_> = sections.map(delete_own).collect();
        if left.may_wait {
            let place = keys.of_owner(QUEUE, owner.id());
            operations.push(transaction::delete_own(place, owner));
        }
        if !leaving.at_least.is_zero() && !self.has_to_rest(leaving, left) {
            let rest = keys.of_owner(REST, owner.id());
            operations.push(transaction::delete_own(rest, owner));
        }
        if left.place_is_unsure {
            let lease = self.leases.grant(REMEMBERED_FOR).await?;
            let refusal = Put {
                key: keys.of_owner(WITHDRAWN, owner.id()),
                value: write_owned(owner, &()),
                lease: lease.id,
            };
            operations.push(refusal.op());
        }
        let answer = self.link.commit(Txn::new().and_then(operations)).await?;
        let found = transaction::found(&answer);
        *was_found |= found.iter().take(slots.len()).any(|found| *found);
        if left.lease_is_unsure {
            // What comes from now on is refused, and what has come since then ends.
            let rest = left.rest.filter(|_| leaving.how == Release::Abandoned);
            for lease in left.lease.into_iter().chain(rest) {
                self.leases.revoke(lease.id).await?;
            }
        }
        Ok(())
    }

    /// Ends a section that is all there is. Where it is known who comes next, the same step makes
    /// the section of that one. `false` when it was not found.
    async fn end_plainly(
        &self,
        keys: &Keys,
        leaving: &Leaving,
        left: &Left,
        was_found: &mut bool,
    ) -> Result<bool, Trouble> {
        let owner = leaving.owner;
        let section = keys.of_section(leaving.mode, owner.id(), left.slot);
        let is_own = match left.lease {
            // Nothing but this section belongs to its lease: that is the shortest way to say whose
            // it is.
            Some(lease) => vec![transaction::belongs_to(section.clone(), lease.id)],
            None => transaction::is_owned(section.clone(), owner).to_vec(),
        };
        if let Some(next) = self.names.next_after(&leaving.name, owner) {
            let (key, is_own) = (section.clone(), is_own.clone());
            let txn = transaction::hand_over(keys, owner, key, is_own, &next);
            match self.link.commit(txn).await {
                Ok(answer) if answer.succeeded() => return Ok(true),
                Ok(answer) => return Ok(transaction::found(&answer) == [true]),
                // A store that is full makes no key any more, but for this last one perhaps: it says
                // the same of the request that fills it.
                Err(Trouble::Lasting(_)) => *was_found = true,
                Err(trouble) => return Err(trouble),
            }
        }
        let delete = TxnOp::delete(section, None);
        let txn = Txn::new().when(is_own).and_then([delete]);
        Ok(self.link.commit(txn).await?.succeeded())
    }

    /// Whether the name stays busy. A section that was held for longer than that leaves no rest;
    /// as with leases, this process counts a little longer than the server may.
    fn has_to_rest(&self, leaving: &Leaving, left: &Left) -> bool {
        if leaving.how == Release::Abandoned {
            return false;
        }
        let Some(entered) = left.entered else {
            return true;
        };
        let drift = leaving.at_least / 100 + Duration::from_millis(2);
        self.clock.now() - entered < leaving.at_least + drift
    }

    /// A lease that nothing belongs to any more is used again, unless a request with it, or one to
    /// delete what belongs to it, may still be on its way.
    fn settle_leases(&self, left: &Left, found: bool, is_unsure: bool) {
        if let Some(rest) = left.rest.filter(|_| left.entered.is_none()) {
            // It was made for a section that did not come to be.
            self.revoke_later(rest);
        }
        let Some(lease) = left.lease.filter(|_| !left.lease_is_unsure) else {
            return;
        };
        let length = Duration::from_secs(lease.seconds.unsigned_abs());
        let last_moment = end_by_owners_clock(lease.counted_from, length);
        if is_unsure {
            self.revoke_later(lease);
        } else if found || self.clock.now() < last_moment {
            self.leases.put_back(lease);
        }
    }

    fn revoke_later(&self, lease: ServerLease) {
        let leases = Arc::clone(&self.leases);
        // Should the store be silent, it ends by itself.
        drop(tokio::spawn(async move { leases.revoke(lease.id).await }));
    }
}
