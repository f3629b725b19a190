//! Where this process is told of things: a channel of its own, while it can listen to it.

use crate::sync::atomic::{AtomicBool, Ordering};

/// The channel of one lock manager. Messages on it reach nobody else.
pub(super) struct Channel {
    name: String,
    is_heard: AtomicBool,
}

impl Channel {
    pub(super) fn new() -> Self {
        Self {
            name: format!("lock_runtime_{:016x}", rand::random::<u64>()),
            is_heard: AtomicBool::new(false),
        }
    }

    /// The channel itself.
    pub(super) fn plain(&self) -> &str {
        &self.name
    }

    /// How it is told to others. With a dash nothing is sent to it: nobody listens, and a message
    /// costs those who send one.
    pub(super) fn name(&self) -> String {
        if self.is_heard() {
            self.name.clone()
        } else {
            format!("-{}", self.name)
        }
    }

    /// Whether messages come through.
    pub(super) fn is_heard(&self) -> bool {
        self.is_heard.load(Ordering::Acquire)
    }

    pub(super) fn set_heard(&self, is_heard: bool) {
        self.is_heard.store(is_heard, Ordering::Release);
    }
}
