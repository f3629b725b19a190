//! The arguments of `#[locked(…)]`: what was said, before it is held against the function.

mod argument;
mod auth;
#[cfg(test)]
mod tests;

use std::time::Duration;

use proc_macro2::{Ident, Span};
use syn::parse::{Parse, ParseStream};
use syn::{Expr, LitStr, Path, Result, Token};

use crate::problems::Problems;
pub(crate) use argument::{list, meant};
pub(crate) use auth::{Auth, Policy};

/// Everything that `#[locked(…)]` was given.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) templates: Vec<LitStr>,
    pub(crate) named: Vec<Named>,
    pub(crate) wait: Option<Given<Wait>>,
    pub(crate) immediate: Option<Given<()>>,
    pub(crate) ttl: Option<Given<Time>>,
    pub(crate) max_hold: Option<Given<Time>>,
    pub(crate) at_least: Option<Given<Time>>,
    pub(crate) shared: Option<Given<()>>,
    pub(crate) permits: Option<Given<Expr>>,
    pub(crate) reentrant: Option<Given<()>>,
    pub(crate) on_lost: Option<Given<OnLost>>,
    pub(crate) on_busy: Option<Given<Expr>>,
    pub(crate) on_error: Option<Given<Expr>>,
    pub(crate) guard: Option<Given<Ident>>,
    pub(crate) manager: Option<Given<Expr>>,
    pub(crate) auth: Option<Given<Auth>>,
    pub(crate) runtime: Option<Given<Path>>,
}

/// An option's value, and where the option was named.
pub(crate) struct Given<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// `name = value` behind the templates, for `{name}` inside them.
pub(crate) struct Named {
    pub(crate) name: Ident,
    pub(crate) value: Expr,
}

/// A length of time: known here, or an expression of type `Duration`.
pub(crate) enum Time {
    Known(Duration),
    Computed(Box<Expr>),
}

/// How long a caller queues.
pub(crate) enum Wait {
    For(Time),
    Forever,
}

/// What becomes of a body whose lock is lost.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnLost {
    Cancel,
    Finish,
}

impl Options {
    /// Whether the body runs only for certain callers, or on a manager of its own, so that there
    /// is something to do even when no global manager is set.
    pub(crate) fn acts_without_manager(&self) -> bool {
        self.auth.is_some() || self.manager.is_some()
    }

    /// Whether anything but the name is computed at the call.
    pub(crate) fn has_computed_parts(&self) -> bool {
        let limits = [&self.ttl, &self.max_hold, &self.at_least];
        let is_computed = |time: &Time| matches!(time, Time::Computed(_));
        let waits = self.wait.as_ref().map(|wait| &wait.value);
        self.manager.is_some()
            || self
                .auth
                .as_ref()
                .is_some_and(|auth| auth.value.caller.is_some())
            || matches!(waits, Some(Wait::For(time)) if is_computed(time))
            || limits
                .into_iter()
                .flatten()
                .any(|limit| is_computed(&limit.value))
    }

    /// Whether the section has to be entered before the body is made: an expression of the
    /// user's looks at the refusal and at the parameters, or the body gets a handle.
    pub(crate) fn needs_entry_first(&self) -> bool {
        self.on_busy.is_some() || self.on_error.is_some() || self.guard.is_some()
    }
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self::default();
        let mut problems = Problems::default();
        while !input.is_empty() {
            if problems.take(options.argument(input)).is_none() {
                skip_argument(input);
            } else if !input.is_empty() && !input.peek(Token![,]) {
                problems.add(input.error("expected `,`"));
                skip_argument(input);
            }
            if input.parse::<Token![,]>().is_err() {
                break;
            }
        }
        problems.finish().map(|()| options)
    }
}

/// Goes on to the next top-level comma, so that later arguments are still checked.
fn skip_argument(input: ParseStream<'_>) {
    while !input.is_empty() && !input.peek(Token![,]) {
        if input.parse::<proc_macro2::TokenTree>().is_err() {
            return;
        }
    }
}
