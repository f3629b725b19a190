//! Where expanded code finds the runtime. No other file spells these paths.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::Path;

/// The runtime's private module, as expanded code has to name it.
pub(crate) struct Private(TokenStream);

impl Private {
    /// Below `crate = path` when the user renamed the runtime.
    pub(crate) fn new(runtime: Option<&Path>) -> Self {
        let span = Span::mixed_site();
        Self(match runtime {
            Some(path) => quote_spanned!(span=> #path::__private),
            None => quote_spanned!(span=> ::lock_runtime::__private),
        })
    }
}

impl ToTokens for Private {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.0.to_tokens(tokens);
    }
}
