//! The backend against a daemon that does what a test says.

mod cut;
mod daemon;
mod entering;
mod greeting;
mod limits;
mod requests;

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::LockdBackend;
use super::session::Session;
use crate::backend::{Patience, Request};
use crate::clock::Clock;
use crate::error::LockError;
use crate::fencing::FencingToken;
use crate::guard::Guard;
use crate::lease::{Lease, SharedTerms, Terms};
use crate::manager::LockManager;
use crate::options::{Mode, Wait};
use crate::request::LockRequest;
use crate::sync::lock;
use crate::wire::{Acquire, ToClient, ToDaemon};
use daemon::{Daemon, Peer};

/// The longest that a test waits for something before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

const TTL: Duration = Duration::from_secs(30);

/// A manager that is connected to a daemon that a test plays.
struct Stage {
    runtime: Runtime,
    daemon: Daemon,
    manager: LockManager,
}

impl Stage {
    fn set() -> (Self, Peer) {
        let (runtime, daemon) = (runtime(), Daemon::start());
        let backend = LockdBackend::new(daemon.path(), Clock::system()).application("kanban");
        let connecting = runtime.spawn(LockManager::builder().backend(backend).connect());
        let peer = daemon.accept(false);
        let manager = runtime.block_on(connecting).unwrap().unwrap();
        let stage = Self {
            runtime,
            daemon,
            manager,
        };
        (stage, peer)
    }

    /// Looks at the session of the manager's backend.
    fn session<T>(&self, look: impl FnOnce(&Session) -> T) -> T {
        let backend: &dyn Any = &*self.manager.inner().backend;
        let backend: &LockdBackend = backend.downcast_ref().unwrap();
        look(&lock(&backend.0.session))
    }

    fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.runtime.spawn(future)
    }

    fn end<T>(&self, task: JoinHandle<T>) -> T {
        let ended = async { tokio::time::timeout(PATIENCE, task).await };
        self.runtime.block_on(ended).expect("in time").unwrap()
    }

    fn acquire(&self, request: LockRequest) -> JoinHandle<Result<Guard, LockError>> {
        self.spawn(request.acquire())
    }

    /// A lock in hand, with the request for it.
    fn hold(&self, peer: &mut Peer, request: LockRequest, token: u64) -> (Guard, Acquire<'static>) {
        let task = self.acquire(request);
        let asked = peer.hear_acquire();
        peer.say(&granted(asked.id, token, false));
        (self.end(task).unwrap(), asked)
    }

    /// A request as a manager makes it, for what a manager never does with one.
    #[track_caller]
    fn request(&self, name: &str, wait: Wait, renewed: bool) -> Request {
        let terms = SharedTerms::from(Terms {
            renewed,
            ..Terms::plain(wait)
        });
        let manager = self.manager.reference();
        let name = manager.resolve(name).unwrap();
        let lease = manager.lease_of(None, &terms, None, name).unwrap();
        Request::new(lease, Patience::Wait(wait))
    }

    /// A section that is held by its lease alone, with what the manager would have done.
    fn lease(&self, peer: &mut Peer, request: &Request, token: u64) -> Arc<Lease> {
        let reply = self.manager.inner().backend.acquire(request);
        let task = self.spawn(reply);
        let asked = peer.hear_acquire();
        peer.say(&granted(asked.id, token, false));
        self.end(task).unwrap();
        let lease = Arc::clone(request.lease());
        let deadline = self.manager.clock().now() + TTL;
        lease.grant(FencingToken::new(token), deadline);
        lease
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

fn granted(id: u64, token: u64, queued: bool) -> ToClient<'static> {
    ToClient::Granted {
        id,
        token: FencingToken::new(token),
        mode: Mode::Exclusive,
        queued,
    }
}

fn held(id: u64, held: bool) -> ToClient<'static> {
    ToClient::Held { id, held }
}

/// The number of a request that only has to be of this kind.
macro_rules! id_of {
    ($peer:expr, $kind:ident) => {
        match $peer.hear() {
            ToDaemon::$kind { id, .. } => id,
            other => panic!("{other:?}"),
        }
    };
}
use id_of;

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
