//! The server is killed and started again.

use lock_runtime::LockErrorKind;
use servers::Redis;

use crate::harness::{
    connected, enters_and_leaves, ms, seconds, soon, until, until_free, until_waiting,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_durable_server_keeps_what_is_held_and_who_waits() {
    let mut server = Redis::options().durable().start();
    let manager = connected(&server.url()).await;
    let other = connected(&server.url()).await;
    let guard = manager
        .lock("name")
        .ttl(seconds(10))
        .acquire()
        .await
        .unwrap();
    let waiting = tokio::spawn(other.lock("name").acquire());
    until_waiting(&manager, "name", 1).await;
    server.kill();
    server.start_again();
    until("both are back", async || {
        manager.lock("name").info().await.is_ok() && other.lock("name").info().await.is_ok()
    })
    .await;
    assert!(guard.is_held());
    assert!(other.lock("name").try_acquire().await.unwrap().is_none());
    let token = guard.fencing_token();
    guard.release().await.unwrap();
    let next = soon("the waiter", waiting).await.unwrap().unwrap();
    assert!(next.fencing_token() > token);
    next.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forgot_the_lock_costs_the_holder_its_section() {
    let mut server = Redis::start();
    let manager = connected(&server.url()).await;
    let guard = manager
        .lock("name")
        .ttl(seconds(3600))
        .acquire()
        .await
        .unwrap();
    server.kill();
    server.start_again();
    // Not at the next renewal, which is twenty minutes away.
    until("told", async || !guard.is_held()).await;
    let next = soon("free", manager.lock("name").acquire()).await.unwrap();
    assert!(
        next.fencing_token() > guard.fencing_token(),
        "server time goes on"
    );
    assert!(guard.release().await.unwrap_err().is_lost());
    next.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_server_costs_the_holder_its_section_within_the_lease() {
    let mut server = Redis::start();
    let manager = connected(&server.url()).await;
    let guard = manager
        .lock("name")
        .ttl(seconds(1))
        .acquire()
        .await
        .unwrap();
    server.kill();
    until("told", async || !guard.is_held()).await;
    assert!(
        soon("released", guard.release())
            .await
            .unwrap_err()
            .is_lost()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_server_is_an_error_and_not_a_grant() {
    let mut server = Redis::start();
    let manager = connected(&server.url()).await;
    server.kill();
    for request in [manager.lock("name"), manager.lock("name").wait(ms(100))] {
        let error = soon("an error", request.try_acquire()).await.unwrap_err();
        assert_eq!(error.kind(), LockErrorKind::Unavailable);
        assert!(error.to_string().contains("nobody listens"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_within_the_wait_grants() {
    let mut server = Redis::start();
    let manager = connected(&server.url()).await;
    server.kill();
    let asking = tokio::spawn(manager.lock("name").wait(seconds(30)).acquire());
    tokio::time::sleep(ms(300)).await;
    server.start_again();
    enters_and_leaves("granted", asking).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forgotten_scripts_are_sent_again() {
    let server = Redis::start();
    let manager = connected(&server.url()).await;
    for _ in 0..2 {
        let guard = manager.lock("name").acquire().await.unwrap();
        server.command(&["SCRIPT", "FLUSH"]);
        guard.release().await.unwrap();
        server.command(&["SCRIPT", "FLUSH"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_connections_are_made_again() {
    let server = Redis::start();
    let manager = connected(&server.url()).await;
    let guard = manager.lock("name").acquire().await.unwrap();
    let waiting = tokio::spawn(manager.lock("name").acquire());
    until_waiting(&manager, "name", 1).await;
    for _ in 0..5 {
        server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        server.command(&["CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "yes"]);
        until("back", async || manager.lock("name").info().await.is_ok()).await;
    }
    // The push comes over the new connection.
    guard.release().await.unwrap();
    enters_and_leaves("handed over", waiting).await;
}

/// Connections are taken before the data has been read, and every question is refused until then.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forgot_the_lock_says_so_as_soon_as_it_has_read_its_data() {
    let mut server = Redis::options()
        .arguments(["--key-load-delay", "1000"])
        .arguments(["--loading-process-events-interval-bytes", "1024"])
        .start();
    let others = "for i = 1, 3000 do redis.call('SET', 'other:' .. i, string.rep('x', 200)) end";
    server.command(&["EVAL", others, "0"]);
    server.command(&["SAVE"]);
    let manager = connected(&server.url()).await;
    let request = manager.lock("name").ttl(seconds(3600));
    let guard = request.acquire().await.unwrap();
    server.kill();
    server.start_again();
    // Not at the next renewal, which is twenty minutes away.
    until("told", async || !guard.is_held()).await;
}

/// A server that could not save its data takes no writes until it can.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_goes_on_when_the_server_takes_writes_again() {
    // Its file has the name of a folder.
    let server = Redis::options()
        .durable()
        .arguments(["--dbfilename", "appendonlydir"])
        .start();
    let manager = connected(&server.url()).await;
    let request = manager.lock("name").ttl(seconds(3600));
    let guard = request.acquire().await.unwrap();
    server.command(&["CONFIG", "SET", "save", "3600 1"]);
    server.command(&["BGSAVE"]);
    let write = || server.try_command(&["SET", "other", "x"]);
    until("no writes", async || {
        write().is_err_and(|said| said.contains("MISCONF"))
    })
    .await;
    let releasing = tokio::spawn(guard.release());
    tokio::time::sleep(ms(300)).await;
    server.command(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
    soon("released", releasing).await.unwrap().unwrap();
    until_free(&manager, "name").await;
}
