//! Locks in the daemon `lockd`, for the processes of one host: `unix:/run/lockd.sock`.

mod answers;
mod connection;
mod convert;
mod entering;
mod fault;
mod held;
mod news;
mod pending;
mod resume;
mod session;
mod sites;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use super::{Answer, Backend, Capabilities, Change, ChangeAnswer, Grant, Release, Reply, Request};
use crate::caller::CallerId;
use crate::clock::{Clock, Moment};
use crate::error::BackendError;
use crate::info::LockInfo;
use crate::lease::Lease;
use crate::name::LockName;
use crate::owner::{Owner, Process};
use crate::sync::atomic::AtomicU64;
use crate::sync::{Mutex, lock};
use crate::wire::{MAX_CALLER, Nonce};
use connection::Link;
use entering::Entering;
use fault::Place;
use news::News;
use pending::{How, Renewing, Waiter, What};
use session::Session;

/// Requests but those for sections, renewals and releases are sent for so long, should there be
/// no connection: nobody wants an assignment, or a forced release, that comes later.
const WORTH_SENDING: Duration = Duration::from_secs(30);

/// Requests for sections are sent until their wait is over, but for at least so long: a daemon may
/// be started anew meanwhile. A little less than what a manager waits for its backend by default,
/// so that the clearer one of two errors comes first.
const WORTH_ASKING: Duration = Duration::from_secs(4);

/// A backend whose locks live in the daemon `lockd`, for the processes of one host.
///
/// The daemon pushes grants and losses. It frees the sections of a process that has died at once,
/// but for those that [linger](crate::LockRequest::linger) or were given away by a ticket. All
/// requests of a backend go through one connection.
///
/// # When the connection is cut
///
/// It is made anew, for as long as the manager lives, with pauses of at most 500 ms. Sections
/// that are held are reclaimed then: one that the daemon does not give back is lost at once, and
/// so is one whose lease ends while the daemon is out of reach. Requests wait meanwhile, as long
/// as the manager lets them, and are sent again; at most 16 384 of them. A request for a section
/// that has waited for as long as it may, and for 4 s at least, fails with the reason why the
/// daemon is out of reach. A request that is neither for a section nor gives one back is not sent
/// any more after 30 s.
///
/// A daemon that is started anew may make everybody wait until those who held something have come
/// back: [`InTheWay::Recovering`](crate::InTheWay::Recovering).
///
/// ```no_run
/// use lock_runtime::{Clock, LockManager, LockdBackend};
///
/// # async fn connect() -> Result<(), lock_runtime::LockError> {
/// let backend = LockdBackend::new("/run/lockd.sock", Clock::system()).application("kanban");
/// let manager = LockManager::builder().backend(backend).connect().await?;
/// # Ok(()) }
/// ```
///
/// [`LockManager::connect`](crate::LockManager::connect) does the same with the URL
/// `unix:/run/lockd.sock`.
pub struct LockdBackend(Arc<Shared>);

/// What the backend and the task of its connection have in common.
struct Shared {
    place: Place,
    /// The session's number: who knows it can take up the session.
    session_number: Nonce,
    /// How many connections the session has had, for the daemon to tell a late one.
    connections: AtomicU64,
    clock: Clock,
    process: Arc<Process>,
    session: Mutex<Session>,
    /// There is something to send.
    wake: Notify,
}

impl LockdBackend {
    /// Locks in the daemon that listens at this socket. Nothing is connected before
    /// [`Backend::connect`] is called, which a manager does.
    ///
    /// The clock is the one of the manager that uses it: waits and leases are told to the daemon
    /// as what is left of them by this clock.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>, clock: Clock) -> Self {
        Self::of_process(socket, clock, Process::new(None))
    }

    /// What the service calls itself to others. Default: the program's name.
    ///
    /// A manager that is made [by URL](crate::LockManagerBuilder::url) hands on its own
    /// [`application`](crate::LockManagerBuilder::application).
    #[must_use]
    pub fn application(self, application: impl Into<String>) -> Self {
        let place = self.0.place.path().to_owned();
        let process = Process::new(Some(application.into()));
        Self::of_process(place, self.0.clock.clone(), process)
    }

    pub(crate) fn of_process(
        socket: impl Into<PathBuf>,
        clock: Clock,
        process: Arc<Process>,
    ) -> Self {
        let place = Place::new(socket.into());
        let session = Session::new(place.clone());
        Self(Arc::new(Shared {
            place,
            session_number: Nonce::random(),
            connections: AtomicU64::new(0),
            clock,
            process,
            session: Mutex::new(session),
            wake: Notify::new(),
        }))
    }
}

impl Shared {
    /// Acts on the session, then wakes the connection's task and tells whoever waits: with no
    /// lock held, because whoever is told may ask the next thing at once.
    ///
    /// The time that it acts with is from before: what it sends is not sent earlier than that.
    fn with<R>(&self, act: impl FnOnce(&mut Session, Moment, &mut Vec<News>) -> R) -> R {
        let now = self.clock.now();
        let mut news = Vec::new();
        let mut session = lock(&self.session);
        let result = act(&mut session, now, &mut news);
        let wants_the_task = session.wants_the_task();
        drop(session);
        if wants_the_task {
            self.wake.notify_one();
        }
        for lease in news.into_iter().filter_map(News::tell) {
            self.give_back(&lease);
        }
        result
    }

    /// Gives a section back that nobody came for.
    fn give_back(&self, lease: &Lease) {
        // On a session that is closed nothing is held any more.
        let _closed =
            self.with(|session, now, news| session.release(now, lease, false, None, news));
    }

    fn is_closed(&self) -> bool {
        lock(&self.session).is_closed()
    }

    fn is_settled(&self) -> bool {
        lock(&self.session).is_settled
    }

    /// Takes what there is to send. `false` when the session is closed.
    fn take_output(&self, sending: &mut Vec<u8>) -> bool {
        let now = self.clock.now();
        let mut session = lock(&self.session);
        session.take_output(now, sending);
        !session.is_closed()
    }

    /// Goes on with a new connection. `false` when the session is closed.
    fn resume(&self, link: &Link) -> bool {
        self.with(|session, now, news| {
            if session.is_closed() {
                return false;
            }
            let stream = Arc::clone(&link.stream);
            session.resume(now, stream, link.encoding, news);
            true
        })
    }

    /// Asks something, and waits for the answer.
    fn ask<T: Send + 'static>(
        &self,
        what: impl FnOnce(Moment, Waiter<T>) -> What,
    ) -> Reply<Result<T, BackendError>> {
        let (waiter, answer) = oneshot::channel();
        let asked = self.with(|session, now, _| {
            let until = now + WORTH_SENDING;
            session.put(now, what(until, waiter))
        });
        self.reply(asked, answer)
    }

    /// The answer to come, or why there is none.
    fn reply<T: Send + 'static>(
        &self,
        asked: Result<(), BackendError>,
        answer: oneshot::Receiver<Result<T, BackendError>>,
    ) -> Reply<Result<T, BackendError>> {
        if let Err(error) = asked {
            return Reply::now(Err(error));
        }
        let place = self.place.clone();
        Reply::later(async move { answer.await.unwrap_or_else(|_| Err(unanswered(&place))) })
    }
}

/// Nobody is left who could answer.
fn unanswered(place: &Place) -> BackendError {
    fault::ended(place).effect_unknown()
}

/// Refuses texts that the daemon would refuse.
fn check_callers<'a>(callers: impl IntoIterator<Item = &'a CallerId>) -> Result<(), BackendError> {
    let mut callers = callers.into_iter();
    if callers.any(|caller| caller.as_str().len() > MAX_CALLER) {
        return Err(fault::too_long("a caller's identity", MAX_CALLER));
    }
    Ok(())
}

impl Backend for LockdBackend {
    fn name(&self) -> &str {
        "lockd"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::all()
    }

    fn connect(&self) -> Reply<Result<(), BackendError>> {
        let shared = Arc::clone(&self.0);
        Reply::later(async move {
            let Ok(runtime) = tokio::runtime::Handle::try_current() else {
                return Err(fault::no_runtime(&shared.place));
            };
            let link = connection::open(&shared).await?;
            let is_first = shared.with(|session, now, news| {
                let is_first = session.is_new();
                if is_first {
                    let stream = Arc::clone(&link.stream);
                    session.resume(now, stream, link.encoding, news);
                }
                is_first
            });
            if !is_first {
                return Err(fault::connected_already(&shared.place));
            }
            runtime.spawn(connection::keep(shared, link));
            Ok(())
        })
    }

    fn try_acquire(&self, request: &Request) -> Reply<Result<Answer, BackendError>> {
        self.enter(request, |_| None)
    }

    fn acquire(&self, request: &Request) -> Reply<Result<Answer, BackendError>> {
        self.enter(request, |now| request.wait_until(now))
    }

    fn renew(&self, lease: &Lease, ttl: Duration) -> Reply<Result<bool, BackendError>> {
        let (waiter, answer) = oneshot::channel();
        let renewing = Renewing {
            name: lease.name().clone(),
            owner: lease.owner(),
            ttl,
            waiter,
        };
        let asked = self.0.with(|session, _, _| session.renew(renewing));
        self.0.reply(asked, answer)
    }

    fn release(&self, lease: &Lease, how: Release) -> Reply<Result<bool, BackendError>> {
        let (waiter, answer) = oneshot::channel();
        let body_ran = how == Release::Finished;
        let asked = self
            .0
            .with(|session, now, news| session.release(now, lease, body_ran, Some(waiter), news));
        self.0.reply(asked, answer)
    }

    fn inspect(&self, name: &LockName) -> Reply<Result<LockInfo, BackendError>> {
        let name = name.clone();
        self.0.ask(|until, waiter| What::Inspect {
            name,
            until,
            waiter,
        })
    }

    fn adopt(&self, giver: Owner, request: &Request) -> Reply<Result<Option<Grant>, BackendError>> {
        let entering = Entering::start(&self.0, request, |now| How::Adopt {
            giver,
            until: now + WORTH_SENDING,
        });
        match entering {
            Ok(entering) => Reply::later(async move {
                match entering.await? {
                    Answer::Granted(grant) => Ok(Some(grant)),
                    _ => Ok(None),
                }
            }),
            Err(error) => Reply::now(Err(error)),
        }
    }

    fn detach(&self, lease: &Lease) -> Reply<Result<bool, BackendError>> {
        let (waiter, answer) = oneshot::channel();
        let asked = self
            .0
            .with(|session, now, _| session.detach(now, lease, waiter));
        self.0.reply(asked, answer)
    }

    fn force_release(&self, name: &LockName) -> Reply<Result<usize, BackendError>> {
        let name = name.clone();
        self.0.ask(|until, waiter| What::ForceRelease {
            name,
            until,
            waiter,
        })
    }

    fn change(&self, change: &Change) -> Reply<Result<ChangeAnswer, BackendError>> {
        if let Err(error) = check_callers(change.callers()) {
            return Reply::now(Err(error));
        }
        let change = change.clone();
        self.0.ask(|until, waiter| What::Change {
            change,
            attempt: Nonce::random(),
            until,
            waiter,
        })
    }

    fn list(&self, namespace: &str, prefix: &str) -> Reply<Result<Vec<LockInfo>, BackendError>> {
        if prefix.len() > LockName::MAX_LEN {
            // No name is as long.
            return Reply::now(Ok(Vec::new()));
        }
        let shared = Arc::clone(&self.0);
        let (namespace, prefix) = (namespace.to_owned(), prefix.to_owned());
        Reply::later(async move {
            let (mut locks, mut after) = (Vec::new(), None);
            loop {
                let (page, next) = shared
                    .ask(|until, waiter| What::List {
                        namespace: namespace.clone(),
                        prefix: prefix.clone(),
                        after: after.clone(),
                        until,
                        waiter,
                    })
                    .await?;
                locks.extend(page);
                if next.is_none() {
                    return Ok(locks);
                }
                if next <= after {
                    let what = "a page of locks that ends before it begins";
                    return Err(fault::nonsense(&shared.place, what));
                }
                after = next;
            }
        })
    }
}

impl LockdBackend {
    fn enter(
        &self,
        request: &Request,
        deadline: impl FnOnce(Moment) -> Option<Moment>,
    ) -> Reply<Result<Answer, BackendError>> {
        let entering = Entering::start(&self.0, request, |now| {
            let deadline = deadline(now);
            How::Acquire {
                request: request.clone(),
                deadline,
                until: deadline.unwrap_or(now).max(now + WORTH_ASKING),
            }
        });
        match entering {
            Ok(entering) => Reply::later(entering),
            Err(error) => Reply::now(Err(error)),
        }
    }
}

impl Drop for LockdBackend {
    fn drop(&mut self) {
        self.0.with(|session, _, news| session.say_goodbye(news));
    }
}

impl fmt::Debug for LockdBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockdBackend")
            .field("socket", &self.0.place.path())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
