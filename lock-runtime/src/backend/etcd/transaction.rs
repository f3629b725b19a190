//! The transactions: each is one step in the store, which compares what was decided on.

use etcd_client::{Compare, CompareOp, GetOptions, PutOptions, Txn, TxnOp, TxnOpResponse};
use etcd_client::{ResponseHeader, TxnResponse};

use super::decide::{Ask, Basis, Next};
use super::keys::{ASSIGNED, EXCLUSIVE, Keys, PERMIT, QUEUE, REST, SHARED, WITHDRAWN, end_of};
use super::link::record_of;
use super::record::Record;
use super::stored::{Millis, SectionValue, bounds, write_owned};
use crate::options::Mode;
use crate::owner::Owner;

/// A key with its value, and the lease that it ends with; zero for none.
#[derive(Clone, Debug)]
pub(super) struct Put {
    pub(super) key: String,
    pub(super) value: Vec<u8>,
    pub(super) lease: i64,
}

impl Put {
    pub(super) fn op(self) -> TxnOp {
        let options = PutOptions::new().with_lease(self.lease);
        TxnOp::put(self.key, self.value, Some(options))
    }
}

/// What became of a transaction that reads the record when it is refused.
pub(super) enum Committed {
    /// It took effect, at this revision.
    Done(i64),
    /// What was decided on has changed.
    Refused(Box<Record>),
}

pub(super) fn committed(keys: &Keys, answer: &TxnResponse) -> Committed {
    if answer.succeeded() {
        Committed::Done(revision(answer.header()))
    } else {
        Committed::Refused(Box::new(record_in(keys, answer)))
    }
}

/// The record that the last operation of a transaction has read.
pub(super) fn record_in(keys: &Keys, answer: &TxnResponse) -> Record {
    let revision = revision(answer.header());
    match answer.op_responses().pop() {
        Some(TxnOpResponse::Get(found)) => record_of(keys, revision, found.kvs()),
        _ => Record::at(revision),
    }
}

fn revision(header: Option<&ResponseHeader>) -> i64 {
    header.map_or(0, ResponseHeader::revision)
}

/// Reads everything that is known of a name.
pub(super) fn read_all(keys: &Keys) -> TxnOp {
    let range = GetOptions::new().with_range(end_of(keys.all()));
    TxnOp::get(keys.all(), Some(range))
}

/// Enters, provided that what was decided on has not changed.
pub(super) fn enter(keys: &Keys, ask: &Ask, basis: Basis, section: Put, rest: Option<Put>) -> Txn {
    let mut operations = vec![section.op()];
    operations.extend(rest.map(Put::op));
    if let Basis::Record { place: Some(_), .. } = basis {
        let place = keys.of_owner(QUEUE, ask.owner.id());
        operations.push(TxnOp::delete(place, None));
    }
    Txn::new()
        .when(conditions(keys, ask, basis))
        .and_then(operations)
        .or_else([read_all(keys)])
}

fn conditions(keys: &Keys, ask: &Ask, basis: Basis) -> Vec<Compare> {
    let Basis::Record {
        revision,
        assignment,
        place,
    } = basis
    else {
        return vec![none_of(keys.all().to_owned())];
    };
    let unchanged =
        |part| Compare::mod_revision(keys.of(part), CompareOp::Less, revision + 1).with_prefix();
    let mut conditions = vec![
        is_absent(keys.of_owner(WITHDRAWN, ask.owner.id())),
        none_of(keys.of(EXCLUSIVE)),
        Compare::mod_revision(keys.of(ASSIGNED), CompareOp::Equal, assignment.unwrap_or(0)),
    ];
    // Others of the same mode may be inside; who leaves meanwhile only makes room.
    match ask.mode {
        Mode::Exclusive => {
            conditions.extend([SHARED, PERMIT].map(|part| none_of(keys.of(part))));
            conditions.push(unchanged(REST));
        }
        Mode::Shared => conditions.extend([none_of(keys.of(PERMIT)), unchanged(REST)]),
        Mode::Permits(_) => {
            conditions.push(none_of(keys.of(SHARED)));
            conditions.extend([PERMIT, REST].map(unchanged));
        }
    }
    conditions.push(match place {
        // Those ahead were there before, and nobody gets ahead later.
        Some(place) => {
            let key = keys.of_owner(QUEUE, ask.owner.id());
            Compare::create_revision(key, CompareOp::Equal, place)
        }
        None => {
            let queue = keys.of(QUEUE);
            Compare::create_revision(queue, CompareOp::Less, revision + 1).with_prefix()
        }
    });
    conditions
}

/// Takes a place in the queue, unless there is one already, and reads everything.
pub(super) fn queue(keys: &Keys, owner: Owner, place: Put) -> Txn {
    let conditions = [
        is_absent(keys.of_owner(WITHDRAWN, owner.id())),
        is_absent(place.key.clone()),
    ];
    Txn::new()
        .when(conditions)
        .and_then([place.op(), read_all(keys)])
        .or_else([read_all(keys)])
}

/// Ends a section, whose key and condition these are, and makes that of the next one, provided that
/// what this was decided on has not changed; otherwise ends the section alone.
pub(super) fn hand_over(
    keys: &Keys,
    owner: Owner,
    section: String,
    is_own: Vec<Compare>,
    next: &Next,
) -> Txn {
    let (id, value) = (next.waiter.owner.id(), &next.waiter.value);
    let place = keys.of_owner(QUEUE, id);
    let handed = SectionValue {
        owner: value.owner.clone(),
        mode: value.mode,
        since: Millis::now(),
        is_handed: true,
    };
    let entered = Put {
        key: keys.of_section(value.mode, id, next.slot),
        value: write_owned(next.waiter.owner, &handed),
        // While its place is there, so is the lease.
        lease: next.waiter.lease,
    };
    let mut conditions = is_own;
    conditions.extend([
        Compare::create_revision(place.clone(), CompareOp::Equal, next.place),
        is_as_of(keys.of(ASSIGNED), next.assignment.unwrap_or(0)),
    ]);
    let delete = TxnOp::delete(section.clone(), None);
    Txn::new()
        .when(conditions)
        .and_then([delete, entered.op(), TxnOp::delete(place, None)])
        .or_else([delete_own(section, owner)])
}

/// Deletes a key if it is this owner's.
pub(super) fn delete_own(key: String, owner: Owner) -> TxnOp {
    let delete = TxnOp::delete(key.clone(), None);
    TxnOp::txn(Txn::new().when(is_owned(key, owner)).and_then([delete]))
}

/// How many of the transactions inside another one found what they looked for.
pub(super) fn found(answer: &TxnResponse) -> Vec<bool> {
    let inner = answer.op_responses().into_iter();
    inner
        .map(|answer| matches!(answer, TxnOpResponse::Txn(inner) if inner.succeeded()))
        .collect()
}

/// That a key is there, and written by this owner.
pub(super) fn is_owned(key: String, owner: Owner) -> [Compare; 2] {
    let (above, below) = bounds(owner);
    [
        Compare::value(key.clone(), CompareOp::Greater, above),
        Compare::value(key, CompareOp::Less, below),
    ]
}

/// That a key is there, and ends with this lease.
pub(super) fn belongs_to(key: String, lease: i64) -> Compare {
    Compare::lease(key, CompareOp::Equal, lease)
}

/// That a key is as it was when it was last written then; zero when it was not there.
pub(super) fn is_as_of(key: String, modified: i64) -> Compare {
    Compare::mod_revision(key, CompareOp::Equal, modified)
}

pub(super) fn is_absent(key: String) -> Compare {
    Compare::version(key, CompareOp::Equal, 0)
}

fn none_of(prefix: String) -> Compare {
    is_absent(prefix).with_prefix()
}
