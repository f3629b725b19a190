//! Transactions that commit only while a section is held.

use std::sync::Mutex;
use std::time::Duration;

use lock_runtime::{LockManager, SqlTransaction};
use servers::Proxy;
use tokio_postgres::{Client, IsolationLevel, Transaction};

use super::stage::{Database, LONG, connect, number, rows, soon, until};

const TTL: Duration = Duration::from_millis(1_200);

const LEVELS: [IsolationLevel; 3] = [
    IsolationLevel::ReadCommitted,
    IsolationLevel::RepeatableRead,
    IsolationLevel::Serializable,
];

async fn begin(client: &mut Client, level: IsolationLevel) -> Transaction<'_> {
    let transaction = client.build_transaction().isolation_level(level);
    transaction.start().await.unwrap()
}

async fn table(database: &Database) -> Client {
    let client = database.client().await;
    let sql = "CREATE TABLE written (what text)";
    client.batch_execute(sql).await.unwrap();
    client
}

/// The code with which a commit is refused.
async fn refusal(transaction: Transaction<'_>) -> String {
    let error = transaction.commit().await.expect_err("a refusal");
    error.code().expect("of the server").code().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_commits_while_the_section_is_held() {
    let database = Database::create();
    let manager = database.manager().await;
    let mut client = table(&database).await;
    for level in LEVELS {
        let guard = manager.lock("it's").acquire().await.unwrap();
        let mut transaction = begin(&mut client, level).await;
        guard.verify(&mut transaction).await.unwrap();
        transaction
            .batch_execute("INSERT INTO written VALUES ('x')")
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        guard.release().await.unwrap();
    }
    assert_eq!(number(&client, "SELECT count(*) FROM written").await, 3);
    assert_eq!(rows(&client).await, 0);
}

/// The lease is renewed many times while the transaction is open, and nobody waits for the other.
#[tokio::test(flavor = "multi_thread")]
async fn renewals_and_an_open_transaction_do_not_disturb_each_other() {
    let database = Database::create();
    let manager = database.manager().await;
    for level in LEVELS {
        for immediate in [false, true] {
            let mut client = database.client().await;
            let guard = manager.lock("name").ttl(TTL).acquire().await.unwrap();
            let mut transaction = begin(&mut client, level).await;
            number_of_sections(&transaction).await;
            guard.verify(&mut transaction).await.unwrap();
            if immediate {
                // The check is made now, and what it locks stays locked.
                let sql = "SET CONSTRAINTS ALL IMMEDIATE";
                transaction.batch_execute(sql).await.unwrap();
            }
            // So long that it is renewed several times.
            tokio::time::sleep(2 * TTL).await;
            assert!(guard.is_held(), "it was not renewed under {level:?}");
            transaction.commit().await.unwrap();
            guard.release().await.unwrap();
        }
    }
}

async fn number_of_sections(transaction: &Transaction<'_>) -> i64 {
    let sql = "SELECT count(*) FROM lock_runtime.sections";
    transaction.query_one(sql, &[]).await.unwrap().get(0)
}

/// Holds a lock, opens a transaction, and falls silent until somebody else has had the lock.
async fn falls_silent(
    database: &Database,
    level: IsolationLevel,
    ends: impl AsyncFn(&LockManager),
) {
    let proxy = Proxy::to(database.server.port());
    let silent = connect(&proxy.url(&database.url())).await.unwrap();
    let other = database.manager().await;
    let mut client = database.client().await;
    let guard = silent.lock("name").ttl(TTL).acquire().await.unwrap();
    let mut transaction = begin(&mut client, level).await;
    number_of_sections(&transaction).await;
    guard.verify(&mut transaction).await.unwrap();
    transaction
        .batch_execute("INSERT INTO written VALUES ('late')")
        .await
        .unwrap();
    proxy.black_hole();
    ends(&other).await;
    let code = refusal(transaction).await;
    let expected: &[&str] = match level {
        IsolationLevel::ReadCommitted => &["LR001"],
        _ => &["LR001", "40001"],
    };
    assert!(expected.contains(&code.as_str()), "{code} under {level:?}");
    assert_eq!(number(&client, "SELECT count(*) FROM written").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_followed_by_another_does_not_commit() {
    let database = Database::create();
    table(&database).await;
    let kept = Mutex::new(Vec::new());
    for level in LEVELS {
        falls_silent(&database, level, async |other| {
            let next = other.lock("name").wait(LONG).acquire();
            let next = soon("the lease ends", next).await.unwrap();
            next.release().await.unwrap();
        })
        .await;
        falls_silent(&database, level, async |other| {
            let next = other.lock("name").wait(LONG).acquire();
            let next = soon("the lease ends", next).await.unwrap();
            // It still holds the lock.
            kept.lock().unwrap().push(next);
        })
        .await;
        database
            .manager()
            .await
            .lock("name")
            .force_release()
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_forced_out_does_not_commit() {
    let database = Database::create();
    table(&database).await;
    for level in LEVELS {
        falls_silent(&database, level, async |other| {
            assert_eq!(other.lock("name").force_release().await.unwrap(), 1);
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_given_the_section_away_does_not_commit() {
    let database = Database::create();
    let (giver, taker) = (database.manager().await, database.manager().await);
    let mut client = table(&database).await;
    for level in LEVELS {
        let guard = giver.lock("name").ttl(LONG).acquire().await.unwrap();
        let mut transaction = begin(&mut client, level).await;
        number_of_sections(&transaction).await;
        guard.verify(&mut transaction).await.unwrap();
        let adopted = taker.lock("name").adopt(guard.into_ticket().unwrap());
        let adopted = adopted.await.unwrap();
        let code = refusal(transaction).await;
        assert!(["LR001", "40001"].contains(&code.as_str()), "{code}");
        adopted.release().await.unwrap();
    }
}

/// A lease that is over, with nobody who has asked for the lock since.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_over_is_enough_under_read_committed() {
    let database = Database::create();
    let manager = database.manager().await;
    let mut client = table(&database).await;
    let guard = manager
        .lock("name")
        .ttl(TTL)
        .renew(false)
        .acquire()
        .await
        .unwrap();
    let mut transaction = begin(&mut client, IsolationLevel::ReadCommitted).await;
    guard.verify(&mut transaction).await.unwrap();
    until("the lease is over", async || !guard.is_held()).await;
    tokio::time::sleep(TTL).await;
    assert_eq!(refusal(transaction).await, "LR001");
}

/// From the check on, whoever wants the lock waits for the transaction.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_enters_between_the_check_and_the_commit() {
    let database = Database::create();
    let (manager, other) = (database.manager().await, database.manager().await);
    for level in LEVELS {
        let mut client = table_once(&database).await;
        let guard = manager
            .lock("name")
            .ttl(TTL)
            .renew(false)
            .acquire()
            .await
            .unwrap();
        let mut transaction = begin(&mut client, level).await;
        guard.verify(&mut transaction).await.unwrap();
        let check = "SET CONSTRAINTS ALL IMMEDIATE; INSERT INTO written VALUES ('x')";
        transaction.batch_execute(check).await.unwrap();
        let waiting = tokio::spawn(other.lock("name").wait(LONG).acquire());
        // Others, who want other locks of the same manager, do not wait for that one for long.
        let free = other.lock("other").wait(LONG).run(async || ());
        soon("another lock is free", free).await.unwrap();
        tokio::time::sleep(2 * TTL).await;
        assert!(!waiting.is_finished(), "somebody entered before the commit");
        transaction.commit().await.unwrap();
        let next = soon("the next one enters", waiting).await.unwrap().unwrap();
        next.release().await.unwrap();
    }
}

async fn table_once(database: &Database) -> Client {
    let client = database.client().await;
    let sql = "CREATE TABLE IF NOT EXISTS written (what text)";
    client.batch_execute(sql).await.unwrap();
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_section_that_began_after_the_snapshot_is_refused_with_the_reason() {
    let database = Database::create();
    let manager = database.manager().await;
    let mut client = database.client().await;
    let mut transaction = begin(&mut client, IsolationLevel::RepeatableRead).await;
    number_of_sections(&transaction).await;
    let guard = manager.lock("name").acquire().await.unwrap();
    guard.verify(&mut transaction).await.unwrap();
    let error = transaction.commit().await.unwrap_err();
    let said = error.as_db_error().unwrap();
    assert_eq!(said.code().code(), "LR001");
    assert!(
        said.hint().unwrap().contains("begin inside the section"),
        "{said:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_tied_says_so() {
    let database = Database::create();
    let mut client = database.client().await;
    let memory = LockManager::memory();
    let guard = memory.lock("name").acquire().await.unwrap();
    let mut transaction = client.transaction().await.unwrap();
    let text = guard
        .verify(&mut transaction)
        .await
        .unwrap_err()
        .to_string();
    assert!(text.contains("not in PostgreSQL"), "{text}");

    let manager = database.manager().await;
    let lost = manager.lock("name").acquire().await.unwrap();
    manager.lock("name").force_release().await.unwrap();
    until("it is told", async || !lost.is_held()).await;
    let error = lost.verify(&mut transaction).await.unwrap_err();
    assert!(error.is_lost(), "{error}");
    drop(transaction);

    // A statement that fails ties nothing.
    struct Broken;
    impl SqlTransaction for Broken {
        type Error = std::io::Error;
        async fn run(&mut self, sql: &str) -> Result<(), std::io::Error> {
            assert!(sql.starts_with("SELECT lock_runtime.verify("), "{sql}");
            Err(std::io::Error::other("the wire is cut"))
        }
    }
    let guard = manager.lock("name").acquire().await.unwrap();
    let error = guard.verify(&mut Broken).await.unwrap_err();
    assert!(error.to_string().contains("the wire is cut"), "{error}");
}

/// Several locks, one of which is lost.
#[tokio::test(flavor = "multi_thread")]
async fn every_lock_of_a_section_has_to_be_held() {
    let database = Database::create();
    let manager = database.manager().await;
    let mut client = database.client().await;
    let guard = manager.lock("a").and("b").acquire().await.unwrap();
    let mut transaction = client.transaction().await.unwrap();
    guard.verify(&mut transaction).await.unwrap();
    transaction.commit().await.unwrap();
    let mut transaction = client.transaction().await.unwrap();
    guard.verify(&mut transaction).await.unwrap();
    manager.lock("b").force_release().await.unwrap();
    assert_eq!(refusal(transaction).await, "LR001");
}

/// Some tools and replication switch triggers off.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_without_triggers_is_checked_too() {
    let database = Database::create();
    let manager = database.manager().await;
    let mut client = database.client().await;
    let guard = manager.lock("name").ttl(LONG).acquire().await.unwrap();
    let sql = "SET session_replication_role = replica";
    client.batch_execute(sql).await.unwrap();
    let mut transaction = client.transaction().await.unwrap();
    guard.verify(&mut transaction).await.unwrap();
    manager.lock("name").force_release().await.unwrap();
    assert_eq!(refusal(transaction).await, "LR001");
    assert_eq!(rows(&client).await, 0);
}
