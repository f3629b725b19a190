//! Many threads at once.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::manager::LockManager;

#[test]
fn tokens_rise_with_every_grant_of_a_name_and_none_is_given_twice() {
    const THREADS: usize = 8;
    const TURNS: usize = 500;
    let manager = LockManager::memory();
    let given: [Mutex<Vec<u64>>; 3] = Default::default();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (manager, given) = (&manager, &given);
            scope.spawn(move || {
                for turn in 0..TURNS {
                    let name = (thread + turn) % given.len();
                    let lock = manager.lock(format!("name:{name}")).blocking();
                    let guard = lock.acquire().unwrap();
                    let token = guard.fencing_token().unwrap().get();
                    // In the order of the sections, because the lock is held.
                    given[name].try_lock().expect("two were inside").push(token);
                }
            });
        }
    });
    let mut all = BTreeMap::new();
    for tokens in given {
        let tokens = tokens.into_inner().unwrap();
        assert!(tokens.is_sorted_by(|earlier, later| earlier < later));
        all.extend(tokens.into_iter().map(|token| (token, ())));
    }
    assert_eq!(all.len(), THREADS * TURNS);
}

#[test]
fn no_thread_waits_for_ever_and_nothing_is_left() {
    let manager = LockManager::memory();
    let inside = AtomicUsize::new(0);
    thread::scope(|scope| {
        for thread in 0..8 {
            let (manager, inside) = (&manager, &inside);
            scope.spawn(move || {
                for turn in 0..200 {
                    let lock = manager.lock("a");
                    let lock = if (thread + turn) % 3 == 0 {
                        lock.shared()
                    } else {
                        lock
                    };
                    let is_exclusive = (thread + turn) % 3 != 0;
                    lock.blocking()
                        .run(|| {
                            let before = inside.fetch_add(1, Ordering::SeqCst);
                            assert!(before == 0 || !is_exclusive, "{before} were inside");
                            inside.fetch_sub(1, Ordering::SeqCst);
                        })
                        .unwrap();
                }
            });
        }
    });
    let info = manager.lock("a").blocking().info().unwrap();
    assert!(!info.is_locked() && info.waiting == 0);
}
