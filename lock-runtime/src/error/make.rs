//! How the runtime makes its errors: one function per situation, each with its way out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Inner, LockError, LockErrorKind};
use crate::caller::CallerId;
use crate::info::{InTheWay, Shown};
use crate::name::{LockName, NameError};
use crate::site::Origin;

impl LockError {
    fn new(kind: LockErrorKind, detail: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            name: None,
            waited: None,
            in_the_way: None,
            ahead: 0,
            caller: None,
            detail: detail.into(),
            may_be_held: false,
            source: None,
        }))
    }

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// The same error about this lock.
    pub(crate) fn about(self, name: &LockName) -> Self {
        self.with(|inner| inner.name = Some(name.clone()))
    }

    /// The same error, and a section may be left behind until its lease ends.
    pub(crate) fn maybe_held(self) -> Self {
        self.with(|inner| inner.may_be_held = true)
    }

    pub(crate) fn busy(
        name: &LockName,
        waited: Duration,
        in_the_way: Option<InTheWay>,
        ahead: usize,
    ) -> Self {
        Self::new(LockErrorKind::Busy, "")
            .about(name)
            .with(|inner| {
                inner.waited = Some(waited);
                inner.in_the_way = in_the_way;
                inner.ahead = ahead;
            })
    }

    pub(crate) fn would_block(name: Option<&LockName>) -> Self {
        let error = Self::new(
            LockErrorKind::WouldBlock,
            "this thread runs async tasks, and a sync function that waits here would stop them; \
             make the function `async`, or call it in `spawn_blocking` or on a multi-threaded runtime",
        );
        match name {
            Some(name) => error.about(name),
            None => error,
        }
    }

    pub(crate) fn not_your_turn(
        name: &LockName,
        holder: Option<CallerId>,
        caller: Option<CallerId>,
    ) -> Self {
        let detail = match (&holder, &caller) {
            (None, _) => "assigned to nobody, and the site wants a holder",
            (Some(_), None) => "the caller is not known",
            (Some(_), Some(_)) => "",
        };
        Self::new(LockErrorKind::NotYourTurn, detail)
            .about(name)
            .with(|inner| {
                inner.in_the_way = holder.map(InTheWay::Assigned);
                inner.caller = caller;
            })
    }

    pub(crate) fn unauthenticated() -> Self {
        Self::new(
            LockErrorKind::Unauthenticated,
            "no caller is known here; run the call inside `Caller::scope`, carry it into spawned \
             tasks with `in_current_caller`, or name the caller in the annotation",
        )
    }

    pub(crate) fn reentered(name: &LockName, outer: Origin, what: &str) -> Self {
        let place = format!("{}:{}", outer.file(), outer.line());
        let site = outer
            .function()
            .map_or(place.clone(), |function| format!("{function} {place}"));
        Self::new(
            LockErrorKind::Reentered,
            format!("this call is already inside a section of it, entered in {site}; {what}"),
        )
        .about(name)
    }

    pub(crate) fn conflict(name: &LockName, in_use: u32, asked: u32) -> Self {
        Self::new(
            LockErrorKind::Conflict,
            format!(
                "in use with permits = {in_use}, asked for with permits = {asked}; all sites of \
                 one name need the same number"
            ),
        )
        .about(name)
    }

    pub(crate) fn lost(name: &LockName, cause: Lost) -> Self {
        Self::new(LockErrorKind::Lost, cause.to_string()).about(name)
    }

    pub(crate) fn unsupported(backend: &str, what: &str) -> Self {
        Self::new(
            LockErrorKind::Unsupported,
            format!("the backend `{backend}` does not support {what}"),
        )
    }

    pub(crate) fn invalid_option(what: impl Into<String>) -> Self {
        Self::new(LockErrorKind::InvalidOption, what)
    }

    pub(crate) fn not_configured(why: &str) -> Self {
        Self::new(
            LockErrorKind::NotConfigured,
            format!("no lock manager is set, {why}; call `set_lock_manager` at start-up"),
        )
    }

    pub(crate) fn closed() -> Self {
        Self::new(LockErrorKind::Closed, "the lock manager was shut down")
    }

    pub(crate) fn unavailable(source: BackendError) -> Self {
        let detail = format!("the lock backend failed: {source}");
        Self::new(LockErrorKind::Unavailable, detail).with(|inner| {
            inner.source = Some(Arc::new(source));
        })
    }
}

impl From<NameError> for LockError {
    fn from(error: NameError) -> Self {
        Self::new(LockErrorKind::InvalidName, error.to_string())
            .with(|inner| inner.source = Some(Arc::new(error)))
    }
}

/// Why a section was lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Lost {
    /// The lease ended before it could be renewed.
    Expired,
    /// An operator took the lock away.
    ForcedOut,
    /// The section ran for `max_hold`, and was no longer renewed.
    HeldTooLong,
    /// The body was woken and then not polled for `max_idle`.
    Idle,
    /// Another process went on with the section.
    Adopted,
    /// The manager was shut down.
    ShutDown,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => {
                "its lease ended before it was renewed: the process stood still, or the backend \
                 could not be reached; what was written since needs its fencing token checked"
            }
            Self::ForcedOut => "an operator released it by force",
            Self::HeldTooLong => "it was held for `max_hold`",
            Self::Idle => "its body was woken and not polled for `max_idle`",
            Self::Adopted => "another process adopted it",
            Self::ShutDown => "the lock manager was shut down",
        })
    }
}

/// A failure of a backend, as the backend reports it.
///
/// ```
/// use lock_runtime::BackendError;
///
/// let error = BackendError::new("connection refused").effect_unknown();
/// assert_eq!(error.to_string(), "connection refused");
/// ```
#[derive(Clone, Debug)]
pub struct BackendError {
    message: String,
    pub(crate) effect_unknown: bool,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl BackendError {
    /// A failure that surely had no effect.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            effect_unknown: false,
            source: None,
        }
    }

    /// A failure after which nobody knows whether the request took effect: the reply never came.
    #[must_use]
    pub fn effect_unknown(mut self) -> Self {
        self.effect_unknown = true;
        self
    }

    /// The same with what caused it. Its text must hold no secret: it goes to logs.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    pub(crate) fn timed_out(after: Duration) -> Self {
        Self::new(format!("no answer within {}", Shown(after))).effect_unknown()
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for BackendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let source = self.source.as_deref()?;
        Some(source)
    }
}
