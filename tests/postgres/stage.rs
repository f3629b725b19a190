//! What the tests have in common: databases of their own, managers, and waiting.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lock_runtime::{LockError, LockManager};
use servers::Postgres;
use tokio_postgres::{Client, NoTls};

/// Ten times what the slowest honest answer takes on a machine that does other things.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A lease that nobody waits for.
pub(super) const LONG: Duration = Duration::from_secs(600);

/// A database of its own on the server that all tests share.
pub(super) struct Database {
    pub(super) name: String,
    pub(super) server: &'static Postgres,
}

impl Database {
    pub(super) fn create() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let server = Postgres::shared();
        let name = format!("test_{number}");
        server.query(&format!("CREATE DATABASE {name}"));
        Self { name, server }
    }

    pub(super) fn url(&self) -> String {
        self.server.url_of("postgres", &self.name)
    }

    /// The URL for a new role with these attributes.
    pub(super) fn url_of_role(&self, role: &str, attributes: &str) -> String {
        let role = format!("{role}_{}", self.name);
        self.server.query(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'p' {attributes}"
        ));
        self.server.url_of(&format!("{role}:p"), &self.name)
    }

    pub(super) async fn manager(&self) -> LockManager {
        connect(&self.url()).await.expect("it connects")
    }

    pub(super) async fn client(&self) -> Client {
        client(&self.url()).await
    }
}

pub(super) async fn connect(url: &str) -> Result<LockManager, LockError> {
    let manager = LockManager::builder().application("tests");
    manager.url(url).connect().await
}

/// What is wrong with connecting there.
pub(super) async fn refusal(url: &str) -> String {
    let text = connect(url).await.expect_err("a refusal").to_string();
    assert!(!text.contains("hunter"), "{text}");
    text
}

/// A connection that the locks have nothing to do with.
pub(super) async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .expect("it connects");
    tokio::spawn(connection);
    client
}

/// One number that a statement answers.
pub(super) async fn number(client: &Client, sql: &str) -> i64 {
    let row = client.query_one(sql, &[]).await;
    row.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
        .get(0)
}

/// Everything that a schema knows of locks.
pub(super) async fn rows(client: &Client) -> i64 {
    let sql = "SELECT (SELECT count(*) FROM lock_runtime.sections)
        + (SELECT count(*) FROM lock_runtime.waiters)
        + (SELECT count(*) FROM lock_runtime.assignments)
        + (SELECT count(*) FROM lock_runtime.verifications)";
    number(client, sql).await
}

/// Waits for what has to happen.
pub(super) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}

/// Waits until something is so.
pub(super) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !is_so().await {
        assert!(
            started.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until so many wait for a name.
pub(super) async fn until_waiting(manager: &LockManager, name: &str, count: usize) {
    until("they wait", async || {
        manager
            .lock(name)
            .info()
            .await
            .is_ok_and(|info| info.waiting == count)
    })
    .await;
}
