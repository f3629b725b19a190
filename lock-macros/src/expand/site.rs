//! The site: what is known of an annotated function at compile time, in the link-time registry.

use std::time::Duration;

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;

use super::Context;
use crate::check::Name;
use crate::options::{OnLost, Policy, Time, Wait};
use crate::paths::Private;

/// The items that make the site; the static is called `__LOCK_SITE`.
pub(super) fn items(context: &Context<'_>) -> TokenStream {
    let p = &context.private;
    let templates = context.checked.names.iter().map(|name| match name {
        Name::OwnPath => own_path(context),
        Name::Template(template, _) => quote_spanned!(Span::mixed_site()=> #template),
    });
    let settings = settings(context);
    quote_spanned! {Span::mixed_site()=>
        enum __LockSite {}
        #[#p::linkme::distributed_slice(#p::SITES)]
        #[linkme(crate = #p::linkme)]
        static __LOCK_SITE: #p::Site = #p::Site::new::<__LockSite>(&[#(#templates),*]) #settings;
    }
}

/// The path of the annotated function, as text.
pub(super) fn own_path(context: &Context<'_>) -> TokenStream {
    let p = &context.private;
    let name = context.function.to_string();
    let name = name.trim_start_matches("r#");
    quote_spanned! {Span::mixed_site()=>
        #p::core::concat!(#p::core::module_path!(), "::", #name)
    }
}

/// The builder calls for what differs from the defaults.
fn settings(context: &Context<'_>) -> TokenStream {
    let p = &context.private;
    let options = context.options;
    let span = Span::mixed_site();
    let mut calls = TokenStream::new();
    if let [Name::OwnPath] = &*context.checked.names {
        calls.extend(quote_spanned!(span=> .own_path()));
    }
    if options.shared.is_some() {
        calls.extend(quote_spanned!(span=> .shared()));
    }
    if let Some(permits) = &options.permits {
        let permits = &permits.value;
        calls.extend(quote_spanned!(span=> .permits(#permits)));
    }
    if options.immediate.is_some() {
        let none = duration(p, Duration::ZERO);
        calls.extend(quote_spanned!(span=> .wait(#none)));
    }
    match options.wait.as_ref().map(|wait| &wait.value) {
        Some(Wait::Forever) => calls.extend(quote_spanned!(span=> .wait_forever())),
        Some(Wait::For(Time::Known(limit))) => {
            let limit = duration(p, *limit);
            calls.extend(quote_spanned!(span=> .wait(#limit)));
        }
        Some(Wait::For(Time::Computed(_))) | None => {}
    }
    if let Some(Time::Known(ttl)) = options.ttl.as_ref().map(|ttl| &ttl.value) {
        let ttl = duration(p, *ttl);
        calls.extend(quote_spanned!(span=> .ttl(#ttl)));
    }
    if let Some(Time::Known(limit)) = options.max_hold.as_ref().map(|limit| &limit.value) {
        let limit = duration(p, *limit);
        calls.extend(quote_spanned!(span=> .max_hold(#limit)));
    }
    if let Some(Time::Known(least)) = options.at_least.as_ref().map(|least| &least.value) {
        let least = duration(p, *least);
        calls.extend(quote_spanned!(span=> .at_least(#least)));
    }
    if options.reentrant.is_some() {
        calls.extend(quote_spanned!(span=> .reentrant()));
    }
    if let Some(OnLost::Finish) = options.on_lost.as_ref().map(|on_lost| on_lost.value) {
        calls.extend(quote_spanned!(span=> .finish_when_lost()));
    }
    if let Some(auth) = &options.auth {
        let policy = policy(p, auth.value.policy);
        calls.extend(quote_spanned!(span=> .auth(#policy)));
    }
    if options.manager.is_some() {
        calls.extend(quote_spanned!(span=> .own_manager()));
    }
    if context.checked.shape.blocking {
        calls.extend(quote_spanned!(span=> .blocking()));
    }
    calls
}

fn duration(p: &Private, time: Duration) -> TokenStream {
    // A literal was read as a `u64` of nanoseconds.
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    quote_spanned!(Span::mixed_site()=> #p::core::time::Duration::from_nanos(#nanos))
}

/// The runtime's word for the policy.
pub(super) fn policy(p: &Private, policy: Policy) -> TokenStream {
    let span = Span::mixed_site();
    match policy {
        Policy::Assigned => quote_spanned!(span=> #p::AuthPolicy::Assigned),
        Policy::Optional => quote_spanned!(span=> #p::AuthPolicy::Optional),
        Policy::Required => quote_spanned!(span=> #p::AuthPolicy::Required),
    }
}
