//! `#[locked]`: parse, check, expand.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, quote};
use syn::{Attribute, Error, Meta, Result};

use crate::function::Function;
use crate::options::{Auth, Given, Options};
use crate::{check, expand};

/// The annotated function under its locks; or, when the annotation is wrong, what is wrong with
/// it and the function as it was, so that nothing else in the user's code breaks.
pub(crate) fn locked(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut function: Function = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(error) => return beside(not_a_function("#[locked]", &item, error), item),
    };
    // Taken away even when something is wrong, so that it does not report the same once more.
    let auth = function.take_attribute("auth");
    match checked(arguments, auth.as_ref(), &function) {
        Ok((options, checked)) => expand::locked(function, &options, &checked),
        Err(error) => beside(error, function.into_token_stream()),
    }
}

fn checked(
    arguments: TokenStream,
    auth: Option<&Attribute>,
    function: &Function,
) -> Result<(Options, check::Checked)> {
    let mut options: Options = syn::parse2(arguments)?;
    if let Some(attribute) = auth {
        let value = auth_of(attribute)?;
        // What the lock itself says is nearer.
        options.auth.get_or_insert(Given {
            value,
            span: Span::call_site(),
        });
    }
    let checked = check::check(function, &options)?;
    Ok((options, checked))
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
    Error::new(
        Span::call_site(),
        format!("`{attribute}` goes on a function"),
    )
}

/// The errors, and the item as it was.
pub(crate) fn beside(error: Error, item: TokenStream) -> TokenStream {
    let error = error.into_compile_error();
    quote!(#error #item)
}
