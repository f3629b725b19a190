//! Sections: enter, run, exit.

mod blocking;
mod current;
mod ended;
mod enter;
mod exit;
mod held;
mod run;
#[cfg(feature = "postgres")]
mod verify;

use std::cell::RefCell;
use std::sync::Arc;

pub use blocking::run_blocking;
pub(crate) use blocking::{MustNotWait, wait as wait_blocking};
pub(crate) use current::{carry_current, leases as current_leases};
pub use ended::{Ended, LockedOutput};
pub use enter::Entering;
pub(crate) use enter::Plan;
use enter::Way;
use exit::Exit;
pub use held::{Held, Watch};
pub use run::{Run, run};
#[cfg(feature = "postgres")]
pub use verify::SqlTransaction;

use crate::error::LockError;
use crate::lease::Lease;
use crate::manager::Hold;
use crate::options::OnLost;
use crate::owner::Owner;

/// What an entered section has in hand: one name, several, or nothing in passthrough.
///
/// Dropping it gives everything back. It is one pointer, so that a future which holds one stays
/// small, and `None` of it costs nothing.
#[derive(Debug, Default)]
pub struct Section(Option<Box<InHand>>);

/// What a section has in hand.
#[derive(Debug, Default)]
struct InHand {
    /// What is left of the way in.
    way: Option<Way>,
    first: Option<Hold>,
    more: Vec<Hold>,
    on_lost: OnLost,
    began: bool,
    /// The lease of the last section, to be used again.
    kept: Option<Arc<Lease>>,
}

/// How many empty boxes a thread keeps for its next sections. One is enough for a body that does
/// not nest, and a thread that once held thousands of locks does not keep them.
const KEPT: usize = 16;

thread_local! {
    // The boxes are what is kept: a section hands its own over and takes one from here.
    #[expect(clippy::vec_box, reason = "the boxes themselves are used again")]
    static POOL: RefCell<Vec<Box<InHand>>> = const { RefCell::new(Vec::new()) };
}

impl InHand {
    /// Empty hands.
    #[inline]
    fn empty() -> Box<Self> {
        let empty = POOL.try_with(|pool| pool.borrow_mut().pop()).ok().flatten();
        empty.unwrap_or_default()
    }

    /// Gives back what is still in hand, and keeps the box for later. Out of line, so that a call
    /// without a manager stays small.
    #[inline(never)]
    fn put_away(mut self: Box<Self>) {
        if self.way.is_some() || self.first.is_some() || !self.more.is_empty() {
            self.let_go();
        }
        self.began = false;
        let _ended = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < KEPT {
                pool.push(self);
            }
        });
    }

    /// What is still in hand is given back in the background.
    #[cold]
    fn let_go(&mut self) {
        self.way = None;
        self.more.clear();
        self.first = None;
    }
}

impl Section {
    /// A section of nothing, for calls without a lock manager.
    #[must_use]
    #[inline]
    pub const fn none() -> Self {
        Self(None)
    }

    /// A section of one name.
    pub(crate) fn of(hold: Hold, on_lost: OnLost) -> Self {
        let mut in_hand = InHand::empty();
        in_hand.first = Some(hold);
        in_hand.on_lost = on_lost;
        Self(Some(in_hand))
    }

    /// One more name.
    fn add(&mut self, hold: Hold, on_lost: OnLost) {
        match &mut self.0 {
            None => *self = Self::of(hold, on_lost),
            Some(in_hand) => in_hand.more.push(hold),
        }
    }

    /// Whether it is a section of nothing.
    #[must_use]
    #[inline]
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// The handle for the body.
    #[must_use]
    pub fn held(&self) -> Held {
        Held::of(self)
    }

    fn on_lost(&self) -> OnLost {
        self.0
            .as_ref()
            .map_or(OnLost::Cancel, |in_hand| in_hand.on_lost)
    }

    #[inline]
    fn holds(&self) -> impl DoubleEndedIterator<Item = &Hold> {
        let in_hand = self.0.iter();
        in_hand.flat_map(|in_hand| in_hand.first.iter().chain(&in_hand.more))
    }

    #[inline]
    fn holds_mut(&mut self) -> impl Iterator<Item = &mut Hold> {
        let in_hand = self.0.iter_mut();
        in_hand.flat_map(|in_hand| in_hand.first.iter_mut().chain(&mut in_hand.more))
    }

    /// The owner of the first name that it has.
    pub(crate) fn owner(&self) -> Option<Owner> {
        self.leases().next().map(|lease| lease.owner())
    }

    fn leases(&self) -> impl Iterator<Item = &Arc<Lease>> {
        self.holds().filter_map(Hold::lease)
    }

    /// Why it is lost by now, if it is.
    #[inline]
    fn loss(&self) -> Option<LockError> {
        let in_hand = self.0.as_ref()?;
        let first = in_hand.first.as_ref()?;
        first
            .loss()
            .or_else(|| in_hand.more.iter().find_map(Hold::loss))
    }

    /// The body begins, unless it has.
    #[inline]
    pub(crate) fn begin(&mut self) {
        if let Some(in_hand) = &mut self.0
            && !in_hand.began
        {
            in_hand.began = true;
            self.leases().for_each(|lease| lease.begin_body());
        }
    }

    fn has_begun(&self) -> bool {
        self.0.as_ref().is_some_and(|in_hand| in_hand.began)
    }

    /// Somebody watches over it from now on: it may take long.
    pub(crate) fn watch(&self) {
        self.holds().for_each(Hold::watch);
    }

    /// Lets go of the one name that it has, for another process to go on with.
    pub(crate) fn detach(mut self) -> Option<Arc<Lease>> {
        let in_hand = self.0.as_mut()?;
        if !in_hand.more.is_empty() {
            return None;
        }
        in_hand.first.take()?.detach()
    }
}

impl Drop for Section {
    #[inline]
    fn drop(&mut self) {
        if let Some(in_hand) = self.0.take() {
            in_hand.put_away();
        }
    }
}

#[cfg(test)]
mod tests;
