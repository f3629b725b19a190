//! A case: a promise, what it needs, and how it is tried.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;

use super::stage::Stage;
use super::subject::Subject;
use crate::backend::Capabilities;
use crate::error::{BackendError, LockError};

pub(super) type Outcome = Result<(), Failure>;

type Trying = Pin<Box<dyn Future<Output = Outcome>>>;

/// One promise, tried in one way.
pub(super) struct Case {
    /// The promise, or the capability, that the case is about.
    pub(super) promise: &'static str,
    pub(super) name: &'static str,
    pub(super) needs: &'static [Need],
    pub(super) run: fn(Stage) -> Trying,
}

/// What a store must be able to do for a case to make sense.
#[derive(Clone, Copy, Debug)]
pub(super) enum Need {
    Adopt,
    AtLeast,
    /// A connection that the subject can cut.
    Breakable,
    Fencing,
    ForceRelease,
    Identity,
    List,
    Permits,
    Queue,
    /// A store outside this process.
    Remote,
    /// A store that the subject can stop and start again.
    Restartable,
    Shared,
    /// A capability that is missing.
    Undeclared,
}

impl Need {
    /// Why a case cannot be run; `None` when it can.
    pub(super) fn lacking(self, can: Capabilities, subject: &Subject) -> Option<&'static str> {
        let (is_met, why) = match self {
            Self::Adopt => (can.adopt, "the backend does not declare `adopt`"),
            Self::AtLeast => (can.at_least, "the backend does not declare `at_least`"),
            Self::Breakable => (
                subject.cut.is_some(),
                "the subject says nothing of how its connection is cut",
            ),
            Self::Fencing => (can.fencing, "the backend does not declare `fencing`"),
            Self::ForceRelease => (
                can.force_release,
                "the backend does not declare `force_release`",
            ),
            Self::Identity => (can.identity, "the backend does not declare `identity`"),
            Self::List => (can.list, "the backend does not declare `list`"),
            Self::Permits => (can.permits, "the backend does not declare `permits`"),
            Self::Queue => (can.queue, "the backend does not declare `queue`"),
            Self::Remote => (
                !can.embedded,
                "the backend is embedded: it answers inline and its leases are not renewed",
            ),
            Self::Restartable => (
                subject.stop.is_some(),
                "the subject says nothing of how its store is started anew",
            ),
            Self::Shared => (can.shared, "the backend does not declare `shared`"),
            Self::Undeclared => (
                !(can.adopt
                    && can.at_least
                    && can.force_release
                    && can.identity
                    && can.list
                    && can.permits
                    && can.shared),
                "the backend declares every capability that can be refused",
            ),
        };
        (!is_met).then_some(why)
    }
}

/// Why a case failed.
pub(super) struct Failure(String);

impl Failure {
    #[track_caller]
    pub(super) fn new(what: impl fmt::Display) -> Self {
        let place = Location::caller();
        Self(format!("{what} ({}:{})", place.file(), place.line()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<LockError> for Failure {
    #[track_caller]
    fn from(error: LockError) -> Self {
        Self::new(format_args!("unexpected error: {error}"))
    }
}

impl From<BackendError> for Failure {
    #[track_caller]
    fn from(error: BackendError) -> Self {
        Self::new(format_args!("unexpected error of the backend: {error}"))
    }
}

impl From<tokio::task::JoinError> for Failure {
    #[track_caller]
    fn from(error: tokio::task::JoinError) -> Self {
        Self::new(format_args!("a task of the case ended badly: {error}"))
    }
}

/// Ends the case as failed unless something is as promised.
macro_rules! ensure {
    ($condition:expr, $($what:tt)+) => {
        if !$condition {
            return Err($crate::conformance::case::Failure::new(format_args!($($what)+)));
        }
    };
}

/// The cases of a file: `promise [needs] function`, in the order in which they are listed.
macro_rules! cases {
    ($($promise:literal [$($need:ident)*] $name:ident;)+) => {
        pub(in crate::conformance) static CASES: &[$crate::conformance::case::Case] = &[$(
            $crate::conformance::case::Case {
                promise: $promise,
                name: stringify!($name),
                needs: &[$($crate::conformance::case::Need::$need),*],
                run: |stage| Box::pin($name(stage)),
            }
        ),+];
    };
}

pub(super) use {cases, ensure};
