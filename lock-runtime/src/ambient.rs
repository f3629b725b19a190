//! Values that follow a future: present on a thread while the future is polled, and only then.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread::LocalKey;

use pin_project_lite::pin_project;

pub(crate) type Slot<T> = LocalKey<RefCell<Option<T>>>;

/// Puts a value into a thread's slot until it is dropped, and then puts back what was there.
pub(crate) struct Present<T: 'static> {
    slot: &'static Slot<T>,
    before: Option<T>,
}

impl<T> Present<T> {
    pub(crate) fn set(slot: &'static Slot<T>, value: Option<T>) -> Self {
        Self {
            slot,
            // A slot that is already gone belongs to a thread that ends: nobody looks any more.
            before: slot.try_with(|slot| slot.replace(value)).ok().flatten(),
        }
    }
}

impl<T> Drop for Present<T> {
    fn drop(&mut self) {
        let before = self.before.take();
        // A slot that is already gone belongs to a thread that ends: nobody looks any more.
        drop(self.slot.try_with(|slot| slot.replace(before)));
    }
}

/// What a thread's slot holds.
pub(crate) fn current<T: Clone>(slot: &'static Slot<T>) -> Option<T> {
    slot.try_with(|slot| slot.borrow().clone()).ok().flatten()
}

pin_project! {
    /// A future that carries a value along, wherever it is polled.
    pub(crate) struct Carry<T: 'static, F> {
        slot: &'static Slot<T>,
        value: Option<T>,
        #[pin]
        future: F,
    }
}

impl<T, F> Carry<T, F> {
    pub(crate) fn new(slot: &'static Slot<T>, value: Option<T>, future: F) -> Self {
        Self {
            slot,
            value,
            future,
        }
    }
}

impl<T: Clone, F: Future> Future for Carry<T, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _present = Present::set(this.slot, this.value.clone());
        this.future.poll(cx)
    }
}
