//! `#[locked]`: parse, check, expand.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{Attribute, Error, Meta, Result};

use crate::function::Function;
use crate::options::{Auth, Given, Options};
use crate::{auth, check, expand};

/// The annotated function under its locks; or, when the annotation is wrong, what is wrong with
/// it and the function as it was, so that nothing else in the user's code breaks.
pub(crate) fn locked(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut function: Function = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(error) => return beside(not_a_function("#[locked]", &item, error), &item),
    };
    let checked = auth_beside(&mut function).and_then(|auth| {
        let mut options: Options = syn::parse2(arguments)?;
        if options.auth.is_none() {
            // What the lock itself says is nearer.
            options.auth = auth;
        }
        let checked = check::check(&function, &options)?;
        Ok((options, checked))
    });
    match checked {
        Ok((options, checked)) => expand::locked(function, &options, &checked),
        Err(error) => beside(error, &function),
    }
}

/// What an `#[auth]` on the same function says. The attribute stays where it is, because the
/// user's import of it would be unused otherwise, but has nothing more to do.
fn auth_beside(function: &mut Function) -> Result<Option<Given<Auth>>> {
    let Some(attribute) = function.attribute_mut("auth") else {
        return Ok(None);
    };
    let value = auth_of(attribute);
    let path = attribute.path().clone();
    let handled = auth::handled();
    attribute.meta = syn::parse_quote!(#path(#handled));
    let span = Span::call_site();
    value.map(|value| Some(Given { value, span }))
}

/// The arguments of an `#[auth]` attribute.
fn auth_of(attribute: &Attribute) -> Result<Auth> {
    match &attribute.meta {
        Meta::Path(_) => Ok(Auth::default()),
        Meta::List(list) => list.parse_args(),
        Meta::NameValue(pair) => Err(Error::new(
            pair.eq_token.span,
            "`#[auth]` takes no `=`: write `#[auth]` or `#[auth(…)]`",
        )),
    }
}

/// The error that says what an attribute of ours belongs on; for something that is a function,
/// what the parser found.
pub(crate) fn not_a_function(attribute: &str, item: &TokenStream, error: Error) -> Error {
    let is_function = item
        .clone()
        .into_iter()
        .any(|token| token.to_string() == "fn");
    if is_function {
        return error;
    }
    let is_block = item
        .clone()
        .into_iter()
        .any(|token| token.to_string() == "impl");
    let message = if is_block {
        format!(
            "`{attribute}` goes on a function: put it on the methods in here, each with its name"
        )
    } else {
        format!("`{attribute}` goes on a function")
    };
    Error::new(Span::call_site(), message)
}

/// The errors, and the item as it was.
///
/// Parameters that only the annotation uses are not reported on top as unused.
pub(crate) fn beside(error: Error, item: &impl ToTokens) -> TokenStream {
    let error = error.into_compile_error();
    quote!(#error #[allow(unused_variables)] #item)
}
