//! `#[auth]`, wherever it stands.

use lock_runtime::{Caller, CallerId, LockError, acquire_lock, auth, locked, release_lock};

use crate::{R, on_memory};

struct Game {
    owner: CallerId,
}

#[auth]
impl Game {
    #[locked("turn:{id}")]
    async fn play(&self, id: u8) -> R<u8> {
        Ok(id)
    }

    #[cfg_attr(all(), locked("turn:{id}"))]
    fn play_sync(&self, id: u8) -> R<u8> {
        Ok(id)
    }

    #[locked("turn:{id}", auth(optional))]
    async fn look(&self, id: u8) -> R<u8> {
        Ok(id)
    }

    #[auth(assigned)]
    #[locked("turn:{id}")]
    async fn resign(&self, id: u8) -> R<u8> {
        Ok(id)
    }

    fn unlocked(&self) -> &str {
        self.owner.as_str()
    }
}

struct Methods {
    user: CallerId,
    name: String,
}

impl Methods {
    #[auth]
    #[locked("turn:{id}")]
    async fn above(&self, id: u8) -> R<u8> {
        Ok(id)
    }

    #[locked("turn:{id}")]
    #[lock_runtime::auth]
    async fn below(&self, id: u8) -> R<u8> {
        Ok(id)
    }

    #[locked("turn:{id}", auth)]
    fn inside(&self, id: u8) -> R<u8> {
        Ok(id)
    }

    #[auth(caller = self.user)]
    #[locked("turn:{id}")]
    async fn by_id(&self, id: u8) -> R<u8> {
        Ok(id)
    }

    #[locked("turn:{id}", auth(caller = self.name, required))]
    fn by_name(&self, id: u8) -> R<u8> {
        Ok(id)
    }
}

fn is_not_your_turn<T>(result: Result<T, LockError>) -> bool {
    result.is_err_and(|error| error.is_not_your_turn())
}

fn is_unauthenticated<T>(result: Result<T, LockError>) -> bool {
    result.is_err_and(|error| error.is_unauthenticated())
}

#[tokio::test]
async fn an_impl_block_makes_its_locks_identity_aware() {
    on_memory(async |_| {
        let game = Game {
            owner: CallerId::new("alice"),
        };
        let (alice, bob) = (Caller::new(game.unlocked()), Caller::new("bob"));
        assert!(is_unauthenticated(game.play(1).await));
        assert!(is_unauthenticated(game.play_sync(1)));
        assert!(is_not_your_turn(bob.clone().scope(game.resign(1)).await));
        assert_eq!(game.look(1).await.unwrap(), 1);

        acquire_lock("turn:1", "alice").await.unwrap();
        assert_eq!(alice.clone().scope(game.play(1)).await.unwrap(), 1);
        assert_eq!(alice.clone().scope_sync(|| game.play_sync(1)).unwrap(), 1);
        assert_eq!(alice.clone().scope(game.resign(1)).await.unwrap(), 1);
        assert!(is_not_your_turn(bob.clone().scope(game.play(1)).await));
        assert!(is_not_your_turn(bob.scope(game.look(1)).await));
        release_lock("turn:1").caller("alice").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn every_place_of_the_attribute_means_the_same() {
    on_memory(async |_| {
        let methods = Methods {
            user: CallerId::new("alice"),
            name: "bob".to_owned(),
        };
        assert!(is_unauthenticated(methods.above(1).await));
        assert!(is_unauthenticated(methods.below(1).await));
        assert!(is_unauthenticated(methods.inside(1)));

        acquire_lock("turn:1", "alice").await.unwrap();
        let bob = Caller::new("bob");
        assert!(is_not_your_turn(bob.clone().scope(methods.above(1)).await));
        assert!(is_not_your_turn(bob.clone().scope(methods.below(1)).await));
        assert!(is_not_your_turn(bob.scope_sync(|| methods.inside(1))));
        assert_eq!(methods.by_id(1).await.unwrap(), 1);
        assert!(is_not_your_turn(methods.by_name(1)));
        release_lock("turn:1").caller("alice").await.unwrap();
    })
    .await;
}

#[auth]
trait Playable {
    #[locked("turn:{id}")]
    async fn provided(&self, id: u8) -> R<u8> {
        Ok(id)
    }
}

impl Playable for Methods {}

#[tokio::test]
async fn a_trait_makes_its_default_methods_identity_aware() {
    on_memory(async |_| {
        let methods = Methods {
            user: CallerId::new("alice"),
            name: String::new(),
        };
        assert!(is_unauthenticated(methods.provided(1).await));
        let alice = Caller::new("alice");
        assert_eq!(alice.scope(methods.provided(1)).await.unwrap(), 1);
    })
    .await;
}

#[auth]
async fn alone(ran: &mut u8) -> R {
    *ran += 1;
    Ok(())
}

#[auth(caller = user)]
fn alone_sync(user: String, ran: &mut u8) -> R {
    if user == "eve" {
        drop(user);
        return Ok(());
    }
    *ran += 1;
    Ok(())
}

#[async_trait::async_trait]
trait Boxed {
    async fn alone(&self) -> R<u8>;
}

#[async_trait::async_trait]
impl Boxed for Methods {
    #[auth(caller = self.user)]
    async fn alone(&self) -> R<u8> {
        Ok(1)
    }
}

#[tokio::test]
async fn without_a_lock_a_caller_is_required() {
    on_memory(async |_| {
        let mut ran = 0;
        assert!(is_unauthenticated(alone(&mut ran).await));
        assert!(is_unauthenticated(alone_sync(String::new(), &mut ran)));
        assert_eq!(ran, 0);
        Caller::new("bob").scope(alone(&mut ran)).await.unwrap();
        alone_sync("bob".to_owned(), &mut ran).unwrap();
        alone_sync("eve".to_owned(), &mut ran).unwrap();
        assert_eq!(ran, 2);
        let methods = Methods {
            user: CallerId::new(""),
            name: String::new(),
        };
        assert!(is_unauthenticated(methods.alone().await));
    })
    .await;
}
