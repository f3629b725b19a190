//! What happens to a section that is held: it is renewed, it goes on in another process, an
//! operator ends it, or it is gone.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{GetOptions, Txn, TxnOp};

use super::Shared;
use super::fault::{self, Trouble};
use super::keys::{Keys, REST, Slot};
use super::leases::{ServerLease, whole_seconds};
use super::leave::Leaving;
use super::link::{renewed_within, stored};
use super::names::Vanished;
use super::record::{self, Record, Section};
use super::stored::{RestValue, SectionValue, write_owned};
use super::transaction::{self, Committed, Put};
use crate::backend::{Grant, Release, Request};
use crate::error::{BackendError, Lost};
use crate::lease::Lease;
use crate::name::LockName;
use crate::options::Mode;
use crate::owner::Owner;

/// How often in a row a section may change under the hands of who wants to change it.
const MOST_ROUNDS: u32 = 16;

/// How many keys one transaction deletes: a server takes 128 operations at once.
const AT_A_TIME: usize = 100;

/// The section to renew.
#[derive(Clone, Debug)]
pub(super) struct Renewing {
    pub(super) name: LockName,
    pub(super) owner: Owner,
    pub(super) mode: Mode,
    pub(super) ttl: Duration,
}

impl Renewing {
    pub(super) fn of(lease: &Lease, ttl: Duration) -> Self {
        Self {
            name: lease.name().clone(),
            owner: lease.owner(),
            mode: lease.mode(),
            ttl,
        }
    }
}

impl Shared {
    /// Starts a lease anew. `false` when the owner does not hold the section any more.
    pub(super) async fn renew(&self, renewing: Renewing) -> Result<bool, BackendError> {
        let renewed = self.renew_once(&renewing).await;
        renewed.map_err(Trouble::into_error)
    }

    async fn renew_once(&self, renewing: &Renewing) -> Result<bool, Trouble> {
        let keys = self.keys(&renewing.name);
        let (known, slot) = self.lease_and_slot_of(renewing.owner).await;
        let key = keys.of_section(renewing.mode, renewing.owner.id(), slot);
        let seconds = whole_seconds(renewing.ttl);
        let Some(mut lease) = known.filter(|lease| lease.seconds == seconds) else {
            return self.give_another_lease(&key, renewing, seconds).await;
        };
        // A server that stands still must not use up the time that the next one needs.
        let limit = renewed_within(renewing.ttl);
        match self.leases.keep_alive_within(limit, &mut lease).await {
            Ok(()) => {}
            Err(Trouble::LeaseGone) => return Ok(false),
            Err(trouble) => return Err(trouble),
        }
        // The lease may outlive what belonged to it: an operator ends the section and not the lease.
        let Some(section) = self.section_at(&key, renewing.owner, limit).await? else {
            return Ok(false);
        };
        if section.lease != lease.id {
            return self.give_another_lease(&key, renewing, seconds).await;
        }
        self.set_lease_of(renewing.owner, Some(lease)).await;
        Ok(true)
    }

    /// The section gets a lease of its own after it was handed over, one of another length, or a
    /// new one after a lost answer.
    async fn give_another_lease(
        &self,
        key: &str,
        renewing: &Renewing,
        seconds: i64,
    ) -> Result<bool, Trouble> {
        let owner = renewing.owner;
        for _ in 0..MOST_ROUNDS {
            let limit = renewed_within(renewing.ttl);
            let Some(section) = self.section_at(key, owner, limit).await? else {
                return Ok(false);
            };
            // The owner counts from the request that this is the answer to.
            let lease = self.leases.take(seconds, Duration::ZERO).await?;
            let was_handed = section.value.is_handed;
            let value = SectionValue {
                is_handed: false,
                ..section.value
            };
            let put = Put {
                key: key.to_owned(),
                value: write_owned(owner, &value),
                lease: lease.id,
            };
            let txn = Txn::new()
                .when([transaction::is_as_of(key.to_owned(), section.modified)])
                .and_then([put.op()]);
            // Which of the two it has is not known before the answer; the next renewal asks.
            self.set_lease_of(owner, None).await;
            if self.link.commit(txn).await?.succeeded() {
                self.set_lease_of(owner, Some(lease)).await;
                if !was_handed {
                    self.leases.revoke(section.lease).await?;
                }
                return Ok(true);
            }
            self.leases.revoke(lease.id).await?;
        }
        Err(Trouble::Passing(fault::too_busy(MOST_ROUNDS)))
    }

    /// The section at a key, if it is this owner's.
    async fn section_at(
        &self,
        key: &str,
        owner: Owner,
        limit: Duration,
    ) -> Result<Option<Section>, Trouble> {
        let found = self
            .link
            .call_within(limit, |connected| async move {
                connected.kv().get(key, Some(GetOptions::new())).await
            })
            .await?;
        let section = found.kvs().first();
        let section = section.and_then(|pair| record::section(stored(pair), Slot::default()));
        Ok(section.filter(|section| section.owner == owner))
    }

    async fn lease_and_slot_of(&self, owner: Owner) -> (Option<ServerLease>, Slot) {
        let Some(attempt) = self.attempts.find(owner) else {
            return (None, Slot::default());
        };
        let left = attempt.gate.lock().await;
        (left.lease, left.slot)
    }

    /// The lease that the section of an owner ends with, if that is known.
    async fn last_known_lease(&self, owner: Owner) -> Option<i64> {
        let attempt = self.attempts.find(owner)?;
        let left = attempt.gate.lock().await;
        left.handed.or(left.lease.map(|lease| lease.id))
    }

    async fn set_lease_of(&self, owner: Owner, lease: Option<ServerLease>) {
        if let Some(attempt) = self.attempts.find(owner) {
            let mut left = attempt.gate.lock().await;
            if !left.is_over {
                left.lease = lease;
                left.handed.take_if(|_| lease.is_some());
            }
        }
    }

    /// Goes on with the section of another owner.
    pub(super) async fn adopt(
        &self,
        giver: Owner,
        request: Request,
    ) -> Result<Option<Grant>, BackendError> {
        let adopted = self.adopt_by_rounds(giver, &request).await;
        if let Ok(None) = adopted {
            // Nobody gives back what was not there.
            self.attempts.forget(request.owner());
        }
        adopted.map_err(Trouble::into_error)
    }

    async fn adopt_by_rounds(
        &self,
        giver: Owner,
        request: &Request,
    ) -> Result<Option<Grant>, Trouble> {
        let keys = self.keys(request.name());
        let attempt = self.attempts.begin(request.owner());
        let mut left = attempt.gate.lock().await;
        if left.is_over {
            return Ok(None);
        }
        let mut record = self.link.read(&keys).await?;
        for _ in 0..MOST_ROUNDS {
            check_readable(&keys, &record)?;
            let taken = record.section_of(request.owner());
            let Some(section) = taken.or_else(|| record.section_of(giver)) else {
                return Ok(None);
            };
            let token = section.token();
            left.slot = section.slot;
            if taken.is_none() {
                let seconds = whole_seconds(request.ttl());
                let lease = match left.lease {
                    Some(lease) => lease,
                    None => *left.lease.insert(self.leases.grant(seconds).await?),
                };
                let txn = self.taking_over(&keys, &record, section, request, lease);
                left.lease_is_unsure = true;
                let answer = self.link.commit(txn).await?;
                left.lease_is_unsure = false;
                if let Committed::Refused(changed) = transaction::committed(&keys, &answer) {
                    record = *changed;
                    continue;
                }
            }
            left.entered.get_or_insert(self.clock.now());
            attempt.hold(request.lease(), self.clock.now());
            let grant = Grant::new(token);
            return Ok(Some(match left.lease {
                Some(lease) => grant.counted_from(lease.counted_from),
                None => grant,
            }));
        }
        Err(Trouble::Passing(fault::too_busy(MOST_ROUNDS)))
    }

    /// Writes the section over to its new owner: a section that is alone keeps its key, and with it
    /// the revision that is its token.
    fn taking_over(
        &self,
        keys: &Keys,
        record: &Record,
        section: &Section,
        request: &Request,
        lease: ServerLease,
    ) -> Txn {
        let (giver, taker, mode) = (section.owner, request.owner(), section.value.mode);
        let value = SectionValue {
            owner: request.lease().describe(),
            mode,
            since: section.value.since,
            is_handed: false,
        };
        let old_key = keys.of_section(mode, giver.id(), section.slot);
        let new_key = keys.of_section(mode, taker.id(), section.slot);
        let mut operations = Vec::new();
        if old_key != new_key {
            operations.push(TxnOp::delete(old_key.clone(), None));
        }
        let put = Put {
            key: new_key,
            value: write_owned(taker, &value),
            lease: lease.id,
        };
        operations.push(put.op());
        if let Some(rest) = record.rests.get(&giver.id().to_string()) {
            operations.push(TxnOp::delete(keys.of_owner(REST, giver.id()), None));
            let rest = Put {
                key: keys.of_owner(REST, taker.id()),
                value: write_owned(taker, &RestValue { mode }),
                lease: rest.lease,
            };
            operations.push(rest.op());
        }
        Txn::new()
            .when([transaction::is_as_of(old_key, section.modified)])
            .and_then(operations)
            .or_else([transaction::read_all(keys)])
    }

    /// The section is given away: it ends with its lease, which is used for nothing else. It goes on
    /// when nobody waits for it any more.
    pub(super) async fn detach(self: Arc<Self>, given: Renewing) -> Result<bool, BackendError> {
        let detached = tokio::spawn(self.give_away(given));
        detached.await.unwrap_or_else(|_| Err(fault::ended()))
    }

    async fn give_away(self: Arc<Self>, given: Renewing) -> Result<bool, BackendError> {
        self.names.leave(&given.name, given.owner.id());
        let Some(attempt) = self.attempts.find(given.owner) else {
            return Ok(true);
        };
        attempt.let_go();
        let is_handed = attempt.gate.lock().await.handed.is_some();
        let given_away = if is_handed {
            // It must not last as long as this process.
            self.renew_once(&given).await
        } else {
            Ok(true)
        };
        self.attempts.forget(given.owner);
        given_away.map_err(|trouble| {
            self.presence.abandon();
            trouble.into_error()
        })
    }

    /// Ends every section of a name, and every rest, that is there now.
    pub(super) async fn force_release(&self, name: LockName) -> Result<usize, BackendError> {
        let forced = self.force_all(&name).await;
        forced.map_err(Trouble::into_error)
    }

    async fn force_all(&self, name: &LockName) -> Result<usize, Trouble> {
        let keys = self.keys(name);
        let record = self.link.read(&keys).await?;
        let sections = record.sections().into_iter().map(|section| {
            let key = keys.of_section(section.value.mode, section.owner.id(), section.slot);
            transaction::delete_own(key, section.owner)
        });
        let rests = record.rests.values().map(|rest| {
            let key = keys.of_owner(REST, rest.owner.id());
            transaction::delete_own(key, rest.owner)
        });
        // What cannot be read is what an operator may have to get rid of.
        let strange = record.unreadable_sections();
        let strange = strange.map(|part| TxnOp::delete(keys.of(part), None));
        let operations: Vec<_> = sections.chain(rests).chain(strange).collect();
        let mut ended = Vec::new();
        for operations in operations.chunks(AT_A_TIME) {
            let txn = Txn::new().and_then(operations);
            let answer = self.link.commit(txn).await?;
            ended.extend(transaction::found(&answer));
        }
        let sections = ended.iter().take(record.sections().len());
        Ok(sections.filter(|was_there| **was_there).count())
    }

    /// Tells the owners of sections that are gone, and why.
    pub(super) fn tell(self: &Arc<Self>, vanished: Vec<Vanished>) {
        for Vanished { lease, adopted } in vanished {
            if let Some(attempt) = self.attempts.find(lease.owner()) {
                attempt.let_go();
            }
            if adopted {
                lease.report_lost(Lost::Adopted);
                self.forget(&lease);
            } else {
                self.tell_lost(&lease);
            }
        }
    }

    /// Tells an owner that its section is gone: somebody deleted it, unless its lease is over.
    fn tell_lost(self: &Arc<Self>, lease: &Arc<Lease>) {
        let (shared, lease) = (Arc::clone(self), Arc::clone(lease));
        drop(tokio::spawn(async move {
            let left = match shared.last_known_lease(lease.owner()).await {
                Some(known) => shared.leases.left(known).await,
                None => Ok(None),
            };
            if let Ok(Some(_)) = left {
                lease.report_lost(Lost::ForcedOut);
                shared.forget(&lease);
            } else {
                lease.report_lost(Lost::Expired);
            }
        }));
    }

    /// Nobody gives back what was taken away for good. A rest is left as it is: it may be the
    /// adopter's now.
    fn forget(self: &Arc<Self>, lease: &Lease) {
        let leaving = Leaving::of(lease, Release::Finished);
        drop(tokio::spawn(Arc::clone(self).leave(leaving)));
    }
}

pub(super) fn check_readable(keys: &Keys, record: &Record) -> Result<(), Trouble> {
    match record.unreadable() {
        Some(part) => Err(Trouble::Lasting(fault::unreadable(&keys.of(part)))),
        None => Ok(()),
    }
}
