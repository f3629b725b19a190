//! What is asked for, in all names of a section alike.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::options::{AuthPolicy, Mode, OnLost, Wait, is_valid_ttl, is_valid_wait};
use crate::site::Origin;

/// What is asked for, in all names of a section alike.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) origin: Origin,
    pub(crate) mode: Mode,
    pub(crate) wait: Wait,
    pub(crate) ttl: Duration,
    pub(crate) max_hold: Option<Duration>,
    pub(crate) at_least: Duration,
    pub(crate) renewed: bool,
    pub(crate) linger: bool,
    pub(crate) reentrant: bool,
    pub(crate) on_lost: OnLost,
    pub(crate) auth: Option<AuthPolicy>,
}

impl Terms {
    /// The ordinary case, for tests and for the suite.
    #[cfg(any(test, feature = "conformance"))]
    #[track_caller]
    pub(crate) fn plain(wait: Wait) -> Self {
        Self {
            origin: Origin::Called(std::panic::Location::caller()),
            mode: Mode::Exclusive,
            wait,
            ttl: crate::options::DEFAULT_TTL,
            max_hold: None,
            at_least: Duration::ZERO,
            renewed: true,
            linger: false,
            reentrant: false,
            on_lost: OnLost::Cancel,
            auth: None,
        }
    }

    /// Whether it asks for nothing but one owner at a time for as long as the body takes: the
    /// ordinary case. Terms that are not valid are not ordinary.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.mode == Mode::Exclusive
            && self.auth.is_none()
            && self.max_hold.is_none()
            && self.at_least.is_zero()
            && self.renewed
            && is_valid_ttl(self.ttl)
            && is_valid_wait(self.wait)
    }
}

/// Terms in use: those of an annotated function with the global manager never change, and cost
/// nothing to share.
#[derive(Clone, Debug)]
pub(crate) enum SharedTerms {
    Fixed(&'static Terms),
    Own(Arc<Terms>),
}

impl SharedTerms {
    /// The same with a change.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Terms)) {
        let mut terms = Terms::clone(self);
        change(&mut terms);
        *self = Self::from(terms);
    }
}

impl From<Terms> for SharedTerms {
    fn from(terms: Terms) -> Self {
        Self::Own(Arc::new(terms))
    }
}

impl Deref for SharedTerms {
    type Target = Terms;

    #[inline]
    fn deref(&self) -> &Terms {
        match self {
            Self::Fixed(terms) => terms,
            Self::Own(terms) => terms,
        }
    }
}
