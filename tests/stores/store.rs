//! The stores: how a server of each is started, and what is seen of it from outside.

use std::ops::{Deref, DerefMut};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use lock_runtime::LockManager;
use servers::{Etcd, Postgres, Program, Proxy, Redis};

use crate::harness::{PATIENCE, connected, ms};

/// A store of many hosts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Store {
    Redis,
    Postgres,
    Etcd,
}

/// A server of a store. It can be killed, started again and paused, as every [`Program`]; what it
/// has promised it still knows then.
pub(crate) enum Server {
    Redis(Box<Redis>),
    Postgres(Postgres),
    Etcd(Etcd),
}

/// A namespace of a test's own on a server that nobody disturbs.
pub(crate) struct Room {
    pub(crate) server: &'static Server,
    pub(crate) namespace: String,
}

impl Store {
    /// Starts a server of the test's own.
    pub(crate) fn start(self) -> Server {
        match self {
            Self::Redis => Server::Redis(Box::new(Redis::options().durable().start())),
            Self::Postgres => Server::Postgres(Postgres::start()),
            Self::Etcd => Server::Etcd(Etcd::start()),
        }
    }

    /// A namespace of the test's own on the server that all tests share.
    pub(crate) fn room(self) -> Room {
        static REDIS: LazyLock<Server> = LazyLock::new(|| Store::Redis.start());
        static POSTGRES: LazyLock<Server> = LazyLock::new(|| Store::Postgres.start());
        static ETCD: LazyLock<Server> = LazyLock::new(|| Store::Etcd.start());
        static ROOMS: AtomicUsize = AtomicUsize::new(0);
        let server = match self {
            Self::Redis => &REDIS,
            Self::Postgres => &POSTGRES,
            Self::Etcd => &ETCD,
        };
        let number = ROOMS.fetch_add(1, Ordering::Relaxed);
        Room {
            server,
            namespace: format!("room-{number}"),
        }
    }
}

impl Server {
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Redis(server) => server.url(),
            Self::Postgres(server) => server.url(),
            Self::Etcd(server) => server.url(),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Redis(server) => server.port(),
            Self::Postgres(server) => server.port(),
            Self::Etcd(server) => server.port(),
        }
    }

    /// A way to it that can be disturbed, and the URL that leads through it.
    pub(crate) fn way(&self) -> (Proxy, String) {
        let proxy = Proxy::to(self.port());
        let url = proxy.url(&self.url());
        (proxy, url)
    }

    /// A manager of its own, as if it were a process.
    pub(crate) async fn manager(&self) -> LockManager {
        connected(&self.url(), "").await
    }

    /// Waits until it keeps nothing of sections and of those who wait.
    pub(crate) async fn keeps_nothing(&self) {
        let started = Instant::now();
        loop {
            let kept = self.kept();
            if kept.is_empty() {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "it keeps {kept:?}");
            tokio::time::sleep(ms(10)).await;
        }
    }

    /// What it keeps of them, a line each.
    fn kept(&self) -> Vec<String> {
        let lines = match self {
            Self::Redis(server) => server.command(&["KEYS", "lock:*"]),
            Self::Postgres(server) => server.query(
                "SELECT 'section', name FROM lock_runtime.sections
                UNION ALL SELECT 'waiter', name FROM lock_runtime.waiters",
            ),
            Self::Etcd(server) => server.control(&["get", "", "--prefix", "--keys-only"]),
        };
        // The rest are the counter of tokens, and marks that end by themselves.
        let is_of_locks = |line: &&str| match self {
            Self::Redis(_) => [":name:", ":queue:", ":waiters:"]
                .iter()
                .any(|kind| line.contains(kind)),
            Self::Postgres(_) => true,
            Self::Etcd(_) => !line.is_empty() && !line.contains(" withdrawn/"),
        };
        lines
            .lines()
            .filter(is_of_locks)
            .map(str::to_owned)
            .collect()
    }
}

impl Deref for Server {
    type Target = Program;

    fn deref(&self) -> &Program {
        match self {
            Self::Redis(server) => server,
            Self::Postgres(server) => server,
            Self::Etcd(server) => server,
        }
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Program {
        match self {
            Self::Redis(server) => server,
            Self::Postgres(server) => server,
            Self::Etcd(server) => server,
        }
    }
}

impl Room {
    /// A manager of its own, as if it were a process.
    pub(crate) async fn manager(&self) -> LockManager {
        self.manager_at(&self.server.url()).await
    }

    /// One that reaches the server by this URL.
    pub(crate) async fn manager_at(&self, url: &str) -> LockManager {
        connected(url, &self.namespace).await
    }
}
