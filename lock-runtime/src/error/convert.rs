//! Conversions into the errors that services return.

use std::io;

use super::{LockError, LockErrorKind};

impl From<LockError> for io::Error {
    fn from(error: LockError) -> Self {
        use LockErrorKind as Kind;
        let kind = match error.kind() {
            Kind::Busy if error.waited().is_some_and(|waited| !waited.is_zero()) => {
                io::ErrorKind::TimedOut
            }
            Kind::Busy | Kind::WouldBlock => io::ErrorKind::WouldBlock,
            Kind::NotYourTurn | Kind::Unauthenticated => io::ErrorKind::PermissionDenied,
            Kind::InvalidName | Kind::InvalidOption => io::ErrorKind::InvalidInput,
            Kind::Unsupported => io::ErrorKind::Unsupported,
            Kind::Unavailable | Kind::Closed => io::ErrorKind::NotConnected,
            Kind::Reentered => io::ErrorKind::Deadlock,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
