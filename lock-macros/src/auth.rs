//! `#[auth]`: rewrites the arguments of the `#[locked]` beside or below it, and does nothing else
//! where there is one. It therefore does not matter which macro expands first.

use proc_macro2::{Delimiter, Group, Ident, Punct, Spacing, Span, TokenStream, TokenTree};
use syn::{Error, Result};

use crate::function::Function;
use crate::locked::{beside, not_a_function};
use crate::options::{Auth, Policy};
use crate::{check, expand};

/// The item with its locks made identity-aware, or the function with a caller required.
pub(crate) fn auth(arguments: TokenStream, item: TokenStream) -> TokenStream {
    match expanded(arguments, item.clone()) {
        Ok(tokens) => tokens,
        Err(error) => beside(error, &item),
    }
}

/// The argument of an `#[auth]` whose work `#[locked]` has done.
pub(crate) fn handled() -> Ident {
    Ident::new("__handled", Span::call_site())
}

fn expanded(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    if handled() == arguments.to_string() {
        return Ok(item);
    }
    let auth: Auth = syn::parse2(arguments.clone())?;
    let rewrite = Rewrite { arguments };
    if is_block_of_functions(&item) {
        return rewrite.inside(item);
    }
    let (rewritten, found) = rewrite.attributes(item.clone());
    if found {
        return Ok(rewritten);
    }
    let function: Function =
        syn::parse2(item.clone()).map_err(|error| not_a_function("#[auth]", &item, error))?;
    if let Some(name) = &auth.policy_name
        && auth.policy != Policy::Required
    {
        let message =
            format!("`{name}` is about who holds a lock, and there is no `#[locked]` here");
        return Err(Error::new(name.span(), message));
    }
    let shape = check::shape(&function, &check::Attribute::auth())?;
    Ok(expand::auth(&function, &auth, &shape))
}

/// Whether the item is an `impl` or a trait.
fn is_block_of_functions(item: &TokenStream) -> bool {
    let keyword = item
        .clone()
        .into_iter()
        .map(|token| token.to_string())
        .find(|word| matches!(word.as_str(), "impl" | "trait" | "fn" | "struct" | "enum"));
    matches!(keyword.as_deref(), Some("impl" | "trait"))
}

/// Adds `auth(…)` to the arguments of `#[locked]` attributes.
///
/// Works on tokens and leaves everything else as it is: the functions inside are expanded later,
/// and until then they may be anything, also something that another macro has yet to complete.
struct Rewrite {
    arguments: TokenStream,
}

impl Rewrite {
    /// Rewrites the attributes of the functions in an `impl` or trait.
    fn inside(&self, item: TokenStream) -> Result<TokenStream> {
        let mut tokens: Vec<TokenTree> = item.into_iter().collect();
        if let Some(TokenTree::Group(body)) = tokens.last()
            && body.delimiter() == Delimiter::Brace
        {
            let (rewritten, found) = self.attributes(body.stream());
            if found {
                let body = regroup(body, rewritten);
                tokens.pop();
                tokens.push(TokenTree::Group(body));
                return Ok(tokens.into_iter().collect());
            }
        }
        Err(Error::new(
            Span::call_site(),
            "`#[auth]` finds no `#[locked]` method in here: a renamed import cannot be seen; \
             write `#[locked(\"…\", auth)]` on the method instead",
        ))
    }

    /// Rewrites the attributes among these tokens, but nothing inside their other brackets; says
    /// whether there was a `#[locked]`.
    fn attributes(&self, tokens: TokenStream) -> (TokenStream, bool) {
        let mut rewritten = TokenStream::new();
        let mut run = Vec::new();
        let mut found = false;
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            let is_hash = matches!(&token, TokenTree::Punct(mark) if mark.as_char() == '#');
            if is_hash
                && let Some(TokenTree::Group(content)) = tokens.peek()
                && content.delimiter() == Delimiter::Bracket
            {
                run.push((token, content.clone()));
                tokens.next();
                continue;
            }
            found |= self.finish_run(&mut run, &mut rewritten);
            rewritten.extend([token]);
        }
        found |= self.finish_run(&mut run, &mut rewritten);
        (rewritten, found)
    }

    /// The attributes of one function, which has its own way if it has an `#[auth]` of its own.
    fn finish_run(&self, run: &mut Vec<(TokenTree, Group)>, tokens: &mut TokenStream) -> bool {
        let own = run.iter().any(|(_, content)| last_word(content) == "auth");
        let mut found = false;
        for (hash, content) in run.drain(..) {
            let (rewritten, is_locked) = self.content(content.stream());
            let kept = if own { content.stream() } else { rewritten };
            found |= is_locked;
            tokens.extend([hash, TokenTree::Group(regroup(&content, kept))]);
        }
        found
    }

    /// What stands in the brackets of an attribute, or in those of a `cfg_attr`.
    fn content(&self, tokens: TokenStream) -> (TokenStream, bool) {
        let mut rewritten = TokenStream::new();
        let mut found = false;
        let mut word = String::new();
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            if let TokenTree::Group(group) = &token
                && word == "cfg_attr"
            {
                let (inner, inside) = self.conditional(group.stream());
                found |= inside;
                rewritten.extend([TokenTree::Group(regroup(group, inner))]);
                continue;
            }
            word = token.to_string();
            rewritten.extend([token]);
            if word != "locked" {
                continue;
            }
            match tokens.peek() {
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis => {
                    let inner = self.extended(group.stream());
                    rewritten.extend([TokenTree::Group(regroup(group, inner))]);
                    tokens.next();
                    found = true;
                }
                Some(TokenTree::Punct(mark)) if mark.as_char() != ',' => {}
                _ => {
                    let inner = self.extended(TokenStream::new());
                    let group = Group::new(Delimiter::Parenthesis, inner);
                    rewritten.extend([TokenTree::Group(group)]);
                    found = true;
                }
            }
        }
        (rewritten, found)
    }

    /// The attributes in a `cfg_attr`, behind its condition.
    fn conditional(&self, tokens: TokenStream) -> (TokenStream, bool) {
        let mut tokens = tokens.into_iter();
        let mut condition = TokenStream::new();
        for token in tokens.by_ref() {
            let ends = is_comma(&token);
            condition.extend([token]);
            if ends {
                break;
            }
        }
        let (attributes, found) = self.content(tokens.collect());
        condition.extend(attributes);
        (condition, found)
    }

    /// The arguments of one `#[locked]`, which may already say `auth` themselves.
    fn extended(&self, arguments: TokenStream) -> TokenStream {
        let mut starts = true;
        let mut says_auth = false;
        for token in arguments.clone() {
            says_auth |= starts && token.to_string() == "auth";
            starts = is_comma(&token);
        }
        if says_auth {
            return arguments;
        }
        let mut extended = arguments;
        if !starts {
            extended.extend([TokenTree::Punct(Punct::new(',', Spacing::Alone))]);
        }
        let auth = Ident::new("auth", Span::call_site());
        let list = Group::new(Delimiter::Parenthesis, self.arguments.clone());
        extended.extend([TokenTree::Ident(auth), TokenTree::Group(list)]);
        extended
    }
}

fn is_comma(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(mark) if mark.as_char() == ',')
}

/// The last word of the path that an attribute starts with.
fn last_word(attribute: &Group) -> String {
    let words = attribute.stream().into_iter();
    let path = words.take_while(|token| match token {
        TokenTree::Ident(_) => true,
        TokenTree::Punct(mark) => mark.as_char() == ':',
        _ => false,
    });
    path.last().map_or(String::new(), |word| word.to_string())
}

/// The same brackets with other tokens inside.
fn regroup(brackets: &Group, tokens: TokenStream) -> Group {
    let mut group = Group::new(brackets.delimiter(), tokens);
    group.set_span(brackets.span());
    group
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::auth;

    /// Spaces between tokens are the printer's business.
    fn dense(tokens: &proc_macro2::TokenStream) -> String {
        tokens.to_string().replace(' ', "")
    }

    #[test]
    fn rewrites_every_locked_in_a_block_and_nothing_else() {
        for head in [
            quote!(impl<T> Board<{ N }> for X),
            quote!(pub trait Board: Sync),
        ] {
            let output = auth(
                quote!(caller = self.id),
                quote!(#head {
                    #[locked]
                    fn a() {}
                    #[inline] #[lock_runtime::locked("b", try,)] #[doc = "locked"]
                    fn b() { #[locked("inner")] fn inner() {} }
                    #[cfg_attr(locked, locked("c"), inline)]
                    fn c() {}
                    #[locked("d", auth(optional))]
                    fn d() {}
                    #[auth(assigned)] #[locked("e")]
                    fn e() {}
                    fn f() { half typed . }
                }),
            );
            let expected = quote!(#head {
                #[locked(auth(caller = self.id))]
                fn a() {}
                #[inline] #[lock_runtime::locked("b", try, auth(caller = self.id))] #[doc = "locked"]
                fn b() { #[locked("inner")] fn inner() {} }
                #[cfg_attr(locked, locked("c", auth(caller = self.id)), inline)]
                fn c() {}
                #[locked("d", auth(optional))]
                fn d() {}
                #[auth(assigned)] #[locked("e")]
                fn e() {}
                fn f() { half typed . }
            });
            assert_eq!(dense(&output), dense(&expected));
        }
    }

    #[test]
    fn rewrites_a_method_that_is_locked() {
        let output = auth(
            quote!(),
            quote!(
                #[locked("a")]
                pub async fn f(&self) -> R {}
            ),
        );
        let expected = quote!(
            #[locked("a", auth())]
            pub async fn f(&self) -> R {}
        );
        assert_eq!(dense(&output), dense(&expected));
    }

    #[test]
    fn finds_no_lock_under_another_name() {
        let block = quote!(impl Board { #[exclusive("a")] fn f() {} });
        let output = dense(&auth(quote!(), block.clone()));
        assert!(output.contains("compile_error") && output.ends_with(&dense(&block)));
    }
}
