//! The token is the revision of a key, which a transaction of the user's own can compare.

use etcd_client::{Client, Compare, CompareOp, Txn, TxnOp};
use lock_runtime::{Clock, EtcdBackend, LockManager, LockName};
use servers::Etcd;

use crate::support::LONG;

/// Writes, provided that the section with this token is still held.
async fn write(client: &mut Client, prefix: &str, token: u64, value: &str) -> bool {
    let revision = i64::try_from(token).expect("53 bits");
    let is_held = Compare::create_revision(prefix, CompareOp::Equal, revision);
    let txn = Txn::new()
        .when([is_held.with_prefix()])
        .and_then([TxnOp::put("balance", value, None)]);
    client.txn(txn).await.expect("it answers").succeeded()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_commits_only_while_the_section_is_held() {
    let server = Etcd::start();
    let backend = EtcdBackend::new(&server.url(), Clock::system()).expect("a URL");
    let builder = LockManager::builder().backend(backend.clone());
    let manager = builder.namespace("bank").ttl(LONG).connect().await;
    let manager = manager.expect("a manager");
    let address = format!("127.0.0.1:{}", server.port());
    let mut client = Client::connect([address], None).await.expect("a client");

    let guard = manager.lock("account:7").acquire().await.expect("free");
    let section = backend.section_prefix(guard.name().expect("a name"));
    assert_eq!(section, "locks/bank/account:7 exclusive/");
    let token = guard.fencing_token().expect("a token").get();
    assert!(write(&mut client, &section, token, "10").await);

    // The token stays when another process goes on with it, and when its lease has another length.
    guard.extend(2 * LONG).await.expect("held");
    assert!(write(&mut client, &section, token, "11").await);
    let ticket = guard.into_ticket().expect("held");
    let adopted = manager.lock("account:7").adopt(ticket).await.expect("held");
    assert!(write(&mut client, &section, token, "12").await);

    adopted.release().await.expect("held");
    assert!(!write(&mut client, &section, token, "13").await);
    let successor = manager.lock("account:7").acquire().await.expect("free");
    assert!(!write(&mut client, &section, token, "14").await);
    let token = successor.fencing_token().expect("a token").get();
    assert!(write(&mut client, &section, token, "15").await);
    let name = LockName::new("other").expect("a name");
    assert_eq!(backend.section_prefix(&name), "locks//other exclusive/");
}
