//! `let __section = …;`: starts to enter the section, or enters it where the way in matters.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;

use super::{Context, name, site};
use crate::options::{Given, Time, Wait};

/// The statement that enters the section.
pub(super) fn statement(context: &Context<'_>) -> TokenStream {
    let p = &context.private;
    let span = Span::mixed_site();
    let site = site::items(context);
    if !context.options.needs_entry_first() {
        let start = start(context);
        return entered(context, &quote_spanned!(span=> #site #start));
    }
    let entry = entry(context);
    let refused = refused(context);
    let enter = if context.checked.shape.blocking {
        quote_spanned!(span=> __entry.enter_blocking())
    } else {
        quote_spanned!(span=> __entry.enter().await)
    };
    // The entry is made in a statement of its own: what its expressions borrow must not live
    // across the `await`, where it would have to be `Send`.
    let enter = quote_spanned! {span=>
        #site
        let __entry = #entry;
        match #enter {
            #p::core::result::Result::Ok(__section) => __section,
            #p::core::result::Result::Err(__error) => return #refused,
        }
    };
    entered(context, &enter)
}

/// Starts to enter, out of line, so that a call without a manager stays small.
fn start(context: &Context<'_>) -> TokenStream {
    let p = &context.private;
    let span = Span::mixed_site();
    let blocking = context.checked.shape.blocking;
    if !context.options.has_computed_parts() {
        if let Some(name::Alternating { texts, values }) = name::alternating(context) {
            let enter = if blocking {
                quote_spanned!(span=> enter_blocking_with)
            } else {
                quote_spanned!(span=> enter_with)
            };
            return quote_spanned! {span=>
                #p::#enter(&__LOCK_SITE, &[#(#texts),*], &[#(#values),*])
            };
        }
        if let Some(writer) = name::only_writer(context) {
            let enter = if blocking {
                quote_spanned!(span=> enter_blocking)
            } else {
                quote_spanned!(span=> enter)
            };
            return quote_spanned!(span=> #p::#enter(&__LOCK_SITE, |__name| { #writer }));
        }
    }
    let entry = entry(context);
    let start = if blocking {
        quote_spanned!(span=> start_blocking)
    } else {
        quote_spanned!(span=> start)
    };
    quote_spanned!(span=> #p::out_of_line(|| #entry.#start()))
}

/// The section: of nothing, where calls run straight through.
fn entered(context: &Context<'_>, enter: &TokenStream) -> TokenStream {
    let p = &context.private;
    let span = Span::mixed_site();
    let mutability = (!context.checked.shape.blocking).then(|| quote_spanned!(span=> mut));
    if context.options.acts_without_manager() {
        return quote_spanned!(span=> let #mutability __section = { #enter };);
    }
    quote_spanned! {span=>
        let #mutability __section = if #p::passes_through() {
            #p::Section::none()
        } else {
            #enter
        };
    }
}

/// The entry, with everything that is known only now.
fn entry(context: &Context<'_>) -> TokenStream {
    let p = &context.private;
    let options = context.options;
    let span = Span::mixed_site();
    let start = match &options.manager {
        None => quote_spanned!(span=> #p::Entry::new(&__LOCK_SITE)),
        Some(manager) => {
            let manager = context.borrowed(&manager.value);
            quote_spanned!(span=> #p::Entry::on(&__LOCK_SITE, #manager))
        }
    };
    let mut entry = name::entry(context, &start);
    if let Some(Wait::For(Time::Computed(limit))) = options.wait.as_ref().map(|wait| &wait.value) {
        let limit = context.expression(limit);
        entry.extend(quote_spanned!(span=> .wait(#limit)));
    }
    if let Some(ttl) = computed(context, options.ttl.as_ref()) {
        entry.extend(quote_spanned!(span=> .ttl(#ttl)));
    }
    if let Some(limit) = computed(context, options.max_hold.as_ref()) {
        entry.extend(quote_spanned!(span=> .max_hold(#limit)));
    }
    if let Some(least) = computed(context, options.at_least.as_ref()) {
        entry.extend(quote_spanned!(span=> .at_least(#least)));
    }
    let auth = options.auth.as_ref();
    if let Some(caller) = auth.and_then(|auth| auth.value.caller.as_ref()) {
        let caller = context.borrowed(caller);
        entry.extend(quote_spanned!(span=> .caller(#caller)));
    }
    entry
}

fn computed(context: &Context<'_>, time: Option<&Given<Time>>) -> Option<TokenStream> {
    match &time?.value {
        Time::Known(_) => None,
        Time::Computed(expression) => Some(context.expression(expression)),
    }
}

/// What the function returns when it could not enter; `__error` says why.
fn refused(context: &Context<'_>) -> TokenStream {
    let p = &context.private;
    let span = Span::mixed_site();
    let output = &context.checked.shape.output.ty;
    // Through a function of the standard library, so that a closure knows its argument's type.
    let by = |function: &syn::Expr| {
        let function = context.expression(function);
        quote_spanned! {span=>
            #p::core::result::Result::<#output, #p::LockError>::Err(__error)
                .unwrap_or_else(#function)
        }
    };
    let otherwise = match &context.options.on_error {
        Some(function) => by(&function.value),
        None => quote_spanned! {span=>
            <#output as #p::LockedOutput>::from_lock_error(__error)
        },
    };
    match &context.options.on_busy {
        None => otherwise,
        Some(function) => {
            let busy = by(&function.value);
            quote_spanned!(span=> if __error.is_busy() { #busy } else { #otherwise })
        }
    }
}
