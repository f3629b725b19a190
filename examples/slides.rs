//! Slides: the presenter holds the navigation, until it is given to the audience.
//!
//! Watch: while nobody presents, everybody who is known may turn the pages. From `present` on,
//! only the presenter may; the others are told whose turn it is. The presenter hands over to a
//! colleague, who ends the talk, and the pages are everybody's again.
//!
//! With `LOCK_URL` the navigation is kept where it says, and each process shows a deck of its own:
//! `LOCK_URL=unix:/run/lockd/lockd.sock cargo run -p examples --example slides`
//!
//! `cargo run -p examples --example slides`

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use lock_runtime::{
    Caller, LockError, LockManager, acquire_lock, auth, get_lock, lock_name, locked, release_lock,
    set_lock_manager, transfer_lock,
};
use tokio::task::JoinSet;

struct Slides {
    deck: String,
    current: AtomicI64,
}

#[auth]
impl Slides {
    #[locked("navigation:{self.deck}")]
    async fn next(&self) -> Result<i64, LockError> {
        self.turn(1).await
    }

    #[locked("navigation:{self.deck}")]
    async fn previous(&self) -> Result<i64, LockError> {
        self.turn(-1).await
    }

    /// Takes control. Refused while somebody else has it.
    #[auth]
    async fn present(&self) -> Result<(), LockError> {
        acquire_lock(lock_name!("navigation:{self.deck}"), Caller::current()).await
    }

    /// Gives control to a colleague.
    #[auth]
    async fn hand_over(&self, colleague: &Caller) -> Result<(), LockError> {
        transfer_lock(lock_name!("navigation:{self.deck}"), colleague).await
    }

    /// Gives control to the audience.
    #[auth]
    async fn release(&self) -> Result<(), LockError> {
        release_lock(lock_name!("navigation:{self.deck}")).await
    }

    /// Who presents. Anybody may ask.
    async fn presenter(&self) -> Result<Option<String>, LockError> {
        let lock = get_lock(lock_name!("navigation:{self.deck}")).await?;
        Ok(lock.holder.map(|holder| holder.to_string()))
    }

    async fn turn(&self, by: i64) -> Result<i64, LockError> {
        let page = self.current.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.current.store(page + by, Ordering::SeqCst);
        Ok(page + by)
    }
}

/// Everybody turns one page at the same time. Returns who managed to, and the last refusal.
async fn everybody_turns(
    slides: &Arc<Slides>,
    people: &[Caller],
) -> (Vec<String>, Option<LockError>) {
    let mut turning = JoinSet::new();
    for person in people {
        let (slides, who) = (Arc::clone(slides), person.id().to_string());
        let turned = person.clone().scope(async move { slides.next().await });
        turning.spawn(async move { (who, turned.await) });
    }
    let (mut managed, mut refusal) = (Vec::new(), None);
    for (who, turned) in turning.join_all().await {
        match turned {
            Ok(_) => managed.push(who),
            Err(error) => refusal = Some(error),
        }
    }
    managed.sort();
    (managed, refusal)
}

#[tokio::main]
async fn main() -> Result<(), LockError> {
    let manager = LockManager::from_env().await?;
    // The pages are in this process. Where others present too, its deck is another.
    let deck = match &manager {
        Some(_) => format!("roadmap-{}", std::process::id()),
        None => "roadmap".to_owned(),
    };
    set_lock_manager(manager.unwrap_or_else(LockManager::memory))?;
    let slides = Arc::new(Slides {
        deck,
        current: AtomicI64::new(1),
    });
    let people = ["ann", "bob", "carl", "dora"].map(Caller::new);
    let [ann, bob, ..] = &people;

    let (managed, _) = everybody_turns(&slides, &people).await;
    let page = slides.current.load(Ordering::SeqCst);
    println!("Nobody presents, {} turn: page {page}.", managed.join(", "));
    assert_eq!((managed.len(), page), (4, 5), "no turn was lost");

    ann.clone().scope(slides.present()).await?;
    let (managed, refusal) = everybody_turns(&slides, &people).await;
    let refusal = refusal.expect("three of four are not the presenter");
    println!("ann presents, {} turns; {refusal}.", managed.join(", "));
    assert_eq!(managed, ["ann"]);
    assert!(refusal.is_not_your_turn());

    let usurped = bob.clone().scope(slides.present()).await;
    assert!(usurped.is_err_and(|error| error.is_not_your_turn()));
    let taken = bob.clone().scope(slides.release()).await;
    assert!(taken.is_err_and(|error| error.is_not_your_turn()));
    let unknown = slides.next().await;
    assert!(unknown.is_err_and(|error| error.is_unauthenticated()));

    ann.clone().scope(slides.hand_over(bob)).await?;
    assert_eq!(slides.presenter().await?.as_deref(), Some("bob"));
    let (managed, _) = everybody_turns(&slides, &people).await;
    println!("ann hands over, {} turns.", managed.join(", "));
    assert_eq!(managed, ["bob"]);

    bob.clone().scope(slides.release()).await?;
    let page = ann.clone().scope(slides.previous()).await?;
    println!("bob ends the talk, ann turns back: page {page}.");
    assert_eq!((page, slides.presenter().await?), (6, None));
    Ok(())
}
