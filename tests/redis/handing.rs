//! A release hands the name to the first of those who wait, for a moment: its body begins without
//! another question.

use std::time::Instant;

use lock_runtime::{Guard, LockError, LockManager, Lost};
use redis::Client;
use servers::{Proxy, Redis};
use tokio::task::JoinHandle;

use crate::harness::{
    connected, entered, enters_and_leaves, ms, seconds, soon, until, until_free, until_waiting,
};

/// A holder that somebody else waits for, who comes another way.
struct Stage {
    server: Redis,
    proxy: Proxy,
    other: LockManager,
    waiter: LockManager,
    holder: Guard,
    waiting: JoinHandle<Result<Guard, LockError>>,
}

impl Stage {
    async fn new() -> Self {
        let server = Redis::start();
        let proxy = Proxy::to(server.port());
        let waiter = connected(&proxy.url(&server.url())).await;
        let other = connected(&server.url()).await;
        let holder = other.lock("name").ttl(seconds(60)).acquire().await.unwrap();
        let waiting = tokio::spawn(waiter.lock("name").ttl(seconds(60)).acquire());
        until_waiting(&other, "name", 1).await;
        Self {
            server,
            proxy,
            other,
            waiter,
            holder,
            waiting,
        }
    }
}

/// So many wait in the place of the one who does, and are served at once.
async fn readers(
    number: usize,
    holder: Guard,
    waiting: JoinHandle<Result<Guard, LockError>>,
    waiter: &LockManager,
) -> Vec<Guard> {
    waiting.abort();
    drop(waiting.await);
    until_waiting(waiter, "name", 0).await;
    let readers: Vec<_> = (0..number)
        .map(|_| tokio::spawn(waiter.lock("name").shared().acquire()))
        .collect();
    until_waiting(waiter, "name", number).await;
    holder.release().await.unwrap();
    let mut guards = Vec::new();
    for reader in readers {
        guards.push(entered("it is had", reader).await);
    }
    guards
}

/// How many scripts were run so far.
fn scripts(server: &Redis) -> u64 {
    let statistics = server.command(&["info", "commandstats"]);
    let line = statistics
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    line.unwrap().split(',').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_one_begins_without_another_question() {
    // Who happens to show itself just then asks, and that is fine; nobody does so each time.
    for _ in 0..50 {
        let stage = Stage::new().await;
        let before = scripts(&stage.server);
        stage.holder.release().await.unwrap();
        let next = entered("it is had", stage.waiting).await;
        let asked = scripts(&stage.server) - before;
        next.release().await.unwrap();
        if asked == 1 {
            return;
        }
    }
    panic!("each turn took a question of the next one");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_renewed_like_any_other() {
    let stage = Stage::new().await;
    let first = stage.holder.fencing_token();
    stage.holder.release().await.unwrap();
    let next = entered("it is had", stage.waiting).await;
    assert!(next.fencing_token() > first);
    // A moment is all that it was given at first, and it has a whole lease soon.
    until("renewed", async || next.expires_in() > Some(seconds(40))).await;
    let seen = stage.other.lock("name").info().await.unwrap();
    assert_eq!(seen.section().unwrap().token, next.fencing_token());
    let started = Instant::now();
    while started.elapsed() < seconds(3) {
        assert!(
            stage
                .other
                .lock("name")
                .try_acquire()
                .await
                .unwrap()
                .is_none()
        );
        tokio::time::sleep(ms(100)).await;
    }
    assert!(next.is_held());
    next.release().await.unwrap();
    until_free(&stage.other, "name").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_comes_too_late_begins_nothing() {
    let stage = Stage::new().await;
    stage.proxy.to_client().delay(seconds(4));
    let third = tokio::spawn(stage.other.lock("name").ttl(seconds(60)).acquire());
    until_waiting(&stage.other, "name", 2).await;
    stage.holder.release().await.unwrap();
    // It was handed to the second one, which does not hear of it in time.
    let third = entered("it is had", third).await;
    let started = Instant::now();
    while started.elapsed() < seconds(6) {
        assert!(third.is_held() && !stage.waiting.is_finished());
        tokio::time::sleep(ms(20)).await;
    }
    stage.proxy.mend();
    let token = third.fencing_token();
    third.release().await.unwrap();
    let second = entered("it is had", stage.waiting).await;
    assert!(second.fencing_token() > token);
    second.release().await.unwrap();
    until_free(&stage.other, "name").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_lost_before_another_has_it_when_it_cannot_be_renewed() {
    let stage = Stage::new().await;
    let third = tokio::spawn(stage.other.lock("name").ttl(seconds(60)).acquire());
    until_waiting(&stage.other, "name", 2).await;
    // What it says from now on is not heard; what it is told is.
    stage.proxy.to_server().black_hole();
    stage.holder.release().await.unwrap();
    let second = entered("it is had", stage.waiting).await;
    let watch = second.watch();
    let lost = tokio::spawn(async move {
        let cause = watch.lost().await;
        (cause, Instant::now())
    });
    let third = entered("it is had", third).await;
    let entered = Instant::now();
    let (cause, lost) = soon("lost", lost).await.unwrap();
    assert!(cause.to_string().contains(&Lost::Expired.to_string()));
    assert!(lost <= entered, "by {:?}", lost - entered);
    assert!(!second.is_held());
    third.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_nobody_hears_of_is_the_next_ones_after_a_moment() {
    let stage = Stage::new().await;
    let third = tokio::spawn(stage.other.lock("name").ttl(seconds(60)).acquire());
    until_waiting(&stage.other, "name", 2).await;
    stage.proxy.black_hole();
    stage.holder.release().await.unwrap();
    let third = entered("it is had", third).await;
    // Not after the lease that the second one asked for.
    let seen = stage.other.lock("name").info().await.unwrap();
    assert_eq!(seen.section().unwrap().token, third.fencing_token());
    third.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_when_it_is_handed_over_leaves_nothing() {
    let stage = Stage::new().await;
    stage.holder.release().await.unwrap();
    entered("it is had", stage.waiting)
        .await
        .release()
        .await
        .unwrap();
    for round in 0..200 {
        let holder = stage.other.lock("name").acquire().await.unwrap();
        let waiting = tokio::spawn(stage.waiter.lock("name").ttl(seconds(60)).acquire());
        until_waiting(&stage.other, "name", 1).await;
        let releasing = tokio::spawn(holder.release());
        for _ in 0..round % 20 {
            tokio::task::yield_now().await;
        }
        waiting.abort();
        soon("released", releasing).await.unwrap().unwrap();
        drop(waiting.await);
        until_free(&stage.other, "name").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_ended_by_force() {
    let stage = Stage::new().await;
    stage.holder.release().await.unwrap();
    let next = entered("it is had", stage.waiting).await;
    assert_eq!(stage.other.lock("name").force_release().await.unwrap(), 1);
    until("told", async || !next.is_held()).await;
    let told = next.watch().lost().await.to_string();
    assert!(told.contains(&Lost::ForcedOut.to_string()), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_given_away_at_once() {
    let stage = Stage::new().await;
    stage.holder.release().await.unwrap();
    let next = entered("it is had", stage.waiting).await;
    let token = next.fencing_token();
    let ticket = next.into_ticket().unwrap();
    // For much longer than it was handed over for.
    let started = Instant::now();
    while started.elapsed() < seconds(3) {
        assert!(
            stage
                .other
                .lock("name")
                .try_acquire()
                .await
                .unwrap()
                .is_none()
        );
        tokio::time::sleep(ms(100)).await;
    }
    let adopted = stage.other.lock("name").adopt(ticket).await.unwrap();
    assert_eq!(adopted.fencing_token(), token);
    adopted.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn all_who_fit_beside_each_other_are_served_at_once() {
    let stage = Stage::new().await;
    let guards = readers(40, stage.holder, stage.waiting, &stage.waiter).await;
    assert!(guards.iter().all(|guard| guard.fencing_token().is_none()));
    for guard in guards {
        guard.release().await.unwrap();
    }
    until_free(&stage.other, "name").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_an_earlier_turn_begins_nothing() {
    let stage = Stage::new().await;
    let client = Client::open(stage.server.url()).unwrap();
    let mut connection = client.get_connection().unwrap();
    let mut said = connection.as_pubsub();
    said.psubscribe("lock:process:*").unwrap();
    said.set_read_timeout(Some(seconds(20))).unwrap();
    let third = tokio::spawn(stage.other.lock("name").ttl(seconds(60)).acquire());
    until_waiting(&stage.other, "name", 2).await;
    stage.proxy.black_hole();
    stage.holder.release().await.unwrap();
    let (channel, message) = loop {
        let message = said.get_message().unwrap();
        let payload: String = message.get_payload().unwrap();
        if payload.starts_with('h') {
            break (message.get_channel_name().to_owned(), payload);
        }
    };
    let third = entered("it is had", third).await;
    stage.proxy.mend();
    stage.proxy.reset();
    // It stands in the queue again, over another connection.
    until_waiting(&stage.other, "name", 1).await;
    let started = Instant::now();
    while started.elapsed() < seconds(1) {
        stage.server.command(&["publish", &channel, &message]);
        tokio::time::sleep(ms(50)).await;
        assert!(third.is_held() && !stage.waiting.is_finished());
    }
    third.release().await.unwrap();
    enters_and_leaves("the second one", stage.waiting).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_hear_of_it_keeps_its_place() {
    let stage = Stage::new().await;
    let request = || stage.other.lock("name").ttl(seconds(60)).wait(seconds(600));
    let third = tokio::spawn(request().acquire());
    until_waiting(&stage.other, "name", 2).await;
    let fourth = tokio::spawn(request().acquire());
    until_waiting(&stage.other, "name", 3).await;
    stage.proxy.black_hole();
    stage.holder.release().await.unwrap();
    let third = entered("it is had", third).await;
    stage.proxy.mend();
    stage.proxy.reset();
    until_waiting(&stage.other, "name", 2).await;
    third.release().await.unwrap();
    let second = entered("the second one", stage.waiting).await;
    assert!(!fourth.is_finished());
    second.release().await.unwrap();
    enters_and_leaves("the fourth one", fourth).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_cut_right_afterwards_loses_nothing() {
    for _ in 0..5 {
        let stage = Stage::new().await;
        // It has not shown itself for a while, so that less is left of the moment.
        tokio::time::sleep(ms(400)).await;
        stage.holder.release().await.unwrap();
        let next = entered("it is had", stage.waiting).await;
        stage.proxy.cut();
        tokio::time::sleep(ms(200)).await;
        stage.proxy.mend();
        let renewed = async || next.expires_in() > Some(seconds(40)) || !next.is_held();
        until("renewed", renewed).await;
        assert!(next.is_held());
        next.release().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_readers_who_are_served_at_once_are_all_renewed() {
    let stage = Stage::new().await;
    let guards = readers(300, stage.holder, stage.waiting, &stage.waiter).await;
    tokio::time::sleep(seconds(2)).await;
    assert!(guards.iter().all(|guard| guard.is_held()));
}
