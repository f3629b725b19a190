//! The attributes bring no warning of their own into strict code, and hide none of the user's.

#![deny(warnings, clippy::all, clippy::pedantic)]

use lock_runtime::{Caller, auth, lock_name, locked};

use crate::{R, on_memory};

#[derive(Debug)]
struct Strict {
    id: u64,
}

#[auth]
impl Strict {
    #[locked("strict:{self.id}:{id}", wait = "5s", guard = held)]
    async fn asynchronous(&self, id: u64) -> R<u64> {
        std::future::ready(()).await;
        if held.fencing_token().is_none() {
            return Ok(0);
        }
        Ok(id)
    }

    #[locked("strict:{self.id}", guard = held)]
    fn blocking(&mut self) -> R<u64> {
        self.id += u64::from(held.is_held());
        Ok(self.id)
    }

    #[locked("strict:{self.id}", on_error = |_| 0)]
    async fn answered(&self) -> u64 {
        self.id
    }
}

#[locked]
async fn one_line() -> R {
    Ok(())
}

#[locked("line", try)]
fn one_line_sync() -> R {
    Ok(())
}

#[auth]
fn one_line_auth() -> R {
    Ok(())
}

#[locked("future")]
fn one_line_future() -> std::pin::Pin<Box<dyn Future<Output = R>>> {
    Box::pin(async { Ok(()) })
}

#[locked("never")]
async fn diverges(ran: bool) -> R<u8> {
    assert!(!ran, "not this time");
    loop {
        if !ran {
            return Ok(1);
        }
    }
}

#[tokio::test]
async fn strict_code_stays_clean() {
    on_memory(async |_| {
        let mut strict = Strict { id: 1 };
        let bob = Caller::new("bob");
        assert_eq!(bob.clone().scope(strict.asynchronous(2)).await.unwrap(), 2);
        assert_eq!(bob.clone().scope_sync(|| strict.blocking()).unwrap(), 2);
        assert_eq!(bob.scope(strict.answered()).await, 2);
        one_line().await.unwrap();
        one_line_sync().unwrap();
        one_line_future().await.unwrap();
        one_line_auth().unwrap_err();
        assert_eq!(diverges(false).await.unwrap(), 1);
        assert_eq!(lock_name!("a").unwrap().as_str(), "a");
    })
    .await;
}

/// Each `expect` is a warning itself when the lint does not fire.
mod the_users_own {
    #![deny(unfulfilled_lint_expectations)]

    use lock_runtime::locked;

    use crate::R;

    #[expect(unused_variables)]
    #[locked("unused")]
    async fn unused_parameter(nobody: u8) -> R {
        Ok(())
    }

    #[expect(unused_variables)]
    #[locked("unused")]
    fn unused_parameter_sync(nobody: u8) -> R {
        Ok(())
    }

    #[locked("unused")]
    async fn unused_inside() -> R {
        #[expect(unused_variables)]
        let nobody = 1;
        Ok(())
    }

    #[expect(unused_variables)]
    #[locked("unused", guard = nobody)]
    async fn unused_guard() -> R {
        Ok(())
    }

    #[expect(unused_mut)]
    #[locked("mutable")]
    async fn needless_mut(mut list: Vec<u8>, mut text: &str) -> R<usize> {
        Ok(list.len() + text.len())
    }

    #[expect(unreachable_code)]
    #[locked("unreachable")]
    async fn unreachable() -> R {
        return Ok(());
        Ok(())
    }

    #[expect(unused_must_use)]
    #[locked("must")]
    async fn must_use() -> R {
        one(1);
        Ok(())
    }

    #[expect(unused_must_use)]
    #[locked("must")]
    fn must_use_sync() -> R {
        one(1);
        Ok(())
    }

    #[must_use]
    const fn one(number: u8) -> u8 {
        number
    }

    #[expect(dead_code)]
    #[locked("dead")]
    async fn never_called() -> R {
        Ok(())
    }

    #[expect(unused_parens)]
    #[locked("parens")]
    async fn parens(number: u8) -> R<u8> {
        let more = (number + 1);
        Ok(more)
    }

    #[tokio::test]
    async fn still_warn() {
        crate::on_memory(async |_| {
            unused_parameter(1).await.unwrap();
            unused_parameter_sync(1).unwrap();
            unused_inside().await.unwrap();
            unused_guard().await.unwrap();
            assert_eq!(needless_mut(vec![], "a").await.unwrap(), 1);
            unreachable().await.unwrap();
            must_use().await.unwrap();
            must_use_sync().unwrap();
            assert_eq!(parens(1).await.unwrap(), 2);
        })
        .await;
    }
}
