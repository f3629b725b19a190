//! Somebody else has written into what is kept of a lock: the others do not feel it.

use std::time::Instant;

use servers::Redis;

use crate::harness::{connected, entered, ms, seconds, soon, until_waiting};

const BAD: &str = "lock:{0}:name:/bad";

#[tokio::test(flavor = "multi_thread")]
async fn the_others_are_renewed() {
    let server = Redis::start();
    let manager = connected(&server.url()).await;
    for spoil in [&["SET", BAD, "garbage"], &["RPUSH", BAD, "garbage"]] {
        let hold = |name: &'static str| manager.lock(name).ttl(seconds(3)).acquire();
        let (good, bad) = tokio::join!(hold("good"), hold("bad"));
        let (good, bad) = (good.unwrap(), bad.unwrap());
        server.command(&["DEL", BAD]);
        server.command(spoil);
        let started = Instant::now();
        while started.elapsed() < seconds(6) {
            assert!(good.is_held(), "lost after {:?}", started.elapsed());
            tokio::time::sleep(ms(20)).await;
        }
        assert!(!bad.is_held());
        good.release().await.unwrap();
        server.command(&["DEL", BAD]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_wait_for_others_go_on_waiting() {
    let server = Redis::start();
    let other = connected(&server.url()).await;
    let manager = connected(&server.url()).await;
    let request = |name: &'static str| other.lock(name).ttl(seconds(60));
    let holder = request("good").acquire().await.unwrap();
    let _bad = request("bad").acquire().await.unwrap();
    let wait = |name: &'static str| manager.lock(name).wait(seconds(60)).acquire();
    // Both ask at the same time from now on, and so together.
    let (for_good, for_bad) = (tokio::spawn(wait("good")), tokio::spawn(wait("bad")));
    until_waiting(&other, "good", 1).await;
    until_waiting(&other, "bad", 1).await;
    server.command(&["SET", BAD, "garbage"]);
    let error = soon("an error", for_bad).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("bad"), "{error}");
    let started = Instant::now();
    while started.elapsed() < seconds(2) {
        assert!(!for_good.is_finished(), "{:?}", for_good.await);
        tokio::time::sleep(ms(20)).await;
    }
    holder.release().await.unwrap();
    entered("the other", for_good)
        .await
        .release()
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_no_text_is_not_listed() {
    let server = Redis::start();
    let manager = connected(&server.url()).await;
    let guard = manager.lock("name").acquire().await.unwrap();
    let before = connections(&server);
    let spoil = "return redis.call('SET', 'lock:{0}:name:/\\255', 'x')";
    server.command(&["EVAL", spoil, "0"]);
    let listed = manager.list("").await.unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    // Each question of the test is one, and nobody else connects.
    assert_eq!(connections(&server), before + 2);
    guard.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_says_which_lock_cannot_be_read() {
    let server = Redis::start();
    let manager = connected(&server.url()).await;
    server.command(&["SET", BAD, "garbage"]);
    let error = manager.list("").await.unwrap_err().to_string();
    assert!(error.contains("`bad`"), "{error}");
}

fn connections(server: &Redis) -> u64 {
    let statistics = server.command(&["INFO", "stats"]);
    let mut lines = statistics.lines();
    let line = lines.find_map(|line| line.strip_prefix("total_connections_received:"));
    line.unwrap().trim().parse().unwrap()
}
