//! `#[auth]` without a lock: a caller is required before the body, and nothing else.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;

use super::{borrowed, in_body, section, site};
use crate::function::{Function, Shape};
use crate::options::Auth;
use crate::paths::Private;

/// The function with the question who calls in front of its body.
pub(crate) fn auth(function: &Function, auth: &Auth, shape: &Shape) -> TokenStream {
    let p = Private::new(auth.runtime.as_ref());
    let policy = site::policy(&p, auth.policy);
    let span = Span::mixed_site();
    let check = match &auth.caller {
        None => quote_spanned!(span=> #p::require_caller(#policy)),
        Some(caller) => {
            let caller = borrowed(&in_body(shape, caller));
            quote_spanned!(span=> #p::require_caller_from(#policy, #caller))
        }
    };
    let output = &shape.output.ty;
    let body = section::as_tail(&shape.body);
    let body = shape.rebuild(quote_spanned! {span=>
        if let #p::core::result::Result::Err(__error) = #check {
            return <#output as #p::LockedOutput>::from_lock_error(__error);
        }
        #body
    });
    function.with_body(&body)
}
