//! The sections that the code on this thread runs inside, innermost last.
//!
//! Nesting follows the future: a section is current only while its body is polled. Work that is
//! spawned is not inside, unless it is carried in.

use std::cell::RefCell;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::Section;
use crate::ambient::{self, Carry};
use crate::lease::Lease;
use crate::name::LockName;

thread_local! {
    static CURRENT: RefCell<Option<Vec<Current>>> = const { RefCell::new(None) };
}

/// One section that runs.
#[derive(Clone)]
pub(super) struct Current {
    pub(super) lease: Arc<Lease>,
    gate: Option<Arc<Semaphore>>,
}

impl Current {
    /// The gate for entries from inside.
    pub(super) fn gate(&self) -> &Arc<Semaphore> {
        self.gate.as_ref().unwrap_or_else(|| self.lease.reentries())
    }
}

/// Makes a section current until it is dropped: what it has in hand is lent to the thread, so
/// that nothing has to be counted.
pub(super) struct Inside<'a> {
    section: &'a mut Section,
    lent: usize,
}

impl<'a> Inside<'a> {
    #[inline]
    pub(super) fn enter(section: &'a mut Section) -> Self {
        let lent = CURRENT.try_with(|current| {
            let mut current = current.borrow_mut();
            let current = current.get_or_insert_default();
            let before = current.len();
            for hold in section.holds_mut() {
                let gate = hold.gate().cloned();
                current.extend(hold.lend().map(|lease| Current { lease, gate }));
            }
            current.len() - before
        });
        Self {
            section,
            lent: lent.unwrap_or(0),
        }
    }
}

impl Drop for Inside<'_> {
    #[inline]
    fn drop(&mut self) {
        let _ended = CURRENT.try_with(|current| {
            if let Some(current) = &mut *current.borrow_mut() {
                let rest = current.len().saturating_sub(self.lent);
                let lent = current.drain(rest..).map(|current| current.lease);
                for (hold, lease) in self.section.holds_mut().zip(lent) {
                    hold.take_back(lease);
                }
            }
        });
    }
}

/// The innermost section of a name that the code here runs inside.
#[inline]
pub(super) fn find(manager: u64, name: &LockName) -> Option<Current> {
    let found = CURRENT.try_with(|current| {
        let current = current.borrow();
        let current = current.as_ref()?;
        let mut innermost_first = current.iter().rev();
        innermost_first
            .find(|current| {
                let lease = &current.lease;
                lease.manager() == manager && lease.name() == name && lease.is_running()
            })
            .cloned()
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
