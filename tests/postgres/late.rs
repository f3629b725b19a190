//! Answers that were lost, and requests that arrive late.

use std::time::Duration;

use servers::Proxy;

use super::stage::{Database, LONG, connect, number, soon, until, until_waiting};

/// The grant is lost on its way, and the question is asked again: the owner counts its lease from
/// that question, and so does the server.
#[tokio::test(flavor = "multi_thread")]
async fn a_grant_whose_answer_was_lost_excludes_others_for_a_whole_lease() {
    const TTL: Duration = Duration::from_secs(8);
    let database = Database::create();
    let proxy = Proxy::to(database.server.port());
    let far = connect(&proxy.url(&database.url())).await.unwrap();
    let near = database.manager().await;
    proxy.to_client().black_hole();
    let request = far.lock("name").ttl(TTL).renew(false).wait(LONG);
    let granted = tokio::spawn(request.acquire());
    until("the server has granted it", async || {
        near.lock("name").is_locked().await.unwrap()
    })
    .await;
    // The answer is given up after a while, and by then most of the first lease is over.
    proxy.mend();
    let held = soon("it asks again", granted).await.unwrap().unwrap();
    let next = near.lock("name").wait(LONG).acquire();
    let next = soon("the lease ends", next).await.unwrap();
    assert!(!held.is_held(), "two hold the lock");
    assert!(next.fencing_token() > held.fencing_token());
}

/// A question that was sent on a connection that is gone must not be granted after a later one
/// was refused: nobody would know.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_refused_after_a_lost_connection_is_not_let_in_later() {
    let database = Database::create();
    let proxy = Proxy::to(database.server.port());
    let far = connect(&proxy.url(&database.url())).await.unwrap();
    let near = database.manager().await;
    let client = database.client().await;
    let guard = near.lock("name").ttl(LONG).acquire().await.unwrap();
    proxy.to_client().black_hole();
    let wait = Duration::from_secs(3);
    let waiting = tokio::spawn(far.lock("name").ttl(LONG).wait(wait).acquire());
    until_waiting(&near, "name", 1).await;
    let sql = "CREATE TABLE late AS SELECT * FROM lock_runtime.waiters";
    client.batch_execute(sql).await.unwrap();
    proxy.reset();
    proxy.mend();
    let error = soon("its time is up", waiting).await.unwrap().unwrap_err();
    assert!(error.is_busy(), "{error}");
    guard.release().await.unwrap();
    // The first question, once more.
    let sql = "SELECT count(*) FROM late l, LATERAL lock_runtime.enter(l.namespace, l.name,
        l.owner, l.mode, 600000, 0, 'queue', l.auth, l.caller, l.channel, l.info,
        1)";
    assert_eq!(number(&client, sql).await, 1);
    let info = near.lock("name").info().await.unwrap();
    assert!(!info.is_locked() && info.waiting == 0, "{info:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_takes_too_long_does_not_go_on() {
    let database = Database::create();
    drop(database.manager().await);
    let client = database.client().await;
    let sql = "SELECT pg_sleep(5.2); SELECT lock_runtime.enter('', 'name', 'x', 0, 60000, 0, 'try',
        0::int2, NULL, '-', '{}')";
    let refused = client.batch_execute(sql).await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "LR003");
    assert_eq!(super::stage::rows(&client).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_arrives_late_shortens_nothing() {
    let database = Database::create();
    drop(database.manager().await);
    let client = database.client().await;
    let sql = "SELECT lock_runtime.enter('', 'name', 'x', 0, 1000, 0, 'try', 0::int2, NULL, '-',
        '{}'); SELECT lock_runtime.renew('', 'name', 'x', 60000, 2)";
    client.batch_execute(sql).await.unwrap();
    let left = "SELECT extract(epoch FROM ends - clock_timestamp())::int8
        FROM lock_runtime.sections";
    let late = "SELECT lock_runtime.renew('', 'name', 'x', 1000, 1)";
    client.batch_execute(late).await.unwrap();
    assert!(number(&client, left).await > 30);
    // A newer one may.
    let newer = "SELECT lock_runtime.renew('', 'name', 'x', 10000, 3)";
    client.batch_execute(newer).await.unwrap();
    assert!(number(&client, left).await < 30);
}

/// A change that was refused when it was asked again is not made by the first asking of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_was_refused_is_not_made_later() {
    let database = Database::create();
    let manager = database.manager().await;
    let client = database.client().await;
    manager.acquire_lock("turn", "anna").await.unwrap();
    let assign = |is_again: bool| {
        format!(
            "SELECT count(*) FROM lock_runtime.change('', 'turn', 'assign', 'bob', NULL, 'caller',
                'bob', NULL, 'attempt', {is_again}, '-') c WHERE c ? 'done'"
        )
    };
    assert_eq!(number(&client, &assign(true)).await, 0);
    manager.release_lock("turn").as_operator().await.unwrap();
    assert_eq!(number(&client, &assign(false)).await, 0);
    let holder = manager.lock("turn").info().await.unwrap().holder;
    assert!(holder.is_none(), "{holder:?}");
}
