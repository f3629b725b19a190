//! The code that writes lock names, and `lock_name!`.

use proc_macro2::{Literal, Span, TokenStream};
use quote::quote_spanned;
use syn::{Expr, Ident, Path};

use super::{Context, site};
use crate::check::{Name, Part, Value};
use crate::options::Named;
use crate::paths::Private;

/// The `.name(…)` calls of an entry, one for each name, and what has to stand around the entry.
///
/// Named arguments are evaluated once, before any name. With one name that is inside the call,
/// which passthrough never makes; several names have to share them.
pub(super) fn entry(context: &Context<'_>, start: &TokenStream) -> TokenStream {
    let named = named(context);
    if let Some(writer) = only_writer(context) {
        return quote_spanned!(Span::mixed_site()=> #start.name(|__name| { #writer }));
    }
    let writers = context
        .checked
        .names
        .iter()
        .map(|name| writer(context, name));
    let entry = quote_spanned!(Span::mixed_site()=> #start #(.name(|__name| { #writers }))*);
    bound(&named, &entry)
}

/// What writes the name, where there is one name only.
pub(super) fn only_writer(context: &Context<'_>) -> Option<TokenStream> {
    match &*context.checked.names {
        [name] => Some(bound(&named(context), &writer(context, name))),
        _ => None,
    }
}

fn writer(context: &Context<'_>, name: &Name) -> TokenStream {
    match name {
        Name::OwnPath => {
            let path = site::own_path(context);
            quote_spanned!(Span::mixed_site()=> __name.literal(#path);)
        }
        Name::Template(_, parts) => write(&context.private, parts),
    }
}

fn named<'a>(context: &Context<'a>) -> Vec<(&'a Ident, TokenStream)> {
    let named = context.options.named.iter();
    named
        .map(|named| (&named.name, context.expression(&named.value)))
        .collect()
}

/// The expression with the named arguments in scope.
///
/// A `match` and not `let`s: what an argument borrows from a temporary has to live as long.
fn bound(named: &[(&Ident, TokenStream)], expression: &TokenStream) -> TokenStream {
    if named.is_empty() {
        return expression.clone();
    }
    let names = named.iter().map(|(name, _)| name);
    let values = named.iter().map(|(_, value)| super::borrowed(value));
    quote_spanned! {Span::mixed_site()=>
        match (#(#values,)*) { (#(#names,)*) => { #expression } }
    }
}

/// A name as texts and values in turn, beginning with a text.
pub(super) struct Alternating {
    pub(super) texts: Vec<TokenStream>,
    pub(super) values: Vec<TokenStream>,
}

/// The name, where there is one name only and nothing has to be evaluated before its values. The
/// compiler is done with two lists sooner than with a closure that writes them.
pub(super) fn alternating(context: &Context<'_>) -> Option<Alternating> {
    let [name] = &*context.checked.names else {
        return None;
    };
    if !context.options.named.is_empty() {
        return None;
    }
    let (mut texts, mut values) = (Vec::new(), Vec::new());
    match name {
        Name::OwnPath => texts.push(site::own_path(context)),
        Name::Template(_, parts) => {
            for part in parts {
                match part {
                    Part::Text(text) => texts.push(quote_spanned!(Span::mixed_site()=> #text)),
                    Part::Value(value) => {
                        if texts.len() == values.len() {
                            texts.push(quote_spanned!(Span::mixed_site()=> ""));
                        }
                        values.push(formatted(&context.private, value));
                    }
                }
            }
        }
    }
    Some(Alternating { texts, values })
}

/// The statements that write one name.
fn write(p: &Private, parts: &[Part]) -> TokenStream {
    let span = Span::mixed_site();
    let mut statements = TokenStream::new();
    for part in parts {
        statements.extend(match part {
            Part::Text(text) => quote_spanned!(span=> __name.literal(#text);),
            Part::Value(value) => {
                let value = formatted(p, value);
                quote_spanned!(span=> __name.value(#value);)
            }
        });
    }
    statements
}

/// A value, not yet formatted.
fn formatted(p: &Private, value: &Value) -> TokenStream {
    let span = Span::mixed_site();
    let mut format = Literal::string(&value.format);
    format.set_span(span);
    let expression = &value.expression;
    let width = value
        .width
        .as_ref()
        .map(|(name, value)| quote_spanned!(span=> , #name = #value));
    quote_spanned!(span=> #p::core::format_args!(#format, #expression #width))
}

/// The code of `lock_name!`.
pub(crate) fn lock_name(runtime: Option<&Path>, named: &[Named], parts: &[Part]) -> TokenStream {
    let p = Private::new(runtime);
    let named: Vec<_> = named
        .iter()
        .map(|named| (&named.name, expression(&named.value)))
        .collect();
    let writer = bound(&named, &write(&p, parts));
    quote_spanned!(Span::mixed_site()=> #p::name(|__name| { #writer }))
}

fn expression(expression: &Expr) -> TokenStream {
    quote::ToTokens::to_token_stream(expression)
}
