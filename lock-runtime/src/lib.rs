//! Named locks for services: annotate a method, choose at start-up where the locks live.
//!
//! ```
//! use lock_runtime::{LockError, LockManager, locked, set_lock_manager};
//!
//! #[derive(Default)]
//! struct Board { /* … */ }
//!
//! impl Board {
//!     #[locked("task:{task_id}")]
//!     async fn move_task(&self, task_id: u64, column: &str) -> Result<(), LockError> {
//!         // Nobody else is in here with the same task.
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), LockError> {
//! set_lock_manager(LockManager::memory())?;
//! Board::default().move_task(42, "done").await
//! # }
//! ```
//!
//! * [`locked`], [`auth`] and [`lock_name!`] are the annotations.
//! * [`LockManager`] is what a service configures, [`set_lock_manager`] puts it in place.
//! * [`lock`] and [`with_lock`] are the same in code.
//! * [`acquire_lock`], [`transfer_lock`], [`release_lock`] and [`get_lock`] are for locks that
//!   belong to a caller.
//! * [`backend`] is for those who bring a store of their own, `conformance` (a feature) checks
//!   it.
//! * [`manual`] says which store to take, how to name locks and choose their leases, what a fencing
//!   token is for, how to run it all, and what its words mean.

// Expanded code says `::lock_runtime`, also inside this crate.
extern crate self as lock_runtime;

#[doc(hidden)]
pub mod __daemon;
#[doc(hidden)]
pub mod __private;

mod ambient;

pub mod backend;
pub use backend::Capabilities;
#[cfg(feature = "etcd")]
pub use backend::etcd::EtcdBackend;
#[cfg(all(unix, feature = "lockd"))]
pub use backend::lockd::LockdBackend;
pub use backend::memory::MemoryBackend;
#[cfg(feature = "postgres")]
pub use backend::postgres::PostgresBackend;
#[cfg(feature = "redis")]
pub use backend::redis::RedisBackend;

mod caller;
pub use caller::{Caller, CallerId, IntoCaller};

mod clock;
pub use clock::{Clock, ManualClock, Moment};

#[cfg(feature = "conformance")]
pub mod conformance;

mod entry;

mod error;
pub use error::{BackendError, LockError, LockErrorKind, Lost};

mod fencing;
pub use fencing::{FencingToken, InvalidToken};

mod future_ext;
pub use future_ext::LockFutureExt;

mod global;
pub use global::{lock_manager, require_lock_manager, set_lock_manager, set_lock_manager_late};

mod guard;
pub use guard::{Guard, Ticket};

mod identity;
pub use identity::{
    AssignRequest, IdentityFuture, TransferRequest, UnassignRequest, acquire_lock, get_lock,
    release_lock, transfer_lock,
};

mod info;
pub use info::{InTheWay, LockInfo, SectionInfo, WaiterInfo};

mod lease;
pub use lease::Lease;

mod manager;
pub use manager::{LockManager, LockManagerBuilder};

pub mod manual;

mod name;
pub use name::{IntoLockName, LockName, NameError, NameWriter};

mod observe;

mod options;
pub use options::{
    AuthPolicy, CLAIM_WINDOW, DEFAULT_MAX_IDLE, DEFAULT_RELEASE_TIMEOUT, DEFAULT_TTL, DEFAULT_WAIT,
    MAX_TTL, MAX_WAIT, MIN_TTL, Mode, OnLost, Wait,
};

mod owner;
pub use owner::{Owner, OwnerId, OwnerInfo};

mod race;

mod request;
pub use request::{BlockingLockRequest, LockRequest, lock, with_lock};

mod section;
#[cfg(feature = "postgres")]
pub use section::SqlTransaction;
pub use section::{Held, LockedOutput, Watch};

mod site;
pub use site::{SITES, Site};

mod sync;

mod table;

#[cfg(feature = "lockd")]
#[doc(hidden)]
pub mod wire;

pub use lock_macros::{auth, lock_name, locked};
