//! S3: with a manager, a body runs only inside a section.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::case::{Failure, Outcome, cases, ensure};
use super::stage::{LONG, Stage};
use crate::error::{LockError, LockErrorKind};
use crate::options::AuthPolicy;
use crate::request::LockRequest;

cases! {
    "S3" [] a_body_does_not_run_while_the_name_is_busy;
    "S3" [] a_body_does_not_run_after_a_wait_that_ended;
    "S3" [] a_body_does_not_run_under_a_bad_name;
    "S3" [] a_body_does_not_run_with_an_option_that_is_wrong;
    "S3" [] a_body_does_not_run_when_the_backend_fails;
    "S3" [Remote] a_body_does_not_run_when_the_backend_is_silent;
    "S3" [Undeclared] a_body_does_not_run_without_the_capability_that_it_needs;
    "S3" [Breakable] a_body_does_not_run_over_a_cut_connection;
}

/// Runs a body that must not run, and returns the error.
async fn refused(request: LockRequest, kind: LockErrorKind) -> Result<LockError, Failure> {
    let ran = Arc::new(AtomicBool::new(false));
    let body_ran = Arc::clone(&ran);
    let result = request
        .run(|| async move { body_ran.store(true, Ordering::SeqCst) })
        .await;
    ensure!(
        !ran.load(Ordering::SeqCst),
        "the body ran, where {kind:?} was to be reported"
    );
    match result {
        Err(error) if error.kind() == kind => Ok(error),
        Err(error) => Err(Failure::new(format_args!(
            "{kind:?} was to be reported, not {:?}: {error}",
            error.kind()
        ))),
        Ok(()) => Err(Failure::new("a body that did not run has a result")),
    }
}

async fn a_body_does_not_run_while_the_name_is_busy(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    let guard = holder.lock("name").acquire().await?;
    let request = other.lock("name").wait(Duration::ZERO);
    let error = refused(request, LockErrorKind::Busy).await?;
    ensure!(
        error
            .to_string()
            .starts_with("Could not acquire lock: name"),
        "the error begins otherwise: {error}"
    );
    let ran = other.lock("name").run_if_available(async || ()).await?;
    ensure!(ran.is_none(), "the body ran although the name was busy");
    guard.release().await?;
    let ran = other.lock("name").run_if_available(async || ()).await?;
    ensure!(
        ran.is_some(),
        "the body did not run although the name was free"
    );
    Ok(())
}

async fn a_body_does_not_run_after_a_wait_that_ended(stage: Stage) -> Outcome {
    let (holder, other) = (stage.first(), stage.another().await?);
    let _guard = holder.lock("name").acquire().await?;
    let request = other.lock("name").wait(stage.ttl());
    let waiting = tokio::spawn(refused_task(request, LockErrorKind::Busy));
    stage.until_waiting(&holder, "name", 1).await?;
    stage.pass(stage.ttl()).await;
    stage.soon("a bounded wait ends", waiting).await??
}

async fn refused_task(request: LockRequest, kind: LockErrorKind) -> Outcome {
    refused(request, kind).await.map(drop)
}

async fn a_body_does_not_run_under_a_bad_name(stage: Stage) -> Outcome {
    let manager = stage.first();
    let too_long = "x".repeat(crate::LockName::MAX_LEN + 1);
    for name in [
        "",
        "two words",
        "tab\there",
        "new\nline",
        "50%",
        "%zz",
        &too_long,
    ] {
        refused(manager.lock(name), LockErrorKind::InvalidName).await?;
    }
    Ok(())
}

async fn a_body_does_not_run_with_an_option_that_is_wrong(stage: Stage) -> Outcome {
    let manager = stage.first();
    let name = || manager.lock("name");
    for request in [
        name().ttl(Duration::ZERO),
        name().ttl(Duration::from_millis(99)),
        name().ttl(Duration::from_secs(24 * 3600 + 1)),
        name().wait(Duration::from_secs(24 * 3600 + 1)),
        name().max_hold(Duration::ZERO),
        name().permits(0),
    ] {
        refused(request, LockErrorKind::InvalidOption).await?;
    }
    Ok(())
}

async fn a_body_does_not_run_when_the_backend_fails(stage: Stage) -> Outcome {
    let (manager, wire) = stage.wired().await?;
    wire.refuse();
    let error = refused(manager.lock("name"), LockErrorKind::Unavailable).await?;
    ensure!(
        error.is_transient(),
        "a failed backend may come back: {error}"
    );
    ensure!(
        manager.lock("name").is_locked().await.is_err(),
        "a backend that cannot be reached said whether a name is locked"
    );
    wire.mend();
    stage.until_free(&stage.first(), "name").await?;
    stage.until_free(&manager, "name").await
}

async fn a_body_does_not_run_when_the_backend_is_silent(stage: Stage) -> Outcome {
    let wire = super::Wire::default();
    let other_end = wire.clone();
    let manager = stage
        .manager(|builder| builder.wire(other_end).request_timeout(stage.ttl()))
        .await?;
    wire.silence();
    let request = manager.lock("name").wait(Duration::ZERO);
    let asking = tokio::spawn(async move {
        let error = refused(request, LockErrorKind::Unavailable).await?;
        ensure!(
            error.may_be_held(),
            "nobody knows whether a silent backend has granted: {error}"
        );
        Ok(())
    });
    stage.pass(stage.ttl()).await;
    stage
        .soon("a request to a silent backend ends", asking)
        .await??
}

async fn a_body_does_not_run_without_the_capability_that_it_needs(stage: Stage) -> Outcome {
    use LockErrorKind::Unsupported;
    let (manager, can) = (stage.first(), stage.can());
    let name = || manager.lock("name");
    let requests = [
        (can.shared, name().shared()),
        (can.permits, name().permits(2)),
        (can.at_least, name().at_least(LONG)),
        (
            can.identity,
            name().auth_as(AuthPolicy::Required, "somebody"),
        ),
    ];
    for (declared, request) in requests {
        if !declared {
            refused(request, Unsupported).await?;
        }
    }
    let is_refused =
        |result: Result<(), LockError>| result.is_err_and(|error| error.kind() == Unsupported);
    if !can.list {
        let listed = manager.list("").await.map(drop);
        ensure!(
            is_refused(listed),
            "`list` is not declared, and not refused"
        );
    }
    if !can.force_release {
        let forced = name().force_release().await.map(drop);
        ensure!(
            is_refused(forced),
            "`force_release` is not declared, and not refused"
        );
    }
    if !can.identity {
        let assigned = manager.acquire_lock("name", "somebody").await;
        ensure!(
            is_refused(assigned),
            "`identity` is not declared, and not refused"
        );
    }
    if !can.adopt {
        let guard = name().acquire().await?;
        let ticket = guard.into_ticket();
        let adopted = match ticket {
            Ok(ticket) => name().adopt(ticket).await.map(drop),
            Err(error) => Err(error),
        };
        ensure!(
            is_refused(adopted),
            "`adopt` is not declared, and not refused"
        );
    }
    Ok(())
}

async fn a_body_does_not_run_over_a_cut_connection(stage: Stage) -> Outcome {
    let manager = stage
        .manager(|builder| builder.request_timeout(stage.ttl()))
        .await?;
    stage.cut(true);
    let request = manager.lock("name").wait(Duration::ZERO);
    let refusal = stage
        .soon(
            "a request over a cut connection ends",
            refused(request, LockErrorKind::Unavailable),
        )
        .await;
    stage.cut(false);
    refusal??;
    stage.until_free(&manager, "name").await
}
