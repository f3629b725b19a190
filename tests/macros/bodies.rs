//! What bodies do: leave early, fail, panic, call themselves.

use std::panic::AssertUnwindSafe;

use lock_runtime::{LockManager, locked};

use crate::{R, on_memory, on_memory_sync};

async fn is_locked(manager: &LockManager, name: &str) -> bool {
    manager.lock(name).is_locked().await.unwrap()
}

#[locked("way:{way}")]
async fn leaves(way: u8, manager: &LockManager) -> R<u8> {
    assert!(is_locked(manager, &format!("way:{way}")).await);
    let checked = || -> Option<u8> {
        let more = way.checked_add(1)?;
        if more == 9 {
            return None;
        }
        Some(more)
    };
    if way == 1 {
        return Ok(1);
    }
    'outer: for _ in 0..3 {
        for number in 0..3 {
            if number == way {
                break 'outer;
            }
        }
    }
    let Some(more) = checked() else {
        return Ok(0);
    };
    if way == 3 {
        manager.lock("white space").try_acquire().await?;
    }
    Ok(more)
}

#[locked("way:{way}")]
fn leaves_sync(way: u8, manager: &LockManager) -> R<u8> {
    assert!(manager.lock(format!("way:{way}")).blocking().is_locked()?);
    if way == 1 {
        return Ok(1);
    }
    if way == 3 {
        manager.lock("white space").blocking().try_acquire()?;
    }
    Ok(way + 1)
}

#[tokio::test]
async fn early_returns_release() {
    on_memory(async |manager| {
        assert_eq!(leaves(1, manager).await.unwrap(), 1);
        assert_eq!(leaves(2, manager).await.unwrap(), 3);
        assert_eq!(leaves(8, manager).await.unwrap(), 0);
        leaves(3, manager).await.unwrap_err();
        for way in 1..9 {
            assert!(!is_locked(manager, &format!("way:{way}")).await);
        }
    })
    .await;
}

#[test]
fn early_returns_of_sync_functions_release() {
    on_memory_sync(|manager| {
        assert_eq!(leaves_sync(1, manager).unwrap(), 1);
        assert_eq!(leaves_sync(2, manager).unwrap(), 3);
        leaves_sync(3, manager).unwrap_err();
        for way in 1..4 {
            let lock = manager.lock(format!("way:{way}"));
            assert!(!lock.blocking().is_locked().unwrap());
        }
    });
}

#[locked("panics")]
async fn panics() -> R {
    panic!("on purpose");
}

#[locked("panics")]
fn panics_sync() -> R {
    unreachable!("on purpose");
}

#[tokio::test]
async fn a_panic_goes_on_and_releases() {
    on_memory(async |manager| {
        let task = manager.clone();
        let panic = tokio::spawn(async move { task.scope(panics()).await }).await;
        assert!(panic.unwrap_err().is_panic());
        let panic = std::panic::catch_unwind(AssertUnwindSafe(panics_sync));
        assert!(panic.is_err());
        assert!(!is_locked(manager, "panics").await);
    })
    .await;
}

struct Bomb;

impl std::fmt::Display for Bomb {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("cannot be shown");
    }
}

#[locked("bomb:{bomb}")]
fn named_by_panic(bomb: Bomb, ran: &mut bool) -> R {
    let _bomb = bomb;
    *ran = true;
    Ok(())
}

#[tokio::test]
async fn a_panic_in_a_placeholder_acquires_nothing() {
    on_memory(async |_| {
        let mut ran = false;
        let call = AssertUnwindSafe(|| named_by_panic(Bomb, &mut ran));
        assert!(std::panic::catch_unwind(call).is_err());
        assert!(!ran);
    })
    .await;
}

#[locked("depth:{depth}")]
async fn recursive(depth: u8) -> R<u8> {
    if depth == 0 {
        return Ok(0);
    }
    Ok(Box::pin(recursive(depth - 1)).await? + 1)
}

#[locked("inner")]
async fn with_inner_attributes() -> R<u8> {
    #![allow(
        unused_variables,
        reason = "an inner attribute is kept where it stands"
    )]
    let unused = 1;
    enum Shape {
        Ok,
        Err,
    }
    use Shape::{Err, Ok};
    let shapes = [Ok, Err];
    R::Ok(u8::try_from(shapes.len()).unwrap())
}

#[locked("inner")]
fn with_inner_attributes_sync() -> R<u8> {
    #![allow(
        unused_variables,
        reason = "an inner attribute is kept where it stands"
    )]
    let unused = 1;
    Ok(1)
}

#[locked("deferred")]
async fn loops_forever(turns: &mut u8) -> R {
    loop {
        *turns += 1;
        std::future::pending::<()>().await;
    }
}

#[tokio::test]
async fn bodies_of_all_kinds() {
    on_memory(async |manager| {
        assert_eq!(recursive(5).await.unwrap(), 5);
        assert_eq!(with_inner_attributes().await.unwrap(), 2);
        assert_eq!(with_inner_attributes_sync().unwrap(), 1);
        let mut turns = 0;
        let dropped = std::time::Duration::from_millis(1);
        tokio::time::timeout(dropped, loops_forever(&mut turns))
            .await
            .unwrap_err();
        assert_eq!(turns, 1);
        manager
            .lock("deferred")
            .acquire()
            .await
            .unwrap()
            .release()
            .await
            .unwrap();
    })
    .await;
}
