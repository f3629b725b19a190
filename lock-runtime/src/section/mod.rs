//! Sections: enter, run, exit.

mod blocking;
mod current;
mod ended;
mod enter;
mod held;
mod run;

use smallvec::SmallVec;

pub use blocking::run_blocking;
pub(crate) use blocking::wait as wait_blocking;
pub(crate) use current::{carry_current, leases as current_leases};
pub use ended::{Ended, LockedOutput};
pub use enter::Entering;
pub(crate) use enter::Plan;
pub use held::{Held, Watch};
pub use run::run;

use crate::error::{LockError, Lost};
use crate::manager::{Hold, Released};
use crate::options::OnLost;

/// What an entered section has in hand: one name, several, or nothing in passthrough.
///
/// Dropping it gives everything back.
#[derive(Debug, Default)]
pub struct Section {
    first: Option<Hold>,
    more: Vec<Hold>,
    on_lost: OnLost,
    began: bool,
}

impl Section {
    /// A section of nothing, for calls without a lock manager.
    #[must_use]
    #[inline]
    pub const fn none() -> Self {
        Self {
            first: None,
            more: Vec::new(),
            on_lost: OnLost::Cancel,
            began: false,
        }
    }

    #[inline]
    pub(crate) fn of(hold: Hold, on_lost: OnLost) -> Self {
        Self {
            first: Some(hold),
            more: Vec::new(),
            on_lost,
            began: false,
        }
    }

    #[inline]
    pub(crate) fn is_none(&self) -> bool {
        self.first.is_none()
    }

    /// The handle for the body.
    #[must_use]
    pub fn held(&self) -> Held {
        Held::of(self)
    }

    fn holds(&self) -> impl DoubleEndedIterator<Item = &Hold> {
        self.first.iter().chain(&self.more)
    }

    /// Why it is lost by now, if it is.
    #[inline]
    fn loss(&self) -> Option<LockError> {
        self.holds().find_map(|hold| {
            let lease = hold.lease()?;
            let cause = lease.check(|| hold.manager().clock.now())?;
            Some(LockError::lost(lease.name(), cause))
        })
    }

    /// The body begins.
    #[inline]
    fn begin(&mut self) {
        if !self.began {
            self.began = true;
            self.holds()
                .filter_map(Hold::lease)
                .for_each(|lease| lease.begin_body());
        }
    }

    /// Gives everything back, last taken first.
    fn exit(&mut self) -> Exit {
        let mut exit = Exit::default();
        let first = self.first.take();
        for mut hold in first.into_iter().chain(self.more.drain(..)).rev() {
            let name = hold.lease().map(|lease| lease.name().clone());
            exit.add(name, hold.release());
        }
        exit
    }

    /// Gives everything back; some of it may be on its way.
    pub(crate) fn leave(mut self) -> Exit {
        // Who holds a guard has done with it what it wanted.
        self.begin();
        self.exit()
    }

    /// Somebody watches over it from now on: it may take long.
    pub(crate) fn watch(&self) {
        self.holds().for_each(Hold::watch);
    }

    /// Lets go of the one name that it has, for another process to go on with.
    pub(crate) fn detach(mut self) -> Option<std::sync::Arc<crate::lease::Lease>> {
        if !self.more.is_empty() {
            return None;
        }
        self.first.take()?.detach()
    }
}

/// What giving everything back came to.
#[derive(Default)]
pub(crate) struct Exit {
    loss: Option<LockError>,
    on_their_way: SmallVec<[(crate::LockName, crate::manager::Releasing); 1]>,
}

impl Exit {
    #[inline]
    fn add(&mut self, name: Option<crate::LockName>, released: Released) {
        match (released, name) {
            (Released::Done, _) | (_, None) => {}
            (Released::Lost(cause), Some(name)) => self.lost(&name, cause),
            (Released::Later(releasing), Some(name)) => self.on_their_way.push((name, releasing)),
        }
    }

    fn lost(&mut self, name: &crate::LockName, cause: Lost) {
        self.loss
            .get_or_insert_with(|| LockError::lost(name, cause));
    }
}
