//! Methods that `#[async_trait]` expanded before us.
//!
//! Input, for `async fn f(&self, a: A, (b, c): (B, C)) -> R { … }`, inside one `Box::pin(async
//! move { … })`:
//!
//! ```text
//! if let Some(__ret) = None::<R> { #[allow(unreachable_code)] return __ret; }
//! let __self = self;
//! let a = a;
//! let (b, c) = { let __arg2 = __arg2; __arg2 };
//! let __ret: R = { … };
//! #[allow(unreachable_code)] __ret
//! ```
//!
//! The lock goes around the `{ … }`: the parameters have their own names there, and `self` is
//! called `__self`, because `self` has been moved. A function without a result ends in
//! `let _: () = { … };` instead.

use proc_macro2::{Delimiter, Group, Ident, TokenTree};
use syn::parse::Parser as _;
use syn::{Block, GenericParam, Signature, Stmt};

use super::bindings;
use super::shape::{Frame, Output};

/// The method's own body, inside what `#[async_trait]` made of it.
pub(super) struct Inner {
    pub(super) frame: Frame,
    pub(super) body: Group,
    pub(super) output: Output,
    pub(super) names: Vec<Ident>,
    pub(super) receiver: Option<Ident>,
}

/// Finds the method's own body in the `async` block, if `#[async_trait]` made the block.
pub(super) fn enter(signature: &Signature, block: &Group) -> Option<Inner> {
    let marked = signature.generics.params.iter().any(|parameter| {
        matches!(parameter, GenericParam::Lifetime(lifetime)
            if lifetime.lifetime.ident == "async_trait")
    });
    if !marked {
        return None;
    }
    let tokens: Vec<TokenTree> = block.stream().into_iter().collect();
    let start = tokens.windows(3).position(|tokens| match tokens {
        [TokenTree::Ident(word), binding, TokenTree::Punct(mark)] => {
            word == "let"
                && mark.as_char() == ':'
                && matches!(binding.to_string().as_str(), "__ret" | "_")
        }
        _ => false,
    })?;
    let braces = start
        + tokens[start..].windows(3).position(|tokens| match tokens {
            [
                TokenTree::Punct(equals),
                TokenTree::Group(body),
                TokenTree::Punct(end),
            ] => {
                equals.as_char() == '='
                    && body.delimiter() == Delimiter::Brace
                    && end.as_char() == ';'
            }
            _ => false,
        })?
        + 1;
    let TokenTree::Group(body) = tokens[braces].clone() else {
        return None;
    };
    let ty = tokens[start + 3..braces - 1].iter().cloned().collect();
    let output = Output::new(&syn::parse2(ty).ok()?);

    let declarations = tokens[..start].iter().cloned().collect();
    let mut names = Vec::new();
    for statement in Block::parse_within.parse2(declarations).ok()? {
        if let Stmt::Local(local) = statement {
            bindings::collect(&local.pat, &mut names);
        }
    }
    let receiver = names.iter().position(|name| name == "__self");
    let receiver = receiver.map(|place| names.remove(place));
    let (before, after) = (tokens[..braces].to_vec(), tokens[braces + 1..].to_vec());
    let frame = Frame::around(block, before, after);
    Some(Inner {
        frame,
        body,
        output,
        names,
        receiver,
    })
}
