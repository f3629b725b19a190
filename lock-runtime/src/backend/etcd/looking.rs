//! What can be seen of locks.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use etcd_client::{GetOptions, ResponseHeader};

use super::Shared;
use super::fault::Trouble;
use super::keys::{self, end_of};
use super::link::stored;
use super::record::Record;
use crate::error::BackendError;
use crate::info::{LockInfo, WaiterInfo};
use crate::name::LockName;

/// How many keys are read at once for a list.
const PAGE: i64 = 1_000;

/// How many leases are asked about for one look: each is a question of its own.
const MOST_LEASES: usize = 64;

impl Shared {
    /// What is known of one name.
    pub(super) async fn inspect(&self, name: LockName) -> Result<LockInfo, BackendError> {
        let looked = self.look(&name).await;
        looked.map_err(Trouble::into_error)
    }

    async fn look(&self, name: &LockName) -> Result<LockInfo, Trouble> {
        let record = self.link.read(&self.keys(name)).await?;
        let mut info = describe(name, &record);
        let waiters = record.queue.values().take(LockInfo::MAX_QUEUE);
        info.queue = waiters
            .map(|waiter| {
                let value = &waiter.value;
                WaiterInfo::new(value.owner.clone(), value.mode, value.since.ago())
            })
            .collect();
        let sections = record.sections();
        for (shown, section) in info.sections.iter_mut().zip(sections).take(MOST_LEASES) {
            shown.expires_in = self.leases.left(section.lease).await?;
        }
        if let Some(resting) = &mut info.resting {
            for rest in record.resting().take(MOST_LEASES) {
                let left = self.leases.left(rest.lease).await?;
                *resting = (*resting).max(left.unwrap_or_default());
            }
        }
        if let Some(assignment) = record.assignment.filter(|found| found.lease != 0) {
            let left = self.leases.left(assignment.lease).await?;
            info.expires_at = Some(SystemTime::now() + left.unwrap_or_default());
        }
        Ok(info)
    }

    /// Every lock whose name begins like this, as they all were at one moment.
    pub(super) async fn list(
        &self,
        namespace: String,
        prefix: String,
    ) -> Result<Vec<LockInfo>, BackendError> {
        let records = self.read_many(&namespace, &prefix).await;
        let records = records.map_err(Trouble::into_error)?;
        let infos = records.iter().map(|(name, record)| describe(name, record));
        Ok(infos.collect())
    }

    async fn read_many(
        &self,
        namespace: &str,
        prefix: &str,
    ) -> Result<BTreeMap<LockName, Record>, Trouble> {
        let store_prefix = self.link.settings.prefix.as_str();
        let begin = format!("{store_prefix}{namespace}/{prefix}");
        let end = end_of(&begin);
        let mut records: BTreeMap<LockName, Record> = BTreeMap::new();
        let (mut next, mut revision) = (begin.into_bytes(), 0);
        loop {
            let options = GetOptions::new()
                .with_range(end.clone())
                .with_limit(PAGE)
                .with_revision(revision);
            let from = next.clone();
            let page = self
                .link
                .call(|connected| async move { connected.kv().get(from, Some(options)).await })
                .await?;
            if revision == 0 {
                revision = page.header().map_or(0, ResponseHeader::revision);
            }
            for pair in page.kvs() {
                let Some((name, part)) = keys::split(store_prefix, pair.key()) else {
                    continue;
                };
                let record = records.entry(name).or_insert_with(|| Record::at(revision));
                record.put(part, stored(pair));
            }
            let Some(last) = page.kvs().last().filter(|_| page.more()) else {
                records.retain(|_, record| !record.is_empty());
                return Ok(records);
            };
            next = last.key().to_vec();
            next.push(0);
        }
    }
}

fn describe(name: &LockName, record: &Record) -> LockInfo {
    let mut info = LockInfo::free(name.clone());
    if let Some(assignment) = &record.assignment {
        let value = &assignment.value;
        info.holder = Some(value.holder.clone());
        info.acquired_at = Some(value.since.time());
        let ends = value.ttl.filter(|_| assignment.lease != 0);
        info.expires_at = ends.map(|ttl| value.since.time() + ttl);
    }
    let sections = record.sections();
    info.sections = sections.iter().map(|section| section.describe()).collect();
    if sections.is_empty() && record.resting().next().is_some() {
        info.resting = Some(Duration::ZERO);
    }
    info.waiting = record.queue.len();
    info
}
