//! Photon: the lock by name and its annotation.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use lock_runtime::backend::testing::{AlwaysBusy, AlwaysFails};
use lock_runtime::{
    LockError, LockErrorKind, LockFutureExt, LockManager, LockManagerBuilder, LockName,
    ManualClock, MemoryBackend, lock, lock_manager, lock_name, locked, set_lock_manager, with_lock,
};
use tokio::sync::Barrier;
use tokio::task::yield_now;

use crate::harness::{block_on, in_own_process, manual, seconds, soon, until_waiting};

#[derive(Default)]
struct Counter(AtomicU64);

impl Counter {
    #[locked("counter:{name}")]
    async fn increment(&self, name: &str) -> Result<u64, LockError> {
        let value = self.0.load(Ordering::SeqCst);
        yield_now().await;
        self.0.store(value + 1, Ordering::SeqCst);
        Ok(value + 1)
    }
}

#[locked("payment:{order_id}", try, guard = held)]
async fn pay(order_id: &str, both_inside: &Barrier) -> Result<Option<String>, LockError> {
    both_inside.wait().await;
    Ok(held.name().map(ToString::to_string))
}

#[locked("payment:<order_id>", guard = held)]
async fn refund(order_id: &str) -> Result<Option<LockName>, LockError> {
    Ok(held.name().cloned())
}

#[locked(guard = held)]
async fn housekeeping() -> Result<Option<LockName>, LockError> {
    Ok(held.name().cloned())
}

#[locked("file:{name}")]
async fn write_file(name: &str, written: &AtomicBool) -> Result<(), LockError> {
    written.store(true, Ordering::SeqCst);
    Ok(())
}

#[tokio::test]
async fn with_lock_returns_what_the_body_returned_and_releases() {
    let manager = LockManager::memory();
    manager
        .scope(async {
            let moved = with_lock("task:42", || async {
                assert!(lock("task:42").is_locked().await.unwrap());
                "done"
            });
            assert_eq!(moved.await.unwrap(), "done");
            assert!(!lock("task:42").is_locked().await.unwrap());
        })
        .await;
}

#[tokio::test]
async fn a_body_that_fails_releases_and_its_error_comes_through() {
    let manager = LockManager::memory();
    let failed: Result<(), &str> = manager
        .with_lock("task:42", || async { Err("no such task") })
        .await
        .unwrap();
    assert_eq!(failed, Err("no such task"));
    assert!(!manager.lock("task:42").is_locked().await.unwrap());

    let panicking = manager.clone();
    let panicked = tokio::spawn(async move {
        let body = || async { panic!("out of pens") };
        let _: Result<(), _> = panicking.with_lock("task:42", body).await;
    });
    assert!(panicked.await.unwrap_err().is_panic());
    assert!(!manager.lock("task:42").is_locked().await.unwrap());
}

#[tokio::test]
async fn a_lease_is_thirty_seconds_unless_something_else_is_said() {
    let (_time, manager) = manual();
    let guard = manager.lock("a").renew(false).acquire().await.unwrap();
    assert_eq!(guard.expires_in(), Some(seconds(30)));
    let longer = manager.lock("b").ttl(seconds(60)).renew(false);
    let guard = longer.acquire().await.unwrap();
    assert_eq!(guard.expires_in(), Some(seconds(60)));
}

#[test]
fn two_hundred_increments_under_the_annotation_leave_two_hundred() {
    let manager = LockManager::memory();
    let counter = Counter::default();
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                block_on(manager.scope(async {
                    for _ in 0..50 {
                        counter.increment("visits").await.unwrap();
                        yield_now().await;
                    }
                }));
            });
        }
    });
    assert_eq!(counter.0.into_inner(), 200);
}

#[tokio::test]
async fn a_placeholder_is_not_cut_at_the_brace() {
    let manager = LockManager::memory();
    let both_inside = Barrier::new(2);
    let (first, second) = manager
        .scope(async { tokio::join!(pay("A-17", &both_inside), pay("B-4", &both_inside)) })
        .await;
    assert_eq!(first.unwrap().as_deref(), Some("payment:A-17"));
    assert_eq!(second.unwrap().as_deref(), Some("payment:B-4"));
}

#[tokio::test]
async fn both_spellings_of_a_placeholder_make_the_same_name() {
    let order_id = "A-17";
    let name = LockManager::memory().scope(refund(order_id)).await.unwrap();
    assert_eq!(name, Some(lock_name!("payment:{order_id}").unwrap()));
}

#[tokio::test]
async fn a_bare_annotation_is_named_after_its_function() {
    let name = LockManager::memory().scope(housekeeping()).await.unwrap();
    let name = name.unwrap();
    assert_eq!(name.as_str(), "seeds::photon::housekeeping");
}

#[test]
fn without_a_manager_calls_run_straight_through_and_say_so_once() {
    let test = "photon::without_a_manager_calls_run_straight_through_and_say_so_once";
    in_own_process(test, &[], || {
        static WARNINGS: warnings::Count = warnings::Count::new();
        tracing::subscriber::set_global_default(&WARNINGS).unwrap();
        block_on(async {
            let both_inside = Barrier::new(2);
            let (first, second) =
                tokio::join!(pay("A-17", &both_inside), pay("A-17", &both_inside));
            assert_eq!((first.unwrap(), second.unwrap()), (None, None));
            assert_eq!(with_lock("a", || async { 7 }).await.unwrap(), 7);
            assert!(lock_manager().is_none());
        });
        let warnings = WARNINGS.texts();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("no lock manager is set"));

        let late = set_lock_manager(LockManager::memory()).unwrap_err();
        assert!(late.to_string().contains("already run without a lock"));
    });
}

#[test]
fn running_straight_through_can_be_refused() {
    let test = "photon::running_straight_through_can_be_refused";
    in_own_process(test, &[("LOCK_REQUIRED", "1")], || {
        let written = AtomicBool::new(false);
        let refused = block_on(write_file("a", &written)).unwrap_err();
        assert_eq!(refused.kind(), LockErrorKind::NotConfigured);
        assert!(!written.into_inner());
    });
}

#[tokio::test]
async fn a_busy_lock_is_reported_in_the_documented_words() {
    let busy = LockManager::builder().backend(AlwaysBusy).build().unwrap();
    let written = AtomicBool::new(false);
    let refused = busy.scope(write_file("a", &written)).await.unwrap_err();
    let text = refused.to_string();
    assert!(text.starts_with("Could not acquire lock: file:a"), "{text}");
    assert!(!written.into_inner());
}

#[tokio::test]
async fn two_tasks_of_one_process_do_not_both_enter() {
    let manager = LockManager::memory();
    let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let enter = || {
        manager.with_lock("task:42", || async {
            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            yield_now().await;
            inside.fetch_sub(1, Ordering::SeqCst);
        })
    };
    let (first, second, third) = tokio::join!(enter(), enter(), enter());
    first.and(second).and(third).unwrap();
    assert_eq!(most.into_inner(), 1);
}

#[tokio::test]
async fn two_services_with_namespaces_do_not_share_a_name() {
    let time = ManualClock::new();
    let store = MemoryBackend::new(time.clock());
    let service = |namespace| {
        let builder = LockManager::builder().clock(time.clock());
        let builder = builder.backend(store.clone()).namespace(namespace);
        builder.build().unwrap()
    };
    let (chess, go, chess_too) = (service("chess"), service("go"), service("chess"));
    let guard = chess.lock("turn").acquire().await.unwrap();
    assert!(go.lock("turn").try_acquire().await.unwrap().is_some());
    assert!(
        chess_too
            .lock("turn")
            .try_acquire()
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(go.list("").await.unwrap().len(), 0);
    assert_eq!(chess_too.list("").await.unwrap().len(), 1);
    drop(guard);
}

#[tokio::test]
async fn a_lease_of_nothing_or_of_centuries_is_refused() {
    let manager = LockManager::memory();
    for ttl in [seconds(0), seconds(86_401), std::time::Duration::MAX] {
        let refused = manager.lock("turn").ttl(ttl).acquire().await.unwrap_err();
        assert_eq!(refused.kind(), LockErrorKind::InvalidOption, "{ttl:?}");
        assert!(!manager.lock("turn").is_locked().await.unwrap());
        let built = LockManager::builder().memory().ttl(ttl).build();
        assert!(built.is_err(), "{ttl:?}");
    }
}

#[test]
fn a_duration_without_a_unit_is_refused() {
    let test = "photon::a_duration_without_a_unit_is_refused";
    for wrong in ["5000", "-5s", "0", "\"5000\"", "584000000000000h"] {
        let environment = [("LOCK_URL", "memory:"), ("LOCK_TTL", wrong)];
        in_own_process(test, &environment, || {
            let refused = LockManagerBuilder::from_env().unwrap_err();
            assert!(refused.to_string().contains("LOCK_TTL"), "{refused}");
        });
    }
}

#[tokio::test]
async fn a_name_in_any_script_stays_one_name() {
    let manager = LockManager::memory();
    let name = "Aufgabe:größe/漢字#🂡";
    let guard = manager.lock(name).acquire().await.unwrap();
    assert_eq!(guard.name().unwrap().as_str(), name);
    assert!(manager.lock(name).try_acquire().await.unwrap().is_none());
    let listed = manager.list("Aufgabe:größe").await.unwrap();
    assert_eq!(listed[0].name.as_str(), name);
}

#[tokio::test]
async fn a_name_has_a_limit_and_the_body_does_not_run_beyond_it() {
    let manager = LockManager::memory();
    let written = AtomicBool::new(false);
    let longest = "x".repeat(LockName::MAX_LEN - "file:".len());
    manager
        .scope(async {
            write_file(&longest, &written).await.unwrap();
            assert!(written.swap(false, Ordering::SeqCst));
            for too_long in [longest.clone() + "x", "x".repeat(1 << 20)] {
                let refused = write_file(&too_long, &written).await.unwrap_err();
                assert_eq!(refused.kind(), LockErrorKind::InvalidName);
                assert!(refused.to_string().len() < 600);
                assert!(!written.load(Ordering::SeqCst));
            }
        })
        .await;
}

#[tokio::test]
async fn an_ended_lock_is_not_listed() {
    let (time, manager) = manual();
    let _guard = manager.lock("a").ttl(seconds(10)).renew(false);
    let _guard = _guard.acquire().await.unwrap();
    manager
        .acquire_lock("b", "alice")
        .ttl(seconds(10))
        .await
        .unwrap();
    assert_eq!(manager.list("").await.unwrap().len(), 2);
    time.advance(seconds(10));
    assert_eq!(manager.list("").await.unwrap(), []);
}

#[tokio::test]
async fn a_backend_that_fails_does_not_run_the_body() {
    let failing = AlwaysFails::new("connection refused");
    let manager = LockManager::builder().backend(failing).build().unwrap();
    let written = AtomicBool::new(false);
    let refused = manager.scope(write_file("a", &written)).await.unwrap_err();
    assert!(refused.is_unavailable() && refused.is_transient());
    assert!(refused.to_string().contains("connection refused"));
    assert!(!written.into_inner());
}

#[tokio::test]
async fn who_finds_the_lock_busy_queues_and_is_served_in_order() {
    let manager = LockManager::memory();
    let served = Arc::new(Mutex::new(Vec::new()));
    manager
        .scope(async {
            let guard = lock("file:a").acquire().await.unwrap();
            let mut waiters = Vec::new();
            for number in 0..10 {
                let served = Arc::clone(&served);
                let body = async move || served.lock().unwrap().push(number);
                let waiter = async move { lock("file:a").run(body).await };
                waiters.push(tokio::spawn(waiter.in_scope()));
                until_waiting(&manager, "file:a", number + 1).await;
            }
            guard.release().await.unwrap();
            for waiter in waiters {
                soon("served", waiter).await.unwrap().unwrap();
            }
        })
        .await;
    let served = served.lock().unwrap();
    assert_eq!(*served, (0..10).collect::<Vec<_>>());
}

/// Counts warnings of the runtime.
mod warnings {
    use std::fmt::{Debug, Write as _};
    use std::sync::Mutex;

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Level, Metadata, Subscriber};

    pub(super) struct Count(Mutex<Vec<String>>);

    impl Count {
        pub(super) const fn new() -> Self {
            Self(Mutex::new(Vec::new()))
        }

        pub(super) fn texts(&self) -> Vec<String> {
            self.0.lock().unwrap().clone()
        }
    }

    impl Subscriber for &'static Count {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "lock_runtime" && *metadata.level() == Level::WARN
        }

        fn event(&self, event: &Event<'_>) {
            struct Text(String);
            impl Visit for Text {
                fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
                    write!(self.0, "{value:?}").unwrap();
                }
            }
            let mut text = Text(String::new());
            event.record(&mut text);
            self.0.lock().unwrap().push(text.0);
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }
}
