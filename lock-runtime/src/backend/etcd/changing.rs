//! To whom a lock is assigned, and who may change that: the rules of the lock table, each change
//! one transaction.

use std::time::Duration;

use etcd_client::{Txn, TxnOp};

use super::Shared;
use super::fault::{self, Trouble};
use super::holding::check_readable;
use super::keys::{ASSIGNED, Keys, WITHDRAWN};
use super::leases::whole_seconds;
use super::leave::REMEMBERED_FOR;
use super::record::{Assignment, Record};
use super::stored::{AssignmentValue, Millis, write};
use super::transaction::{self, Committed, Put};
use crate::backend::{Change, ChangeAnswer, OnWhoseWord};
use crate::caller::CallerId;
use crate::error::BackendError;
use crate::owner::Owner;

const MOST_ROUNDS: u32 = 16;

/// How long the same change is tried when the store does not answer.
const WORTH_TRYING: Duration = Duration::from_secs(4);

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// A try whose answer was lost. It may have come, or come yet.
#[derive(Clone, Copy, Debug)]
struct Lost {
    number: u64,
    /// When the assignment was last written before it; zero when there was none.
    before: i64,
}

/// What a change comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Outcome {
    Refused(ChangeAnswer),
    /// It is as it should be.
    Nothing,
    Assign {
        holder: CallerId,
        since: Option<Millis>,
        ttl: Option<Duration>,
    },
    Unassign,
}

impl Shared {
    pub(super) async fn change(&self, change: Change) -> Result<ChangeAnswer, BackendError> {
        let given_up_at = self.clock.now() + WORTH_TRYING;
        let mut lost = None;
        loop {
            match self.change_by_rounds(&change, &mut lost).await {
                Ok(answer) => return Ok(answer),
                Err(Trouble::Passing(_)) if self.clock.now() < given_up_at => {}
                Err(trouble) => return Err(unsure(trouble.into_error(), lost.is_some())),
            }
            self.clock.sleep(PAUSE).await;
        }
    }

    async fn change_by_rounds(
        &self,
        change: &Change,
        lost: &mut Option<Lost>,
    ) -> Result<ChangeAnswer, Trouble> {
        let keys = self.keys(change.name());
        let mut record = match *lost {
            None => self.link.read(&keys).await?,
            Some(try_before) => {
                let record = self.withdraw(&keys, try_before.number).await?;
                check_readable(&keys, &record)?;
                if let Some(answer) = after_a_lost_answer(change, &record, try_before)? {
                    return Ok(answer);
                }
                *lost = None;
                record
            }
        };
        // Each try has a number of its own: one that was withdrawn is refused for ever.
        let number = rand::random();
        for _ in 0..MOST_ROUNDS {
            check_readable(&keys, &record)?;
            let outcome = decide(change, &record);
            let modified = record.assignment.as_ref().map_or(0, |found| found.modified);
            let operation = match outcome {
                Outcome::Refused(answer) => return Ok(answer),
                Outcome::Nothing => return Ok(ChangeAnswer::Done),
                Outcome::Assign { holder, since, ttl } => {
                    self.assign(&keys, number, (holder, since, ttl)).await?
                }
                Outcome::Unassign => TxnOp::delete(keys.of(ASSIGNED), None),
            };
            let mut conditions = vec![
                transaction::is_as_of(keys.of(ASSIGNED), modified),
                transaction::is_absent(withdrawn(&keys, number)),
            ];
            if let Some(section) = within(change).and_then(|owner| record.section_of(owner)) {
                let key = keys.of_section(section.value.mode, section.owner.id(), section.slot);
                conditions.extend(transaction::is_owned(key, section.owner));
            }
            let txn = Txn::new()
                .when(conditions)
                .and_then([operation])
                .or_else([transaction::read_all(&keys)]);
            let answer = match self.link.commit(txn).await {
                Ok(answer) => answer,
                Err(trouble) => {
                    if trouble.is_effect_unknown() {
                        let before = modified;
                        *lost = Some(Lost { number, before });
                    }
                    return Err(trouble);
                }
            };
            match transaction::committed(&keys, &answer) {
                Committed::Done(_) => return Ok(ChangeAnswer::Done),
                Committed::Refused(changed) => record = *changed,
            }
        }
        Err(Trouble::Passing(fault::too_busy(MOST_ROUNDS)))
    }

    /// From now on a try does not come any more, if it has not come yet. Answers what is known of
    /// the name then.
    async fn withdraw(&self, keys: &Keys, number: u64) -> Result<Record, Trouble> {
        let lease = self.leases.grant(REMEMBERED_FOR).await?;
        let refusal = Put {
            key: withdrawn(keys, number),
            value: Vec::new(),
            lease: lease.id,
        };
        let txn = Txn::new().and_then([refusal.op(), transaction::read_all(keys)]);
        let answer = self.link.commit(txn).await?;
        Ok(transaction::record_in(keys, &answer))
    }

    async fn assign(
        &self,
        keys: &Keys,
        number: u64,
        (holder, since, ttl): (CallerId, Option<Millis>, Option<Duration>),
    ) -> Result<TxnOp, Trouble> {
        // An end is counted from the grant of the lease, a moment before the assignment.
        let margin = Duration::from_millis(250);
        let lease = match ttl {
            Some(ttl) => self.leases.grant(whole_seconds(ttl + margin)).await?.id,
            None => 0,
        };
        let value = AssignmentValue {
            holder,
            since: since.unwrap_or_else(Millis::now),
            ttl,
            change: number,
        };
        let put = Put {
            key: keys.of(ASSIGNED),
            value: write(&value).into_bytes(),
            lease,
        };
        Ok(put.op())
    }
}

/// The key that refuses a try. No owner has such a number.
fn withdrawn(keys: &Keys, number: u64) -> String {
    keys.of(&format!("{WITHDRAWN}change-{number:016x}"))
}

fn unsure(error: BackendError, is_unsure: bool) -> BackendError {
    if is_unsure {
        error.effect_unknown()
    } else {
        error
    }
}

/// What became of a try that was withdrawn, where that can be told.
fn after_a_lost_answer(
    change: &Change,
    record: &Record,
    Lost { number, before }: Lost,
) -> Result<Option<ChangeAnswer>, Trouble> {
    let found = record.assignment.as_ref();
    if found.is_some_and(|found| found.value.change == number) {
        return Ok(Some(ChangeAnswer::Done));
    }
    if found.map_or(0, |found| found.modified) == before {
        // It has not come.
        return Ok(None);
    }
    match (change, found) {
        // Whoever took it back, it is not as it was.
        (Change::Unassign { .. }, _) => Ok(Some(ChangeAnswer::Done)),
        _ => Err(Trouble::Lasting(fault::unknown_change())),
    }
}

fn within(change: &Change) -> Option<Owner> {
    match change {
        Change::Assign { within, .. }
        | Change::Transfer { within, .. }
        | Change::Unassign { within, .. } => *within,
    }
}

fn decide(change: &Change, record: &Record) -> Outcome {
    if within(change).is_some_and(|owner| record.section_of(owner).is_none()) {
        return Outcome::Refused(ChangeAnswer::SectionLost);
    }
    let assignment = record.assignment.as_ref();
    match change {
        Change::Assign { to, ttl, giver, .. } => {
            let is_same = |found: &&Assignment| found.value.holder == *to;
            let is_anothers = assignment.is_some_and(|found| !is_same(&found));
            if is_anothers && *giver != OnWhoseWord::Operator {
                return not_your_turn(record);
            }
            Outcome::Assign {
                holder: to.clone(),
                since: assignment.filter(is_same).map(|found| found.value.since),
                ttl: *ttl,
            }
        }
        Change::Transfer { to, giver, .. } => {
            if !may_give(giver, record) {
                return not_your_turn(record);
            }
            Outcome::Assign {
                holder: to.clone(),
                since: None,
                // A turn that had a time keeps having one.
                ttl: assignment.and_then(|found| found.value.ttl),
            }
        }
        Change::Unassign { giver, .. } => match assignment {
            None => Outcome::Nothing,
            Some(_) if may_give(giver, record) => Outcome::Unassign,
            Some(_) => not_your_turn(record),
        },
    }
}

fn may_give(giver: &OnWhoseWord, record: &Record) -> bool {
    let holder = record.holder();
    match giver {
        OnWhoseWord::Operator => true,
        OnWhoseWord::Holder(caller) => holder == Some(caller),
        OnWhoseWord::Caller(caller) => holder.is_none_or(|holder| holder == caller),
    }
}

fn not_your_turn(record: &Record) -> Outcome {
    let holder = record.holder().cloned();
    Outcome::Refused(ChangeAnswer::NotYourTurn { holder })
}
