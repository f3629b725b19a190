//! The sections that the code on this thread runs inside, innermost last.
//!
//! Nesting follows the future: a section is current only while its body is polled. Work that is
//! spawned is not inside, unless it is carried in.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use tokio::sync::Semaphore;

use super::Section;
use crate::ambient::{self, Carry};
use crate::lease::Lease;
use crate::manager::Reentry;
use crate::name::LockName;

thread_local! {
    static CURRENT: RefCell<Option<Vec<Current>>> = const { RefCell::new(None) };
}

/// One section that runs.
#[derive(Clone)]
struct Current {
    lease: Arc<Lease>,
    /// The entry from inside that it is, if it is one. What is carried elsewhere does not keep
    /// that entry's turn.
    reentry: Option<Weak<Reentry>>,
    /// Whether the end of the poll has to be told.
    is_told: bool,
}

/// A section that the code here runs inside.
pub(super) struct Outer {
    pub(super) lease: Arc<Lease>,
    pub(super) reentry: Option<Arc<Reentry>>,
}

impl Outer {
    /// The gate for entries from inside.
    pub(super) fn gate(&self) -> &Arc<Semaphore> {
        match &self.reentry {
            Some(reentry) => reentry.gate(),
            None => self.lease.reentries(),
        }
    }
}

/// Makes a section current until it is dropped: what it has in hand is lent to the thread, so
/// that nothing has to be counted.
pub(super) struct Inside<'a> {
    section: &'a mut Section,
    lent: usize,
    /// Whether it was lost just before it became current.
    is_lost: bool,
}

impl<'a> Inside<'a> {
    #[inline]
    pub(super) fn enter(section: &'a mut Section) -> Self {
        let mut is_lost = false;
        let lent = CURRENT.try_with(|current| {
            let mut current = current.borrow_mut();
            let current = current.get_or_insert_default();
            let before = current.len();
            for hold in section.holds_mut() {
                let reentry = hold.reentry().map(Arc::downgrade);
                current.extend(hold.lend().map(|lease| {
                    let is_told = lease.poll_begins();
                    is_lost |= lease.loss().is_some();
                    Current {
                        is_told,
                        lease,
                        reentry,
                    }
                }));
            }
            current.len() - before
        });
        Self {
            section,
            lent: lent.unwrap_or(0),
            is_lost,
        }
    }

    /// Whether it was lost just before it became current: from then on who looks for idle bodies
    /// sees that this one is being polled.
    #[inline]
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }
}

impl Drop for Inside<'_> {
    #[inline]
    fn drop(&mut self) {
        let _ended = CURRENT.try_with(|current| {
            if let Some(current) = &mut *current.borrow_mut() {
                let rest = current.len().saturating_sub(self.lent);
                for (hold, lent) in self.section.holds_mut().zip(current.drain(rest..)) {
                    if lent.is_told {
                        lent.lease.poll_ends();
                    }
                    hold.take_back(lent.lease);
                }
            }
        });
    }
}

/// The innermost section of a name that the code here runs inside.
#[inline]
pub(super) fn find(manager: u64, name: &LockName) -> Option<Outer> {
    let found = CURRENT.try_with(|current| {
        let current = current.borrow();
        let mut innermost_first = current.as_ref()?.iter().rev();
        innermost_first.find_map(|current| {
            let lease = &current.lease;
            if lease.manager() != manager || lease.name() != name || !lease.is_running() {
                return None;
            }
            // An entry that has ended meanwhile is nobody's outside any more: the one around it
            // still is.
            let reentry = match &current.reentry {
                Some(reentry) => Some(reentry.upgrade()?),
                None => None,
            };
            Some(Outer {
                lease: Arc::clone(lease),
                reentry,
            })
        })
    });
    found.ok().flatten()
}

/// The sections here that belong to a manager, innermost last.
pub(crate) fn leases(manager: u64) -> Vec<Arc<Lease>> {
    let current = ambient::current(&CURRENT).unwrap_or_default();
    let own = current.into_iter().map(|current| current.lease);
    own.filter(|lease| lease.manager() == manager).collect()
}

/// The same future inside the sections that are current here, wherever it is polled.
pub(crate) fn carry_current<F: Future>(future: F) -> impl Future<Output = F::Output> {
    Carry::new(&CURRENT, ambient::current(&CURRENT), future)
}
