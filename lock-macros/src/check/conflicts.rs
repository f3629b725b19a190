//! Options that exclude or need each other, whatever the function.

use proc_macro2::Span;
use syn::Error;

use crate::options::{Given, Options};
use crate::problems::Problems;

pub(super) fn check(options: &Options, problems: &mut Problems) {
    let wait = span(options.wait.as_ref());
    let immediate = span(options.immediate.as_ref());
    let shared = span(options.shared.as_ref());
    let permits = span(options.permits.as_ref());
    let auth = span(options.auth.as_ref());

    let mut both = |one: Option<Span>, other: Option<Span>, message: &str| {
        if let (Some(_), Some(span)) = (one, other) {
            problems.add(Error::new(span, message));
        }
    };
    both(
        wait,
        immediate,
        "`try` means not to wait: use either `try` or `wait`",
    );
    both(
        shared,
        permits,
        "`shared` already lets any number in: use either `shared` or `permits`",
    );
    both(
        permits,
        auth,
        "a lock with `permits` cannot be assigned to a caller: use either `auth` or `permits`",
    );
    if let (Some(span), 2..) = (auth, options.templates.len()) {
        problems.add(Error::new(
            span,
            "`auth` needs one lock that tells whose turn it is: use one name",
        ));
    }
    if let (Some(at_least), None, None) = (&options.at_least, wait, immediate) {
        problems.add(Error::new(
            at_least.span,
            "`at_least` needs `try` or `wait` beside it: \
             it keeps others out after the body has ended, so say how long they queue",
        ));
    }
}

fn span<T>(option: Option<&Given<T>>) -> Option<Span> {
    option.map(|option| option.span)
}
