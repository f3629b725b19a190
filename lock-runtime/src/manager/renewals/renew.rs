//! Starting a lease anew.

use std::sync::Arc;
use std::time::Duration;

use super::Renewals;
use crate::error::{BackendError, LockError, Lost};
use crate::lease::Lease;
use crate::manager::ManagerRef;
use crate::observe;
use crate::race::{First, first};

/// The pauses between two tries of one renewal.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Renewals {
    /// Asks the backend to start the lease anew, on the manager's own thread.
    pub(super) fn renew(&self, manager: &ManagerRef, lease: &Arc<Lease>) {
        let Ok(driver) = manager.driver() else {
            return;
        };
        let (manager, lease) = (manager.clone(), Arc::clone(lease));
        drop(driver.run(async move {
            let Ok(_under_way) = lease.renewal_gate().try_acquire() else {
                // The one before has not been answered yet, or a release is waiting.
                return;
            };
            if !lease.is_running() {
                return;
            }
            let ttl = lease.ttl();
            match renew_once(&manager, &lease, ttl).await {
                Ok(true) => {}
                Ok(false) => {
                    lease.report_lost(Lost::Expired);
                    observe::lost(&lease, Lost::Expired);
                }
                Err(error) => {
                    observe::renewal_failed(&lease, &error);
                    let now = manager.clock.now();
                    // The less is left of it, the sooner, but not without a pause.
                    let left = lease.deadline() - now;
                    let pause = (ttl / 10).min(LONGEST_PAUSE).min(left / 4);
                    let again = now + pause.max(SHORTEST_PAUSE);
                    manager.renewals.look_again(&lease, again);
                }
            }
        }));
    }
}

impl ManagerRef {
    /// Starts a lease anew, with this length. `false` when the backend does not know it any more.
    pub(crate) async fn extend(
        &self,
        lease: &Arc<Lease>,
        ttl: Duration,
    ) -> Result<bool, LockError> {
        let (manager, asked) = (self.clone(), Arc::clone(lease));
        let renewed = self.call(move |_| {
            Box::pin(async move {
                // In turn with renewals, whose answer must not be mixed up with this one.
                let _renewal = asked.renewal_gate().acquire().await;
                if !asked.is_running() {
                    return Ok(false);
                }
                renew_once(&manager, &asked, ttl).await
            })
        });
        renewed.await.map_err(|error| error.about(lease.name()))
    }
}

/// One renewal, with its effect on the lease: to be called by whoever has the renewal gate.
///
/// The answer is waited for so long that there is time for another try; a request that is not
/// answered by then goes on alone.
async fn renew_once(
    manager: &ManagerRef,
    lease: &Arc<Lease>,
    ttl: Duration,
) -> Result<bool, BackendError> {
    let end = manager.end_of_lease(manager.clock.now(), ttl);
    if lease.can_run_out() && end < lease.deadline() {
        // Whatever becomes of the answer, the backend may count with the shorter time from now on.
        lease.prolong(end);
    }
    let limit = manager.defaults.request_timeout.min(ttl / 3);
    let mut reply = manager.backend.renew(lease, ttl);
    let answer = match first(&mut reply, manager.clock.sleep(limit)).await {
        First::Left(answer) => answer?,
        First::Right(()) => {
            if let Ok(driver) = manager.driver() {
                let rest = manager.clock.sleep(ttl);
                drop(driver.run(async move { drop(first(reply, rest).await) }));
            }
            return Err(BackendError::timed_out(limit));
        }
    };
    if answer {
        let is_new_length = lease.ttl() != ttl;
        lease.set_ttl(ttl);
        if lease.can_run_out() {
            lease.prolong(end);
        }
        if lease.can_run_out() && is_new_length {
            manager.renewals.lease_changed(lease);
        }
    }
    Ok(answer)
}
