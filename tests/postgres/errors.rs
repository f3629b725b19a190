//! What cannot work says so, with the way out, and shows no password.

use std::time::Duration;

use lock_runtime::{LockManager, Wait};
use servers::{Postgres, Proxy};
use tokio::task::JoinSet;

use super::stage::{Database, LONG, client, connect, refusal, soon, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_named_as_such() {
    let database = Database::create();
    database.url_of_role("wrong", "");
    let role = format!("wrong_{}:hunter2", database.name);
    let text = refusal(&database.server.url_of(&role, &database.name)).await;
    assert!(text.contains("user and password"), "{text}");
    assert!(text.contains(&database.server.port().to_string()), "{text}");
    assert!(text.starts_with("the lock backend failed: "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_password_is_named_as_such() {
    let database = Database::create();
    database.url_of_role("silent", "");
    let role = format!("silent_{}", database.name);
    let url = database.server.url_of(&role, &database.name);
    let text = soon("an error", refusal(&url)).await;
    assert!(text.contains("asks for a password"), "{text}");
    assert!(
        text.contains("`postgres://user:password@host/database`"),
        "{text}"
    );
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
    assert!(text.contains("start it, or check host and port"), "{text}");
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

/// The first host takes connections and says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_hosts_the_one_that_answers_is_used() {
    let database = Database::create();
    let dead = Proxy::to(database.server.port());
    dead.black_hole();
    let (first, second) = (dead.port(), database.server.port());
    let name = &database.name;
    let hosts = format!("postgres@127.0.0.1:{first},127.0.0.1:{second}/{name}");
    let url = format!("postgres://{hosts}?connect_timeout=1");
    let manager = soon("it connects", connect(&url)).await.unwrap();
    manager.lock("name").run(async || ()).await.unwrap();
    // The dead one was asked once: whoever connects afterwards knows which one answers.
    assert_eq!(dead.connections(), 1);

    let hosts = format!("postgres@127.0.0.1:{first},127.0.0.1:{first}/{name}");
    let text = refusal(&format!("postgres://{hosts}?connect_timeout=1")).await;
    assert_eq!(text.matches("no answer within 1 s").count(), 2, "{text}");
}

/// It lets everybody in and takes no writes: that is no reason to come back all the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lets_in_and_refuses_everything_is_left_alone() {
    let database = Database::create();
    let proxy = Proxy::to(database.server.port());
    let manager = connect(&proxy.url(&database.url())).await.unwrap();
    let sql = format!(
        "ALTER DATABASE {} SET default_transaction_read_only = on",
        database.name
    );
    database.server.query(&sql);
    proxy.reset();
    let before = proxy.connections();
    let mut tasks = JoinSet::new();
    for number in 0..50 {
        let request = manager.lock(format!("name:{number}"));
        tasks.spawn(request.wait(Duration::from_secs(4)).acquire());
    }
    while let Some(done) = soon("all give up", tasks.join_next()).await {
        let error = done.unwrap().expect_err("no writes");
        assert!(error.is_unavailable(), "{error}");
    }
    // Ten that come ever more slowly, then two in a second.
    let connections = proxy.connections() - before;
    assert!(
        connections < 40,
        "{connections} connections in some seconds"
    );
}

/// The lock is given back even where the server does not let the process in for a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_insists_while_the_password_is_wrong() {
    let database = Database::create();
    let url = database.url_of_role("rotated", "SUPERUSER");
    let role = format!("rotated_{}", database.name);
    let (manager, other) = (connect(&url).await.unwrap(), database.manager().await);
    let guard = manager.lock("name").ttl(LONG).acquire().await.unwrap();
    let server = database.server;
    server.query(&format!("ALTER ROLE {role} PASSWORD 'q'"));
    server.query(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"
    ));
    let error = manager.lock("other").acquire().await.unwrap_err();
    assert!(error.to_string().contains("user and password"), "{error}");
    let releasing = tokio::spawn(guard.release());
    // Another one fails after it, so that it has failed too.
    let refused = manager.lock("other").acquire().await;
    assert!(refused.is_err());
    server.query(&format!("ALTER ROLE {role} PASSWORD 'p'"));
    soon("it is given back", releasing).await.unwrap().unwrap();
    other.lock("name").run(async || ()).await.unwrap();
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

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_full_is_named_as_such() {
    let database = Database::create();
    let manager = database.manager().await;
    let client = database.client().await;
    let guard = manager.lock("name").ttl(LONG).acquire().await.unwrap();
    let sql = "INSERT INTO lock_runtime.waiters
            (namespace, name, owner, mode, auth, since, shown, channel, info)
        SELECT namespace, name, 'w' || n, 0, 0, now(), now(), '-', '{}'
        FROM lock_runtime.sections, generate_series(1, 65536) n";
    client.batch_execute(sql).await.unwrap();
    let waiting = manager.lock("name").wait(LONG).acquire();
    let error = soon("an error", waiting).await.unwrap_err();
    assert!(error.to_string().contains("65536 wait"), "{error}");
    // Somebody leaves.
    let sql = "DELETE FROM lock_runtime.waiters WHERE owner = 'w1'";
    client.batch_execute(sql).await.unwrap();
    let waiting = manager.lock("name").wait(Duration::from_millis(100));
    let error = waiting.acquire().await.unwrap_err();
    assert!(error.is_busy(), "{error}");
    guard.release().await.unwrap();
}
