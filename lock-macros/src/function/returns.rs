//! What a function returns, as far as its tokens tell.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::punctuated::Punctuated;
use syn::{GenericArgument, PathArguments, Token, Type, TypeParamBound, TypePath};

/// The type without the brackets, visible or not, around it.
pub(super) fn bare(mut ty: &Type) -> &Type {
    loop {
        match ty {
            Type::Group(group) => ty = &group.elem,
            Type::Paren(paren) => ty = &paren.elem,
            _ => return ty,
        }
    }
}

/// If the type is spelled as a future: what the future yields, as far as that is spelled out.
pub(super) fn future_output(ty: &Type) -> Option<Option<Type>> {
    match bare(ty) {
        Type::ImplTrait(opaque) => output_of_bounds(&opaque.bounds),
        Type::TraitObject(object) => output_of_bounds(&object.bounds),
        Type::Path(path) => {
            let last = path.path.segments.last()?;
            if last.ident == "Pin" || last.ident == "Box" {
                future_output(first_type_argument(path)?)
            } else if last.ident == "BoxFuture" || last.ident == "LocalBoxFuture" {
                Some(first_type_argument(path).cloned())
            } else {
                None
            }
        }
        _ => None,
    }
}

fn first_type_argument(path: &TypePath) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = &path.path.segments.last()?.arguments else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

fn output_of_bounds(bounds: &Punctuated<TypeParamBound, Token![+]>) -> Option<Option<Type>> {
    bounds.iter().find_map(|bound| {
        let TypeParamBound::Trait(bound) = bound else {
            return None;
        };
        let last = bound.path.segments.last()?;
        (last.ident == "Future").then(|| output_argument(&last.arguments))
    })
}

fn output_argument(arguments: &PathArguments) -> Option<Type> {
    let PathArguments::AngleBracketed(arguments) = arguments else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::AssocType(bound) if bound.ident == "Output" => Some(bound.ty.clone()),
        _ => None,
    })
}

/// The type's own tokens with every `impl Trait`, which a body cannot name, as `_`.
pub(super) fn nameable(ty: &Type) -> TokenStream {
    infer_opaque(ty.to_token_stream())
}

fn infer_opaque(tokens: TokenStream) -> TokenStream {
    let mut nameable = TokenStream::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(word) if word == "impl" => {
                let mut bounds = Bounds::default();
                while tokens.next_if(|token| bounds.goes_on(token)).is_some() {}
                nameable.extend([TokenTree::Ident(Ident::new("_", word.span()))]);
            }
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), infer_opaque(group.stream()));
                inner.set_span(group.span());
                nameable.extend([TokenTree::Group(inner)]);
            }
            other => nameable.extend([other]),
        }
    }
    nameable
}

/// Follows the bounds of an `impl Trait` to their end.
#[derive(Default)]
struct Bounds {
    angles: usize,
    after_dash: bool,
}

impl Bounds {
    fn goes_on(&mut self, token: &TokenTree) -> bool {
        let after_dash = std::mem::take(&mut self.after_dash);
        if let TokenTree::Punct(mark) = token {
            match mark.as_char() {
                '-' => self.after_dash = true,
                '<' => self.angles += 1,
                // The `>` of an arrow closes nothing.
                '>' if after_dash => {}
                '>' if self.angles == 0 => return false,
                '>' => self.angles -= 1,
                ',' | ';' if self.angles == 0 => return false,
                _ => {}
            }
        }
        true
    }
}

/// `()` where a function says nothing of what it returns.
pub(super) fn unit(span: Span) -> TokenStream {
    let mut unit = Group::new(Delimiter::Parenthesis, TokenStream::new());
    unit.set_span(span);
    TokenTree::Group(unit).into()
}
