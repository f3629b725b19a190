//! The public suite that checks a backend against every promise.
//!
//! Each promise, each rule of identity locks and each capability is a case with a name. A test
//! target with `harness = false` runs them all against a backend, ours or a user's:
//!
//! ```no_run
//! use lock_runtime::conformance::Subject;
//! use lock_runtime::{Clock, MemoryBackend};
//!
//! /// Called once for every case.
//! fn memory() -> Subject {
//!     let store = MemoryBackend::new(Clock::system());
//!     Subject::new(move |manager| manager.backend(store.clone()).connect())
//! }
//!
//! lock_runtime::conformance::main!(memory);
//! ```
//!
//! ```toml
//! [[test]]
//! name = "conformance"
//! harness = false
//! ```
//!
//! A case that needs a capability which the backend does not declare is shown as ignored, with
//! the reason. Names can be filtered as everywhere: `cargo test --test conformance -- S4`.
//!
//! What the cases assume of a store is what a [`Subject`] says, and nothing more: that several
//! managers can be connected to it, that each sees what the others do, and that time passes.
//! They never reach into a process. Safety is judged strictly; that something happens at all is
//! waited for with [`Subject::patience`].

mod adopt;
mod at_least;
mod bounds;
mod cancellation;
mod case;
mod clocks;
mod connection;
mod exclusion;
mod fencing;
mod force_release;
mod identity;
mod looking;
mod lost;
mod names;
mod ownership;
mod permits;
mod raw;
mod release;
mod restart;
mod results;
mod runner;
mod several;
mod shared;
mod stage;
mod subject;
mod unlocked;
mod waiting;
mod wire;

#[doc(inline)]
pub use crate::__conformance_main as main;
pub use runner::{Suite, Verdict, case_names, verdict};
pub use subject::Subject;
pub(crate) use wire::Wire;

/// Makes the `main` of a test target with `harness = false`.
///
/// Each argument is a function that gives a [`Subject`](crate::conformance::Subject); its name is
/// the first part of the names of its cases.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_main {
    ($($subject:ident),+ $(,)?) => {
        fn main() -> ::std::process::ExitCode {
            $crate::conformance::Suite::new()
                $(.subject(::std::stringify!($subject), $subject))+
                .run()
        }
    };
}
