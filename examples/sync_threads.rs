//! Sync functions: the same annotation, on plain threads, in `spawn_blocking`, and in async code.
//!
//! Watch: threads and tasks count on one counter together, and no count is lost. In the end a
//! sync function is called where waiting would stop a whole runtime: it fails at once and says
//! what to do, and never deadlocks.
//!
//! `cargo run -p examples --example sync_threads`

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use lock_runtime::{LockError, LockErrorKind, LockManager, lock, locked, set_lock_manager};
use tokio::runtime;

const THREADS: u64 = 4;
const COUNTS_EACH: u64 = 50;

#[derive(Default)]
struct Counter {
    value: AtomicU64,
}

impl Counter {
    /// Reads, and writes a little later: without the lock, counts would get lost.
    #[locked("counter:visits", wait = "10s")]
    fn count(&self) -> Result<u64, LockError> {
        let value = self.value.load(Ordering::SeqCst);
        thread::sleep(Duration::from_micros(50));
        self.value.store(value + 1, Ordering::SeqCst);
        Ok(value + 1)
    }

    fn count_often(&self) -> Result<(), LockError> {
        (0..COUNTS_EACH).try_for_each(|_| self.count().map(drop))
    }
}

fn main() -> Result<(), LockError> {
    set_lock_manager(LockManager::memory())?;
    let counter = Arc::new(Counter::default());

    // No runtime anywhere: a thread that waits sleeps.
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let counter = Arc::clone(&counter);
            thread::spawn(move || counter.count_often())
        })
        .collect();
    // At the same time in a runtime, where blocking work belongs, and in its tasks, whose worker
    // hands the other tasks over before it waits.
    let many_threads = runtime::Runtime::new().expect("a runtime");
    many_threads.block_on(async {
        let blocking = Arc::clone(&counter);
        let blocking = tokio::task::spawn_blocking(move || blocking.count_often());
        let task = Arc::clone(&counter);
        let task = tokio::spawn(async move { task.count_often() });
        blocking.await.expect("no panic")?;
        task.await.expect("no panic")
    })?;
    for thread in threads {
        thread.join().expect("no panic")?;
    }
    let counted = counter.value.load(Ordering::SeqCst);
    println!("{counted} visits counted.");
    assert_eq!(counted, (THREADS + 2) * COUNTS_EACH);

    // One thread for all tasks: if it slept here, nobody could ever release the lock.
    let one_thread = runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let refused = one_thread.block_on(async {
        let guard = lock("counter:visits").acquire().await?;
        let refused = counter.count().expect_err("the lock is taken");
        guard.release().await?;
        counter.count()?;
        Ok::<LockError, LockError>(refused)
    })?;
    println!("{refused}.");
    assert_eq!(refused.kind(), LockErrorKind::WouldBlock);
    Ok(())
}
