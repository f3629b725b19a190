//! What cannot work says so, with the way out, and shows no password.

use std::time::Duration;

use lock_runtime::{LockManager, Wait};
use servers::Postgres;

use super::stage::{Database, LONG, client, connect, refusal, soon, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_named_as_such() {
    let database = Database::create();
    database.url_of_role("wrong", "");
    let role = format!("wrong_{}:hunter2", database.name);
    let text = refusal(&database.server.url_of(&role, &database.name)).await;
    assert!(text.contains("user and password"), "{text}");
    assert!(text.contains(&database.server.port().to_string()), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_there_or_closed_is_named() {
    let server = Postgres::shared();
    let text = refusal(&server.url_of("postgres", "nowhere")).await;
    assert!(
        text.contains("`nowhere`") && text.contains("create it"),
        "{text}"
    );
    let database = Database::create();
    let url = database.url_of_role("outside", "");
    server.query(&format!(
        "REVOKE CONNECT ON DATABASE {} FROM PUBLIC",
        database.name
    ));
    let text = refusal(&url).await;
    assert!(text.contains("GRANT CONNECT"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_at_the_port_is_told_at_once() {
    let mut server = Postgres::start();
    server.stop();
    let text = soon("an error", refusal(&server.url())).await;
    assert!(text.contains("cannot be reached"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_is_told_in_time() {
    let mut server = Postgres::start();
    server.pause();
    let url = format!("{}?connect_timeout=1", server.url());
    let text = soon("an error", refusal(&url)).await;
    assert!(text.contains("no answer within 1 s"), "{text}");
    server.resume();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_is_named_as_such() {
    let server = Postgres::options()
        .max_connections(8)
        .setting("superuser_reserved_connections", "1")
        .start();
    server
        .query("CREATE ROLE service SUPERUSER LOGIN PASSWORD 'p'; ALTER ROLE service NOSUPERUSER");
    let url = server.url_of("service:p", "postgres");
    let mut others = Vec::new();
    for _ in 0..7 {
        others.push(client(&url).await);
    }
    let text = refusal(&url).await;
    assert!(text.contains("max_connections"), "{text}");
    assert!(text.contains("needs two"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_no_writes_is_refused() {
    let database = Database::create();
    let url = database.url_of_role("reader", "SUPERUSER");
    let role = format!("reader_{}", database.name);
    let sql = format!("ALTER ROLE {role} SET default_transaction_read_only = on");
    database.server.query(&sql);
    let text = refusal(&url).await;
    assert!(
        text.contains("takes no writes") && text.contains("primary"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_refused_and_of_two_hosts_the_primary_is_used() {
    let mut standby = Postgres::start();
    let folder = standby.query("SHOW data_directory");
    let signal = std::path::Path::new(&folder).join("standby.signal");
    std::fs::write(signal, "").unwrap();
    standby.restart();
    let text = refusal(&standby.url()).await;
    assert!(text.contains("standby"), "{text}");
    let primary = Postgres::start();
    let (first, second) = (standby.port(), primary.port());
    let url = format!("postgres://postgres@127.0.0.1:{first},127.0.0.1:{second}/postgres");
    let manager = connect(&url).await.unwrap();
    manager.lock("name").run(async || ()).await.unwrap();
}

/// A primary that is made read-only while locks are held, as before a planned change of primary.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_to_take_writes_is_waited_for() {
    let server = Postgres::start();
    let manager = connect(&server.url()).await.unwrap();
    server.query("ALTER SYSTEM SET default_transaction_read_only = on");
    server.query("SELECT pg_reload_conf()");
    until("it takes no writes", async || {
        server.query("SHOW default_transaction_read_only") == "on"
    })
    .await;
    let error = manager
        .lock("name")
        .wait(Wait::NONE)
        .acquire()
        .await
        .expect_err("no writes");
    assert!(error.to_string().contains("takes no writes"), "{error}");
    assert!(error.is_transient(), "{error}");
    let waiting = tokio::spawn(manager.lock("name").wait(LONG).run(async || ()));
    let open = client(&server.url()).await;
    open.batch_execute("SET default_transaction_read_only = off")
        .await
        .unwrap();
    let set = "ALTER SYSTEM SET default_transaction_read_only = off";
    open.batch_execute(set).await.unwrap();
    open.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    soon("it enters when writes are taken", waiting)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_somebody_dropped_is_named() {
    let database = Database::create();
    let manager = database.manager().await;
    let client = database.client().await;
    client
        .batch_execute("DROP SCHEMA lock_runtime CASCADE")
        .await
        .unwrap();
    let request = manager.lock("name").wait(Duration::from_secs(1));
    let text = request.acquire().await.unwrap_err().to_string();
    assert!(text.contains("migration()"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_encoding_is_refused() {
    let server = Postgres::shared();
    server.query(
        "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'",
    );
    let text = refusal(&server.url_of("postgres", "latin")).await;
    assert!(text.contains("LATIN1") && text.contains("UTF8"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_shown_nowhere() {
    let url = "postgres://me:hunter2@127.0.0.1:1/app?listen_url=postgres://me:hunter2@localhost";
    let clock = lock_runtime::Clock::system();
    let backend = lock_runtime::PostgresBackend::new(url, clock).unwrap();
    let shown = format!("{backend:?}");
    assert!(
        shown.contains("127.0.0.1:1") && !shown.contains("hunter"),
        "{shown}"
    );
    let manager = LockManager::builder().backend(backend).connect().await;
    let error = manager.expect_err("nobody is there");
    let shown = format!("{error:?} {error}");
    assert!(!shown.contains("hunter"), "{shown}");
}
