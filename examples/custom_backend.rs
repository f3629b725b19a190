//! A lock backend of your own, over a store that you have already.
//!
//! What a store needs is a conditional write: "put this, if nobody has written since I looked".
//! Object stores, document databases and key-value services have one. With it, the five required
//! methods of `Backend` are short, and everything else works: waiting, renewal, guards, errors
//! that say who is in the way. What the backend cannot do it does not declare, and the runtime
//! refuses it by name.
//!
//! Watch how three clerks sell ten seats through the annotation, without selling one twice. The
//! public suite is run against this very file: see `tests/conformance`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lock_runtime::backend::{Answer, Backend, Busy, Capabilities, Grant, Release, Reply, Request};
use lock_runtime::{
    BackendError, Held, InTheWay, Lease, LockError, LockInfo, LockManager, LockName, Mode, Owner,
    OwnerInfo, SectionInfo, locked, set_lock_manager,
};

/// Stands for the store that you have: a service elsewhere, with a clock of its own.
#[derive(Clone, Default)]
pub(crate) struct Store(Arc<Mutex<Contents>>);

struct Contents {
    started: Instant,
    /// Counts all writes: what was written later has a larger number.
    revision: u64,
    records: HashMap<String, (u64, Record)>,
}

/// What is stored under the key of a lock.
#[derive(Clone)]
struct Record {
    owner: Owner,
    description: OwnerInfo,
    /// The revision of the first write, kept by renewals. The first write does not know it yet.
    token: Option<u64>,
    since: Duration,
    ends: Duration,
}

impl Store {
    /// The record of a key with its revision, and the time of the store.
    async fn read(&self, key: &str) -> (Option<(u64, Record)>, Duration) {
        network().await;
        let contents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (
            contents.records.get(key).cloned(),
            contents.started.elapsed(),
        )
    }

    /// Writes or deletes a record, if its revision is still this one. Returns the new revision.
    async fn write(&self, key: &str, seen: Option<u64>, record: Option<Record>) -> Option<u64> {
        network().await;
        let mut contents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let current = contents.records.get(key).map(|(revision, _)| *revision);
        if current != seen {
            return None;
        }
        contents.revision += 1;
        let revision = contents.revision;
        match record {
            Some(record) => contents.records.insert(key.to_owned(), (revision, record)),
            None => contents.records.remove(key),
        };
        Some(revision)
    }

    /// The record that this owner still has, and the time of the store.
    async fn own(&self, owner: Owner, key: &str) -> Option<(u64, Record, Duration)> {
        let (found, now) = self.read(key).await;
        let (revision, record) = found?;
        // The whole owner is compared, its secret included: nobody else may renew or release.
        (record.owner == owner && now < record.ends).then_some((revision, record, now))
    }
}

/// The way to the store and back takes a moment.
async fn network() {
    tokio::time::sleep(Duration::from_micros(200)).await;
}

impl Default for Contents {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            revision: 0,
            records: HashMap::new(),
        }
    }
}

/// Locks in that store.
pub(crate) struct StoreBackend(pub(crate) Store);

impl Backend for StoreBackend {
    fn name(&self) -> &str {
        "store"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::fenced()
    }

    fn connect(&self) -> Reply<Result<(), BackendError>> {
        Reply::now(Ok(()))
    }

    fn try_acquire(&self, request: &Request) -> Reply<Result<Answer, BackendError>> {
        let (store, request) = (self.0.clone(), request.clone());
        Reply::later(async move {
            let key = request.name().key();
            let (found, now) = store.read(key).await;
            let seen = found.as_ref().map(|(revision, _)| *revision);
            if let Some((revision, record)) = found.filter(|(_, record)| now < record.ends) {
                if record.owner == request.owner() {
                    // The same request again gets the same grant.
                    return granted(record.token.unwrap_or(revision));
                }
                let ends_in = record.ends - now;
                let section = InTheWay::Section(Box::new(describe(revision, record, now)));
                let busy = Busy::new().because_of(section).look_again(ends_in);
                return Ok(Answer::Busy(busy));
            }
            let record = Record {
                owner: request.owner(),
                description: request.lease().describe(),
                token: None,
                since: now,
                // By the store's clock, which was read after the request was sent: never too short.
                ends: now + request.ttl(),
            };
            match store.write(key, seen, Some(record)).await {
                Some(revision) => granted(revision),
                None => Ok(Answer::Busy(Busy::new())),
            }
        })
    }

    fn renew(&self, lease: &Lease, ttl: Duration) -> Reply<Result<bool, BackendError>> {
        let (store, owner, name) = (self.0.clone(), lease.owner(), lease.name().clone());
        Reply::later(async move {
            while let Some((revision, mut record, now)) = store.own(owner, name.key()).await {
                record.token.get_or_insert(revision);
                record.ends = now + ttl;
                if store
                    .write(name.key(), Some(revision), Some(record))
                    .await
                    .is_some()
                {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    fn release(&self, lease: &Lease, _: Release) -> Reply<Result<bool, BackendError>> {
        let (store, owner, name) = (self.0.clone(), lease.owner(), lease.name().clone());
        Reply::later(async move {
            while let Some((revision, ..)) = store.own(owner, name.key()).await {
                if store
                    .write(name.key(), Some(revision), None)
                    .await
                    .is_some()
                {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    fn inspect(&self, name: &LockName) -> Reply<Result<LockInfo, BackendError>> {
        let (store, name) = (self.0.clone(), name.clone());
        Reply::later(async move {
            let (found, now) = store.read(name.key()).await;
            let mut info = LockInfo::free(name);
            if let Some((revision, record)) = found.filter(|(_, record)| now < record.ends) {
                info.sections.push(describe(revision, record, now));
            }
            Ok(info)
        })
    }
}

fn granted(token: u64) -> Result<Answer, BackendError> {
    let token = lock_runtime::backend::token(token)?;
    Ok(Answer::Granted(Grant::new(Some(token))))
}

fn describe(revision: u64, record: Record, now: Duration) -> SectionInfo {
    let token = lock_runtime::FencingToken::new(record.token.unwrap_or(revision));
    let held_for = now.saturating_sub(record.since);
    SectionInfo::new(record.description, Mode::Exclusive, token, held_for)
        .expires_in(record.ends.saturating_sub(now))
}

/// Sells a seat, if it is still to be had.
#[locked("seat:{seat}", guard = held)]
async fn sell(
    sold: &Mutex<HashMap<u32, String>>,
    seat: u32,
    clerk: &str,
) -> Result<bool, LockError> {
    let is_free = !sold
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .contains_key(&seat);
    // Between the look and the sale, another clerk could sell the same seat.
    tokio::time::sleep(Duration::from_millis(2)).await;
    if is_free {
        println!(
            "{clerk} sells seat {seat} under fencing token {}",
            show(held)
        );
        let mut sold = sold.lock().unwrap_or_else(PoisonError::into_inner);
        let before = sold.insert(seat, clerk.to_owned());
        assert!(before.is_none(), "seat {seat} was sold twice");
    }
    Ok(is_free)
}

fn show(held: &Held) -> String {
    held.fencing_token()
        .map_or("none".to_owned(), |token| token.to_string())
}

#[tokio::main]
async fn main() -> Result<(), LockError> {
    let store = Store::default();
    let manager = LockManager::builder()
        .backend(StoreBackend(store))
        .connect()
        .await?;
    set_lock_manager(manager.clone())?;

    let sold = Arc::new(Mutex::new(HashMap::new()));
    let mut clerks = tokio::task::JoinSet::new();
    for (start, clerk) in ["Ada", "Ben", "Cem"].into_iter().enumerate() {
        let sold = Arc::clone(&sold);
        clerks.spawn(async move {
            let mut count = 0;
            // Each begins elsewhere, and all come by every seat.
            for seat in (1..=10).cycle().skip(3 * start).take(10) {
                count += u32::from(sell(&sold, seat, clerk).await?);
            }
            Ok::<_, LockError>(count)
        });
    }
    let mut total = 0;
    for count in clerks.join_all().await {
        total += count?;
    }
    println!("{total} seats were sold, none of them twice.");
    assert_eq!(total, 10);

    let refused = manager.lock("readers").shared().acquire().await;
    println!(
        "What it does not declare is refused: {}",
        refused.unwrap_err()
    );
    Ok(())
}
