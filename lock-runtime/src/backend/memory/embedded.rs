//! What managers in this process may do besides: the short way of a name that is nobody else's
//! wish, without a question, an answer and an owner; and waiting without a box around it.

use std::sync::Arc;

use super::wait::Holding;
use super::{MemoryBackend, WaitInQueue};
use crate::backend::{Answer, Request};
use crate::clock::Moment;
use crate::lease::Lease;

impl MemoryBackend {
    /// Grants a section at once, if nothing at all is known of its name: to a lease whose terms
    /// are plain. Where it is `false`, nothing has happened.
    #[inline]
    pub(crate) fn take_free(&self, lease: &Arc<Lease>) -> bool {
        let since = self.0.clock.coarse_now();
        let name = lease.name();
        self.shard(name).with_untold(|table| {
            let taken = table.take_free(since, name, || Holding::Lease(Arc::clone(lease)));
            if taken.is_some() {
                // Under the lock: whoever looks through the table sees that it is held.
                lease.grant(taken, Moment::NEVER);
            }
            taken.is_some()
        })
    }

    /// Ends a section that [`take_free`](Self::take_free) gave, if nobody has asked for its name
    /// since. Where it is `false`, nothing has happened.
    #[inline]
    pub(crate) fn return_untouched(&self, lease: &Arc<Lease>) -> bool {
        let name = lease.name();
        self.shard(name)
            .with_untold(|table| table.return_untouched(name, |party| party.is_of(lease)))
    }

    /// Grants, refuses or queues a request of this moment.
    pub(crate) fn ask_now(&self, request: &Request, now: Moment) -> Result<Answer, WaitInQueue> {
        self.ask(request, true, now)
            .map_err(|waiting| WaitInQueue::new(self.clone(), request.clone(), waiting, now))
    }

    /// Tells everybody who waits on behalf of a manager that there is nothing to wait for.
    pub(crate) fn send_away(&self, manager: u64) {
        let now = self.now();
        for shard in &*self.0.shards {
            shard.with(|table, effects| {
                let is_own = |party: &Holding| party.lease().manager() == manager;
                table.send_away(now, is_own, effects);
            });
        }
    }
}
