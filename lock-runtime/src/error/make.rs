//! How the runtime makes its errors: one function per situation, each with its way out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Inner, LockError, LockErrorKind};
use crate::caller::{Caller, CallerId};
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

    pub(crate) fn would_block(why: &str, name: Option<&LockName>) -> Self {
        let error = Self::new(
            LockErrorKind::WouldBlock,
            format!(
                "{why}; make the function `async`, or call it in `spawn_blocking` or on a \
                 multi-threaded runtime"
            ),
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
            (None, _) => "nobody holds it, and this call is for its holder alone",
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

    /// Somebody names another caller as the one on whose word a lock changes hands.
    pub(crate) fn speaks_for_another(name: &LockName, caller: CallerId, named: &CallerId) -> Self {
        let detail = format!(
            "the call names {named}, and nobody speaks for another; `as_operator` says that this \
             is meant"
        );
        Self::new(LockErrorKind::NotYourTurn, detail)
            .about(name)
            .with(|inner| inner.caller = Some(caller))
    }

    pub(crate) fn unauthenticated() -> Self {
        let detail = if Caller::current().is_some() {
            "the caller is anonymous, and has to say who it is"
        } else {
            "no caller is known here; run the call inside `Caller::scope`, carry it into spawned \
             tasks with `in_current_caller` of `lock_runtime::LockFutureExt`, or name the caller"
        };
        Self::new(LockErrorKind::Unauthenticated, detail)
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
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
pub struct BackendError(Box<BackendFailure>);

#[derive(Clone, Debug)]
struct BackendFailure {
    message: String,
    effect_unknown: bool,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl BackendError {
    /// A failure that surely had no effect.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self(Box::new(BackendFailure {
            message: message.into(),
            effect_unknown: false,
            source: None,
        }))
    }

    /// A failure after which nobody knows whether the request took effect: the reply never came.
    #[must_use]
    pub fn effect_unknown(mut self) -> Self {
        self.0.effect_unknown = true;
        self
    }

    /// The same with what caused it. Its text must hold no secret: it goes to logs.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// Whether nobody knows if the request took effect.
    pub(crate) fn is_effect_unknown(&self) -> bool {
        self.0.effect_unknown
    }

    pub(crate) fn timed_out(after: Duration) -> Self {
        Self::new(format!("no answer within {}", Shown(after))).effect_unknown()
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for BackendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let source = self.0.source.as_deref()?;
        Some(source)
    }
}
