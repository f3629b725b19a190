//! Photon: locks that belong to a caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lock_runtime::{
    Caller, LockError, LockErrorKind, LockFutureExt, LockManager, acquire_lock, auth, get_lock,
    lock_name, locked, release_lock, transfer_lock,
};
use tokio::sync::Semaphore;

use crate::harness::{manual, seconds, soon, until, until_waiting};

struct Game {
    id: u32,
    moves: AtomicUsize,
    inside: AtomicUsize,
    most_inside: AtomicUsize,
    /// A move takes as long as it takes to get one of these.
    pace: Semaphore,
}

impl Game {
    fn new() -> Arc<Self> {
        Self::at_pace(Semaphore::MAX_PERMITS)
    }

    fn at_pace(moves: usize) -> Arc<Self> {
        Arc::new(Self {
            id: 7,
            moves: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            most_inside: AtomicUsize::new(0),
            pace: Semaphore::new(moves),
        })
    }

    fn moves(&self) -> usize {
        self.moves.load(Ordering::SeqCst)
    }
}

#[auth]
impl Game {
    #[locked("turn:{self.id}")]
    async fn make_move(&self, next: Option<&str>) -> Result<(), LockError> {
        let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_inside.fetch_max(inside, Ordering::SeqCst);
        if let Some(next) = next {
            transfer_lock(lock_name!("turn:{self.id}"), next).await?;
        }
        self.pace.acquire().await.unwrap().forget();
        self.moves.fetch_add(1, Ordering::SeqCst);
        self.inside.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }
}

fn alice() -> Caller {
    Caller::new("alice")
}

fn bob() -> Caller {
    Caller::new("bob")
}

async fn holder() -> Option<String> {
    let lock = get_lock("turn:7").await.unwrap();
    lock.holder.map(|holder| holder.as_str().to_owned())
}

#[tokio::test]
async fn only_the_holder_moves_while_the_turn_is_assigned() {
    let game = Game::new();
    LockManager::memory()
        .scope(async {
            acquire_lock("turn:7", "alice").await.unwrap();
            let refused = bob().scope(game.make_move(None)).await.unwrap_err();
            assert!(refused.is_not_your_turn());
            assert!(refused.to_string().starts_with("Not your turn"));
            assert_eq!(game.moves(), 0);
            alice().scope(game.make_move(None)).await.unwrap();
            assert_eq!(game.moves(), 1);
        })
        .await;
}

#[tokio::test]
async fn everybody_known_may_move_while_the_turn_is_not_assigned() {
    let game = Game::new();
    LockManager::memory()
        .scope(async {
            alice().scope(game.make_move(None)).await.unwrap();
            bob().scope(game.make_move(None)).await.unwrap();
            assert_eq!(game.moves(), 2);
        })
        .await;
}

#[tokio::test]
async fn an_anonymous_caller_is_refused_assigned_or_not() {
    let game = Game::new();
    LockManager::memory()
        .scope(async {
            for _ in 0..2 {
                for nobody in [Caller::anonymous(), Caller::new("")] {
                    let refused = nobody.scope(game.make_move(None)).await.unwrap_err();
                    assert!(refused.is_unauthenticated());
                }
                assert!(game.make_move(None).await.is_err(), "no caller at all");
                acquire_lock("turn:7", "alice").await.unwrap();
            }
            assert_eq!(game.moves(), 0);
        })
        .await;
}

#[tokio::test]
async fn a_caller_is_known_by_id_name_and_claims() {
    let caller = alice().named("Alice").with_claim("role", "referee");
    caller
        .scope(async {
            let caller = Caller::current().unwrap();
            assert_eq!(caller.id().as_str(), "alice");
            assert_eq!(caller.name(), Some("Alice"));
            assert!(!caller.is_anonymous());
            assert_eq!(caller.claims()["role"], "referee");
        })
        .await;
    assert!(Caller::current().is_none());
}

#[tokio::test]
async fn a_lock_is_assigned_queried_and_given_back() {
    LockManager::memory()
        .scope(async {
            let lock = get_lock("turn:7").await.unwrap();
            assert!(lock.holder.is_none() && lock.acquired_at.is_none());
            acquire_lock("turn:7", "alice").await.unwrap();
            let lock = get_lock("turn:7").await.unwrap();
            assert_eq!(lock.holder.unwrap().as_str(), "alice");
            assert!(lock.acquired_at.is_some() && lock.expires_at.is_none());

            let refused = acquire_lock("turn:7", "bob").await.unwrap_err();
            assert!(refused.is_not_your_turn());
            acquire_lock("turn:7", "alice").await.unwrap();
            alice()
                .scope(async { release_lock("turn:7").await })
                .await
                .unwrap();
            assert_eq!(holder().await, None);
            acquire_lock("turn:7", "bob").await.unwrap();
        })
        .await;
}

#[tokio::test]
async fn two_calls_of_the_holder_do_not_overlap() {
    let game = Game::at_pace(0);
    let manager = LockManager::memory();
    manager
        .scope(async {
            acquire_lock("turn:7", "alice").await.unwrap();
            let calls: Vec<_> = (0..3)
                .map(|_| {
                    let game = Arc::clone(&game);
                    let call = async move { game.make_move(None).await };
                    tokio::spawn(alice().scope(call).in_scope())
                })
                .collect();
            until_waiting(&manager, "turn:7", 2).await;
            game.pace.add_permits(3);
            for call in calls {
                soon("moved", call).await.unwrap().unwrap();
            }
        })
        .await;
    assert_eq!(game.moves(), 3);
    assert_eq!(game.most_inside.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_call_that_queued_as_holder_does_not_enter_after_the_turn_has_passed() {
    let game = Game::at_pace(0);
    let manager = LockManager::memory();
    manager
        .scope(async {
            acquire_lock("turn:7", "alice").await.unwrap();
            let move_to = |next| {
                let game = Arc::clone(&game);
                let call = async move { game.make_move(next).await };
                tokio::spawn(alice().scope(call).in_scope())
            };
            let guard = manager.lock("turn:7").auth_as(Default::default(), "alice");
            let guard = guard.acquire().await.unwrap();
            let hands_over = move_to(Some("bob"));
            until_waiting(&manager, "turn:7", 1).await;
            let too_late = move_to(None);
            until_waiting(&manager, "turn:7", 2).await;
            guard.release().await.unwrap();

            // The transfer inside the body counts at once: the section still runs.
            let refused = soon("told", too_late).await.unwrap().unwrap_err();
            assert!(refused.is_not_your_turn());
            assert_eq!(holder().await.as_deref(), Some("bob"));
            assert_eq!(game.moves(), 0);
            game.pace.add_permits(2);
            soon("moved", hands_over).await.unwrap().unwrap();
            bob().scope(game.make_move(None)).await.unwrap();
        })
        .await;
    assert_eq!(game.moves(), 2);
}

#[tokio::test]
async fn a_turn_does_not_lapse_while_a_player_thinks() {
    let (time, manager) = manual();
    let game = Game::new();
    manager
        .scope(async {
            acquire_lock("turn:7", "alice").await.unwrap();
            time.advance(seconds(365 * 86_400));
            assert!(bob().scope(game.make_move(None)).await.is_err());
            alice().scope(game.make_move(Some("bob"))).await.unwrap();
            assert_eq!(get_lock("turn:7").await.unwrap().expires_at, None);
            time.advance(seconds(365 * 86_400));
            assert!(alice().scope(game.make_move(None)).await.is_err());
            bob().scope(game.make_move(None)).await.unwrap();
        })
        .await;
}

#[tokio::test]
async fn a_turn_with_a_time_ends_then_and_so_does_the_one_after_it() {
    let (time, manager) = manual();
    manager
        .scope(async {
            acquire_lock("turn:7", "alice")
                .ttl(seconds(60))
                .await
                .unwrap();
            time.advance(seconds(59));
            let handed = alice().scope(async { transfer_lock("turn:7", "bob").await });
            handed.await.unwrap();
            time.advance(seconds(59));
            assert_eq!(holder().await.as_deref(), Some("bob"));
            time.advance(seconds(1));
            assert_eq!(holder().await, None);
        })
        .await;
}

#[tokio::test]
async fn a_transfer_to_nobody_is_refused_and_changes_nothing() {
    LockManager::memory()
        .scope(alice().scope(async {
            acquire_lock("turn:7", "alice").await.unwrap();
            let nobody: [Option<&str>; 2] = [None, Some("")];
            for nobody in nobody {
                let refused = transfer_lock("turn:7", nobody).await.unwrap_err();
                assert_eq!(refused.kind(), LockErrorKind::InvalidOption);
            }
            let refused = transfer_lock("turn:7", Caller::anonymous()).await;
            assert!(refused.is_err());
            assert_eq!(holder().await.as_deref(), Some("alice"));
        }))
        .await;
}

#[tokio::test]
async fn nobody_transfers_or_releases_on_anothers_word() {
    LockManager::memory()
        .scope(async {
            acquire_lock("turn:7", "alice").await.unwrap();
            bob()
                .scope(async {
                    let refusals = [
                        transfer_lock("turn:7", "bob").await,
                        transfer_lock("turn:7", "bob").from("alice").await,
                        transfer_lock("turn:7", "bob").from("bob").await,
                        release_lock("turn:7").await,
                        release_lock("turn:7").caller("alice").await,
                        release_lock("turn:7").caller("bob").await,
                        acquire_lock("turn:7", "bob").await,
                    ];
                    for refusal in refusals {
                        assert!(refusal.unwrap_err().is_not_your_turn());
                    }
                })
                .await;
            // It is not said who holds the lock, which nobody looked at.
            let named = bob().scope(async { release_lock("turn:7").caller("carl").await });
            let text = named.await.unwrap_err().to_string();
            assert!(
                text.contains("carl") && !text.contains("assigned to"),
                "{text}"
            );
            // Without a caller somebody has to be named, and must be the holder.
            let refused = transfer_lock("turn:7", "bob").await.unwrap_err();
            assert!(refused.is_unauthenticated());
            let refused = release_lock("turn:7").caller("mallory").await.unwrap_err();
            assert!(refused.is_not_your_turn());
            assert!(refused.to_string().contains("called by mallory"));
            assert_eq!(holder().await.as_deref(), Some("alice"));
            transfer_lock("turn:7", "bob").from("alice").await.unwrap();
            assert_eq!(holder().await.as_deref(), Some("bob"));
        })
        .await;
}

#[tokio::test]
async fn a_plain_call_waits_while_the_lock_belongs_to_somebody() {
    let (_time, manager) = manual();
    manager
        .scope(async {
            acquire_lock("turn:7", "alice").await.unwrap();
            let plain =
                tokio::spawn(async { lock_runtime::lock("turn:7").acquire().await }.in_scope());
            until_waiting(&manager, "turn:7", 1).await;
            let game = Game::new();
            alice().scope(game.make_move(None)).await.unwrap();
            assert!(!plain.is_finished(), "the holder's call passes it over");
            let given_back = alice().scope(async { release_lock("turn:7").await });
            given_back.await.unwrap();
            until("entered", || plain.is_finished()).await;
            drop(plain.await.unwrap().unwrap());
        })
        .await;
}
