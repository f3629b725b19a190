//! What a process is told about its owners.

use std::sync::Weak;

use super::Shared;
use super::answers::News;
use crate::error::Lost;
use crate::lease::Lease;
use crate::owner::OwnerId;
use crate::sync::lock;

/// What happened to an owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    /// It may enter, or may not any more: it has to ask.
    Wake,
    /// Its section was ended by an operator.
    Forced,
    /// Its section goes on elsewhere.
    Adopted,
}

impl Shared {
    /// Tells an owner of this process. Others are nobody here.
    pub(super) fn tell(&self, what: What, owner: OwnerId) {
        let cause = match what {
            What::Wake => return self.waiters.wake(owner),
            What::Forced => Lost::ForcedOut,
            What::Adopted => Lost::Adopted,
        };
        let held = lock(&self.held).remove(&owner);
        if let Some(lease) = held.as_ref().and_then(Weak::upgrade) {
            lease.report_lost(cause);
        }
    }

    /// Tells everybody of this process whom an answer names.
    pub(super) fn tell_all(&self, news: News) {
        for owner in news.wake {
            self.tell(What::Wake, owner);
        }
        for owner in news.forced {
            self.tell(What::Forced, owner);
        }
        if let Some(owner) = news.adopted {
            self.tell(What::Adopted, owner);
        }
    }

    /// The section of this lease runs here from now on.
    pub(super) fn holds(&self, lease: &std::sync::Arc<Lease>) {
        lock(&self.held).insert(lease.owner().id(), std::sync::Arc::downgrade(lease));
    }

    /// It does not any more.
    pub(super) fn holds_no_more(&self, owner: OwnerId) {
        lock(&self.held).remove(&owner);
    }
}
