//! `lock_name!("turn:{game}", kind = …)`: the very name that an annotation makes.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Ident, LitStr, Path, Result, Token};

use crate::check::Scope;
use crate::expand;
use crate::options::Named;
use crate::problems::Problems;
use crate::template::Template;

/// An expression of type `Result<LockName, LockError>`.
pub(crate) fn lock_name(arguments: TokenStream) -> TokenStream {
    match expanded(arguments) {
        Ok(expression) => expression,
        Err(error) => {
            // In a block, because there may be several errors and this is one expression.
            let error = error.into_compile_error();
            quote!({ #error })
        }
    }
}

fn expanded(arguments: TokenStream) -> Result<TokenStream> {
    let arguments: Arguments = syn::parse2(arguments)?;
    let template = Template::parse(arguments.template)?;
    let mut scope = Scope::of_expression(&arguments.named);
    let parts = scope.resolve(&template)?;
    let mut problems = Problems::default();
    scope.check_named(&mut problems);
    scope.check_all_used(&mut problems);
    problems.finish()?;
    let runtime = arguments.runtime.as_ref();
    Ok(expand::lock_name(runtime, &arguments.named, &parts))
}

struct Arguments {
    template: LitStr,
    named: Vec<Named>,
    runtime: Option<Path>,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if !input.peek(LitStr) {
            return Err(Error::new(
                if input.is_empty() {
                    Span::call_site()
                } else {
                    input.span()
                },
                "expected a string literal: a lock name is read when this is compiled, \
                 before any macro or constant",
            ));
        }
        let mut arguments = Self {
            template: input.parse()?,
            named: Vec::new(),
            runtime: None,
        };
        while !input.is_empty() {
            input.parse::<Token![,]>()?;
            if input.is_empty() {
                break;
            }
            if input.parse::<Option<Token![crate]>>()?.is_some() {
                input.parse::<Token![=]>()?;
                arguments.runtime = Some(Path::parse_mod_style(input)?);
                continue;
            }
            let name = input.call(Ident::parse_any)?;
            input.parse::<Token![=]>()?;
            Named::add(&mut arguments.named, &name, input)?;
        }
        Ok(arguments)
    }
}
