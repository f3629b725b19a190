//! effect-distributed-lock: what was seen to go wrong in it on Redis, and does not here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lock_runtime::{DEFAULT_RELEASE_TIMEOUT, LockErrorKind, LockManager};

use crate::harness::{LONG, PATIENCE, SHORT, connected, is_free, ms, soon, until_waiting};
use crate::store::{Server, Store};

/// Who waits has a lease of its own in mind, and asks again and again.
pub(crate) async fn a_waiter_with_a_short_lease_does_not_enter_beside_a_long_one(store: Store) {
    let room = store.room();
    let (manager, contender) = (room.manager().await, room.manager().await);
    let request = manager.lock("resource").ttl(LONG).renew(false);
    let holder = request.acquire().await.unwrap();
    let contending = contender.lock("resource").ttl(SHORT).wait(3 * SHORT);
    let error = soon("refused", contending.acquire()).await.unwrap_err();
    assert!(error.is_busy() && holder.is_held(), "{error}");
    holder.release().await.unwrap();
}

/// Connections are slow, so that many are cancelled between taking effect and being answered.
pub(crate) async fn two_hundred_cancelled_requests_leave_nothing_in_the_store(store: Store) {
    let server = store.start();
    let (proxy, url) = server.way();
    let manager = connected(&url, "").await;
    let observer = server.manager().await;
    proxy.to_client().delay(ms(3));
    let mut cancelled = 0;
    for number in 0..200 {
        // Every other one finds the name busy.
        let name = if number % 2 == 0 { "free" } else { "busy" };
        let guard = match number % 2 {
            0 => None,
            _ => Some(observer.lock(name).acquire().await.unwrap()),
        };
        let request = manager.lock(name).ttl(LONG).acquire();
        let limit = Duration::from_micros(number * 50 % 6_000);
        if tokio::time::timeout(limit, request).await.is_err() {
            cancelled += 1;
        }
        drop(guard);
    }
    assert!(cancelled >= 100, "only {cancelled} were cancelled");
    for name in ["free", "busy"] {
        // Should one have leaked, its lease is longer than anybody's patience.
        let next = observer.lock(name).wait(PATIENCE).run(async || ());
        next.await.unwrap();
    }
    server.keeps_nothing().await;
}

/// How a server goes away.
#[derive(Clone, Copy, Debug)]
enum Away {
    Killed,
    Silent,
}

impl Away {
    fn befalls(self, server: &mut Server) {
        match self {
            Self::Killed => server.kill(),
            Self::Silent => server.pause(),
        }
    }

    fn is_over(self, server: &mut Server) {
        match self {
            Self::Killed => server.start_again(),
            Self::Silent => server.resume(),
        }
    }
}

pub(crate) async fn when_the_store_dies_the_holder_is_told_within_its_lease(store: Store) {
    let is_told = async |away: Away| {
        let mut server = store.start();
        let manager = server.manager().await;
        let request = manager.lock("resource").ttl(2 * SHORT);
        let guard = request.acquire().await.unwrap();
        let watch = guard.watch();
        let told = tokio::spawn(async move { (watch.lost().await, Instant::now()) });
        away.befalls(&mut server);
        let gone = Instant::now();
        let (error, at) = soon("told", told).await.unwrap();
        assert!(error.is_lost() && !guard.is_held(), "{away:?}: {error}");
        // A lease that was renewed at the last moment; what the machine adds is generous.
        let took = at.duration_since(gone);
        assert!(took < 2 * SHORT + 10 * SHORT, "{away:?}: {took:?}");
        let released = soon("released", guard.release()).await;
        assert!(released.unwrap_err().is_lost(), "{away:?}");
    };
    tokio::join!(is_told(Away::Killed), is_told(Away::Silent));
}

/// The body's result stands: what could not be delivered is reported elsewhere.
pub(crate) async fn when_the_store_dies_a_release_does_not_hang(store: Store) {
    let is_released = async |away: Away| {
        let mut server = store.start();
        let manager = server.manager().await;
        let guard = manager.lock("resource").ttl(LONG).acquire().await.unwrap();
        away.befalls(&mut server);
        let asked = Instant::now();
        let released = soon("released", guard.release()).await;
        assert!(released.is_ok(), "{away:?}: {released:?}");
        let took = asked.elapsed();
        assert!(took < DEFAULT_RELEASE_TIMEOUT + 10 * SHORT, "{took:?}");
        // It goes on in the background, and gets there when the server is back.
        away.is_over(&mut server);
        let observer = server.manager().await;
        let next = observer.lock("resource").wait(PATIENCE);
        next.run(async || ()).await.unwrap();
    };
    tokio::join!(is_released(Away::Killed), is_released(Away::Silent));
}

pub(crate) async fn when_the_store_is_down_an_acquire_is_an_error_and_no_body_runs(store: Store) {
    let is_refused = async |away: Away| {
        let mut server = store.start();
        let builder = LockManager::builder().url(server.url());
        let manager = builder.request_timeout(SHORT).connect().await.unwrap();
        away.befalls(&mut server);
        for wait in [Duration::ZERO, SHORT] {
            let ran = AtomicBool::new(false);
            let asked = Instant::now();
            let request = manager.lock("resource").wait(wait);
            let body = async || ran.store(true, Ordering::SeqCst);
            let error = soon("refused", request.run(body)).await.unwrap_err();
            assert_eq!(error.kind(), LockErrorKind::Unavailable, "{away:?}");
            assert!(!ran.load(Ordering::SeqCst), "{away:?}");
            let took = asked.elapsed();
            assert!(took < wait + 10 * SHORT, "{away:?} {wait:?}: {took:?}");
        }
    };
    tokio::join!(is_refused(Away::Killed), is_refused(Away::Silent));
}

pub(crate) async fn a_crowd_opens_no_connections(store: Store) {
    const WAITERS: usize = 20;
    let room = store.room();
    let (proxy, url) = room.server.way();
    let manager = room.manager_at(&url).await;
    let first = manager.lock("name").acquire().await.unwrap();
    // Somebody has waited once: what it takes to be told is there.
    let once = tokio::spawn(manager.lock("name").run(async || ()));
    until_waiting(&manager, "name", 1).await;
    first.release().await.unwrap();
    soon("served", once).await.unwrap().unwrap();

    let before = proxy.connections();
    let holder = manager.lock("name").acquire().await.unwrap();
    let waiting = || tokio::spawn(manager.lock("name").run(async || ()));
    let waiters: Vec<_> = (0..WAITERS).map(|_| waiting()).collect();
    until_waiting(&manager, "name", WAITERS).await;
    holder.release().await.unwrap();
    for waiter in waiters {
        soon("served", waiter).await.unwrap().unwrap();
    }
    for number in 0..WAITERS {
        let request = manager.lock(format!("other:{number}"));
        request.run(async || ()).await.unwrap();
    }
    assert_eq!(proxy.connections(), before);
}

pub(crate) async fn thirty_two_contenders_get_fair_turns(store: Store) {
    const PROCESSES: usize = 4;
    const CONTENDERS: usize = 32;
    const TURNS: usize = 15 * CONTENDERS;
    let room = store.room();
    let taken = Arc::new(AtomicUsize::new(0));
    let first = room.manager().await;
    let start = first.lock("resource").acquire().await.unwrap();
    let mut contenders = Vec::new();
    for _ in 0..PROCESSES {
        let manager = room.manager().await;
        for _ in 0..CONTENDERS / PROCESSES {
            let (manager, taken) = (manager.clone(), Arc::clone(&taken));
            contenders.push(tokio::spawn(async move {
                let mut own = 0;
                loop {
                    let request = manager.lock("resource").wait(LONG);
                    let guard = request.acquire().await.unwrap();
                    let is_over = taken.fetch_add(1, Ordering::SeqCst) >= TURNS;
                    guard.release().await.unwrap();
                    if is_over {
                        return own;
                    }
                    own += 1;
                }
            }));
        }
    }
    until_waiting(&first, "resource", CONTENDERS).await;
    start.release().await.unwrap();
    let mut turns = Vec::new();
    for contender in contenders {
        turns.push(soon("its turns", contender).await.unwrap());
    }
    // First come, first served: whoever has had a turn queues behind all others, but for those
    // that are on their way back into the queue.
    let (fewest, most) = (turns.iter().min().unwrap(), turns.iter().max().unwrap());
    assert!(*fewest >= most / 2, "{turns:?}");
}

/// The answers are slow, so that some of these releases find a renewal under way.
pub(crate) async fn a_renewal_on_its_way_does_not_revive_a_released_lock(store: Store) {
    const NAMES: u64 = 12;
    const TTL: Duration = ms(2_400);
    const DELAY: Duration = ms(400);
    let room = store.room();
    let (proxy, url) = room.server.way();
    let (manager, observer) = (room.manager_at(&url).await, room.manager().await);
    let mut tasks = Vec::new();
    for number in 0..NAMES {
        let name = format!("resource:{number}");
        let guard = manager.lock(&name).ttl(TTL).acquire().await.unwrap();
        let observer = observer.clone();
        tasks.push(tokio::spawn(async move {
            // From a little before the first renewal until it has been answered.
            tokio::time::sleep(TTL / 3 - ms(100) + ms(50) * number as u32).await;
            let asked = Instant::now();
            guard.release().await.unwrap();
            let took = asked.elapsed();
            assert!(is_free(&observer, &name).await, "{name}");
            // What came late would show itself by now.
            let next = observer.lock(&name).ttl(LONG).acquire().await.unwrap();
            tokio::time::sleep(TTL / 2).await;
            let info = observer.lock(&name).info().await.unwrap();
            assert_eq!(info.section().unwrap().token, next.fencing_token());
            next.release().await.unwrap();
            let info = observer.lock(&name).info().await.unwrap();
            assert!(!info.is_locked(), "{name}: {info:?}");
            took
        }));
    }
    proxy.to_client().delay(DELAY);
    let mut waited = 0;
    for task in tasks {
        let took = soon("released", task).await.unwrap();
        // For the answer to the renewal, and then for its own.
        waited += usize::from(took > DELAY * 5 / 4);
    }
    assert!(waited >= 3, "only {waited} releases met a renewal");
}
