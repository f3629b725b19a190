//! Makes the code of an annotated function. Whatever could be wrong has been reported before.
//!
//! Input:
//!
//! ```text
//! #[locked("task:{task_id}")]
//! async fn f(task_id: u64) -> R { body }
//! ```
//!
//! Output, with `P` for the runtime's private module:
//!
//! ```text
//! async fn f(task_id: u64) -> R {
//!     let mut __section = if P::passes_through() {
//!         P::Section::none()
//!     } else {
//!         enum __LockSite {}
//!         P::SITES! {
//!             #![linkme_macro = P::SITES]
//!             static __LOCK_SITE: P::Site = P::Site::new::<__LockSite>(&["task:{task_id}"]);
//!         }
//!         P::enter_with(&__LOCK_SITE, &["task:"], &[P::core::format_args!("{}", task_id)])
//!     };
//!     let __body = P::core::pin::pin!(async move {
//!         if false { let __output: R = loop {}; return __output; }
//!         match () { () => { body } }
//!     });
//!     <R as P::LockedOutput>::settle(P::run(&mut __section, __body).await)
//! }
//! ```
//!
//! Names that need more than texts and values in turn are written by a closure, and what is
//! computed at the call besides the name goes through an `Entry`. The fewer items, closures and
//! types a function gets, the sooner the compiler is done with it: most of what an annotation
//! costs a build is the second future, and then the names and the site.
//!
//! The run of the body begins with the way into the section, and a refusal comes out of it. Where
//! an expression of the user's looks at the refusal (`on_busy`, `on_error`) or the body gets a
//! handle, the section is entered first instead.
//!
//! The body is a block of its own, so that `return` and `?` in it pass through `settle`. A sync
//! body is a closure instead.
//!
//! Our own variables have mixed-site hygiene: the body and the user's expressions cannot see
//! them. Every path starts at the private module, so that nothing that is called `Ok`, `core` or
//! `Result` where the function stands can get in the way.

mod auth;
mod entry;
mod name;
mod section;
mod site;

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote_spanned};
use syn::Expr;

use crate::check::Checked;
use crate::function::{Function, Shape};
use crate::options::Options;
use crate::paths::Private;
pub(crate) use auth::auth;
pub(crate) use name::lock_name;

/// What every piece of the code needs to know.
struct Context<'a> {
    private: Private,
    function: &'a Ident,
    options: &'a Options,
    checked: &'a Checked,
}

impl Context<'_> {
    /// An expression of the user's.
    fn expression(&self, expression: &Expr) -> TokenStream {
        in_body(&self.checked.shape, expression)
    }

    /// A reference to what an expression of the user's yields.
    fn borrowed(&self, expression: &Expr) -> TokenStream {
        borrowed(&self.expression(expression))
    }
}

/// A reference to what the tokens yield; an error about it stands where they do.
fn borrowed(expression: &TokenStream) -> TokenStream {
    let first = expression.clone().into_iter().next();
    let span = first.map_or_else(Span::mixed_site, |token| token.span());
    quote_spanned!(span.resolved_at(Span::mixed_site())=> &(#expression))
}

/// An expression of the user's as it has to read in front of the body, where `self` may have
/// another name.
fn in_body(shape: &Shape, expression: &Expr) -> TokenStream {
    match &shape.receiver {
        Some(receiver) if receiver != "self" => rename_self(expression.to_token_stream(), receiver),
        _ => expression.to_token_stream(),
    }
}

fn rename_self(tokens: TokenStream, receiver: &Ident) -> TokenStream {
    let renamed = tokens.into_iter().map(|token| match token {
        TokenTree::Ident(word) if word == "self" => TokenTree::Ident(receiver.clone()),
        TokenTree::Group(group) => {
            let mut inner = Group::new(group.delimiter(), rename_self(group.stream(), receiver));
            inner.set_span(group.span());
            TokenTree::Group(inner)
        }
        other => other,
    });
    renamed.collect()
}

/// The function with its body under its locks.
pub(crate) fn locked(mut function: Function, options: &Options, checked: &Checked) -> TokenStream {
    let auth = options.auth.as_ref();
    let runtime = options.runtime.as_ref().map(|given| &given.value);
    let runtime = runtime.or(auth.and_then(|auth| auth.value.runtime.as_ref()));
    let name = function.signature.ident.clone();
    let context = Context {
        private: Private::new(runtime),
        function: &name,
        options,
        checked,
    };
    let body = checked.shape.rebuild(section::locked(&context));
    if !checked.shape.rebound.is_empty() {
        function.drop_rebound_mut();
    }
    function.with_body(&body)
}
