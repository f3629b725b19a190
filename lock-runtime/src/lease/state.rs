//! What has become of a lease, and how many entries run under it: one word, so that the only entry
//! leaves and ends it in one step.

use crate::error::Lost;
use crate::sync::atomic::{AtomicU32, Ordering};

/// The phase in the low byte, the number of entries above it.
pub(super) struct State(AtomicU32);

const ASKED: u32 = 0;
const HELD: u32 = 1;
const ENDED: u32 = 2;
/// This and above: lost, for the cause that the number says.
const LOST: u32 = 3;

const PHASE: u32 = 0xFF;
const ENTRY: u32 = 0x100;

pub(super) const CAUSES: [Lost; 6] = [
    Lost::Expired,
    Lost::ForcedOut,
    Lost::HeldTooLong,
    Lost::Idle,
    Lost::Adopted,
    Lost::ShutDown,
];

impl State {
    /// Asked for, and not granted yet. The one who asks is the first entry.
    #[inline]
    pub(super) fn asked() -> Self {
        Self(AtomicU32::new(ENTRY | ASKED))
    }

    #[inline]
    fn get(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }

    /// Goes from one phase to another. Says whether it was in the first.
    #[inline]
    fn go(&self, from: impl Fn(u32) -> bool, to: u32) -> bool {
        let changed = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |state| {
                from(state & PHASE).then_some(state & !PHASE | to)
            });
        changed.is_ok()
    }

    #[inline]
    pub(super) fn grant(&self) {
        let _already_lost = self.go(|phase| phase == ASKED, HELD);
    }

    /// A backend may take a section away before the runtime has even seen the grant.
    pub(super) fn lose(&self, cause: Lost) -> bool {
        let number = CAUSES.iter().position(|known| *known == cause).unwrap_or(0);
        let lost = LOST + u32::try_from(number).unwrap_or(0);
        self.go(|phase| phase == ASKED || phase == HELD, lost)
    }

    pub(super) fn end(&self) -> bool {
        self.go(|phase| phase == HELD, ENDED)
    }

    /// The only entry leaves and ends it; `false`, and nothing has happened, in any other case.
    #[inline]
    pub(super) fn end_with_only_entry(&self) -> bool {
        self.0
            .compare_exchange(ENTRY | HELD, ENDED, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    #[inline]
    pub(super) fn is_held(&self) -> bool {
        self.get() & PHASE == HELD
    }

    #[inline]
    pub(super) fn loss(&self) -> Option<Lost> {
        let cause = (self.get() & PHASE).checked_sub(LOST)?;
        CAUSES.get(cause as usize).copied()
    }

    pub(super) fn enter_again(&self) -> bool {
        let entered = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
                (state >= ENTRY).then(|| state + ENTRY)
            });
        entered.is_ok()
    }

    pub(super) fn leave(&self) -> bool {
        self.0.fetch_sub(ENTRY, Ordering::AcqRel) & !PHASE == ENTRY
    }
}
