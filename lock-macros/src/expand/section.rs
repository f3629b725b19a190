//! The whole of a locked body: enter, run, settle.

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::{ToTokens as _, quote_spanned};

use super::{Context, entry};
use crate::function::Shape;

/// What goes into the braces around the user's own body.
pub(super) fn locked(context: &Context<'_>) -> TokenStream {
    let p = &context.private;
    let span = Span::mixed_site();
    let shape = &context.checked.shape;
    let output = &shape.output.ty;
    let enter = entry::statement(context);
    let guard = context.options.guard.as_ref().map(|guard| &guard.value);
    let held = guard.map(|_| quote_spanned!(span=> let __held = __section.held();));
    let guard = guard.map(|guard| quote_spanned!(span=> let #guard: &#p::Held = &__held;));
    let (outside, ended) = if shape.blocking {
        let body = as_tail(&shape.body);
        // `?` and `return` leave the closure and not the function.
        let ended =
            quote_spanned!(span=> #p::run_blocking(__section, move || -> #output { #body }));
        (guard, ended)
    } else {
        let rebound = shape.rebound.iter().map(|rebound| {
            let (mutability, name) = (&rebound.mutability, &rebound.name);
            quote_spanned!(span=> let #mutability #name = #name;)
        });
        let body = typed(shape);
        // `move`: otherwise a parameter that is `Send` but not `Sync` would be borrowed, and the
        // future would not be `Send`.
        // Pinned in place, so that what is awaited is small and a chain of such calls is shallow.
        // It is declared after the section and so dropped before it.
        let body = quote_spanned! {span=>
            let __body = #p::core::pin::pin!(async move { #guard #(#rebound)* #body });
        };
        (
            Some(body),
            quote_spanned!(span=> #p::run(&mut __section, __body).await),
        )
    };
    let settled = match &context.options.on_error {
        None => quote_spanned!(span=> <#output as #p::LockedOutput>::settle(#ended)),
        Some(function) => {
            let function = context.expression(&function.value);
            quote_spanned!(span=> #ended.settle_with(#function))
        }
    };
    quote_spanned!(span=> #enter #held #outside #settled)
}

/// The body of an `async` block with its result's type, which the block has no place to write.
///
/// A `return` that is never reached tells the compiler, so that the body is checked against the
/// type as a function's body is, coercions and error messages included; therefore every token of
/// it stands where the return type stands.
fn typed(shape: &Shape) -> TokenStream {
    let span = shape.output.span.resolved_at(Span::mixed_site());
    let output = &shape.output.ty;
    let body = as_tail(&shape.body);
    let edge = quote_spanned! {span=>
        #[allow(
            unreachable_code,
            clippy::diverging_sub_expression,
            clippy::empty_loop,
            clippy::let_unit_value,
            clippy::let_with_type_underscore,
            clippy::needless_return
        )]
        if false {
            let __output: #output = loop {};
            return __output;
        }
    };
    quote_spanned!(Span::mixed_site()=> #edge #body)
}

/// The body as the last expression of a block around it.
///
/// The arm of a `match`, because a block at the end of another one is reported for braces that the
/// user cannot leave out; except with inner attributes, which only that block may have, and which
/// keep it from being reported.
pub(super) fn as_tail(body: &Group) -> TokenStream {
    let mut first = body.stream().into_iter();
    let mut next_is =
        |mark| matches!(first.next(), Some(TokenTree::Punct(punct)) if punct.as_char() == mark);
    if next_is('#') && next_is('!') {
        return body.to_token_stream();
    }
    quote_spanned!(Span::mixed_site()=> match () { () => #body })
}
