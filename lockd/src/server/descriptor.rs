//! Descriptors of the operating system that are no streams: timers and processes.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Waits for a descriptor to become readable. To be called in a runtime.
#[expect(
    deprecated,
    reason = "what it lacks is a promise that the descriptor stays the same, which `OwnedFd` \
              gives; its successor asks for that promise by being unsafe"
)]
pub(super) fn readable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}
