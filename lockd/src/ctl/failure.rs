//! Why a subcommand failed: what is said, and the exit code.

use std::io::{self, Write};

use lock_runtime::{LockError, LockErrorKind};

use super::exit;
use super::text::Clean;

/// Why a subcommand failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: u8,
    /// `None` when there is nobody to tell.
    message: Option<String>,
}

impl Failure {
    pub(super) fn new(code: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            message: Some(message.into()),
        }
    }

    /// The operating system refused something.
    pub(super) fn os(what: &str, error: &dyn std::error::Error) -> Self {
        Self::new(exit::OS, format!("{what}: {error}"))
    }

    /// The output could not be written. Who reads no more, as `head` does, has enough: that is
    /// no failure.
    pub(super) fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self {
                code: exit::OK,
                message: None,
            }
        } else {
            Self::new(
                exit::OUTPUT,
                format!("the output could not be written: {error}"),
            )
        }
    }

    /// Says it, and returns the exit code.
    pub(super) fn report(self) -> u8 {
        if let Some(message) = &self.message {
            tell(message);
        }
        self.code
    }
}

/// Says something on stderr. When nobody listens there, there is nothing that could be done.
pub(super) fn tell(message: &str) {
    let _told = writeln!(io::stderr(), "lockctl: {}", Clean(message));
}

impl From<LockError> for Failure {
    fn from(error: LockError) -> Self {
        use LockErrorKind as Kind;
        let code = match error.kind() {
            Kind::Busy | Kind::Conflict | Kind::NotYourTurn => exit::BUSY,
            Kind::InvalidName | Kind::InvalidOption => exit::USAGE,
            Kind::Lost => exit::LOST,
            Kind::Unsupported => exit::UNSUPPORTED,
            _ => exit::UNAVAILABLE,
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lock_runtime::LockManager;

    use super::*;

    #[tokio::test]
    async fn errors_have_their_codes() {
        let locks = LockManager::memory();
        let code = |error: LockError| Failure::from(error).code;

        let _held = locks.lock("task:1").permits(2).acquire().await.unwrap();
        let busy = locks.lock("task:1").wait(Duration::ZERO).acquire().await;
        assert_eq!(code(busy.unwrap_err()), exit::BUSY);
        let conflict = locks.lock("task:1").permits(3).acquire().await;
        assert_eq!(code(conflict.unwrap_err()), exit::BUSY);

        locks.acquire_lock("turn", "white").await.unwrap();
        let theirs = locks
            .transfer_lock("turn", "red")
            .from("black")
            .as_operator();
        assert_eq!(code(theirs.await.unwrap_err()), exit::BUSY);

        let name = locks.lock("two words").acquire().await;
        assert_eq!(code(name.unwrap_err()), exit::USAGE);
        let option = locks.lock("task:2").ttl(Duration::ZERO).acquire().await;
        assert_eq!(code(option.unwrap_err()), exit::USAGE);

        let lost = locks.lock("task:3").acquire().await.unwrap();
        locks.lock("task:3").force_release().await.unwrap();
        assert_eq!(code(lost.release().await.unwrap_err()), exit::LOST);

        locks.shutdown(Duration::ZERO).await;
        let closed = locks.lock("task:4").acquire().await;
        assert_eq!(code(closed.unwrap_err()), exit::UNAVAILABLE);
    }

    #[test]
    fn a_reader_who_has_enough_is_no_failure() {
        let closed = Failure::output(&io::ErrorKind::BrokenPipe.into());
        assert_eq!((closed.code, closed.message), (exit::OK, None));
        let full = Failure::output(&io::ErrorKind::StorageFull.into());
        assert_eq!(full.code, exit::OUTPUT);
    }
}
