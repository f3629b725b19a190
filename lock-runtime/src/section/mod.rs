//! Sections: enter, run, exit.

mod blocking;
mod current;
mod ended;
mod enter;
mod exit;
mod held;
mod run;

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

pub use blocking::run_blocking;
pub(crate) use blocking::{MustNotWait, wait as wait_blocking};
pub(crate) use current::{carry_current, leases as current_leases};
pub use ended::{Ended, LockedOutput};
pub use enter::Entering;
pub(crate) use enter::Plan;
use exit::Exit;
pub use held::{Held, Watch};
pub use run::{Run, run};

use crate::error::LockError;
use crate::lease::Lease;
use crate::manager::Hold;
use crate::options::OnLost;

/// What an entered section has in hand: one name, several, or nothing in passthrough.
///
/// Dropping it gives everything back. It is one pointer, so that a future which holds one stays
/// small, and `None` of it costs nothing.
#[derive(Debug, Default)]
pub struct Section(Option<Box<InHand>>);

/// What a section has in hand.
#[derive(Debug, Default)]
struct InHand {
    /// The way in, until it has been gone.
    entering: Option<Entering>,
    first: Option<Hold>,
    more: Vec<Hold>,
    on_lost: OnLost,
    began: bool,
}

/// How many empty boxes a thread keeps for its next sections.
const KEPT: usize = 16;

thread_local! {
    // The boxes are what is kept: a section hands its own over and takes one from here.
    #[expect(clippy::vec_box, reason = "the boxes themselves are used again")]
    static POOL: RefCell<Vec<Box<InHand>>> = const { RefCell::new(Vec::new()) };
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
        let empty = POOL.try_with(|pool| pool.borrow_mut().pop()).ok().flatten();
        let mut in_hand = empty.unwrap_or_default();
        in_hand.first = Some(hold);
        in_hand.on_lost = on_lost;
        in_hand.began = false;
        Self(Some(in_hand))
    }

    /// A section that is still to be entered, or was refused: the body learns of it when it
    /// should begin.
    pub(crate) fn entering(entering: Entering) -> Self {
        match entering.ready() {
            Ok(Ok(section)) => section,
            Ok(Err(error)) => Self::on_its_way(Entering::decided(Err(error))),
            Err(entering) => Self::on_its_way(entering),
        }
    }

    #[cold]
    fn on_its_way(entering: Entering) -> Self {
        Self(Some(Box::new(InHand {
            entering: Some(entering),
            ..InHand::default()
        })))
    }

    /// Goes the rest of the way in.
    #[inline]
    fn poll_enter(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LockError>> {
        let on_its_way = self
            .0
            .as_mut()
            .and_then(|in_hand| in_hand.entering.as_mut());
        let Some(entering) = on_its_way else {
            return Poll::Ready(Ok(()));
        };
        Pin::new(entering)
            .poll(cx)
            .map_ok(|entered| *self = entered)
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
            put_away(in_hand);
        }
    }
}

/// Gives back what is still in hand, and keeps the box for later.
fn put_away(mut in_hand: Box<InHand>) {
    in_hand.entering = None;
    in_hand.more.clear();
    in_hand.first = None;
    let _ended = POOL.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        if pool.len() < KEPT {
            pool.push(in_hand);
        }
    });
}
