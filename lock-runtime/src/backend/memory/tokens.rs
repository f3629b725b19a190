//! Fencing tokens of one store.

use std::sync::Arc;

use crate::fencing::FencingToken;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::table::TokenSource;

/// One counter for all shards, so that tokens rise over all names.
#[derive(Clone, Default)]
pub(super) struct Tokens(Arc<AtomicU64>);

impl TokenSource for Tokens {
    #[inline]
    fn next(&self) -> FencingToken {
        let number = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        // A million grants a second reach the largest token after 285 years.
        FencingToken::new(number).unwrap_or(FencingToken::MAX)
    }
}
