//! What is said when something is wrong with the store: where, what, and the way out.

use std::net::TcpListener;
use std::time::Duration;

use lock_runtime::{LockErrorKind, LockManager};
use servers::{Certificates, Etcd, EtcdOptions};

use crate::support::{PATIENCE, keys, manager, managers, soon, until, until_waiting};

/// What the error of a connection says.
async fn refusal(url: &str) -> String {
    let connecting = LockManager::connect(url);
    let error = soon("an error", connecting).await.expect_err("refused");
    assert_eq!(error.kind(), LockErrorKind::Unavailable, "{error}");
    let text = format!("{error} {error:?}");
    assert!(!text.contains("hunter2"), "{text}");
    error.to_string()
}

#[track_caller]
fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no `{word}` in: {text}");
    }
}

#[tokio::test]
async fn nobody_is_there() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let text = refusal(&format!("etcd://{address}")).await;
    assert_says(&text, &[&address, "cannot be reached"]);
}

#[tokio::test]
async fn somebody_is_there_and_says_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let text = refusal(&format!("etcd://{address}")).await;
    assert_says(&text, &[&address, "has not answered"]);
}

#[tokio::test]
async fn something_else_is_there() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        use std::io::Write;
        while let Ok((mut stream, _)) = listener.accept() {
            let _gone = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let text = refusal(&format!("etcd://{address}")).await;
    assert_says(&text, &[&address]);
}

/// A server that knows two users: one who may use the locks, and one who may not.
fn with_users(options: EtcdOptions) -> Etcd {
    let server = options.start();
    server.control(&["user", "add", "root:hunter2"]);
    server.control(&["role", "add", "locks"]);
    server.control(&[
        "role",
        "grant-permission",
        "locks",
        "readwrite",
        "locks/",
        "locks0",
    ]);
    server.control(&["user", "add", "kanban:hunter2"]);
    server.control(&["user", "grant-role", "kanban", "locks"]);
    server.control(&["user", "add", "stranger:hunter2"]);
    server.control(&["user", "grant-role", "root", "root"]);
    server.control(&["auth", "enable"]);
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_let_in_and_others_told_why_not() {
    let server = with_users(Etcd::options());
    let url = |login: &str| format!("etcd://{login}127.0.0.1:{}", server.port());
    let manager = manager(&url("kanban:hunter2@"), "users").await;
    manager.lock("name").run(async || ()).await.expect("let in");
    manager.acquire_lock("turn", "alice").await.expect("let in");
    assert_eq!(manager.list("").await.expect("let in").len(), 1);

    let text = refusal(&url("kanban:wrong@")).await;
    assert_says(&text, &["`kanban`", "password"]);
    let text = refusal(&url("nobody:hunter2@")).await;
    assert_says(&text, &["`nobody`", "password"]);
    let text = refusal(&url("stranger:hunter2@")).await;
    assert_says(&text, &["`stranger`", "`readwrite`", "`locks/`"]);
    let text = refusal(&url("")).await;
    assert_says(&text, &["etcd://user:password@"]);
    let elsewhere = url("kanban:hunter2@") + "?prefix=other/";
    assert_says(&refusal(&elsewhere).await, &["`readwrite`", "`other/`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_known_again_when_its_token_has_ended() {
    let server = Etcd::options().arguments(["--auth-token-ttl", "1"]).start();
    server.control(&["user", "add", "root:hunter2"]);
    server.control(&["user", "grant-role", "root", "root"]);
    server.control(&["auth", "enable"]);
    let url = format!("etcd://root:hunter2@127.0.0.1:{}", server.port());
    let (holder, other) = (manager(&url, "tokens").await, manager(&url, "tokens").await);
    for _ in 0..3 {
        let guard = holder.lock("name").acquire().await.expect("let in");
        let waiting = tokio::spawn(other.lock("name").acquire());
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        guard.release().await.expect("held");
        let guard = soon("the waiter enters", waiting).await.expect("no panic");
        guard.expect("its turn").release().await.expect("held");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_older_than_the_last_change_of_users_is_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key");
    std::fs::write(&key, "a secret of the server's own").expect("a file");
    let tokens = format!("jwt,sign-method=HS256,priv-key={}", key.display());
    let server = with_users(Etcd::options().arguments(["--auth-token", &tokens]));
    let url = format!("etcd://kanban:hunter2@127.0.0.1:{}", server.port());
    let (holder, other) = (manager(&url, "jwt").await, manager(&url, "jwt").await);
    let add_user = |user: &str| {
        let login = ["--user", "root:hunter2", "user", "add"];
        server.control(&[login.as_slice(), &[user]].concat());
    };
    let guard = holder.lock("name").acquire().await.expect("let in");
    let waiting = tokio::spawn(other.lock("name").acquire());
    until_waiting(&holder, "name", 1).await;
    add_user("one:hunter2");
    guard.release().await.expect("held");
    let guard = soon("the waiter enters", waiting).await.expect("no panic");
    let guard = guard.expect("its turn");
    add_user("two:hunter2");
    let waiting = tokio::spawn(holder.lock("name").acquire());
    until_waiting(&other, "name", 1).await;
    add_user("three:hunter2");
    guard.release().await.expect("held");
    let guard = soon("the waiter enters", waiting).await.expect("no panic");
    guard.expect("its turn").release().await.expect("held");
    holder.acquire_lock("turn", "alice").await.expect("let in");
}

#[tokio::test]
async fn a_server_without_users_is_told_of() {
    let url = Etcd::shared()
        .url()
        .replace("etcd://", "etcd://kanban:hunter2@");
    let text = refusal(&url).await;
    assert_says(&text, &["knows no users"]);
}

fn tls_url(server: &Etcd, authority: &Certificates) -> String {
    let (certificate, key) = authority.client();
    format!(
        "{}?tls=true&ca_file={}&cert_file={}&key_file={}",
        server.url(),
        authority.authority().display(),
        certificate.display(),
        key.display()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_and_faults_in_it_are_told() {
    let (server, stranger) = (Etcd::options().tls().start(), Etcd::options().tls().start());
    let certificates = server.certificates();
    let manager = manager(&tls_url(&server, certificates), "tls").await;
    manager.lock("name").run(async || ()).await.expect("let in");

    let text = refusal(&tls_url(&server, stranger.certificates())).await;
    assert_says(&text, &["ca_file", &server.port().to_string()]);
    let text = refusal(&server.url()).await;
    assert_says(&text, &["tls=true"]);
    let authority = certificates.authority().display();
    let text = refusal(&format!("{}?tls=true&ca_file={authority}", server.url())).await;
    assert_says(&text, &["cert_file"]);
    let plain = format!("{}?tls=true&ca_file={authority}", Etcd::shared().url());
    assert_says(&refusal(&plain).await, &["TLS"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_full_says_so_and_lets_go() {
    let server = Etcd::options()
        .arguments(["--quota-backend-bytes", "262144"])
        .start();
    let (manager, other) = managers(&server.url(), "full").await;
    let guard = manager.lock("held").acquire().await.expect("free");
    let waited_for = manager.lock("waited-for").acquire().await.expect("free");
    let waiting = tokio::spawn(other.lock("waited-for").acquire());
    until_waiting(&manager, "waited-for", 1).await;
    // A holder knows of those who wait only where it has held the name for a moment.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let much = "x".repeat(100_000);
    for _ in 0..20 {
        if server.try_control(&["put", "much", &much]).is_err() {
            break;
        }
    }
    let asked = manager.lock("name").wait(PATIENCE).acquire();
    let error = soon("an error", asked).await.expect_err("full");
    assert_eq!(error.kind(), LockErrorKind::Unavailable);
    assert_says(&error.to_string(), &["is full", "alarm disarm"]);
    for guard in [guard, waited_for] {
        let released = guard.release().await;
        released.expect("what is held can be given back");
    }
    let section = "locks/full/waited-for exclusive/";
    until("it is given back", async || {
        keys(&server, section).is_empty()
    })
    .await;
    waiting.abort();
}
