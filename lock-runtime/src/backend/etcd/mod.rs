//! Locks in etcd: `etcd://127.0.0.1:2379`.

mod attempts;
mod changing;
mod decide;
mod enter;
mod fault;
mod holding;
mod keys;
mod leases;
mod leave;
mod link;
mod looking;
mod names;
mod presence;
mod record;
mod settings;
mod stored;
mod transaction;
mod upkeep;
mod watching;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::AbortHandle;

use super::waiting::{Failure, Waiters};
use super::{
    Answer, Backend, Capabilities, Change, ChangeAnswer, Grant, Patience, Release, Reply, Request,
};
use crate::clock::Clock;
use crate::error::{BackendError, LockError};
use crate::info::LockInfo;
use crate::lease::Lease;
use crate::name::LockName;
use crate::options::Wait;
use crate::owner::Owner;
use crate::sync::{Mutex, lock};
use attempts::Attempts;
use holding::Renewing;
use keys::{EXCLUSIVE, Keys};
use leases::Leases;
use leave::Leaving;
use link::Link;
use names::{Command, Names};
use presence::Presence;
use record::Record;
use settings::Settings;

/// A backend whose locks live in etcd, 3.4 or newer; in a cluster 3.4.31, 3.5.13 or newer, as
/// [below](#when-a-leader-stands-still).
///
/// Entering a name that nobody uses is one transaction, and so is giving it back. Those who wait
/// stand in a queue in the store, and one watch, whatever the number of names, tells a process
/// when it is somebody's turn there. Who leaves a name, and knows who comes next, makes the section
/// of that one in the same transaction. The fencing token is the revision of the grant: it is as
/// durable as every other commit of the cluster, and rises over all names.
///
/// ```no_run
/// use lock_runtime::{Clock, EtcdBackend, LockManager};
///
/// # async fn connect() -> Result<(), lock_runtime::LockError> {
/// let url = "etcd://kanban:secret@etcd-1,etcd-2:2379?tls=true&ca_file=/etc/kanban/ca.pem";
/// let backend = EtcdBackend::new(url, Clock::system())?;
/// let manager = LockManager::builder().backend(backend).connect().await?;
/// # Ok(()) }
/// ```
///
/// [`LockManager::connect`](crate::LockManager::connect) does the same with the URL alone.
///
/// # The URL
///
/// `etcd://user:password@host:port,host:port?…`; the port is 2379 where none is said, and user and
/// password are left out where the server knows no users. One of the hosts is spoken to at a
/// time, and the next when it fails. Options:
///
/// * `prefix=locks/`: what every key begins with. A user needs the role `readwrite` on it.
/// * `tls=true`: speak TLS. It needs the feature `etcd-tls`, and `ca_file`.
/// * `ca_file=…`: the certificate, as PEM, that the server's is checked against.
/// * `cert_file=…&key_file=…`: the certificate of this program and its key, as PEM.
///
/// # Leases
///
/// The server counts leases in whole seconds, and gives none that is shorter than one and a half
/// of its election timeouts: 2 s unless it is told otherwise. A `ttl` is rounded up to that in the
/// store, where it keeps others out, and is counted as it was asked for here, where it tells the
/// owner that the section is lost. `at_least` and assignments with an end are rounded up too.
///
/// Each section has a lease of its own, so that the server ends it without any help of this
/// process; the next section uses it again, so that an ordinary one costs none. Such a lease is
/// started anew first when more than a tenth of the `ttl` is over, or, for a section that is not
/// renewed, more than a hundredth: so much of it may be missing at the beginning. All places in
/// queues of a process belong to one lease of 2 s: those of a process that is dead or frozen are
/// gone after that time, and a process that was cut off for longer queues anew. A section that was
/// handed over ends with that lease too, until it is renewed 50 ms later and gets its own: a process
/// that was dead or frozen by then delays the others no longer than one that waits.
///
/// # What holds when something fails
///
/// | | |
/// |---|---|
/// | no fault | sections never overlap; tokens rise |
/// | the owner stands still past its lease | its section ends, and another enters; what it writes later is for the token to refuse, or for [a transaction](Self::section_prefix) |
/// | a server dies, or another leads | no section and no place is lost as long as most of the cluster is there and a leader is found in time, but for a section that was handed over less than 0.1 s before; the new leader starts all leases anew |
/// | a leader stands still, and comes back | it may end leases that were renewed with its successor: see below |
/// | most of the cluster is away | nobody enters; owners are told that they have lost their sections when their leases end |
/// | a clock jumps | nothing from 3.5 on: only the speed of the leader's monotonic clock counts; before, a clock set back keeps the lock of a dead owner busy for longer |
/// | the store is restored from a backup | everything after the backup is forgotten, tokens too |
///
/// # When a leader stands still
///
/// A leader whose machine or disk stands still for longer than an election is followed by another.
/// When it goes on, it may believe for a moment that it leads, and end every lease that ran out by
/// its own count, although all of them were renewed with its successor (etcd's issues [12528] and
/// [15247]). The sections end with them, before their time; their owners are told as soon as the
/// watch says so, and others may have entered by then. Servers from 3.4.31 and 3.5.13 on ask first
/// whether they still lead, which leaves little of it; older ones do not. As with every lease,
/// what must not be written twice is for the token to refuse, or for
/// [a transaction](Self::section_prefix).
///
/// A server that does not answer is left for the next one after a quarter of the lease's length
/// that is to be renewed: one second at the least, and three at the most. Together with an
/// election, which takes one or two of the servers' election timeouts (1 s unless they are told
/// otherwise), a section with a `ttl` of less than about 5 s may be lost when the server that is
/// spoken to stands still, as may one that was handed over less than 0.1 s before.
///
/// [12528]: https://github.com/etcd-io/etcd/issues/12528
/// [15247]: https://github.com/etcd-io/etcd/issues/15247
///
/// # Who may do what
///
/// A user who may write the keys may end any section, and one who may read them can read the
/// secrets of owners: locks should have a prefix and a role of their own. Every user of a cluster
/// can revoke a lease that nothing belongs to.
#[derive(Clone)]
pub struct EtcdBackend(Arc<Open>);

/// How many names are read at once when all of them are.
const READ_AT_ONCE: usize = 32;

/// The backend, until its last handle is dropped.
struct Open {
    shared: Arc<Shared>,
    commands: Mutex<Option<UnboundedReceiver<Command>>>,
    /// Once it is connected.
    tasks: Mutex<Vec<AbortHandle>>,
}

/// What the requests and the tasks have in common.
struct Shared {
    clock: Clock,
    link: Arc<Link>,
    leases: Arc<Leases>,
    presence: Presence,
    attempts: Attempts,
    names: Names,
    waiters: Arc<Waiters>,
    /// After a new connection every name that is followed is read, and not all at once.
    reading: Semaphore,
}

impl EtcdBackend {
    /// Locks in the etcd that this URL names. Nothing is connected before
    /// [`Backend::connect`] is called, which a manager does.
    ///
    /// # Errors
    ///
    /// When the URL cannot be read, or names a file that cannot.
    pub fn new(url: &str, clock: Clock) -> Result<Self, LockError> {
        let link = Arc::new(Link::new(Settings::parse(url)?));
        let waiters = Arc::new(Waiters::default());
        let (names, commands) = Names::new(clock.clone(), Arc::clone(&waiters));
        let shared = Shared {
            leases: Arc::new(Leases::new(Arc::clone(&link), clock.clone())),
            presence: Presence::new(clock.clone()),
            attempts: Attempts::default(),
            names,
            waiters,
            reading: Semaphore::new(READ_AT_ONCE),
            link,
            clock,
        };
        Ok(Self(Arc::new(Open {
            shared: Arc::new(shared),
            commands: Mutex::new(Some(commands)),
            tasks: Mutex::default(),
        })))
    }

    /// What the key of the section begins with that has this name for itself. There is one such
    /// key, or none. As long as a section is held, and not a moment longer, the key's creation
    /// revision is the section's fencing token: a transaction that compares the two, for every key
    /// that begins like this, commits only while the section is held.
    ///
    /// That is the strongest that a lock in etcd can give, and it protects what is in etcd too.
    /// With the crate `etcd-client`:
    ///
    /// ```ignore
    /// let guard = manager.lock("account:7").acquire().await?;
    /// let (name, token) = (guard.name().unwrap(), guard.fencing_token().unwrap());
    /// let section = backend.section_prefix(name);
    /// let is_held = Compare::create_revision(section, CompareOp::Equal, token.get() as i64);
    /// let transaction = Txn::new()
    ///     .when([is_held.with_prefix()])
    ///     .and_then([TxnOp::put("balance:7", "100", None)]);
    /// if !client.txn(transaction).await?.succeeded() {
    ///     // The section is lost, and nothing was written.
    /// }
    /// ```
    ///
    /// The name is one that a guard gives: it carries the namespace of its manager.
    #[must_use]
    pub fn section_prefix(&self, name: &LockName) -> String {
        self.0.shared.keys(name).of(EXCLUSIVE)
    }

    fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.0.shared)
    }

    fn enter(&self, request: Request) -> Reply<Result<Answer, BackendError>> {
        let shared = self.shared();
        let attempt = shared.attempts.begin(request.owner());
        let waiters = Arc::clone(&shared.waiters);
        let clock = shared.clock.clone();
        let asked = request.clone();
        Reply::later(waiters.wait(clock, asked, move |question, _| {
            let (shared, attempt) = (Arc::clone(&shared), Arc::clone(&attempt));
            // A release waits for the answer, and nobody else may be there to drive it.
            let asking = tokio::spawn(shared.ask(attempt, request.clone(), question));
            async move {
                let answer = asking.await;
                answer.unwrap_or_else(|_| Err(Failure::Lasting(fault::ended())))
            }
        }))
    }
}

impl Shared {
    fn keys(&self, name: &LockName) -> Keys {
        Keys::new(&self.link.settings.prefix, name)
    }

    /// What was read of a name. Those who wait for it, or hold it, are told.
    fn learn(self: &Arc<Self>, name: &LockName, record: Record) {
        let vanished = self.names.learn(name, record);
        self.tell(vanished);
    }
}

impl Backend for EtcdBackend {
    fn name(&self) -> &str {
        "etcd"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::all()
    }

    fn connect(&self) -> Reply<Result<(), BackendError>> {
        let open = Arc::clone(&self.0);
        Reply::later(async move {
            let Ok(runtime) = Handle::try_current() else {
                return Err(fault::no_runtime());
            };
            let shared = &open.shared;
            let connected = shared.link.connected().await;
            connected.map_err(fault::Trouble::into_error)?;
            let Some(commands) = lock(&open.commands).take() else {
                return Err(fault::connected_already());
            };
            let tasks = [
                runtime.spawn(watching::keep(Arc::clone(shared), commands)),
                runtime.spawn(upkeep::show(Arc::clone(shared))),
                runtime.spawn(upkeep::tidy(Arc::clone(shared))),
            ];
            let tasks = tasks.map(|task| task.abort_handle());
            lock(&open.tasks).extend(tasks);
            Ok(())
        })
    }

    fn try_acquire(&self, request: &Request) -> Reply<Result<Answer, BackendError>> {
        let lease = Arc::clone(request.lease());
        self.enter(Request::new(lease, Patience::Wait(Wait::NONE)))
    }

    fn acquire(&self, request: &Request) -> Reply<Result<Answer, BackendError>> {
        self.enter(request.clone())
    }

    fn renew(&self, lease: &Lease, ttl: Duration) -> Reply<Result<bool, BackendError>> {
        let (shared, renewing) = (self.shared(), Renewing::of(lease, ttl));
        Reply::later(async move { shared.renew(renewing).await })
    }

    fn release(&self, lease: &Lease, how: Release) -> Reply<Result<bool, BackendError>> {
        let shared = self.shared();
        let leaving = Leaving::of(lease, how);
        if how == Release::Abandoned {
            shared.waiters.give_up(leaving.owner.id());
        }
        Reply::later(shared.release(leaving))
    }

    fn inspect(&self, name: &LockName) -> Reply<Result<LockInfo, BackendError>> {
        let (shared, name) = (self.shared(), name.clone());
        Reply::later(async move { shared.inspect(name).await })
    }

    fn adopt(&self, giver: Owner, request: &Request) -> Reply<Result<Option<Grant>, BackendError>> {
        let (shared, request) = (self.shared(), request.clone());
        Reply::later(async move { shared.adopt(giver, request).await })
    }

    fn detach(&self, lease: &Lease) -> Reply<Result<bool, BackendError>> {
        Reply::later(self.shared().detach(Renewing::of(lease, lease.ttl())))
    }

    fn force_release(&self, name: &LockName) -> Reply<Result<usize, BackendError>> {
        let (shared, name) = (self.shared(), name.clone());
        Reply::later(async move { shared.force_release(name).await })
    }

    fn change(&self, change: &Change) -> Reply<Result<ChangeAnswer, BackendError>> {
        let (shared, change) = (self.shared(), change.clone());
        Reply::later(async move { shared.change(change).await })
    }

    fn list(&self, namespace: &str, prefix: &str) -> Reply<Result<Vec<LockInfo>, BackendError>> {
        let shared = self.shared();
        let (namespace, prefix) = (namespace.to_owned(), prefix.to_owned());
        Reply::later(async move { shared.list(namespace, prefix).await })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // The leases that nothing belongs to any more end by themselves.
        lock(&self.tasks).iter().for_each(AbortHandle::abort);
    }
}

impl fmt::Debug for EtcdBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EtcdBackend")
            .field(&self.0.shared.link.settings)
            .finish()
    }
}

#[cfg(test)]
mod tests;
