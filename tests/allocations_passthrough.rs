//! Without a lock manager, an annotated call allocates nothing and touches no value.

use std::fmt;

use lock_runtime::{LockError, locked};

/// A value whose formatting would be noticed.
struct Untouched;

impl fmt::Display for Untouched {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("the name is formatted although nothing is locked")
    }
}

#[locked("task:{value}:{id}")]
async fn annotated(value: Untouched, id: u64) -> Result<u64, LockError> {
    let _moved = value;
    Ok(id)
}

#[locked("task:{value}:{id}")]
fn annotated_sync(value: Untouched, id: u64) -> Result<u64, LockError> {
    let _moved = value;
    Ok(id)
}

#[test]
fn a_call_without_a_manager_allocates_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        // The first call decides that there is no manager, and says so.
        annotated(Untouched, 1).await.unwrap();
        let (mut sum, mut future_sum) = (0, 0);
        let sync = allocation_counter::measure(|| {
            for id in 0..1_000 {
                sum += annotated_sync(Untouched, id).unwrap();
            }
        });
        let (mut cx, calls) = (
            std::task::Context::from_waker(std::task::Waker::noop()),
            1_000,
        );
        let asynchronous = allocation_counter::measure(|| {
            for id in 0..calls {
                let call = std::pin::pin!(annotated(Untouched, id));
                if let std::task::Poll::Ready(Ok(id)) = call.poll(&mut cx) {
                    future_sum += id;
                }
            }
        });
        assert_eq!((sync.count_total, asynchronous.count_total), (0, 0));
        assert_eq!((sum, future_sum), (499_500, 499_500), "every body ran");
    });
}
