//! Sections that end by somebody's hand, and a store that forgets: their owners are told.

use lock_runtime::{LockErrorKind, Lost};
use servers::Etcd;

use crate::support::{
    enters_and_leaves, is_free, keys, manager, managers, soon, until_free, until_waiting,
};

/// The lease that a key belongs to, as `etcdctl` takes it.
fn lease_of(server: &Etcd, key: &str) -> String {
    let found = server.control(&["get", key, "-w", "json"]);
    let found: serde_json::Value = serde_json::from_str(&found).expect("JSON");
    let lease = found["kvs"][0]["lease"].as_i64().expect("a lease");
    format!("{lease:x}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_whose_lease_is_revoked_is_told() {
    let server = Etcd::shared();
    let holder = manager(&server.url(), "revoked").await;
    let guard = holder.lock("name").acquire().await.expect("free");
    let watch = guard.watch();
    let lease = lease_of(server, "locks/revoked/name exclusive/a");
    // A holder learns at once only of what it has held for a moment.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    server.control(&["lease", "revoke", &lease]);
    let error = soon("the holder is told", watch.lost()).await;
    let text = error.to_string();
    assert!(text.contains(&Lost::Expired.to_string()), "{text}");
    assert!(is_free(&holder, "name").await.expect("it answers"));
    assert!(guard.release().await.is_err_and(|error| error.is_lost()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_whose_key_is_deleted_is_told() {
    let server = Etcd::shared();
    let holder = manager(&server.url(), "deleted").await;
    let guard = holder.lock("name").acquire().await.expect("free");
    let watch = guard.watch();
    server.control(&["del", "locks/deleted/name exclusive/a"]);
    let error = soon("the holder is told", watch.lost()).await;
    let text = error.to_string();
    assert!(text.contains(&Lost::ForcedOut.to_string()), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gives_a_section_away_and_who_is_forced_out_are_told_at_once() {
    let server = Etcd::shared();
    let (holder, other) = managers(&server.url(), "told").await;
    let guard = holder.lock("adopted").acquire().await.expect("free");
    let watch = guard.watch();
    let ticket = guard.ticket().expect("held");
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let adopted = other.lock("adopted").adopt(ticket).await.expect("held");
    let error = soon("the giver is told", watch.lost()).await;
    assert!(
        error.to_string().contains(&Lost::Adopted.to_string()),
        "{error}"
    );
    assert_eq!(adopted.fencing_token(), guard.fencing_token());

    let watch = adopted.watch();
    holder
        .lock("adopted")
        .force_release()
        .await
        .expect("it answers");
    let error = soon("who was forced out is told", watch.lost()).await;
    assert!(
        error.to_string().contains(&Lost::ForcedOut.to_string()),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_whose_place_is_deleted_takes_another() {
    let server = Etcd::shared();
    let (holder, other) = managers(&server.url(), "place").await;
    let guard = holder.lock("name").acquire().await.expect("free");
    let waiting = tokio::spawn(other.lock("name").acquire());
    until_waiting(&holder, "name", 1).await;
    server.control(&["del", "locks/place/name queue/", "--prefix"]);
    until_waiting(&holder, "name", 1).await;
    guard.release().await.expect("still held");
    enters_and_leaves("the waiter enters", waiting).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_takes_nothing_from_those_who_wait() {
    let mut server = Etcd::start();
    let (holder, other) = managers(&server.url(), "compact").await;
    let guard = holder.lock("name").acquire().await.expect("free");
    let waiting = tokio::spawn(other.lock("name").acquire());
    until_waiting(&holder, "name", 1).await;
    for number in 0..20 {
        server.control(&["put", "something", &number.to_string()]);
    }
    let status = server.control(&["get", "something", "-w", "json"]);
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    let revision = status["header"]["revision"].to_string();
    server.control(&["compact", &revision]);
    // Those who wait have to find their way back to what is not there any more.
    server.kill();
    server.start_again();
    guard.release().await.expect("still held");
    enters_and_leaves("the waiter enters", waiting).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_keeps_everybody_out_until_an_operator_ends_it() {
    let server = Etcd::shared();
    let manager = manager(&server.url(), "strange").await;
    let key = "locks/strange/name exclusive/a";
    server.control(&["put", key, "something else"]);
    let error = manager
        .lock("name")
        .acquire()
        .await
        .expect_err("not readable");
    assert_eq!(error.kind(), LockErrorKind::Unavailable);
    assert!(error.to_string().contains(key), "{error}");
    manager
        .lock("name")
        .force_release()
        .await
        .expect("it answers");
    until_free(&manager, "name").await;
    assert_eq!(keys(server, "locks/strange/"), Vec::<String>::new());
}
