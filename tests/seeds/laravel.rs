//! Laravel `Cache::lock`: everyday use.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lock_runtime::{
    LockError, LockErrorKind, LockManager, Lost, Ticket, lock, lock_name, locked, with_lock,
};

use crate::harness::{manual, seconds, soon, until_waiting};

const MILLISECOND: Duration = Duration::from_millis(1);

#[locked("sync:facility:{facility}", try, on_busy = |_| Ok(None))]
async fn sync_facility(facility: &str) -> Result<Option<String>, LockError> {
    Ok(Some(format!("{facility} is in step")))
}

#[tokio::test]
async fn get_takes_the_lock_or_says_no_at_once() {
    let (_time, manager) = manual();
    let lock = manager.lock("process:package:1").ttl(seconds(30));
    let guard = lock.clone().try_acquire().await.unwrap();
    assert!(guard.is_some());
    assert!(lock.clone().try_acquire().await.unwrap().is_none());
    guard.unwrap().release().await.unwrap();
    assert!(lock.try_acquire().await.unwrap().is_some());
}

#[tokio::test]
async fn a_closure_gives_back_its_result() {
    let manager = LockManager::memory();
    let request = manager.lock("api:call:orders").ttl(seconds(60));
    let answer = request.wait(seconds(10)).run(|| async { 42 });
    assert_eq!(answer.await.unwrap(), 42);
    let scoped = manager.scope(with_lock("api:call:orders", || async { "orders" }));
    assert_eq!(scoped.await.unwrap(), "orders");
    let blocking = manager.lock("api:call:orders").blocking();
    assert_eq!(blocking.run(|| 7).unwrap(), 7);
}

#[tokio::test]
async fn a_lock_that_comes_free_shortly_before_the_deadline_is_had() {
    let (time, manager) = manual();
    for freed_at in [850, 751, 999] {
        let guard = manager.lock("import:batch:1").acquire().await.unwrap();
        let waiting = {
            let manager = manager.clone();
            let request = manager.lock("import:batch:1").wait(seconds(1));
            tokio::spawn(request.acquire())
        };
        until_waiting(&manager, "import:batch:1", 1).await;
        time.advance(freed_at * MILLISECOND);
        guard.release().await.unwrap();
        drop(soon("had", waiting).await.unwrap().unwrap());
    }
}

#[tokio::test]
async fn block_gives_up_at_its_second_and_not_before() {
    let (time, manager) = manual();
    let _guard = manager.lock("import:batch:1").acquire().await.unwrap();
    let request = manager.lock("import:batch:1").wait(seconds(1));
    let waiting = tokio::spawn(request.acquire());
    until_waiting(&manager, "import:batch:1", 1).await;
    time.advance(seconds(1) - Duration::from_nanos(1));
    until_waiting(&manager, "import:batch:1", 1).await;
    assert!(!waiting.is_finished());
    time.advance(Duration::from_nanos(1));
    let refused = soon("refused", waiting).await.unwrap().unwrap_err();
    assert_eq!(refused.waited(), Some(seconds(1)));
}

#[tokio::test]
async fn the_error_of_a_time_out_says_what_it_was_about() {
    let (time, manager) = manual();
    let _guard = manager.lock("import:batch:1").acquire().await.unwrap();
    time.advance(seconds(3));
    let request = manager.lock("import:batch:1").wait(seconds(1));
    let waiting = tokio::spawn(request.acquire());
    until_waiting(&manager, "import:batch:1", 1).await;
    time.advance(seconds(1));
    let text = soon("refused", waiting)
        .await
        .unwrap()
        .unwrap_err()
        .to_string();
    for part in [
        "Could not acquire lock: import:batch:1",
        "waited 1 s",
        "held for 4 s",
        "laravel.rs",
        "this very process",
    ] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[tokio::test]
async fn an_owner_is_known_and_goes_on_elsewhere() {
    let (_time, manager) = manual();
    let guard = manager.lock("resource:1").acquire().await.unwrap();
    let owner = guard.owner().unwrap();
    let info = manager.lock("resource:1").info().await.unwrap();
    assert_eq!(info.section().unwrap().owner.id, owner.id, "owned by it");

    // The seed's `restoreLock(name, owner)`: a queued job releases what a request took.
    let kept = serde_json::to_value(guard.into_ticket().unwrap()).unwrap();
    let ticket: Ticket = serde_json::from_value(kept).unwrap();
    let restored = manager.lock("resource:1").adopt(ticket).await.unwrap();
    assert!(restored.is_held());
    restored.release().await.unwrap();
    assert!(!manager.lock("resource:1").is_locked().await.unwrap());
}

#[tokio::test]
async fn refresh_starts_the_lease_anew() {
    let (time, manager) = manual();
    let request = manager.lock("resource:1").ttl(seconds(10)).renew(false);
    let guard = request.acquire().await.unwrap();
    time.advance(seconds(9));
    guard.extend(seconds(20)).await.unwrap();
    assert_eq!(guard.expires_in(), Some(seconds(20)));
    time.advance(seconds(20) - MILLISECOND);
    assert!(guard.is_held());
    time.advance(MILLISECOND);
    assert!(!guard.is_held());
    assert!(guard.extend(seconds(20)).await.unwrap_err().is_lost());
}

#[tokio::test]
async fn force_release_frees_the_lock_and_tells_its_holder() {
    let (_time, manager) = manual();
    let guard = manager.lock("resource:1").acquire().await.unwrap();
    let ended = manager.lock("resource:1").force_release().await.unwrap();
    assert_eq!(ended, 1);
    assert!(!guard.is_held());
    let successor = manager.lock("resource:1").try_acquire().await.unwrap();
    assert!(successor.is_some());
    // Who was forced out cannot come back, nor free the one who came after.
    assert!(guard.extend(seconds(10)).await.is_err());
    let told = guard.release().await.unwrap_err();
    assert!(told.to_string().contains(&Lost::ForcedOut.to_string()));
    assert!(successor.unwrap().is_held());
}

#[tokio::test]
async fn without_overlapping_a_second_run_is_skipped() {
    let manager = LockManager::memory();
    manager
        .scope(async {
            let ran = sync_facility("north").await.unwrap();
            assert_eq!(ran.as_deref(), Some("north is in step"));
            let running = lock("sync:facility:north").acquire().await.unwrap();
            assert_eq!(sync_facility("north").await.unwrap(), None);
            assert!(sync_facility("south").await.unwrap().is_some());
            running.release().await.unwrap();
            assert!(sync_facility("north").await.unwrap().is_some());
        })
        .await;
}

#[tokio::test]
async fn a_funnel_lets_so_many_through_at_a_time() {
    let manager = LockManager::memory();
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let jobs: Vec<_> = (0..12)
        .map(|_| {
            let (inside, most) = (Arc::clone(&inside), Arc::clone(&most));
            let request = manager.lock("api:metrc").permits(3);
            tokio::spawn(request.run(async move || {
                most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
            }))
        })
        .collect();
    for job in jobs {
        soon("run", job).await.unwrap().unwrap();
    }
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_guard_keeps_the_name_busy_for_at_least_so_long_however_it_ends() {
    let (time, manager) = manual();
    for is_dropped in [false, true] {
        let request = manager.lock("sync:facility:1").at_least(seconds(60));
        let guard = request.acquire().await.unwrap();
        time.advance(seconds(10));
        if is_dropped {
            drop(guard);
        } else {
            guard.release().await.unwrap();
        }
        let lock = || manager.lock("sync:facility:1");
        time.advance(seconds(50) - MILLISECOND);
        assert!(lock().is_locked().await.unwrap(), "{is_dropped}");
        time.advance(MILLISECOND);
        assert!(!lock().is_locked().await.unwrap(), "{is_dropped}");
    }
}

#[test]
fn names_follow_action_entity_and_scope() {
    let (facility, tag) = ("north:1", "1A4 06");
    let name = lock_name!("label:generate:{facility}:{tag}").unwrap();
    assert_eq!(name.as_str(), "label:generate:north%3A1:1A4%2006");
}

#[tokio::test]
async fn a_closure_that_outlives_its_lease_is_reported() {
    let (time, manager) = manual();
    let finished = Arc::new(AtomicUsize::new(0));
    let request = manager.lock("long:job").ttl(seconds(10)).renew(false);
    let running = {
        let (time, finished) = (time.clone(), Arc::clone(&finished));
        tokio::spawn(request.run(async move || {
            time.advance(seconds(60));
            tokio::task::yield_now().await;
            finished.fetch_add(1, Ordering::SeqCst);
        }))
    };
    let told = soon("told", running).await.unwrap().unwrap_err();
    assert!(told.is_lost());
    assert_eq!(finished.load(Ordering::SeqCst), 0, "it was stopped");
}

#[tokio::test]
async fn a_lock_is_kept_for_as_long_as_its_closure_runs() {
    let (time, manager) = manual();
    let request = manager.lock("long:job").ttl(seconds(10));
    let running = {
        let (time, manager) = (time.clone(), manager.clone());
        tokio::spawn(request.run(async move || {
            for _ in 0..10 {
                time.advance(seconds(6));
                tokio::task::yield_now().await;
                let other = manager.lock("other:job").try_acquire().await.unwrap();
                assert!(other.is_some());
                let busy = manager.lock("long:job").info().await.unwrap();
                assert!(busy.is_locked());
            }
        }))
    };
    soon("run", running).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_lease_of_no_seconds_is_refused_and_does_not_hold_for_ever() {
    let (_time, manager) = manual();
    let refused = manager.lock("resource").ttl(Duration::ZERO).try_acquire();
    let refused = refused.await.unwrap_err();
    assert_eq!(refused.kind(), LockErrorKind::InvalidOption);
    assert!(
        manager
            .lock("resource")
            .try_acquire()
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn after_its_lease_a_lock_is_no_longer_owned() {
    let (time, manager) = manual();
    let request = manager.lock("resource").ttl(seconds(10)).renew(false);
    let guard = request.acquire().await.unwrap();
    let watch = guard.watch();
    time.advance(seconds(10) - Duration::from_nanos(1));
    assert!(guard.is_held() && watch.is_held());
    time.advance(Duration::from_nanos(1));
    assert!(!guard.is_held() && !watch.is_held());
    let info = manager.lock("resource").info().await.unwrap();
    assert!(info.sections.is_empty());
}

#[test]
fn eight_threads_that_block_are_served_in_the_order_of_their_coming() {
    const THREADS: usize = 8;
    let manager = LockManager::memory();
    let lock = || manager.lock("resource").blocking();
    for _ in 0..5 {
        let served = Mutex::new(Vec::new());
        let running = lock().acquire().unwrap();
        std::thread::scope(|threads| {
            for number in 0..THREADS {
                let served = &served;
                threads.spawn(move || lock().run(|| served.lock().unwrap().push(number)).unwrap());
                let started = Instant::now();
                while lock().info().unwrap().waiting == number {
                    assert!(started.elapsed() < seconds(20), "{number} never queued");
                    std::thread::yield_now();
                }
            }
            running.release_blocking().unwrap();
        });
        let served = served.into_inner().unwrap();
        assert_eq!(served, (0..THREADS).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_lock_that_is_never_released_ends_with_its_lease() {
    let (time, manager) = manual();
    let request = manager.lock("resource").ttl(seconds(60)).renew(false);
    let _never_released = request.acquire().await.unwrap();
    time.advance(seconds(60) - MILLISECOND);
    let lock = || manager.lock("resource").try_acquire();
    assert!(lock().await.unwrap().is_none());
    time.advance(MILLISECOND);
    assert!(lock().await.unwrap().is_some());
}
