//! The public suite, run against every backend of this tree.

mod minimal;
mod remote;

#[path = "../../examples/custom_backend.rs"]
#[allow(dead_code, reason = "of the example only its backend is under test")]
mod custom_backend;

use custom_backend::{Store, StoreBackend};
use lock_runtime::conformance::Subject;
use lock_runtime::{Clock, ManualClock, MemoryBackend};
use minimal::Minimal;
use remote::{Line, Remote};

/// The embedded backend on the system's clock.
fn memory() -> Subject {
    let store = MemoryBackend::new(Clock::system());
    Subject::new(move |manager| manager.backend(store.clone()).connect())
}

/// The embedded backend on a clock that the suite moves: every boundary to the nanosecond.
fn memory_in_manual_time() -> Subject {
    let time = ManualClock::new();
    let store = MemoryBackend::new(time.clock());
    Subject::new(move |manager| manager.backend(store.clone()).connect()).manual_clock(time)
}

/// An embedded backend that has nothing but the five required methods.
fn minimal() -> Subject {
    let store = Minimal(MemoryBackend::new(Clock::system()));
    Subject::new(move |manager| manager.backend(store.clone()).connect())
}

/// The way of a remote store that pushes: driver thread, renewals, leases that end.
fn remote() -> Subject {
    distant(true)
}

/// The way of a remote store that has to be polled.
fn polled() -> Subject {
    distant(false)
}

fn distant(can_queue: bool) -> Subject {
    let (store, line) = (MemoryBackend::leased(Clock::system()), Line::default());
    let remote = Remote::over(store, &line, can_queue);
    let other_line = line.clone();
    Subject::new(move |manager| manager.backend(remote.clone()).connect())
        .breakable(move |is_cut| line.cut(is_cut))
        .restartable(move |is_stopped| other_line.cut(is_stopped))
}

/// What a user writes: the five required methods.
fn custom() -> Subject {
    let store = Store::default();
    Subject::new(move |manager| manager.backend(StoreBackend(store.clone())).connect())
}

lock_runtime::conformance::main!(
    memory,
    memory_in_manual_time,
    minimal,
    remote,
    polled,
    custom
);
