//! The annotated function as we need to know it: its signature, and its body untouched.

mod async_trait;
mod bindings;
mod returns;
mod shape;
#[cfg(test)]
mod tests;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Result, Signature, Token, Visibility};

pub(crate) use shape::{OutputKind, Shape};

/// A function with an attribute of ours on it.
pub(crate) struct Function {
    /// Its other attributes.
    attributes: Vec<Attribute>,
    visibility: Visibility,
    default: Option<Token![default]>,
    pub(crate) signature: Signature,
    /// The original token, which is never taken apart: errors in the body stay on the user's
    /// lines, as many as without us, and half-typed code still completes in an editor.
    pub(crate) body: Option<Group>,
    /// The `;` of a function without a body.
    end: Option<Token![;]>,
}

impl Function {
    /// The attribute that goes by this name, at whatever path.
    pub(crate) fn attribute_mut(&mut self, name: &str) -> Option<&mut Attribute> {
        self.attributes.iter_mut().find(|attribute| {
            let last = attribute.path().segments.last();
            last.is_some_and(|segment| segment.ident == name)
        })
    }

    /// Takes `mut` off the parameters that [`Shape::rebound`] lists.
    pub(crate) fn drop_rebound_mut(&mut self) {
        shape::without_rebound_mut(&mut self.signature);
    }

    /// The function with another body.
    pub(crate) fn with_body(&self, body: &Group) -> TokenStream {
        let mut tokens = self.head();
        body.to_tokens(&mut tokens);
        tokens
    }

    fn head(&self) -> TokenStream {
        let mut tokens = TokenStream::new();
        for attribute in &self.attributes {
            attribute.to_tokens(&mut tokens);
        }
        self.visibility.to_tokens(&mut tokens);
        self.default.to_tokens(&mut tokens);
        self.signature.to_tokens(&mut tokens);
        tokens
    }
}

impl ToTokens for Function {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.extend(self.head());
        self.body.to_tokens(tokens);
        self.end.to_tokens(tokens);
    }
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let default = input.parse()?;
        let signature = input.parse()?;
        let end: Option<Token![;]> = input.parse()?;
        let body = match end {
            Some(_) => None,
            None => Some(braces(input)?),
        };
        Ok(Self {
            attributes,
            visibility,
            default,
            signature,
            body,
            end,
        })
    }
}

/// The body's token, out of the invisible brackets that `$body:block` puts around it.
fn braces(input: ParseStream<'_>) -> Result<Group> {
    let mut token: TokenTree = input.parse()?;
    loop {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => return Ok(group),
            TokenTree::Group(group) if group.delimiter() == Delimiter::None => {
                match group.stream().into_iter().next() {
                    Some(inner) => token = inner,
                    None => return Err(input.error("expected a body")),
                }
            }
            other => return Err(syn::Error::new(other.span(), "expected a body")),
        }
    }
}
