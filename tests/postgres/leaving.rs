//! Nothing stays of a lock that is free.

use std::time::Duration;

use lock_runtime::Caller;
use tokio::task::JoinSet;
use tokio_postgres::Client;

use super::stage::{Database, LONG, number, rows, soon, until, until_waiting};

#[tokio::test(flavor = "multi_thread")]
async fn many_names_leave_nothing() {
    const NAMES: usize = 10_000;
    const TASKS: usize = 100;
    let database = Database::create();
    let manager = database.manager().await;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let manager = manager.clone();
        tasks.spawn(async move {
            for name in 0..NAMES / TASKS {
                let request = manager.lock(format!("name:{task}:{name}"));
                request.run(async || ()).await.unwrap();
            }
        });
    }
    while let Some(done) = soon("all names were locked", tasks.join_next()).await {
        done.unwrap();
    }
    let client = database.client().await;
    assert_eq!(rows(&client).await, 0);
    let tombstones = "SELECT count(*) FROM lock_runtime.tombstones";
    assert_eq!(number(&client, tombstones).await, 0);
    let transactions =
        "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";
    // Many requests shared a transaction.
    let count = number(&client, transactions).await;
    assert!(count < NAMES as i64, "{count} transactions");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_cancelled_leaves_nothing() {
    let database = Database::create();
    let (holder, other) = (database.manager().await, database.manager().await);
    let client = database.client().await;
    for pause in [0, 1, 2, 5, 10, 20] {
        let guard = holder.lock("name").ttl(LONG).acquire().await.unwrap();
        let mut waiting = JoinSet::new();
        for _ in 0..10 {
            waiting.spawn(other.lock("name").ttl(LONG).wait(LONG).acquire());
            waiting.spawn(
                other
                    .lock(format!("free:{pause}"))
                    .ttl(LONG)
                    .wait(LONG)
                    .acquire(),
            );
        }
        tokio::time::sleep(Duration::from_millis(pause)).await;
        waiting.shutdown().await;
        guard.release().await.unwrap();
        until("nothing is left", async || rows(&client).await == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn very_short_waits_leave_nothing() {
    let database = Database::create();
    let (holder, other) = (database.manager().await, database.manager().await);
    let client = database.client().await;
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let manager = if task % 2 == 0 { &holder } else { &other }.clone();
        tasks.spawn(async move {
            for turn in 0..50 {
                let wait = Duration::from_millis(1 + turn % 5);
                match manager.lock("name").ttl(LONG).wait(wait).acquire().await {
                    Ok(guard) => guard.release().await.unwrap(),
                    Err(error) => assert!(error.is_busy(), "{error}"),
                }
            }
        });
    }
    while let Some(done) = soon("everybody has tried", tasks.join_next()).await {
        done.unwrap();
    }
    until("nothing is left", async || rows(&client).await == 0).await;
}

/// From now on nobody but this client clears away what has ended by itself.
async fn keep_from_sweeping(client: &Client) {
    let sql = "SELECT pg_advisory_lock(hashtextextended('lock_runtime sweep', 0))";
    client.batch_execute(sql).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_by_itself_is_cleared_away() {
    let database = Database::create();
    let manager = database.manager().await;
    let client = database.client().await;
    keep_from_sweeping(&client).await;
    let short = Duration::from_millis(100);
    let mut silent = Vec::new();
    for number in 0..20 {
        let request = manager
            .lock(format!("name:{number}"))
            .ttl(short)
            .renew(false);
        silent.push(request.acquire().await.unwrap());
    }
    let turn = manager.acquire_lock("turn", Caller::new("anna")).ttl(short);
    turn.await.unwrap();
    // A waiter whose process died long ago.
    let sql = "INSERT INTO lock_runtime.waiters
            (namespace, name, owner, mode, auth, since, shown, channel, info)
        VALUES ('', 'dead', 'x', 0, 0, now(), now() - interval '1 h', '-', '{}'),
            -- The clock went back since.
            ('', 'later', 'y', 0, 0, now(), now() + interval '1 h', '-', '{}')";
    client.batch_execute(sql).await.unwrap();
    assert_eq!(rows(&client).await, 23);
    until("all of it is gone", async || {
        let sweep = "UPDATE lock_runtime.sweeps SET swept = '-infinity';
            SELECT lock_runtime.sweep()";
        client.batch_execute(sweep).await.unwrap();
        rows(&client).await == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_that_died_is_passed_over_without_losing_its_place() {
    let database = Database::create();
    let (holder, other) = (database.manager().await, database.manager().await);
    let client = database.client().await;
    keep_from_sweeping(&client).await;
    let guard = holder.lock("name").acquire().await.unwrap();
    let sql = "INSERT INTO lock_runtime.waiters
            (namespace, name, owner, mode, auth, since, shown, channel, info)
        SELECT namespace, name, x, 0, 0, now(), now() + later, '-', info
        FROM lock_runtime.sections,
            -- One of them before the clock went back.
            (VALUES ('x', interval '0'), ('y', interval '1 h')) dead (x, later)";
    client.batch_execute(sql).await.unwrap();
    let waiting = tokio::spawn(other.lock("name").wait(LONG).run(async || ()));
    until_waiting(&holder, "name", 3).await;
    guard.release().await.unwrap();
    soon("the one behind it enters", waiting)
        .await
        .unwrap()
        .unwrap();
    let sql = "SELECT count(*) FROM lock_runtime.waiters WHERE owner IN ('x', 'y')";
    assert_eq!(number(&client, sql).await, 2);
}

/// Who has run its body and stands in the queue has lost its section on the way: another one may
/// have had the name meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_run_and_has_only_a_place_did_not_hold_the_lock() {
    let database = Database::create();
    drop(database.manager().await);
    let client = database.client().await;
    let enter = |owner: &str| {
        format!(
            "SELECT lock_runtime.enter('', 'name', '{owner}', 0, 600000, 0, 'queue', 0::int2, NULL,
                '-', '{{}}')"
        )
    };
    let held = async |owner: &str, has_run: bool| {
        let sql = format!(
            "SELECT (lock_runtime.release('', 'name', '{owner}', {has_run}, false, '-')
                ->> 'held')::bool::int4::int8"
        );
        number(&client, &sql).await == 1
    };
    for owner in ["holds", "waits", "has run"] {
        client.batch_execute(&enter(owner)).await.unwrap();
    }
    assert!(!held("has run", true).await);
    assert_eq!(rows(&client).await, 2, "it has its place still");
    assert!(held("waits", false).await);
    assert!(!held("waits", false).await);
    assert_eq!(rows(&client).await, 1);
    assert!(held("holds", true).await);
    assert!(!held("holds", true).await);
    assert_eq!(rows(&client).await, 0);
}
