//! Why a lock could not be taken or kept, and what to do about it.

mod convert;
mod make;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::caller::CallerId;
use crate::info::{InTheWay, Shown};
use crate::name::LockName;
use crate::options::MAX_WAITING;

pub use make::{BackendError, Lost};

/// Why a lock could not be taken or kept.
///
/// The message begins with the words `Could not acquire lock: <name>`, `Not your turn`,
/// `Unauthenticated` or `Lock lost: <name>`, then says who is in the way and what to do. Where it
/// is about no lock, such as a failure to connect at start-up, it begins with what happened. Code
/// asks the predicates, or [`LockError::kind`], and never reads the text.
///
/// Three questions have three answers, because they are different things: whether it may pass by
/// itself ([`is_transient`](Self::is_transient)), whether the body may still have run
/// ([`body_may_have_run`](Self::body_may_have_run)), and whether a section may be left behind
/// until its lease ends ([`may_be_held`](Self::may_be_held)).
///
/// The representation is private so that kinds can be added. The error is one pointer wide, and
/// cheap to clone.
#[derive(Clone)]
pub struct LockError(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: LockErrorKind,
    name: Option<LockName>,
    waited: Option<Duration>,
    in_the_way: Option<InTheWay>,
    ahead: usize,
    caller: Option<CallerId>,
    detail: String,
    may_be_held: bool,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// The kinds of [`LockError`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum LockErrorKind {
    /// Somebody else holds it, and the wait is over.
    Busy,
    /// The manager was shut down.
    Closed,
    /// The name is in use with another number of permits.
    Conflict,
    /// The name is not a valid one.
    InvalidName,
    /// An option, a URL or a configuration is not a valid one.
    InvalidOption,
    /// The section was lost while it was held.
    Lost,
    /// A lock manager is required, and none is set.
    NotConfigured,
    /// The lock belongs to another caller.
    NotYourTurn,
    /// The section is entered again from inside, and does not allow that.
    Reentered,
    /// A caller is required, and none is known.
    Unauthenticated,
    /// The backend cannot be reached, or failed.
    Unavailable,
    /// The backend cannot do what was asked for.
    Unsupported,
    /// The call would have to wait, for the name or for a remote backend, and this thread must not.
    WouldBlock,
}

impl LockError {
    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> LockErrorKind {
        self.0.kind
    }

    /// The lock that it is about, where there is one.
    #[must_use]
    pub fn name(&self) -> Option<&LockName> {
        self.0.name.as_ref()
    }

    /// Who or what is in the way, where it is known.
    #[must_use]
    pub fn in_the_way(&self) -> Option<&InTheWay> {
        self.0.in_the_way.as_ref()
    }

    /// How long the call queued.
    #[must_use]
    pub fn waited(&self) -> Option<Duration> {
        self.0.waited
    }

    /// Somebody else holds the lock and the wait, if there was one, is over.
    ///
    /// A call that had to wait where it must not is a fault of the program and not this: with a
    /// remote backend nobody knows then whether the lock is free.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.0.kind == LockErrorKind::Busy
    }

    /// The lock was lost while it was held.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.0.kind == LockErrorKind::Lost
    }

    /// The lock belongs to another caller.
    #[must_use]
    pub fn is_not_your_turn(&self) -> bool {
        self.0.kind == LockErrorKind::NotYourTurn
    }

    /// A caller is required, and none is known.
    #[must_use]
    pub fn is_unauthenticated(&self) -> bool {
        self.0.kind == LockErrorKind::Unauthenticated
    }

    /// The backend cannot be reached, or failed.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        self.0.kind == LockErrorKind::Unavailable
    }

    /// Whether it may pass by itself: the same call may succeed later, with nothing changed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        use LockErrorKind as Kind;
        matches!(
            self.0.kind,
            Kind::Busy | Kind::Conflict | Kind::Lost | Kind::Unavailable | Kind::WouldBlock
        )
    }

    /// Whether a part of the body may have run. Only a section that was lost has begun.
    #[must_use]
    pub fn body_may_have_run(&self) -> bool {
        self.is_lost()
    }

    /// Whether the backend may keep a section for this call until its lease ends, because it
    /// could not be told that nobody wants it.
    #[must_use]
    pub fn may_be_held(&self) -> bool {
        self.0.may_be_held
    }
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        match (inner.kind, &inner.name) {
            (LockErrorKind::Lost, Some(name)) => write!(f, "Lock lost: {name}")?,
            (LockErrorKind::NotYourTurn, Some(name)) => write!(f, "Not your turn: {name}")?,
            (LockErrorKind::NotYourTurn, None) => f.write_str("Not your turn")?,
            (LockErrorKind::Unauthenticated, Some(name)) => write!(f, "Unauthenticated: {name}")?,
            (LockErrorKind::Unauthenticated, None) => f.write_str("Unauthenticated")?,
            (
                LockErrorKind::Closed
                | LockErrorKind::InvalidOption
                | LockErrorKind::Unavailable
                | LockErrorKind::Unsupported,
                None,
            ) => return f.write_str(&inner.detail),
            (_, Some(name)) => write!(f, "Could not acquire lock: {name}")?,
            (_, None) => f.write_str("Could not acquire lock")?,
        }
        let mut parts = Vec::new();
        if let Some(waited) = inner.waited {
            parts.push(if waited.is_zero() {
                "not waited".to_owned()
            } else {
                format!("waited {}", Shown(waited))
            });
        }
        if let Some(in_the_way) = &inner.in_the_way {
            parts.push(in_the_way.to_string());
        }
        if inner.ahead >= MAX_WAITING {
            // Then it is not for want of patience.
            let ahead = inner.ahead;
            parts.push(format!(
                "{ahead} wait for this lock already, which is as many as may"
            ));
        } else if inner.ahead > 0 {
            parts.push(format!("{} ahead", inner.ahead));
        }
        if let Some(caller) = &inner.caller {
            parts.push(format!("called by {caller}"));
        }
        if !inner.detail.is_empty() {
            parts.push(inner.detail.clone());
        }
        if parts.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", parts.join("; "))
    }
}

impl fmt::Debug for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LockError::{:?}({self})", self.0.kind)
    }
}

impl std::error::Error for LockError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let source = self.0.source.as_deref()?;
        Some(source)
    }
}

#[cfg(test)]
mod tests;
