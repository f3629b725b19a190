//! A section that is given away: what its backend has to know before another process goes on with
//! it.

use std::sync::Arc;

use super::ManagerRef;
use crate::error::BackendError;
use crate::lease::Lease;
use crate::observe;
use crate::race::{First, first};

/// Tells a backend elsewhere that a section does not end with this process.
pub(super) fn in_background(manager: &ManagerRef, lease: Arc<Lease>) {
    let driver = match manager.driver() {
        Ok(driver) => driver,
        Err(error) => return observe::detach_failed(&lease, &error),
    };
    // The manager stays until it is told, or its thread would end with the request.
    let on_driver = manager.clone();
    let limit = lease.ttl();
    drop(driver.run(async move {
        let (backend, clock) = (&on_driver.backend, &on_driver.clock);
        // A renewal that is under way must not be overtaken.
        let _renewal = lease.renewal_gate().acquire().await;
        let give_away = async {
            let renewed = lengthen(&on_driver, &lease).await;
            backend.detach(&lease).await?;
            renewed
        };
        let answer = match first(give_away, clock.sleep(limit)).await {
            First::Left(answer) => answer,
            First::Right(()) => Err(BackendError::timed_out(limit)),
        };
        // One that is not held any more has been adopted already, or its lease has ended.
        if let Err(error) = answer {
            observe::detach_failed(&lease, &error);
        }
    }));
}

/// A lease that was granted for a moment only has to last for whoever takes it over. `false` when
/// it has ended.
async fn lengthen(manager: &ManagerRef, lease: &Lease) -> Result<bool, BackendError> {
    let left = lease.deadline() - manager.clock.now();
    if !lease.terms().renewed || left >= lease.ttl() / 2 {
        return Ok(true);
    }
    loop {
        let renewing = manager.backend.renew(lease, lease.ttl());
        let outcome = match first(renewing, manager.clock.sleep(left / 3)).await {
            First::Left(outcome) => outcome,
            First::Right(()) => Err(BackendError::timed_out(left / 3)),
        };
        if outcome.is_ok() || manager.clock.now() >= lease.deadline() {
            return outcome;
        }
        manager.clock.sleep(left / 10).await;
    }
}
