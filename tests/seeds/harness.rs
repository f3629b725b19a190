//! What the tests share: time that they move, and waiting for something to be so.

use std::process::Command;
use std::time::{Duration, Instant};

use lock_runtime::{LockManager, ManualClock};

/// Longer than anything here takes on the busiest machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A manager in memory, and the clock that it lives by.
pub(crate) fn manual() -> (ManualClock, LockManager) {
    let time = ManualClock::new();
    let manager = LockManager::builder()
        .clock(time.clock())
        .memory()
        .build()
        .unwrap();
    (time, manager)
}

pub(crate) fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}

/// Waits until so many queue for a name.
pub(crate) async fn until_waiting(manager: &LockManager, name: &str, number: usize) {
    let started = Instant::now();
    while manager.lock(name).info().await.unwrap().waiting != number {
        assert!(started.elapsed() < PATIENCE, "never: {number} waiting");
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}

/// The same for something that should come to its end by itself.
pub(crate) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("never: {what}"),
    }
}

/// Runs the body of a test in a process of its own, for what a process decides once.
pub(crate) fn in_own_process(test: &str, environment: &[(&str, &str)], body: impl FnOnce()) {
    const CHILD: &str = "LOCK_SEEDS_CHILD";
    if std::env::var_os(CHILD).is_some() {
        return body();
    }
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program)
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A runtime for code in a process of its own.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(future)
}
