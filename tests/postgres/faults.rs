//! Servers that crash, sessions that are ended, connections that are cut or dead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lock_runtime::{LockManager, Wait};
use servers::{Postgres, Proxy};
use tokio::task::JoinSet;

use super::stage::{Database, LONG, client, connect, number, soon, until, until_waiting};

const TTL: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_section_outlives_a_crash_of_the_server() {
    let mut server = Postgres::start();
    let (holder, other) = (
        connect(&server.url()).await.unwrap(),
        connect(&server.url()).await.unwrap(),
    );
    let guard = holder.lock("task:42").ttl(LONG).acquire().await.unwrap();
    let token = guard.fencing_token().unwrap();
    server.kill();
    server.start_again();
    assert!(guard.is_held());
    let taken = other.lock("task:42").try_acquire().await.unwrap();
    assert!(taken.is_none(), "the crash has freed a lock");
    guard.extend(LONG).await.expect("it is still held");
    guard.release().await.expect("it is still held");
    let next = other.lock("task:42").acquire().await.unwrap();
    assert!(next.fencing_token().unwrap() > token);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_goes_on_waiting_after_a_crash() {
    let mut server = Postgres::start();
    let (holder, other) = (
        connect(&server.url()).await.unwrap(),
        connect(&server.url()).await.unwrap(),
    );
    let guard = holder.lock("name").ttl(LONG).acquire().await.unwrap();
    let mut waiting = JoinSet::new();
    for _ in 0..3 {
        waiting.spawn(other.lock("name").wait(LONG).run(async || ()));
    }
    until_waiting(&holder, "name", 3).await;
    server.kill();
    server.start_again();
    guard.release().await.expect("it is still held");
    while let Some(done) = soon("everybody enters", waiting.join_next()).await {
        done.unwrap().expect("it got its turn");
    }
    let client = client(&server.url()).await;
    until("the queue is empty", async || {
        number(&client, "SELECT count(*) FROM lock_runtime.waiters").await == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_is_waited_for() {
    let mut server = Postgres::start();
    let manager = connect(&server.url()).await.unwrap();
    server.stop();
    let waiting = tokio::spawn(manager.lock("name").wait(LONG).run(async || ()));
    let error = manager
        .lock("other")
        .wait(Wait::NONE)
        .acquire()
        .await
        .expect_err("nobody answers");
    assert!(error.is_unavailable(), "{error}");
    assert!(error.to_string().contains("cannot be reached"), "{error}");
    server.start_again();
    soon("it enters when the server is back", waiting)
        .await
        .unwrap()
        .expect("the server is back");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_an_operator_ends_are_replaced() {
    let database = Database::create();
    let (holder, other) = (database.manager().await, database.manager().await);
    let client = database.client().await;
    for round in 0..5 {
        let guard = holder.lock("name").ttl(LONG).acquire().await.unwrap();
        let waiting = tokio::spawn(other.lock("name").wait(LONG).run(async || ()));
        until_waiting(&holder, "name", 1).await;
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()";
        assert!(number(&client, sql).await >= 2, "round {round}");
        guard.release().await.expect("it is still held");
        soon("the waiter enters", waiting).await.unwrap().unwrap();
    }
    // Both listen again, each on a channel of its own.
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND pid <> pg_backend_pid()";
    until("they have connected anew", async || {
        number(&client, sql).await == 4
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_behind_a_black_hole_is_lost_before_the_next_one_enters() {
    let database = Database::create();
    let proxy = Proxy::to(database.server.port());
    let far = connect(&proxy.url(&database.url())).await.unwrap();
    let near = database.manager().await;
    for _ in 0..3 {
        let held = far.lock("name").ttl(TTL).acquire().await.unwrap();
        let waiting = near.lock("name").ttl(TTL).wait(LONG).acquire();
        proxy.black_hole();
        let next = soon("the lease ends", waiting).await.unwrap();
        assert!(!held.is_held(), "two hold the lock");
        assert!(next.fencing_token() > held.fencing_token());
        next.release().await.unwrap();
        proxy.mend();
        let error = held.release().await.expect_err("it was lost");
        assert!(error.is_lost(), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiters_get_on_while_nobody_can_tell_them_anything() {
    let database = Database::create();
    let proxy = Proxy::to(database.server.port());
    let listen = proxy.url(&database.url());
    let listen = listen.replace('%', "%25").replace(['?', '&'], "");
    let url = format!("{}?listen_url={listen}", database.url());
    let manager = connect(&url).await.unwrap();
    proxy.black_hole();
    let other = database.manager().await;
    for _ in 0..3 {
        let guard = other.lock("name").acquire().await.unwrap();
        let waiting = tokio::spawn(manager.lock("name").wait(LONG).run(async || ()));
        until_waiting(&other, "name", 1).await;
        guard.release().await.unwrap();
        soon("the waiter looks by itself", waiting)
            .await
            .unwrap()
            .unwrap();
    }
    // It is noticed, and others need not send anything for nothing. When messages come through
    // again they may.
    let client = database.client().await;
    let guard = other.lock("name").ttl(LONG).acquire().await.unwrap();
    let waiting = tokio::spawn(manager.lock("name").wait(LONG).run(async || ()));
    let deaf = "SELECT count(*) FROM lock_runtime.waiters WHERE channel LIKE '-%'";
    until("it is noticed", async || number(&client, deaf).await == 1).await;
    proxy.mend();
    let hearing = "SELECT count(*) FROM lock_runtime.waiters WHERE channel NOT LIKE '-%'";
    until("it listens again", async || {
        number(&client, hearing).await == 1
    })
    .await;
    guard.release().await.unwrap();
    soon("it is told", waiting).await.unwrap().unwrap();
}

/// Whatever is cut, and in whatever phase, nobody is in twice, tokens rise, and nobody is stuck.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_reset_in_every_phase_neither_lose_nor_double_a_lock() {
    const TASKS: u64 = 6;
    const TURNS: u64 = 10;
    let database = Database::create();
    let proxy = Arc::new(Proxy::to(database.server.port()));
    let url = proxy.url(&database.url());
    let mut managers = Vec::new();
    for _ in 0..3 {
        managers.push(connect(&url).await.unwrap());
    }
    let inside = Arc::new(AtomicBool::new(false));
    let token = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for number in 0..TASKS {
        let manager: LockManager = managers[number as usize % managers.len()].clone();
        let (inside, token) = (Arc::clone(&inside), Arc::clone(&token));
        tasks.spawn(async move {
            for _ in 0..TURNS {
                let request = manager.lock("name").ttl(LONG).wait(LONG);
                let guard = request.acquire().await.expect("a turn");
                assert!(!inside.swap(true, Ordering::SeqCst), "two are inside");
                let mine = guard.fencing_token().unwrap().get();
                let last = token.swap(mine, Ordering::SeqCst);
                assert!(last < mine, "{last} came before {mine}");
                tokio::time::sleep(Duration::from_millis(2)).await;
                assert!(inside.swap(false, Ordering::SeqCst));
                guard.release().await.expect("it was not lost");
            }
        });
    }
    let resetting = tokio::spawn(async move {
        for pause in (5..150).step_by(7).cycle() {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            proxy.reset();
        }
    });
    while let Some(done) = soon("everybody has had their turns", tasks.join_next()).await {
        done.expect("no turn went wrong");
    }
    resetting.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_arrives_after_it_was_given_up_takes_no_effect() {
    let mut server = Postgres::start();
    let proxy = Proxy::to(server.port());
    let manager = connect(&proxy.url(&server.url())).await.unwrap();
    let near = connect(&server.url()).await.unwrap();
    let before = proxy.connections();
    server.pause();
    // It is in the server's socket, and is read when the server goes on.
    let request = manager.lock("name").ttl(LONG).wait(Wait::NONE);
    let error = soon("the try ends", request.acquire()).await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    let waiting = tokio::spawn(manager.lock("other").ttl(LONG).wait(LONG).acquire());
    until("the connection is given up", async || {
        proxy.connections() > before
    })
    .await;
    waiting.abort();
    server.resume();
    for name in ["name", "other"] {
        until("nothing is left of it", async || {
            near.lock(name)
                .info()
                .await
                .is_ok_and(|info| !info.is_locked() && info.waiting == 0)
        })
        .await;
    }
    let client = client(&server.url()).await;
    let sql = "SELECT count(*) FROM lock_runtime.tombstones";
    until("it is remembered that nobody wants it", async || {
        number(&client, sql).await > 0
    })
    .await;
    // Should it come once more, it is refused.
    let sql = "SELECT count(*) FROM lock_runtime.tombstones t, LATERAL lock_runtime.enter('',
        'name', t.id, 0, 1000, 0, 'try', 0::int2, NULL, '-', '{}') e WHERE NOT e ? 'late'";
    assert_eq!(number(&client, sql).await, 0);
}

/// Whose grant was on its way back when the connection broke asks again, and counts its lease from
/// then: the server has to do the same.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_again_has_a_whole_lease() {
    let database = Database::create();
    drop(database.manager().await);
    let client = database.client().await;
    let enter =
        "SELECT (lock_runtime.enter('', 'name', 'x', 0, 60000, 0, 'try', 0::int2, NULL, '-',
        '{}') ->> 'token')::int8";
    let token = number(&client, enter).await;
    let back = "UPDATE lock_runtime.sections SET ends = clock_timestamp() + interval '1 s'";
    client.batch_execute(back).await.unwrap();
    assert_eq!(number(&client, enter).await, token);
    let left = "SELECT extract(epoch FROM ends - clock_timestamp())::int8
        FROM lock_runtime.sections";
    assert!(number(&client, left).await > 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_the_role_do_not_break_it() {
    let database = Database::create();
    let url = database.url_of_role("limited", "SUPERUSER");
    let role = format!("limited_{}", database.name);
    for setting in [
        "default_transaction_isolation = 'serializable'",
        "statement_timeout = '50ms'",
        "lock_timeout = '1ms'",
        "idle_in_transaction_session_timeout = '1ms'",
        "idle_session_timeout = '150ms'",
        "standard_conforming_strings = off",
        "search_path = ''",
        "TimeZone = 'Asia/Kathmandu'",
        "DateStyle = 'SQL, DMY'",
    ] {
        database
            .server
            .query(&format!("ALTER ROLE {role} SET {setting}"));
    }
    // The limits are for whoever makes the schema too.
    drop(database.manager().await);
    let managers = [connect(&url).await.unwrap(), connect(&url).await.unwrap()];
    let mut tasks = JoinSet::new();
    for number in 0..8 {
        let manager = managers[number % 2].clone();
        tasks.spawn(async move {
            for turn in 0..4 {
                let pause = Duration::from_millis(if turn == 2 { 200 } else { 1 });
                let request = manager.lock(r"it's\:a'name").wait(LONG);
                request.run(|| tokio::time::sleep(pause)).await.unwrap();
            }
        });
    }
    while let Some(done) = soon("everybody has had their turns", tasks.join_next()).await {
        done.unwrap();
    }
    let client = database.client().await;
    client.batch_execute("DISCARD ALL").await.unwrap();
    assert_eq!(super::stage::rows(&client).await, 0);
}
