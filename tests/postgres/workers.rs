//! Eight processes that count in one row, while their connections are reset.

use std::process::{Child, Command};
use std::time::Duration;

use servers::Proxy;

use super::stage::{Database, LONG, client, connect, number, until};

const WORKERS: i64 = 8;
const TURNS: i64 = 25;

/// What the processes are told: the URL of the locks, and that of the row.
const LOCKS: &str = "POSTGRES_WORKER_LOCKS";
const ROW: &str = "POSTGRES_WORKER_ROW";

/// Not a test of its own: what each of the processes does.
#[tokio::test(flavor = "multi_thread")]
async fn worker() {
    let (Ok(locks), Ok(row)) = (std::env::var(LOCKS), std::env::var(ROW)) else {
        return;
    };
    let manager = connect(&locks).await.unwrap();
    let database = client(&row).await;
    let sql = "INSERT INTO started VALUES (1)";
    database.batch_execute(sql).await.unwrap();
    for _ in 0..TURNS {
        let guard = manager
            .lock("row")
            .ttl(LONG)
            .wait(LONG)
            .acquire()
            .await
            .unwrap();
        let token = i64::try_from(guard.fencing_token().unwrap().get()).unwrap();
        let count = number(&database, "SELECT count FROM counter").await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        // The row knows the highest token, and takes no lower one.
        let sql = "UPDATE counter SET count = $1, token = $2 WHERE token < $2";
        let changed = database.execute(sql, &[&(count + 1), &token]).await;
        assert_eq!(changed.unwrap(), 1, "the token {token} came late");
        guard.release().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_whose_connections_are_reset_lose_no_update() {
    let database = Database::create();
    let row = database.client().await;
    let sql = "CREATE TABLE counter (count bigint, token bigint); CREATE TABLE started (one int);
        INSERT INTO counter VALUES (0, 0)";
    row.batch_execute(sql).await.unwrap();
    let proxy = Proxy::to(database.server.port());
    let mut workers: Vec<Child> = (0..WORKERS)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "workers::worker", "--nocapture"])
                .env(LOCKS, proxy.url(&database.url()))
                .env(ROW, database.url())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut pauses = (100..900).cycle().step_by(137);
    until("all have ended", async || {
        tokio::time::sleep(Duration::from_millis(pauses.next().unwrap())).await;
        // Who cannot connect in the beginning gives up.
        if number(&row, "SELECT count(*) FROM started").await == WORKERS {
            proxy.reset();
        }
        let ended = |worker: &mut Child| worker.try_wait().unwrap().is_some();
        workers.iter_mut().all(ended)
    })
    .await;
    for mut worker in workers {
        assert!(worker.wait().unwrap().success(), "a worker failed");
    }
    let count = number(&row, "SELECT count FROM counter").await;
    assert_eq!(count, WORKERS * TURNS, "updates were lost");
}
