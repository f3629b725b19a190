//! What others do while a transaction that verifies a section commits, or is prepared and forgotten.

use std::time::Duration;

use lock_runtime::{Held, LockManager};
use tokio_postgres::{Client, Transaction};

use super::stage::{Database, LONG, number, rows, soon, until, until_waiting};

/// A transaction that has checked the section of this guard, and goes on.
async fn verifying<'a>(client: &'a mut Client, guard: &Held) -> Transaction<'a> {
    let mut transaction = client.transaction().await.unwrap();
    guard.verify(&mut transaction).await.unwrap();
    let check = "SET CONSTRAINTS ALL IMMEDIATE";
    transaction.batch_execute(check).await.unwrap();
    transaction
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_does_not_wait_for_a_transaction_that_verifies() {
    let database = Database::create();
    let (manager, other) = (database.manager().await, database.manager().await);
    let mut client = database.client().await;
    let rest = Duration::from_millis(300);
    let request = manager.lock("name").ttl(LONG).at_least(rest);
    let guard = request.acquire().await.unwrap();
    let transaction = verifying(&mut client, &guard).await;
    let waiting = tokio::spawn(other.lock("name").wait(LONG).acquire());
    until_waiting(&manager, "name", 1).await;
    guard.release().await.expect("it was held");
    let looking = database.client().await;
    let over = "SELECT count(*) FROM lock_runtime.sections WHERE ends <= clock_timestamp()";
    until("it is released", async || number(&looking, over).await == 1).await;
    let free = manager.lock("other").run(async || ());
    soon("other locks go on", free).await.unwrap();
    // The name stays busy until the transaction has ended.
    assert!(manager.lock("name").try_acquire().await.unwrap().is_none());
    assert!(!waiting.is_finished(), "somebody entered before the commit");
    transaction.commit().await.unwrap();
    let next = soon("the next one enters", waiting).await.unwrap().unwrap();
    next.release().await.unwrap();
    assert_eq!(rows(&client).await, 0);
}

/// Nobody who verifies is overtaken by an operator, who is told why.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_is_told_of_a_transaction_that_verifies() {
    let database = Database::create();
    let (manager, other) = (database.manager().await, database.manager().await);
    let mut client = database.client().await;
    let guard = manager.lock("name").ttl(LONG).acquire().await.unwrap();
    let transaction = verifying(&mut client, &guard).await;
    let error = other.lock("name").force_release().await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("still committing"), "{text}");
    // Nor does anybody else of this manager wait for that transaction.
    assert!(text.contains("could not obtain lock"), "{text}");
    assert!(guard.is_held());
    let forcing = force(&other);
    transaction.commit().await.unwrap();
    let ended = soon("it ends", forcing).await.unwrap();
    assert_eq!(ended, 1);
}

fn force(manager: &LockManager) -> tokio::task::JoinHandle<usize> {
    let request = manager.lock("name");
    tokio::spawn(async move { request.force_release().await.expect("it is committed") })
}

/// A section that is over, and cannot be ended yet: who comes next looks every now and then, and
/// nobody wakes anybody for nothing.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_next_one_looks_for_the_end_of_a_transaction_that_verifies() {
    let database = Database::create();
    drop(database.manager().await);
    let (mut client, other) = (database.client().await, database.client().await);
    let enter = |owner: &str, what: &str| {
        format!(
            "SELECT lock_runtime.enter('', 'name', '{owner}', 0, 60000, 0, '{what}', 0::int2, NULL,
                'mine', '{{}}')"
        )
    };
    other.batch_execute(&enter("0", "try")).await.unwrap();
    let transaction = client.transaction().await.unwrap();
    let check = "SET CONSTRAINTS ALL IMMEDIATE; SELECT lock_runtime.verify('', 'name', '0')";
    transaction.batch_execute(check).await.unwrap();
    let over = "UPDATE lock_runtime.sections SET ends = clock_timestamp()";
    other.batch_execute(over).await.unwrap();
    let is_soon = |owner: &str| {
        let answer = enter(owner, "queue");
        let answer = answer.strip_prefix("SELECT ").unwrap();
        format!(
            "SELECT coalesce((a ->> 'again_ms')::int8, -1) + CASE WHEN a ? 'wake' THEN 1000 ELSE 0
                END FROM {answer} a"
        )
    };
    for _ in 0..2 {
        assert_eq!(number(&other, &is_soon("1")).await, 20);
        assert_eq!(number(&other, &is_soon("2")).await, -1);
    }
    // Nobody is woken as long as the section is there.
    let sql = "SELECT jsonb_array_length(
            lock_runtime.wake('', 'name', clock_timestamp(), 'mine') -> 'wake')::int8";
    assert_eq!(number(&other, sql).await, 0);
    transaction.commit().await.unwrap();
    assert_eq!(number(&other, sql).await, 1);
}

/// Whose own section is over, and still being verified, may stand in the queue again. It is not
/// handed the name beside that, but asks.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_handed_what_it_has_and_cannot_be_ended() {
    let database = Database::create();
    drop(database.manager().await);
    let (mut client, other) = (database.client().await, database.client().await);
    let enter = |owner: &str| {
        format!(
            "SELECT lock_runtime.enter('', 'name', '{owner}', 2, 60000, 0, 'queue', 0::int2, NULL,
                'mine', '{{}}', 1)"
        )
    };
    other.batch_execute(&enter("0")).await.unwrap();
    let transaction = client.transaction().await.unwrap();
    let check = "SET CONSTRAINTS ALL IMMEDIATE; SELECT lock_runtime.verify('', 'name', '0')";
    transaction.batch_execute(check).await.unwrap();
    let over = "UPDATE lock_runtime.sections SET ends = clock_timestamp()";
    other.batch_execute(over).await.unwrap();
    for owner in ["0", "1"] {
        other.batch_execute(&enter(owner)).await.unwrap();
    }
    let served = |what: &str| {
        format!(
            "SELECT jsonb_array_length(
                lock_runtime.wake('', 'name', clock_timestamp(), 'mine') -> '{what}')::int8"
        )
    };
    assert_eq!(number(&other, &served("wake")).await, 1);
    transaction.commit().await.unwrap();
    assert_eq!(number(&other, &served("handed")).await, 2);
    let sql = "SELECT count(*) FROM lock_runtime.sections WHERE ends > clock_timestamp()";
    assert_eq!(number(&other, sql).await, 2);
}
