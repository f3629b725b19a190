//! Who leaves a name makes the section of the one who comes next, in the same step.

use std::time::{Duration, Instant};

use etcd_client::{Client, Compare, CompareOp, GetOptions, Txn};
use lock_runtime::{Guard, LockManager, Wait};
use servers::{Etcd, Proxy};

use crate::support::{
    LONG, enters, keys, manager, managers, soon, two_ways, until, until_free, until_waiting,
};

/// A name that two processes have in turns.
struct Stage {
    server: &'static Etcd,
    client: Client,
    prefix: String,
    managers: [LockManager; 2],
}

/// What a section is kept in.
struct Section {
    key: String,
    created: i64,
    lease: i64,
    is_handed: bool,
}

impl Stage {
    async fn new(namespace: &str) -> Self {
        let server = Etcd::shared();
        let (one, two) = managers(&server.url(), namespace).await;
        let address = format!("127.0.0.1:{}", server.port());
        let client = Client::connect([address], None).await.expect("a client");
        Self {
            server,
            client,
            prefix: format!("locks/{namespace}/"),
            managers: [one, two],
        }
    }

    /// The first of the two has the name, and knows who waits for it from having waited itself.
    async fn held(&self) -> Guard {
        let [one, two] = &self.managers;
        let guard = two.lock("name").acquire().await.expect("free");
        let waiting = tokio::spawn(one.lock("name").acquire());
        until_waiting(one, "name", 1).await;
        guard.release().await.expect("held");
        enters("it is had", waiting).await
    }

    /// A section that was handed over, and has not been renewed. Whoever leaves has to know of the
    /// one who waits, and nothing else may come in between: that is so after a few turns.
    async fn handed(&mut self) -> (Guard, Section) {
        let [one, two] = self.managers.clone();
        let mut guard = one.lock("name").acquire().await.expect("free");
        for next in [two, one].iter().cycle().take(100) {
            let waiting = tokio::spawn(next.lock("name").acquire());
            until_waiting(next, "name", 1).await;
            guard.release().await.expect("held");
            guard = enters("it is had", waiting).await;
            let section = self.section().await;
            if section.is_handed {
                return (guard, section);
            }
        }
        panic!("everybody entered in a step of its own");
    }

    async fn section(&mut self) -> Section {
        let range = GetOptions::new().with_prefix();
        let key = format!("{}name exclusive/", self.prefix);
        let found = self.client.get(key, Some(range)).await.expect("it answers");
        let [pair] = found.kvs() else {
            panic!("there is one section: {found:?}");
        };
        Section {
            key: pair.key_str().expect("a text").to_owned(),
            created: pair.create_revision(),
            lease: pair.lease(),
            is_handed: pair.value_str().expect("a text").contains("is_handed"),
        }
    }

    /// Somebody waits all the time, so that nothing ends because nobody does.
    async fn somebody_waits(&self) -> Guard {
        let [one, two] = &self.managers;
        let guard = one.lock("other").acquire().await.expect("free");
        for manager in [one, two] {
            drop(tokio::spawn(
                manager.lock("other").wait(Wait::Forever).acquire(),
            ));
        }
        until_waiting(one, "other", 2).await;
        guard
    }

    /// Nothing is left of the name, and nobody waited for a lease to end.
    async fn until_nothing_is_left(&self) {
        let prefix = format!("{}name ", self.prefix);
        until("nothing is left", async || {
            keys(self.server, &prefix).is_empty()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_step_ends_a_section_and_begins_the_next() {
    let mut stage = Stage::new("one-step").await;
    let (guard, section) = stage.handed().await;
    let token = guard.fencing_token().expect("a token").get();
    assert_eq!(i64::try_from(token), Ok(section.created));
    let place = format!("{}name queue/", stage.prefix);
    assert_eq!(keys(stage.server, &place), Vec::<String>::new());
    guard.release().await.expect("held");
    stage.until_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_handed_over_gets_a_lease_of_its_own_and_keeps_its_token() {
    let mut stage = Stage::new("renewed").await;
    let (guard, handed) = stage.handed().await;
    let mut renewed = stage.section().await;
    while renewed.is_handed {
        tokio::time::sleep(Duration::from_millis(10)).await;
        renewed = stage.section().await;
    }
    assert_ne!(renewed.lease, handed.lease);
    assert_eq!(
        (&renewed.key, renewed.created),
        (&handed.key, handed.created)
    );
    until("a whole lease", async || {
        guard.expires_in() > Some(Duration::from_secs(60))
    })
    .await;
    // Those who wait keep their lease, and the section does not depend on it any more.
    let mut leases = stage.client.lease_client();
    let shown = leases.time_to_live(handed.lease, None).await;
    assert!(shown.expect("it answers").ttl() > 0);
    let lease = format!("{:x}", handed.lease);
    stage.server.control(&["lease", "revoke", &lease]);
    let is_held = Compare::create_revision(renewed.key, CompareOp::Equal, handed.created);
    let txn = Txn::new().when([is_held]);
    let answer = stage.client.txn(txn).await.expect("it answers");
    assert!(
        answer.succeeded(),
        "it ended with the lease of those who wait"
    );
    assert!(guard.is_held());
    guard.release().await.expect("held");
    stage.until_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_at_the_moment_of_its_turn_leaves_nothing_behind() {
    let stage = Stage::new("gone").await;
    let others = stage.somebody_waits().await;
    for round in 0_u64..60 {
        let [one, two] = &stage.managers;
        let guard = stage.held().await;
        let waiting = tokio::spawn(two.lock("name").acquire());
        until_waiting(two, "name", 1).await;
        let releasing = tokio::spawn(guard.release());
        tokio::time::sleep(Duration::from_micros(round * 67)).await;
        waiting.abort();
        // It may have been faster: then what it has is dropped.
        drop(waiting.await);
        soon("released", releasing)
            .await
            .expect("no panic")
            .expect("held");
        if round % 10 == 9 {
            stage.until_nothing_is_left().await;
        } else {
            until_free(one, "name").await;
        }
    }
    others.release().await.expect("held");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_handed_the_name_as_its_time_is_up_has_it_or_nobody_has() {
    let stage = Stage::new("last-word").await;
    let others = stage.somebody_waits().await;
    let mut outcomes = [0, 0];
    for round in 0..60 {
        let [_, two] = &stage.managers;
        let guard = stage.held().await;
        let wait = Duration::from_micros(28_000 + round * 67);
        let waiting = tokio::spawn(two.lock("name").wait(wait).acquire());
        tokio::time::sleep(Duration::from_millis(30)).await;
        guard.release().await.expect("held");
        match soon("an answer", waiting).await.expect("no panic") {
            Ok(guard) => {
                outcomes[0] += 1;
                guard.release().await.expect("held");
            }
            Err(error) => {
                outcomes[1] += 1;
                assert!(error.is_busy(), "{error}");
            }
        }
        stage.until_nothing_is_left().await;
    }
    assert!(outcomes.iter().all(|times| *times > 0), "{outcomes:?}");
    others.release().await.expect("held");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hears_of_it_and_cannot_say_so_loses_it_before_another_has_it() {
    let server = Etcd::shared();
    let proxy = Proxy::to(server.port());
    let waiter = manager(&proxy.url(&server.url()), "mute").await;
    let other = manager(&server.url(), "mute").await;
    let guard = other.lock("name").acquire().await.expect("free");
    let waiting = tokio::spawn(waiter.lock("name").acquire());
    until_waiting(&other, "name", 1).await;
    // A holder knows of those who wait only where it has held the name for a moment.
    tokio::time::sleep(Duration::from_secs(1)).await;
    proxy.to_server().black_hole();
    guard.release().await.expect("held");
    let handed = enters("it is had", waiting).await;
    let next = soon("the next one enters", other.lock("name").acquire()).await;
    assert!(!handed.is_held(), "two have it");
    assert!(next.expect("its turn").fencing_token() > handed.fencing_token());
    proxy.mend();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waited_for_long_keeps_what_it_is_handed() {
    /// So many that some are handed their name as their process finds that nobody waits any more.
    const NAMES: usize = 20;
    let server = Etcd::shared();
    let (holder, last) = managers(&server.url(), "long").await;
    let mut names = Vec::new();
    for number in 0..NAMES {
        let name = format!("name:{number}");
        let waiter = manager(&server.url(), "long").await;
        let guard = holder.lock(name.as_str()).acquire().await.expect("free");
        let first = tokio::spawn(waiter.lock(name.as_str()).acquire());
        until_waiting(&holder, &name, 1).await;
        let second = tokio::spawn(last.lock(name.as_str()).acquire());
        until_waiting(&holder, &name, 2).await;
        names.push((waiter, guard, first, second));
    }
    // After so long without a question, a process does not say any more that it is alive.
    tokio::time::sleep(Duration::from_secs(11)).await;
    for (_waiter, guard, first, second) in names {
        guard.release().await.expect("held");
        let guard = enters("it is had", first).await;
        // Longer than until it has a lease of its own.
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!second.is_finished(), "two have it");
        guard.release().await.expect("held");
        let guard = enters("it is had", second).await;
        guard.release().await.expect("held");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_of_an_earlier_try_is_none_of_what_is_handed_over() {
    const TTL: Duration = Duration::from_secs(5);
    let server = Etcd::shared();
    let proxy = Proxy::to(server.port());
    let disturbed = manager(&proxy.url(&server.url()), "old-lease").await;
    let other = manager(&server.url(), "old-lease").await;
    let guard = other.lock("name").acquire().await.expect("free");
    // With a lease at hand, so that the next request is the one that enters.
    let first = disturbed.lock("first").ttl(TTL).run(async || ()).await;
    first.expect("free");
    proxy.to_client().black_hole();
    let waiting = tokio::spawn(disturbed.lock("name").ttl(TTL).acquire());
    tokio::time::sleep(Duration::from_millis(300)).await;
    proxy.cut();
    proxy.mend();
    until_waiting(&other, "name", 1).await;
    // The lease that was not answered for ends.
    tokio::time::sleep(TTL + Duration::from_secs(3)).await;
    guard.release().await.expect("held");
    let guard = enters("it is had", waiting).await;
    until("a whole lease", async || {
        assert!(guard.is_held(), "lost without a cause");
        guard.expires_in() > Some(TTL / 2)
    })
    .await;
    guard.release().await.expect("held");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_comes_after_what_was_handed_over_is_refused() {
    let server = Etcd::shared();
    let (slow, _quick, disturbed, other) = two_ways("late-hand").await;
    let first = disturbed.lock("first").run(async || ()).await;
    first.expect("free");
    let guard = other.lock("name").acquire().await.expect("free");
    slow.to_server().delay(Duration::from_secs(6));
    let sent = Instant::now();
    let waiting = tokio::spawn(disturbed.lock("name").acquire());
    tokio::time::sleep(Duration::from_millis(300)).await;
    slow.to_client().half_close();
    until_waiting(&other, "name", 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    guard.release().await.expect("held");
    let guard = enters("it is had", waiting).await;
    until("a whole lease", async || {
        guard.expires_in() > Some(LONG / 2)
    })
    .await;
    guard.release().await.expect("held");
    tokio::time::sleep_until((sent + Duration::from_secs(8)).into()).await;
    assert_eq!(keys(server, "locks/late-hand/name "), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_for_what_was_handed_over_costs_nobody_a_place() {
    let stage = Stage::new("ticket").await;
    let [one, two] = &stage.managers;
    let other = one.lock("other").acquire().await.expect("free");
    let first = tokio::spawn(two.lock("other").acquire());
    until_waiting(one, "other", 1).await;
    let second = tokio::spawn(one.lock("other").acquire());
    until_waiting(one, "other", 2).await;
    for ttl in [Duration::from_secs(3), LONG] {
        // Given away before it is renewed.
        for _ in 0..5 {
            let guard = stage.held().await;
            let waiting = tokio::spawn(two.lock("name").ttl(ttl).acquire());
            until_waiting(one, "name", 1).await;
            guard.release().await.expect("held");
            let guard = enters("it is had", waiting).await;
            let ticket = guard.into_ticket().expect("held");
            let adopted = one.lock("name").adopt(ticket).await.expect("held");
            adopted.release().await.expect("held");
        }
    }
    // As long as places last of a process that does not show itself.
    tokio::time::sleep(Duration::from_secs(4)).await;
    other.release().await.expect("held");
    let guard = enters("the first one enters", first).await;
    assert!(!second.is_finished(), "the second one came first");
    guard.release().await.expect("held");
    second.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_handed_over_and_given_away_ends_with_its_lease() {
    const TTL: Duration = Duration::from_secs(3);
    let stage = Stage::new("given-away").await;
    let others = stage.somebody_waits().await;
    let [one, two] = &stage.managers;
    let guard = stage.held().await;
    let waiting = tokio::spawn(two.lock("name").ttl(TTL).acquire());
    until_waiting(one, "name", 1).await;
    guard.release().await.expect("held");
    let guard = enters("it is had", waiting).await;
    drop(guard.into_ticket().expect("held"));
    // Although its process lives, and shows that it does.
    stage.until_nothing_is_left().await;
    others.release().await.expect("held");
}
