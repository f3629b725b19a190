//! Locks in PostgreSQL, for the processes of many hosts: `postgres://user@host/database`.

mod answers;
mod arguments;
mod asking;
mod call;
mod channel;
mod fault;
mod line;
mod link;
mod listening;
mod news;
mod schema;
mod settings;
mod start;
mod tls;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::waiting::{Question, Waiters};
use super::{Answer, Backend, Capabilities, Change, ChangeAnswer, Grant, Release, Reply, Request};
use crate::caller::CallerId;
use crate::clock::Clock;
use crate::error::{BackendError, LockError};
use crate::info::LockInfo;
use crate::lease::Lease;
use crate::name::LockName;
use crate::owner::{Owner, Process};
use crate::sync::{Mutex, lock};
use answers::{Changed, Forced, Kept, Lock};
use asking::into_error;
use call::Call;
use channel::Channel;
use fault::Place;
use line::{MAX_WAITING, Waiting};
use news::Sections;
use settings::Settings;

/// What is asked of PostgreSQL while it cannot be reached is asked again for so long, but for
/// sections, renewals and releases: nobody wants an assignment that comes later. A little less
/// than what a manager waits for its backend by default, so that the clearer error comes first.
const WORTH_ASKING: Duration = Duration::from_secs(4);

/// How many locks are listed at a time.
const PAGE: usize = 500;

/// A lease that is shorter is renewed without waiting for other renewals to go along.
const IN_NO_HURRY: Duration = Duration::from_secs(3);

/// A backend whose locks live in a PostgreSQL database, version 14 or newer, for the processes of
/// many hosts.
///
/// A lock is a few rows while it is held, waited for or assigned, and nothing when it is free.
/// Every request is one call of a function that decides by the server's clock; requests that come
/// at the same time share a transaction. A release hands the lock to the next waiter, and tells
/// its process through `NOTIFY`. It is theirs for 1.5 s, within which their process renews it, so
/// that one that is dead delays the others for no longer; a server that goes away in the first
/// 0.2 s of that has to be back within 1 s. A manager has two connections: one for statements, one that listens.
///
/// # The URL
///
/// `postgres://user:password@host:5432/database?option=value`. With several hosts,
/// `host:5432,other:5432`, they are tried one after the other, and the one that takes writes is
/// used.
///
/// | option | meaning | default |
/// |---|---|---|
/// | `schema` | the schema that the locks are in | `lock_runtime` |
/// | `migrate` | whether a missing schema is made | `true` |
/// | `listen_url` | a URL, percent-encoded, that leads past a pooler | the URL itself |
/// | `sslmode` | `disable`, `verify-full`; with `insecure=true` also `require`, `prefer` | `verify-full`, but `disable` on this host |
/// | `sslrootcert` | a PEM file of who may sign the server's certificate | what the system trusts |
/// | `sslcert`, `sslkey` | PEM files of the certificate that this program shows, and of its key, which is unencrypted | none |
/// | `connect_timeout` | seconds that each host has | `3` |
///
/// TLS needs the feature `postgres-tls`. Its files are read once, when the backend is made. A
/// `listen_url` names its own.
///
/// # Rights
///
/// The schema is made on first use where the role may do that. Otherwise run
/// [`migration`](Self::migration) as another role; the service's own role then needs nothing but
/// `USAGE` on the schema and `EXECUTE` on its functions.
///
/// # Behind pgbouncer
///
/// All statements work in transaction mode. `LISTEN` does not: give a `listen_url` that leads to
/// the server itself. Without one the backend notices, says so once at start-up, and its waiters
/// look every 100 ms. They also do while the connection that listens is silent.
///
/// # Transactions that verify a section
///
/// While a transaction that [verifies](crate::Held::verify) a section commits, or is prepared and
/// not yet ended, a release does not wait for it, but the lock stays busy until it has ended.
/// Adopting the section and releasing it by force are asked again for 4 s, and then fail.
///
/// # What holds
///
/// | when | exclusion | tokens |
/// |---|---|---|
/// | nothing fails | held until released, or until the lease ends by the server's clock | rise |
/// | an owner is paused past its lease | the next one enters; the paused one is refused by the token, and by [`Held::verify`](crate::Held::verify) | rise |
/// | the server crashes and restarts | kept, as are queue and leases, with `synchronous_commit` on; but for a section that came out of a queue less than 0.2 s before, if the server is away for longer than 1 s | rise, with gaps |
/// | a fail-over to a synchronous standby | the same | rise |
/// | a fail-over to an asynchronous standby | what it had not received is lost: two may hold a lock | may repeat |
/// | the server's clock jumps | forward: leases end early; back: they last longer | rise |
///
/// While the server is out of reach, sections are kept until their leases end, requests are asked
/// again until their wait is over, and the connection is made anew for as long as the manager
/// lives. Everybody with the right to call the functions is trusted. The secrets of owners are in
/// the statements, and so in the server's log if it logs those.
///
/// ```no_run
/// use lock_runtime::{Clock, LockManager, PostgresBackend};
///
/// # async fn connect() -> Result<(), lock_runtime::LockError> {
/// let backend = PostgresBackend::new("postgres://kanban@localhost/kanban", Clock::system())?;
/// let manager = LockManager::builder().backend(backend).connect().await?;
/// # Ok(()) }
/// ```
///
/// [`LockManager::connect`](crate::LockManager::connect) does the same with the URL alone.
pub struct PostgresBackend {
    shared: Arc<Shared>,
    /// What is to be sent, until there is a connection that it is sent over.
    calls: Mutex<Option<mpsc::Receiver<Waiting>>>,
    tasks: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

/// What the backend and its tasks have in common.
struct Shared {
    settings: Arc<Settings>,
    clock: Clock,
    process: Arc<Process>,
    channel: Arc<Channel>,
    line: mpsc::Sender<Waiting>,
    waiters: Arc<Waiters>,
    sections: Sections,
    /// Calls that wait for others to go with are to be sent now.
    hurry: Arc<Notify>,
}

impl PostgresBackend {
    /// Locks in the database of this URL. Nothing is connected before [`Backend::connect`] is
    /// called, which a manager does.
    ///
    /// The clock is the one of the manager that uses it.
    ///
    /// # Errors
    ///
    /// When the URL is wrong. The error shows nothing of user and password.
    pub fn new(url: &str, clock: Clock) -> Result<Self, LockError> {
        Self::of_process(url, clock, Process::new(None))
    }

    /// What the service calls itself to others. Default: the program's name.
    ///
    /// A manager that is made [by URL](crate::LockManagerBuilder::url) hands on its own
    /// [`application`](crate::LockManagerBuilder::application).
    #[must_use]
    pub fn application(self, application: impl Into<String>) -> Self {
        let process = Process::new(Some(application.into()));
        let Shared {
            settings, clock, ..
        } = &*self.shared;
        Self::with(Arc::clone(settings), clock.clone(), process)
    }

    /// The SQL that a database needs, for a role to run that may create a schema. It may be run
    /// again, and says what else there is to do.
    #[must_use]
    pub fn migration() -> &'static str {
        schema::MIGRATION
    }

    pub(crate) fn of_process(
        url: &str,
        clock: Clock,
        process: Arc<Process>,
    ) -> Result<Self, LockError> {
        let settings = Arc::new(Settings::parse(url)?);
        Ok(Self::with(settings, clock, process))
    }

    fn with(settings: Arc<Settings>, clock: Clock, process: Arc<Process>) -> Self {
        let (line, calls) = mpsc::channel(MAX_WAITING);
        Self {
            shared: Arc::new(Shared {
                settings,
                clock,
                process,
                channel: Arc::new(Channel::new()),
                line,
                waiters: Arc::default(),
                sections: Sections::default(),
                hurry: Arc::default(),
            }),
            calls: Mutex::new(Some(calls)),
            tasks: Arc::default(),
        }
    }

    /// A statement for a transaction in the same database, which then commits only while these
    /// sections are held.
    pub(crate) fn verification<'a>(&self, leases: impl Iterator<Item = &'a Lease>) -> String {
        call::verification(&self.shared.settings.schema, leases)
    }
}

impl Shared {
    fn place(&self) -> &Place {
        &self.settings.statements.place
    }

    fn application(&self) -> String {
        self.process.application().replace('\0', "")
    }
}

impl Backend for PostgresBackend {
    fn name(&self) -> &str {
        "postgres"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::all()
    }

    fn connect(&self) -> Reply<Result<(), BackendError>> {
        let place = self.shared.place();
        if tokio::runtime::Handle::try_current().is_err() {
            return Reply::now(Err(fault::no_runtime(place)));
        }
        let Some(calls) = lock(&self.calls).take() else {
            return Reply::now(Err(fault::connected_already(place)));
        };
        let (shared, tasks) = (Arc::clone(&self.shared), Arc::clone(&self.tasks));
        Reply::later(async move {
            let started = shared.connect(calls).await?;
            lock(&tasks).extend(started);
            Ok(())
        })
    }

    fn try_acquire(&self, request: &Request) -> Reply<Result<Answer, BackendError>> {
        if let Err(error) = check_callers(request.caller()) {
            return Reply::now(Err(error));
        }
        let shared = Arc::clone(&self.shared);
        let request = request.clone();
        Reply::later(async move {
            let now = shared.clock.now();
            let answer = shared.enter(request, Question::Try, now, true).await;
            answer.map_err(into_error)
        })
    }

    fn acquire(&self, request: &Request) -> Reply<Result<Answer, BackendError>> {
        match check_callers(request.caller()) {
            Ok(()) => self.shared.start_to_enter(request),
            Err(error) => Reply::now(Err(error)),
        }
    }

    fn renew(&self, lease: &Lease, ttl: Duration) -> Reply<Result<bool, BackendError>> {
        let shared = Arc::clone(&self.shared);
        let call = Call::Renew {
            name: lease.name().clone(),
            owner: lease.owner(),
            ttl,
        };
        Reply::later(async move {
            let answer = shared.ask(call, ttl < IN_NO_HURRY).await;
            let answer = answer.map_err(into_error)?;
            Ok(answers::read::<Kept>(shared.place(), &answer.text)?.held)
        })
    }

    fn release(&self, lease: &Lease, how: Release) -> Reply<Result<bool, BackendError>> {
        let shared = Arc::clone(&self.shared);
        let owner = lease.owner();
        // Whoever still asks would queue anew.
        shared.waiters.give_up(owner.id());
        shared.holds_no_more(owner.id());
        let call = Call::Release {
            name: lease.name().clone(),
            owner,
            how,
        };
        let worth = lease.ttl();
        Reply::later(async move {
            let (answer, may_be_done) = shared.insist_and_know(call, worth).await?;
            let kept: Kept = answers::read(shared.place(), &answer)?;
            // What is gone when it is asked again was ended by the call before: its lease was not
            // over when that was sent, or the owner would know by its own clock.
            Ok(kept.held || may_be_done)
        })
    }

    fn inspect(&self, name: &LockName) -> Reply<Result<LockInfo, BackendError>> {
        let shared = Arc::clone(&self.shared);
        let name = name.clone();
        Reply::later(async move {
            let namespace = name.namespace().to_owned();
            let answer = shared.insist(Call::Inspect(name), WORTH_ASKING).await?;
            answers::read::<Lock>(shared.place(), &answer)?.info(shared.place(), &namespace)
        })
    }

    fn adopt(&self, giver: Owner, request: &Request) -> Reply<Result<Option<Grant>, BackendError>> {
        let shared = Arc::clone(&self.shared);
        let request = request.clone();
        Reply::later(async move {
            let call = Call::Adopt {
                giver,
                request: request.clone(),
            };
            let answer = shared.insist(call, WORTH_ASKING).await?;
            let grant = answers::read::<Kept>(shared.place(), &answer)?.grant()?;
            if grant.is_some() {
                shared.holds(request.lease());
            }
            Ok(grant)
        })
    }

    fn detach(&self, lease: &Lease) -> Reply<Result<bool, BackendError>> {
        // A section ends with its lease, whatever becomes of this process.
        self.shared.holds_no_more(lease.owner().id());
        Reply::now(Ok(true))
    }

    fn force_release(&self, name: &LockName) -> Reply<Result<usize, BackendError>> {
        let shared = Arc::clone(&self.shared);
        let name = name.clone();
        Reply::later(async move {
            let call = Call::ForceRelease(name);
            let answer = shared.insist(call, WORTH_ASKING).await?;
            Ok(answers::read::<Forced>(shared.place(), &answer)?.ended)
        })
    }

    fn change(&self, change: &Change) -> Reply<Result<ChangeAnswer, BackendError>> {
        if let Err(error) = check_callers(change.callers()) {
            return Reply::now(Err(error));
        }
        let shared = Arc::clone(&self.shared);
        let call = Call::Change {
            change: Arc::new(change.clone()),
            attempt: rand::random(),
            is_again: false,
        };
        Reply::later(async move {
            let answer = shared.insist(call, WORTH_ASKING).await?;
            answers::read::<Changed>(shared.place(), &answer)?.answer(shared.place())
        })
    }

    fn list(&self, namespace: &str, prefix: &str) -> Reply<Result<Vec<LockInfo>, BackendError>> {
        if prefix.contains('\0') {
            // No name has one.
            return Reply::now(Ok(Vec::new()));
        }
        let shared = Arc::clone(&self.shared);
        let (namespace, prefix) = (namespace.to_owned(), prefix.to_owned());
        Reply::later(async move {
            let (mut locks, mut after) = (Vec::new(), String::new());
            loop {
                let call = Call::List {
                    namespace: namespace.clone(),
                    prefix: prefix.clone(),
                    after: after.clone(),
                    limit: PAGE,
                };
                let answer = shared.insist(call, WORTH_ASKING).await?;
                let page: Vec<Lock> = answers::read(shared.place(), &answer)?;
                let is_last = page.len() < PAGE;
                if let Some(last) = page.last() {
                    last.name().clone_into(&mut after);
                }
                for lock in page {
                    locks.push(lock.info(shared.place(), &namespace)?);
                }
                if is_last {
                    return Ok(locks);
                }
            }
        })
    }
}

impl Drop for PostgresBackend {
    fn drop(&mut self) {
        lock(&self.tasks).drain(..).for_each(|task| task.abort());
    }
}

impl fmt::Debug for PostgresBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresBackend")
            .field("place", &self.shared.place().to_string())
            .field("schema", &self.shared.settings.schema)
            .finish_non_exhaustive()
    }
}

/// Refuses texts that PostgreSQL would refuse.
fn check_callers<'a>(callers: impl IntoIterator<Item = &'a CallerId>) -> Result<(), BackendError> {
    let mut callers = callers.into_iter();
    if callers.any(|caller| caller.as_str().contains('\0')) {
        return Err(fault::zero_byte("a caller's identity"));
    }
    Ok(())
}
