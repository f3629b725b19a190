//! What has to be done now and then for as long as the backend is there.

use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use crate::backend::waiting::SHOWN_EVERY;
use crate::lease::Lease;

/// How often it is looked what there is to do.
const EVERY: Duration = Duration::from_millis(250);

/// A section that has been held for so long is followed by the watch: most are over by then.
const LONG_HELD: Duration = Duration::from_millis(250);

/// How often leases that nobody has used are looked for, in rounds.
const ROUNDS: u32 = 40;

/// Shows that this process is alive, as long as anybody waits.
pub(super) async fn show(shared: Arc<Shared>) {
    loop {
        shared.clock.sleep(SHOWN_EVERY).await;
        let anybody_waits = shared.names.anybody_waits();
        shared.presence.show(&shared.leases, anybody_waits).await;
    }
}

/// Follows what is held, and lets go of what is not used.
pub(super) async fn tidy(shared: Arc<Shared>) {
    let mut round: u32 = 0;
    loop {
        shared.clock.sleep(EVERY).await;
        follow_what_is_held(&shared).await;
        shared.names.tidy();
        round = (round + 1) % ROUNDS;
        if round == 0 {
            for lease in shared.leases.take_unused() {
                // Should the store be silent, it ends by itself.
                let _ends_by_itself = shared.leases.revoke(lease.id).await;
            }
        }
    }
}

/// Follows the names that have been held for a while, so that their holders learn at once when
/// they are taken away.
async fn follow_what_is_held(shared: &Arc<Shared>) {
    let moment = shared.clock.now().saturating_sub(LONG_HELD);
    for lease in shared.attempts.held_before(moment) {
        if shared.names.is_held(lease.name(), lease.owner().id()) {
            continue;
        }
        if follow(shared, &lease).await.is_none() {
            // The store is silent: the next round comes soon.
            return;
        }
    }
}

async fn follow(shared: &Arc<Shared>, lease: &Arc<Lease>) -> Option<()> {
    let keys = shared.keys(lease.name());
    let record = shared.link.read(&keys).await.ok()?;
    // Its owner may have given it back meanwhile, or does so at this moment.
    let owner = lease.owner();
    let is_held = || {
        let attempt = shared.attempts.find(owner);
        attempt.is_some_and(|attempt| attempt.is_held())
    };
    if is_held() {
        shared.tell(shared.names.hold(lease, record));
        if !is_held() {
            shared.names.leave(lease.name(), owner.id());
        }
    }
    Some(())
}
