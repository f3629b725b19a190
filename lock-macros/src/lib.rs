//! The attributes of `lock-runtime`; depend on that crate, which exports them again.

mod auth;
mod caret;
mod check;
mod duration;
mod expand;
mod function;
mod hint;
mod lock_name;
mod locked;
mod options;
mod paths;
mod problems;
mod template;

use proc_macro::TokenStream;

/// Locks.
#[proc_macro_attribute]
pub fn locked(arguments: TokenStream, item: TokenStream) -> TokenStream {
    locked::locked(arguments.into(), item.into()).into()
}

/// Auth.
#[proc_macro_attribute]
pub fn auth(arguments: TokenStream, item: TokenStream) -> TokenStream {
    auth::auth(arguments.into(), item.into()).into()
}

/// Name.
#[proc_macro]
pub fn lock_name(arguments: TokenStream) -> TokenStream {
    lock_name::lock_name(arguments.into()).into()
}
