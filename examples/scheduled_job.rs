//! A nightly report on five hosts whose clocks do not agree: it is made once each night.
//!
//! Watch: `try` does not queue, `on_busy` makes a value of "somebody else does it" instead of an
//! error, and `at_least` keeps the name busy although the report is long done, so that the host
//! whose clock is a little late does not make it a second time.
//!
//! `cargo run -p examples --example scheduled_job`

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lock_runtime::{LockError, LockManager, locked, set_lock_manager};
use tokio::task::JoinSet;

const HOSTS: u64 = 5;

#[derive(Default)]
struct Reports {
    made: AtomicUsize,
}

enum Outcome {
    Made,
    Skipped(LockError),
}

impl Reports {
    /// A second stands for the night here. It is counted by the clock of the backend.
    #[locked(
        "job:nightly-report",
        try,
        at_least = "1s",
        on_busy = |busy| Ok(Outcome::Skipped(busy))
    )]
    async fn nightly(&self) -> Result<Outcome, LockError> {
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.made.fetch_add(1, Ordering::SeqCst);
        Ok(Outcome::Made)
    }
}

/// Every host starts the job, each when its own clock says that it is time.
async fn night(reports: &Arc<Reports>) -> Result<usize, LockError> {
    let mut hosts = JoinSet::new();
    for host in 0..HOSTS {
        let reports = Arc::clone(reports);
        hosts.spawn(async move {
            tokio::time::sleep(Duration::from_millis(20 * host)).await;
            (host, reports.nightly().await)
        });
    }
    let mut outcomes = hosts.join_all().await;
    outcomes.sort_by_key(|(host, _)| *host);
    let mut skipped = 0;
    for (host, outcome) in outcomes {
        match outcome? {
            Outcome::Made => println!("  host {host}: made the report"),
            Outcome::Skipped(why) => {
                println!("  host {host}: {why}");
                skipped += 1;
            }
        }
    }
    Ok(skipped)
}

#[tokio::main]
async fn main() -> Result<(), LockError> {
    // On five real hosts this is one database or Redis; the job is the same.
    set_lock_manager(LockManager::memory())?;
    let reports = Arc::new(Reports::default());
    for number in 1..=2 {
        println!("Night {number}:");
        let skipped = night(&reports).await?;
        assert_eq!(skipped as u64, HOSTS - 1);
        assert_eq!(reports.made.load(Ordering::SeqCst), number);
        tokio::time::sleep(Duration::from_millis(1_050)).await;
    }
    println!("Two nights, two reports.");
    Ok(())
}
