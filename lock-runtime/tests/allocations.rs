//! With the embedded backend, a lock that nobody else wants allocates nothing, and names that
//! were released leave nothing behind. Metrics are counted by label, which allocates: this is
//! about a build without them.
#![cfg(not(feature = "metrics"))]

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use lock_runtime::{LockError, LockManager, locked, set_lock_manager};

#[locked("task:{id}")]
async fn annotated(id: u64) -> Result<u64, LockError> {
    Ok(id)
}

#[locked("task:{id}")]
fn annotated_sync(id: u64) -> Result<u64, LockError> {
    Ok(id)
}

fn call(id: u64) -> u64 {
    match pin!(annotated(id)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(id)) => id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_uncontended_section_allocates_nothing_and_leaves_nothing() {
    set_lock_manager(LockManager::memory()).unwrap();
    // Every shard of the table makes its first room.
    (0..10_000).for_each(|id| assert_eq!(call(id), annotated_sync(id).unwrap()));

    let calls =
        allocation_counter::measure(|| (0..1_000_000).for_each(|id| assert_eq!(call(id), id)));
    let sync = allocation_counter::measure(|| {
        (0..1_000).for_each(|id| assert_eq!(annotated_sync(id).unwrap(), id));
    });
    assert_eq!((calls.count_total, sync.count_total), (0, 0));
    assert_eq!(
        (calls.bytes_current, sync.bytes_current),
        (0, 0),
        "a million names"
    );
}
