//! What is told to those who wait, once no lock of this backend is held any more.

use std::sync::Arc;

use super::pending::{Page, Waiter};
use crate::backend::{Answer, ChangeAnswer};
use crate::error::{BackendError, Lost};
use crate::info::LockInfo;
use crate::lease::Lease;

type Told<T> = Result<T, BackendError>;

/// Something to be told.
pub(super) enum News {
    Asked {
        lease: Arc<Lease>,
        waiter: Waiter<Answer>,
        answer: Told<Answer>,
    },
    Changed(Waiter<ChangeAnswer>, Told<ChangeAnswer>),
    Ended(Waiter<usize>, Told<usize>),
    Held(Waiter<bool>, Told<bool>),
    Lock(Waiter<LockInfo>, Told<LockInfo>),
    Locks(Waiter<Page>, Told<Page>),
    Lost(Arc<Lease>, Lost),
}

impl News {
    /// Tells it. Returns the lease of a grant for which nobody was there any more.
    pub(super) fn tell(self) -> Option<Arc<Lease>> {
        match self {
            Self::Asked {
                lease,
                waiter,
                answer,
            } => {
                let unheard = waiter.send(answer).err()?;
                matches!(unheard, Ok(Answer::Granted(_))).then_some(lease)
            }
            Self::Lost(lease, cause) => {
                lease.report_lost(cause);
                None
            }
            // Whoever does not wait any more does not want to know.
            Self::Changed(waiter, told) => waiter.send(told).err().and(None),
            Self::Ended(waiter, told) => waiter.send(told).err().and(None),
            Self::Held(waiter, told) => waiter.send(told).err().and(None),
            Self::Lock(waiter, told) => waiter.send(told).err().and(None),
            Self::Locks(waiter, told) => waiter.send(told).err().and(None),
        }
    }
}
