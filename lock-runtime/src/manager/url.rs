//! Backends by URL, and managers from the environment.

use std::sync::Arc;
use std::time::Duration;

use super::LockManagerBuilder;
use crate::backend::Backend;
use crate::backend::memory::MemoryBackend;
use crate::clock::Clock;
use crate::error::LockError;
use crate::options::Wait;

/// The backend that a URL names. A URL may hold a password: errors show its scheme alone.
pub(super) fn backend(url: &str, clock: &Clock) -> Result<Arc<dyn Backend>, LockError> {
    let (scheme, rest) = url.split_once(':').ok_or_else(|| {
        LockError::invalid_option("the lock URL has no scheme; the simplest one is `memory:`")
    })?;
    match scheme {
        "memory" if rest.is_empty() => Ok(Arc::new(MemoryBackend::new(clock.clone()))),
        "memory" => Err(LockError::invalid_option(
            "`memory:` stands alone: locks in memory have no address",
        )),
        _ => Err(LockError::invalid_option(format!(
            "no backend of this build has the URL scheme `{}`; it knows `memory:`",
            scheme.escape_debug()
        ))),
    }
}

pub(super) fn from_env(
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<LockManagerBuilder>, LockError> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let Some(url) = set("LOCK_URL") else {
        return Ok(None);
    };
    let mut builder = LockManagerBuilder::default().url(url);
    if let Some(namespace) = set("LOCK_NAMESPACE") {
        builder = builder.namespace(namespace);
    }
    if let Some(ttl) = set("LOCK_TTL") {
        builder = builder.ttl(duration("LOCK_TTL", &ttl)?);
    }
    if let Some(wait) = set("LOCK_WAIT") {
        let wait = match wait.as_str() {
            "forever" => Wait::Forever,
            wait => Wait::For(duration("LOCK_WAIT", wait)?),
        };
        builder = builder.wait(wait);
    }
    Ok(Some(builder))
}

/// A duration as people write it: a number and `ms`, `s`, `m` or `h`.
fn duration(variable: &str, text: &str) -> Result<Duration, LockError> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let milliseconds = match unit.trim() {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let number: Option<u64> = number.parse().ok();
    number
        .zip(milliseconds)
        .and_then(|(number, milliseconds)| number.checked_mul(milliseconds))
        .map(Duration::from_millis)
        .ok_or_else(|| {
            LockError::invalid_option(format!(
                "{variable} is `{}`; write a number and a unit, such as `500ms`, `30s`, `5m` or `1h`",
                text.escape_debug()
            ))
        })
}
