//! Annotated functions, each dropped at every point.

use lock_runtime::{Caller, LockError, LockManager, auth, locked};

use crate::harness::{body, drop_everywhere};

struct Board {
    locks: LockManager,
}

impl Board {
    #[locked("{name}")]
    async fn one(&self, name: &str) -> Result<(), LockError> {
        body().await;
        Ok(())
    }

    #[locked("{first}", "{second}", manager = self.locks)]
    async fn two(&self, first: &str, second: &str) -> Result<(), LockError> {
        body().await;
        Ok(())
    }

    #[locked("{name}", reentrant, guard = held)]
    async fn outer(&self, name: &str) -> Result<(), LockError> {
        assert!(held.is_held());
        self.inner(name).await?;
        body().await;
        Ok(())
    }

    #[locked("{name}", reentrant)]
    async fn inner(&self, name: &str) -> Result<(), LockError> {
        body().await;
        Ok(())
    }

    #[auth]
    #[locked("{name}")]
    async fn called(&self, name: &str) -> Result<(), LockError> {
        body().await;
        Ok(())
    }
}

#[test]
fn annotated_functions_leave_nothing() {
    let board = |locks: &LockManager| Board {
        locks: locks.clone(),
    };
    let points = drop_everywhere("one name, in a scope", |world| {
        let (board, manager) = (board(&world.manager), world.manager.clone());
        Box::pin(async move {
            drop(manager.scope(board.one("a")).await);
        })
    }) + drop_everywhere("two names", |world| {
        let board = board(&world.manager);
        Box::pin(async move { drop(board.two("b", "a").await) })
    }) + drop_everywhere("from inside", |world| {
        let (board, manager) = (board(&world.manager), world.manager.clone());
        Box::pin(async move {
            drop(manager.scope(board.outer("a")).await);
        })
    }) + drop_everywhere("for a caller", |world| {
        let (board, manager) = (board(&world.manager), world.manager.clone());
        Box::pin(async move {
            let called = Caller::new("alice").scope(board.called("a"));
            drop(manager.scope(called).await);
        })
    });
    println!("dropped at {points} points");
    assert!(points >= 500, "dropped at {points} points only");
}
