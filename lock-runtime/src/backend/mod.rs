//! Where locks live: the one trait that a new store implements.

#[cfg(any(feature = "etcd", feature = "postgres", feature = "redis"))]
mod address;
mod capabilities;
#[cfg(any(feature = "postgres-tls", feature = "redis-tls"))]
mod certificates;
#[cfg(feature = "etcd")]
pub mod etcd;
#[cfg(all(unix, feature = "lockd"))]
pub mod lockd;
pub mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;
mod reply;
mod request;
pub mod testing;
#[cfg(any(feature = "etcd", feature = "postgres", feature = "redis"))]
mod waiting;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

pub use capabilities::Capabilities;
pub use reply::Reply;
pub(crate) use request::Patience;
pub use request::{Answer, Busy, Change, ChangeAnswer, Grant, OnWhoseWord, Release, Request};

use crate::clock::Moment;
use crate::error::BackendError;
use crate::fencing::FencingToken;
use crate::info::LockInfo;
use crate::lease::Lease;
use crate::name::LockName;

/// A place where locks live.
///
/// Five methods are required; with them a backend has exclusive locks that are waited for by
/// polling. Everything else is a capability that it declares in [`Backend::capabilities`] and
/// then implements. The runtime never calls a method whose capability is not declared.
///
/// # Contract
///
/// * **Exclusion.** Of the owners that ask for a name exclusively, one at a time has it, until it
///   releases it or until its lease has ended *by the backend's clock*. The lease that counts is
///   the owner's, whatever a contender asks for. No client's clock decides anything.
/// * **Tokens.** Every exclusive grant carries a [`FencingToken`] larger than every one before of
///   each name in it; over all names where the store can. Shared and permit grants carry none.
/// * **Only the owner.** [`renew`](Self::renew) and [`release`](Self::release) act only when the
///   stored owner is the same [`Owner`](crate::Owner), secret included. Others are answered
///   `false`, and change nothing.
/// * **The same request again.** An owner that asks for a name that it has gets the same grant. A
///   release for an owner that holds nothing changes nothing.
/// * **Time.** A lease ends at the latest when the backend says so, and not before `ttl` after
///   the grant: a backend that counts in coarser steps rounds up.
/// * **No overtaking.** The runtime sends the release of an acquisition after the answer to its
///   request, and after the answer to its last renewal. A backend that reorders requests by
///   itself has to remember released owners for the longest `ttl`.
/// * **Order of calls.** [`connect`](Self::connect) once, before anything else.
/// * **Cancellation.** A future that a method returned is driven to its end by the runtime, on
///   its own thread, whatever becomes of the caller. Only an embedded backend is dropped half-way.
///   That thread has a tokio runtime of the flavour `current_thread`: a future that blocks it holds
///   up every other request, and `block_in_place` panics there.
///
/// The module `conformance`, behind the feature of that name, is the suite that checks all of it.
///
/// A whole backend over any store with a conditional write is the example `custom_backend`.
pub trait Backend: Any + Send + Sync {
    /// A short name for errors: `redis`.
    fn name(&self) -> &str;

    /// What it can do beyond exclusive locks.
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    /// Opens whatever it needs. Called once, on the manager's own runtime.
    ///
    /// # Errors
    ///
    /// When the store cannot be reached or refuses; the manager is then not built.
    fn connect(&self) -> Reply<Result<(), BackendError>>;

    /// Grants the name to the owner if that is possible at once.
    ///
    /// # Errors
    ///
    /// When the store failed. The runtime then releases, in case the request took effect.
    fn try_acquire(&self, request: &Request) -> Reply<Result<Answer, BackendError>>;

    /// Starts a lease anew, for `ttl` from now. `false` when the owner does not hold it.
    ///
    /// # Errors
    ///
    /// When the store failed. The runtime tries again until the lease has ended.
    fn renew(&self, lease: &Lease, ttl: Duration) -> Reply<Result<bool, BackendError>>;

    /// Ends what the owner has of the name. `false` when it had nothing any more.
    ///
    /// # Errors
    ///
    /// When the store failed. The lease then ends by itself.
    fn release(&self, lease: &Lease, how: Release) -> Reply<Result<bool, BackendError>>;

    /// What is known of a name.
    ///
    /// # Errors
    ///
    /// When the store failed.
    fn inspect(&self, name: &LockName) -> Reply<Result<LockInfo, BackendError>>;

    /// Grants the name, or queues until [`Request::wait_until`] for it, first come, first served.
    /// Needs [`Capabilities::queue`].
    ///
    /// # Errors
    ///
    /// When the store failed.
    fn acquire(&self, request: &Request) -> Reply<Result<Answer, BackendError>> {
        self.try_acquire(request)
    }

    /// Goes on with the section of `giver` under the owner of `lease`; the giver's ends. Returns
    /// the token of the section, or `None` when the giver holds nothing.
    /// Needs [`Capabilities::adopt`].
    ///
    /// # Errors
    ///
    /// When the store failed.
    fn adopt(
        &self,
        giver: crate::Owner,
        request: &Request,
    ) -> Reply<Result<Option<Grant>, BackendError>> {
        let _ = (giver, request);
        undeclared("adopt")
    }

    /// The section is given away by a ticket, and must not end with this process: it ends with its
    /// lease, unless somebody adopts it before. `false` when the owner does not hold it.
    ///
    /// For backends that end a dead process's sections at once; where a lease is the only end
    /// that a section has, there is nothing to do. Called after the last renewal of the lease.
    ///
    /// # Errors
    ///
    /// When the store failed. The section may then end with this process.
    fn detach(&self, lease: &Lease) -> Reply<Result<bool, BackendError>> {
        let _ = lease;
        Reply::now(Ok(true))
    }

    /// Ends every section of a name, whoever has it. Says how many ended.
    /// Needs [`Capabilities::force_release`].
    ///
    /// # Errors
    ///
    /// When the store failed.
    fn force_release(&self, name: &LockName) -> Reply<Result<usize, BackendError>> {
        let _ = name;
        undeclared("force_release")
    }

    /// Changes to whom a lock is assigned, in one step with all its rules.
    /// Needs [`Capabilities::identity`].
    ///
    /// # Errors
    ///
    /// When the store failed.
    fn change(&self, change: &Change) -> Reply<Result<ChangeAnswer, BackendError>> {
        let _ = change;
        undeclared("identity")
    }

    /// The leases of a manager that are held here, each with the moment since when, for a shutdown
    /// to wait for and to end: what is embedded knows them, so that nobody has to keep a list.
    /// Needs [`Capabilities::embedded`].
    fn embedded_leases(&self, manager: u64) -> Vec<(Arc<Lease>, Moment)> {
        let _ = manager;
        Vec::new()
    }

    /// Every lock of a namespace whose name begins with a prefix, by name.
    /// Needs [`Capabilities::list`].
    ///
    /// # Errors
    ///
    /// When the store failed.
    fn list(&self, namespace: &str, prefix: &str) -> Reply<Result<Vec<LockInfo>, BackendError>> {
        let _ = (namespace, prefix);
        undeclared("list")
    }
}

/// The answer of a method whose capability the backend does not declare.
fn undeclared<T>(capability: &str) -> Reply<Result<T, BackendError>> {
    Reply::now(Err(BackendError::new(format!(
        "the backend does not implement `{capability}`, although it is declared"
    ))))
}

/// A token as backends make them, checked.
///
/// # Errors
///
/// When the number is zero or does not fit 53 bits.
pub fn token(number: u64) -> Result<FencingToken, BackendError> {
    FencingToken::new(number)
        .ok_or_else(|| BackendError::new(format!("the store gave {number} as a fencing token")))
}
