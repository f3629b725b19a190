//! A child that is a service: with its runtime, a manager, and annotated methods.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lock_runtime::{
    Caller, LockError, LockManager, acquire_lock, auth, get_lock, lock_name, locked, release_lock,
    set_lock_manager, transfer_lock,
};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc};

use crate::process::{Role, now, orders, say, settings};
use crate::puppet::inherit;

pub(crate) struct Worker;

impl Role for Worker {
    const TEST: &'static str = "worker::worker";
    type Settings = Settings;
    type Order = Order;
    type Said = Said;
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) url: String,
    pub(crate) namespace: String,
    pub(crate) ttl_ms: u64,
    pub(crate) wait_ms: u64,
    pub(crate) request_timeout_ms: u64,
}

impl Settings {
    pub(crate) fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            namespace: String::new(),
            ttl_ms: 60_000,
            wait_ms: 60_000,
            request_timeout_ms: 30_000,
        }
    }
}

/// What a worker is told. A call that runs a body has a number, and its body ends with `Finish`.
#[derive(Serialize, Deserialize)]
pub(crate) enum Order {
    Assign {
        name: String,
        to: String,
        ttl_ms: Option<u64>,
    },
    /// Increments the counter in a folder so often, or until it is told to stop.
    Count {
        folder: PathBuf,
        times: Option<u32>,
    },
    Finish {
        call: u32,
    },
    /// Runs a section of `task:{task}`.
    Hold {
        call: u32,
        task: String,
    },
    /// Gives the connection to a child of its own as well.
    Inherit,
    LookAt {
        name: String,
    },
    /// Makes a move in a game, as somebody or as nobody known, and passes the turn on.
    Move {
        call: u32,
        game: u32,
        caller: Option<String>,
        next: Option<String>,
    },
    StopCounting,
    /// As this caller, on the word of another.
    Transfer {
        name: String,
        to: String,
        caller: String,
        from: Option<String>,
    },
    Unassign {
        name: String,
        caller: String,
        of: Option<String>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Said {
    /// So many increments were written for certain, and so many calls failed.
    Counted {
        written: u32,
        failed: u32,
    },
    /// The call of a body has ended.
    Ended {
        call: u32,
        error: Option<Trouble>,
    },
    /// The body was dropped before its end. It ran for the last time at that moment.
    Dropped {
        call: u32,
        last_ran: Duration,
    },
    /// The body runs.
    Holds {
        call: u32,
        token: Option<u64>,
        since: Duration,
    },
    Inherited,
    /// Of whom a lock is, and whether that ends by itself.
    Of {
        holder: Option<String>,
        has_end: bool,
    },
    Ready,
    /// What came of anything else.
    Result(Option<Trouble>),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Trouble {
    pub(crate) kind: String,
    pub(crate) text: String,
}

impl From<LockError> for Trouble {
    fn from(error: LockError) -> Self {
        Self {
            kind: format!("{:?}", error.kind()),
            text: error.to_string(),
        }
    }
}

fn trouble<T>(result: Result<T, LockError>) -> Option<Trouble> {
    result.err().map(Trouble::from)
}

/// What a worker does, when this process is one. In an ordinary run this does nothing.
#[test]
fn worker() {
    let Some(settings) = settings::<Settings>() else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let manager = LockManager::builder()
            .url(&settings.url)
            .namespace(&settings.namespace)
            .application("worker")
            .ttl(Duration::from_millis(settings.ttl_ms))
            .wait(Duration::from_millis(settings.wait_ms))
            .request_timeout(Duration::from_millis(settings.request_timeout_ms))
            .connect();
        let manager = manager.await.expect("the daemon answers");
        set_lock_manager(manager).expect("the first one");
        let (sender, mut orders_heard) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for order in orders() {
                let _ended = sender.send(order);
            }
        });
        say(&Said::Ready);
        let service = Arc::new(Service::default());
        while let Some(order) = orders_heard.recv().await {
            tokio::spawn(obey(Arc::clone(&service), settings.url.clone(), order));
        }
    });
}

async fn obey(service: Arc<Service>, url: String, order: Order) {
    match order {
        Order::Assign { name, to, ttl_ms } => {
            let mut request = acquire_lock(name, to);
            if let Some(ttl) = ttl_ms {
                request = request.ttl(Duration::from_millis(ttl));
            }
            say(&Said::Result(trouble(request.await)));
        }
        Order::Count { folder, times } => service.count(&folder, times).await,
        Order::Finish { call } => service.end_of(call).notify_one(),
        Order::Hold { call, task } => {
            let error = trouble(service.hold(call, &task).await);
            say(&Said::Ended { call, error });
        }
        Order::Inherit => {
            inherit_connection(Path::new(url.trim_start_matches("unix:")));
            say(&Said::Inherited);
        }
        Order::LookAt { name } => match get_lock(name).await {
            Ok(lock) => say(&Said::Of {
                holder: lock.holder.map(|holder| holder.as_str().to_owned()),
                has_end: lock.expires_at.is_some(),
            }),
            Err(error) => say(&Said::Result(Some(error.into()))),
        },
        Order::Move {
            call,
            game,
            caller,
            next,
        } => {
            let caller = caller.map_or_else(Caller::anonymous, Caller::new);
            let moved = caller.scope(service.make_move(call, game, next.as_deref()));
            let error = trouble(moved.await);
            say(&Said::Ended { call, error });
        }
        Order::StopCounting => service.is_to_stop.store(true, Ordering::SeqCst),
        Order::Transfer {
            name,
            to,
            caller,
            from,
        } => {
            let mut request = transfer_lock(name, to);
            if let Some(from) = from {
                request = request.from(from);
            }
            let result = Caller::new(caller).scope(request).await;
            say(&Said::Result(trouble(result)));
        }
        Order::Unassign { name, caller, of } => {
            let mut request = release_lock(name);
            if let Some(of) = of {
                request = request.caller(of);
            }
            let result = Caller::new(caller).scope(request).await;
            say(&Said::Result(trouble(result)));
        }
    }
}

/// What has locked methods.
#[derive(Default)]
struct Service {
    ends: Mutex<HashMap<u32, Arc<Notify>>>,
    is_to_stop: AtomicBool,
    failed: AtomicU32,
}

/// A body that runs. It says so when it is dropped before its end.
struct Running {
    call: u32,
    last_ran: Duration,
    is_done: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_done {
            let Self { call, last_ran, .. } = *self;
            say(&Said::Dropped { call, last_ran });
        }
    }
}

impl Service {
    fn end_of(&self, call: u32) -> Arc<Notify> {
        let mut ends = self.ends.lock().expect("nobody panics");
        Arc::clone(ends.entry(call).or_default())
    }

    /// Runs, a little at a time, until it is told to end.
    async fn run(&self, call: u32, token: Option<u64>) {
        let since = now();
        say(&Said::Holds { call, token, since });
        let mut running = Running {
            call,
            last_ran: since,
            is_done: false,
        };
        let end = self.end_of(call);
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        loop {
            tokio::select! {
                () = end.notified() => break,
                _ = tick.tick() => running.last_ran = now(),
            }
        }
        running.is_done = true;
    }

    #[locked("task:{task}", guard = held)]
    async fn hold(&self, call: u32, task: &str) -> Result<(), LockError> {
        self.run(call, held.fencing_token().map(u64::from)).await;
        Ok(())
    }

    /// Counts one more. `is_written` says whether that has happened, whatever comes of the call.
    #[locked("counter", guard = held)]
    async fn increment(
        &self,
        folder: &Path,
        number: u32,
        is_written: &AtomicBool,
    ) -> Result<(), LockError> {
        let counter = folder.join("counter");
        let before = std::fs::read_to_string(&counter).expect("read");
        let before: u64 = before.parse().expect("a number");
        // Others get their chance.
        tokio::task::yield_now().await;
        std::fs::write(&counter, (before + 1).to_string()).expect("written");
        let token = held.fencing_token().expect("it is held");
        let line = format!("{} {} {number}\n", u64::from(token), std::process::id());
        let mut log = OpenOptions::new()
            .append(true)
            .open(folder.join("written"))
            .expect("opened");
        assert_eq!(log.write(line.as_bytes()).expect("written"), line.len());
        is_written.store(true, Ordering::SeqCst);
        Ok(())
    }

    async fn count(&self, folder: &Path, times: Option<u32>) {
        let mut written = 0;
        while times.is_none_or(|times| written < times) && !self.is_to_stop.load(Ordering::SeqCst) {
            let is_written = AtomicBool::new(false);
            if let Err(error) = self.increment(folder, written, &is_written).await {
                self.failed.fetch_add(1, Ordering::SeqCst);
                eprintln!("a call failed: {error}");
            }
            written += u32::from(is_written.into_inner());
        }
        let failed = self.failed.load(Ordering::SeqCst);
        say(&Said::Counted { written, failed });
    }
}

#[auth]
impl Service {
    #[locked("turn:{game}", guard = held)]
    async fn make_move(&self, call: u32, game: u32, next: Option<&str>) -> Result<(), LockError> {
        if let Some(next) = next {
            transfer_lock(lock_name!("turn:{game}"), next).await?;
        }
        self.run(call, held.fencing_token().map(u64::from)).await;
        Ok(())
    }
}

/// Starts a child that has the connection to the daemon open, as a program that forks does.
fn inherit_connection(socket: &Path) {
    let this = pidfd_open(getpid(), PidfdFlags::empty()).expect("this process");
    let open = std::fs::read_dir("/proc/self/fd").expect("shown");
    let is_connection = |stream: &UnixStream| {
        let peer = stream.peer_addr().ok();
        peer.is_some_and(|peer| peer.as_pathname() == Some(socket))
    };
    let connection = open.flatten().find_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        let duplicate = pidfd_getfd(&this, number, PidfdGetfdFlags::empty()).ok()?;
        Some(UnixStream::from(duplicate)).filter(is_connection)
    });
    inherit(OwnedFd::from(connection.expect("it is connected")));
}
