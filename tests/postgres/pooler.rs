//! pgbouncer in transaction mode.

use servers::{PgBouncer, Postgres};
use tokio::task::JoinSet;
use tracing::Level;

use super::listening;
use super::stage::{LONG, client, connect, number, soon, until_waiting};

/// How many of those who wait can be told when a lock comes free.
const HEARD: &str = "SELECT count(*) FROM lock_runtime.waiters WHERE channel NOT LIKE '-%'";

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_through_a_pooler() {
    let server = Postgres::start();
    let pooler = PgBouncer::before(&server);
    let managers = [
        connect(&pooler.url()).await.unwrap(),
        connect(&pooler.url()).await.unwrap(),
    ];
    let mut tasks = JoinSet::new();
    for task in 0..30 {
        let manager = managers[task % 2].clone();
        tasks.spawn(async move {
            for turn in 0..20 {
                let request = manager.lock(format!("name:{}", (task + turn) % 5));
                request.wait(LONG).run(async || ()).await.unwrap();
            }
        });
    }
    while let Some(done) = soon("everybody has had their turns", tasks.join_next()).await {
        done.unwrap();
    }
    let client = client(&server.url()).await;
    assert_eq!(super::stage::rows(&client).await, 0);
    // No session holds what outlives its transaction.
    let sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
    assert_eq!(number(&client, sql).await, 0);
}

/// How often it was said of a pooler that nobody is told anything through it.
fn warnings_of(port: u16) -> usize {
    let warnings = listening::lines(Level::WARN);
    let is_it = |text: &&String| text.contains("listen_url") && text.contains(&port.to_string());
    warnings.iter().filter(is_it).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_is_noticed_and_a_way_past_it_is_taken() {
    let server = Postgres::start();
    let pooler = PgBouncer::before(&server);
    let direct = client(&server.url()).await;
    listening::begin();
    let deaf = connect(&pooler.url()).await.unwrap();
    assert_eq!(warnings_of(pooler.port()), 1);
    let url = format!("{}?listen_url={}", pooler.url(), server.url());
    let hearing = connect(&url).await.unwrap();
    assert_eq!(warnings_of(pooler.port()), 1);
    for (waiter, heard) in [(&deaf, 0), (&hearing, 1)] {
        let guard = hearing.lock("name").acquire().await.unwrap();
        let waiting = tokio::spawn(waiter.lock("name").wait(LONG).run(async || ()));
        until_waiting(&hearing, "name", 1).await;
        assert_eq!(number(&direct, HEARD).await, heard);
        guard.release().await.unwrap();
        soon("the waiter enters", waiting).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_is_started_anew_is_waited_for() {
    let server = Postgres::start();
    let mut pooler = PgBouncer::before(&server);
    let manager = connect(&pooler.url()).await.unwrap();
    let guard = manager.lock("name").ttl(LONG).acquire().await.unwrap();
    pooler.kill();
    pooler.start_again();
    let waiting = tokio::spawn(manager.lock("name").wait(LONG).run(async || ()));
    guard.release().await.expect("it is still held");
    soon("the waiter enters", waiting).await.unwrap().unwrap();
}
