//! What a function must be for an attribute of ours to be put on it.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{Error, Result};

use crate::function::{Function, OutputKind, Shape};
use crate::options::{OnLost, Options, Wait};
use crate::problems::Problems;

/// The attribute that asks.
pub(crate) struct Attribute {
    name: &'static str,
    /// Whether a failure goes to the user's own function instead of into the return type.
    any_output: bool,
}

impl Attribute {
    pub(crate) fn locked(options: &Options) -> Self {
        Self {
            name: "#[locked]",
            any_output: options.on_error.is_some(),
        }
    }

    pub(crate) fn auth() -> Self {
        Self {
            name: "#[auth]",
            any_output: false,
        }
    }
}

/// The shape of the function, if the attribute can do its work on it.
pub(crate) fn shape(function: &Function, attribute: &Attribute) -> Result<Shape> {
    let signature = &function.signature;
    let at_name = |message: String| Error::new(signature.ident.span(), message);
    let name = attribute.name;
    let Some(body) = &function.body else {
        return Err(at_name(format!(
            "`{name}` needs a body: put it on the implementation"
        )));
    };
    if let Some(constness) = &signature.constness {
        return Err(Error::new(
            constness.span,
            format!("`{name}` cannot go on a `const fn`: it calls the lock manager at run time"),
        ));
    }
    let shape = Shape::of(function, body.clone())?;
    match shape.output.kind {
        OutputKind::Never => Err(at_name(format!(
            "`{name}` cannot go on a function that never returns: \
             it could not report a failure; return `Result<Infallible, E>`"
        ))),
        OutputKind::Unit if !attribute.any_output => Err(at_name(format!(
            "`{name}` needs a way to report a failure: return `Result<(), E>` \
             where `E: From<LockError>`{}",
            or_on_error(attribute)
        ))),
        OutputKind::Opaque if !attribute.any_output => Err(Error::new(
            shape.output.span,
            format!(
                "`{name}` cannot report a failure through `impl Trait`: return `Result<_, E>` \
                 where `E: From<LockError>`{}",
                or_on_error(attribute)
            ),
        )),
        _ => Ok(shape),
    }
}

fn or_on_error(attribute: &Attribute) -> &'static str {
    if attribute.name == "#[locked]" {
        ", or add `on_error = |error| …`"
    } else {
        ""
    }
}

/// Options that depend on the function that they stand at.
pub(super) fn check_options(shape: &Shape, options: &Options, problems: &mut Problems) {
    if let Some(permits) = &options.permits
        && names_any(permits.value.to_token_stream(), &shape.names)
    {
        problems.add(Error::new_spanned(
            &permits.value,
            "`permits` is a constant: all calls of one name need the same number",
        ));
    }
    if shape.blocking {
        check_blocking(options, problems);
    }
}

/// Whether an expression names `self` or a parameter.
fn names_any(expression: TokenStream, names: &[Ident]) -> bool {
    expression.into_iter().any(|token| match token {
        TokenTree::Ident(word) => word == "self" || names.contains(&word),
        TokenTree::Group(group) => names_any(group.stream(), names),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

/// Options that need the body to be a future.
fn check_blocking(options: &Options, problems: &mut Problems) {
    if let Some(on_lost) = &options.on_lost
        && on_lost.value == OnLost::Cancel
    {
        problems.add(Error::new(
            on_lost.span,
            "a sync body cannot be dropped half-way: use `on_lost = finish`, \
             and ask the `guard` inside, or make this an `async fn`",
        ));
    }
    if let Some(wait) = &options.wait
        && matches!(wait.value, Wait::Forever)
    {
        problems.add(Error::new(
            wait.span,
            "a sync function cannot wait for ever, because nothing could stop it: \
             give a limit, or make this an `async fn`",
        ));
    }
}
