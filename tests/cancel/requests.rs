//! Requests in code, each dropped at every point.

use lock_runtime::{AuthPolicy, Caller, LockError, LockFutureExt, Ticket};

use crate::harness::{Dropped, World, body, drop_everywhere, run};

/// Whatever comes of it: what is looked at is what is left.
fn any<T>(future: impl Future<Output = Result<T, LockError>> + 'static) -> Dropped {
    Box::pin(async move { drop(future.await) })
}

/// Below this, the harness has lost its way: a future that is never dropped leaves nothing.
#[track_caller]
fn at_least(floor: usize, points: usize) {
    println!("dropped at {points} points");
    assert!(points >= floor, "dropped at {points} points only");
}

#[test]
fn run_leaves_nothing() {
    at_least(
        270,
        drop_everywhere("run", |world| any(world.manager.lock("a").run(body)))
            + drop_everywhere("with_lock", |world| {
                let manager = world.manager.clone();
                any(async move { manager.with_lock("a", body).await })
            })
            + drop_everywhere("run_if_available", |world| {
                any(world.manager.lock("a").run_if_available(body))
            }),
    );
}

#[test]
fn guards_leave_nothing() {
    at_least(
        690,
        drop_everywhere("acquire and release", |world| {
            let request = world.manager.lock("a");
            any(async move {
                let guard = request.acquire().await?;
                body().await;
                guard.release().await
            })
        }) + drop_everywhere("acquire and drop", |world| {
            let request = world.manager.lock("a");
            any(async move {
                let guard = request.acquire().await?;
                body().await;
                drop(guard);
                Ok(())
            })
        }) + drop_everywhere("try_acquire", |world| {
            let request = world.manager.lock("a");
            any(async move {
                let guard = request.try_acquire().await?;
                body().await;
                drop(guard);
                Ok(())
            })
        }) + drop_everywhere("extend", |world| {
            let request = world.manager.lock("a");
            any(async move {
                let guard = request.acquire().await?;
                guard.extend(std::time::Duration::from_secs(60)).await?;
                guard.release().await
            })
        }) + drop_everywhere("watching", |world| {
            let request = world.manager.lock("a");
            any(async move {
                let guard = request.acquire().await?;
                Err::<(), _>(guard.lost().await)
            })
        }),
    );
}

#[test]
fn every_mode_leaves_nothing() {
    at_least(
        350,
        drop_everywhere("shared", |world| {
            any(world.manager.lock("a").shared().run(body))
        }) + drop_everywhere("permits", |world| {
            any(world.manager.lock("a").permits(2).run(body))
        }) + drop_everywhere("not renewed", |world| {
            any(world.manager.lock("a").renew(false).run(body))
        }),
    );
}

#[test]
fn several_names_leave_nothing() {
    at_least(
        250,
        drop_everywhere("a and b", |world| {
            any(world.manager.lock("a").and("b").run(body))
        }) + drop_everywhere("b and a, as a guard", |world| {
            any(world.manager.lock("b").and("a").acquire())
        }),
    );
}

#[test]
fn entries_from_inside_leave_nothing() {
    at_least(
        420,
        drop_everywhere("from inside", |world| {
            let (outer, inner) = (world.manager.clone(), world.manager.clone());
            any(outer.lock("a").reentrant().run(|| async move {
                drop(inner.lock("a").reentrant().run(body).await);
                body().await;
            }))
        }) + drop_everywhere("two branches inside", |world| {
            let manager = world.manager.clone();
            any(world.manager.lock("a").reentrant().run(|| async move {
                let inner = || manager.lock("a").reentrant().run(body);
                drop(tokio::join!(inner(), inner()));
            }))
        }) + drop_everywhere("carried in", |world| {
            let manager = world.manager.clone();
            any(world.manager.lock("a").reentrant().run(|| async move {
                let inner = manager.lock("a").and("b").reentrant().run(body);
                drop(inner.in_current_section().await);
            }))
        }),
    );
}

#[test]
fn looking_and_forcing_leave_nothing() {
    at_least(
        100,
        drop_everywhere("info", |world| any(world.manager.lock("a").info()))
            + drop_everywhere("is_locked", |world| {
                any(world.manager.lock("a").is_locked())
            })
            + drop_everywhere("list", |world| {
                let manager = world.manager.clone();
                any(async move { manager.list("").await })
            })
            + drop_everywhere("force_release", |world| {
                any(world.manager.lock("a").force_release())
            }),
    );
}

#[test]
fn identity_calls_leave_nothing_half_done() {
    let alice = || Caller::new("alice");
    at_least(
        250,
        drop_everywhere("a turn from beginning to end", |world| {
            let manager = world.manager.clone();
            Box::pin(alice().scope(async move {
                drop(manager.acquire_lock("a", "alice").await);
                let call = manager.lock("a").auth(AuthPolicy::Assigned);
                let inner = manager.clone();
                drop(
                    call.run(|| async move { inner.transfer_lock("a", "bob").await })
                        .await,
                );
                drop(manager.release_lock("a").as_operator().await);
            }))
        }) + drop_everywhere("a caller who is carried along", |world| {
            let request = world.manager.lock("a").auth(AuthPolicy::Required);
            let carried =
                alice().scope_sync(|| async move { request.run(body).await }.in_current_caller());
            any(carried)
        }),
    );
}

#[test]
fn an_adoption_leaves_the_lock_with_one_of_the_two_or_with_nobody() {
    let ticket = |world: &World| -> Option<Ticket> {
        let guard = run(world.beside.lock("b").acquire()).ok()?;
        guard.into_ticket().ok()
    };
    at_least(
        60,
        drop_everywhere("adopt", |world| {
            let Some(ticket) = ticket(world) else {
                panic!("there is no ticket");
            };
            let request = world.manager.lock("b");
            world.lapses.set(true);
            any(async move {
                let guard = request.adopt(ticket).await?;
                body().await;
                guard.release().await
            })
        }),
    );
}

#[test]
fn a_shutdown_that_is_dropped_can_be_called_again() {
    at_least(
        45,
        drop_everywhere("shutdown", |world| {
            let (manager, request) = (world.manager.clone(), world.manager.lock("b"));
            Box::pin(async move {
                let guard = request.acquire().await;
                drop(guard);
                manager.shutdown(std::time::Duration::from_secs(1)).await;
            })
        }),
    );
}
