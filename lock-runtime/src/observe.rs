//! What can be seen from outside: traces and metrics.

use tracing::{Level, Span, debug, warn};

use crate::error::{LockError, Lost};
use crate::lease::Lease;
use crate::name::LockName;
use crate::site::Origin;

/// The span that a body runs in.
#[inline]
pub(crate) fn hold_span(name: &LockName, origin: Origin) -> Span {
    if tracing::enabled!(target: "lock_runtime", Level::DEBUG) {
        make_hold_span(name, origin)
    } else {
        Span::none()
    }
}

#[cold]
fn make_hold_span(name: &LockName, origin: Origin) -> Span {
    tracing::debug_span!(
        target: "lock_runtime",
        "lock",
        name = %name,
        template = origin.template(),
        site = origin.function().unwrap_or_default(),
        owner = tracing::field::Empty,
        token = tracing::field::Empty,
    )
}

/// A section was granted.
#[inline]
pub(crate) fn acquired(lease: &Lease) {
    let span = lease.span();
    if !span.is_none() {
        span.record("owner", tracing::field::display(lease.owner().id()));
        span.record("token", lease.token().map_or(0, crate::FencingToken::get));
    }
    #[cfg(feature = "metrics")]
    count::acquired(lease);
}

/// A section has ended, one way or another.
#[inline]
pub(crate) fn ended(_lease: &Lease) {
    #[cfg(feature = "metrics")]
    count::ended(_lease);
}

/// A request was refused.
#[cold]
pub(crate) fn refused(lease: &Lease, error: &LockError) {
    debug!(target: "lock_runtime", template = template(lease), "{error}");
    #[cfg(feature = "metrics")]
    count::refused(lease, error);
}

/// A section was lost. Told once, by whoever notices first.
#[cold]
pub(crate) fn lost(lease: &Lease, cause: Lost) {
    if !lease.tell_loss() {
        return;
    }
    warn!(
        target: "lock_runtime",
        template = template(lease),
        owner = %lease.owner().id(),
        "Lock lost: {} ({cause})",
        lease.name(),
    );
    #[cfg(feature = "metrics")]
    count::lost(lease);
}

/// A release could not be delivered.
#[cold]
pub(crate) fn release_failed(lease: &Lease, error: &dyn std::error::Error) {
    warn!(
        target: "lock_runtime",
        template = template(lease),
        "the release of {} failed, it stays busy until its lease ends: {error}",
        lease.name(),
    );
    #[cfg(feature = "metrics")]
    count::release_failed(lease);
}

/// A backend could not be told that a section was given away.
#[cold]
pub(crate) fn detach_failed(lease: &Lease, error: &dyn std::error::Error) {
    warn!(
        target: "lock_runtime",
        template = template(lease),
        "{} was given away, and may end with this process all the same: {error}",
        lease.name(),
    );
}

/// The connection to a backend was lost; it is made anew, for as long as that takes.
#[cfg(any(
    all(unix, feature = "lockd"),
    feature = "etcd",
    feature = "postgres",
    feature = "redis"
))]
#[cold]
pub(crate) fn out_of_reach(backend: &dyn std::fmt::Display, why: &dyn std::fmt::Display) {
    warn!(
        target: "lock_runtime",
        "{backend} is out of reach, the connection is made anew: {why}",
    );
}

/// A connection that was lost is there again.
#[cfg(any(
    all(unix, feature = "lockd"),
    feature = "etcd",
    feature = "postgres",
    feature = "redis"
))]
#[cold]
pub(crate) fn back_in_reach(backend: &dyn std::fmt::Display) {
    tracing::info!(target: "lock_runtime", "{backend} is in reach again");
}

/// A backend has no way to be told when a lock comes free.
#[cfg(feature = "postgres")]
#[cold]
pub(crate) fn polls_instead(backend: &dyn std::fmt::Display, every: std::time::Duration) {
    warn!(
        target: "lock_runtime",
        "messages of {backend} do not come through, most likely because a pooler is in between: \
         waiters look every {} ms; `listen_url` in the lock URL can lead past the pooler",
        every.as_millis(),
    );
}

/// A renewal could not be delivered; it is tried again until the lease ends.
#[cold]
pub(crate) fn renewal_failed(lease: &Lease, error: &dyn std::error::Error) {
    warn!(
        target: "lock_runtime",
        template = template(lease),
        "the renewal of {} failed, it is tried again: {error}",
        lease.name(),
    );
}

/// A section runs for long.
#[cold]
pub(crate) fn slow(lease: &Lease, held: std::time::Duration) {
    warn!(
        target: "lock_runtime",
        template = template(lease),
        "{} is held for {} already by {}",
        lease.name(),
        crate::info::Shown(held),
        lease.describe(),
    );
}

/// The first call that ran without any lock manager.
#[cold]
pub(crate) fn passthrough(what: &dyn std::fmt::Display) {
    warn!(
        target: "lock_runtime",
        "no lock manager is set: {what} runs without a lock, and so does every other; call \
         `set_lock_manager` at start-up, or set LOCK_REQUIRED=1 to refuse this",
    );
}

/// A plain name looks like a template: nothing fills it in.
#[cold]
pub(crate) fn unfilled(name: &LockName) {
    warn!(
        target: "lock_runtime",
        "the lock name `{name}` is taken as it is, braces included; use `lock_name!(\"…\")` to \
         have placeholders filled in",
    );
}

/// Somebody waits for as long as the returned value lives.
pub(crate) fn waiting(lease: &Lease) -> Waiting {
    let span = if tracing::enabled!(target: "lock_runtime", Level::DEBUG) {
        tracing::debug_span!(
            target: "lock_runtime",
            "lock_wait",
            name = %lease.name(),
            template = template(lease),
        )
    } else {
        Span::none()
    };
    Waiting {
        _span: span,
        #[cfg(feature = "metrics")]
        _count: count::waiting(lease),
    }
}

/// A wait that is under way.
#[derive(Debug)]
pub(crate) struct Waiting {
    _span: Span,
    #[cfg(feature = "metrics")]
    _count: count::Waiting,
}

fn template(lease: &Lease) -> &'static str {
    lease.terms().origin.template()
}

/// By template, never by name: a label with a value for every task would fill the store.
#[cfg(feature = "metrics")]
mod count {
    use std::time::Instant;

    use metrics::{counter, gauge, histogram};

    use super::template;
    use crate::error::LockError;
    use crate::lease::Lease;

    pub(super) fn acquired(lease: &Lease) {
        counter!("lock_acquired_total", "template" => template(lease)).increment(1);
        lease.stamp_grant();
    }

    pub(super) fn ended(lease: &Lease) {
        if let Some(since) = lease.granted_at() {
            let held = since.elapsed().as_secs_f64();
            histogram!("lock_hold_seconds", "template" => template(lease)).record(held);
        }
    }

    pub(super) fn refused(lease: &Lease, error: &LockError) {
        if error.is_busy() {
            counter!("lock_busy_total", "template" => template(lease)).increment(1);
        } else {
            counter!("lock_refused_total", "template" => template(lease)).increment(1);
        }
    }

    pub(super) fn lost(lease: &Lease) {
        counter!("lock_lost_total", "template" => template(lease)).increment(1);
    }

    pub(super) fn release_failed(lease: &Lease) {
        counter!("lock_release_failed_total", "template" => template(lease)).increment(1);
    }

    #[derive(Debug)]
    pub(crate) struct Waiting {
        template: &'static str,
        since: Instant,
    }

    pub(super) fn waiting(lease: &Lease) -> Waiting {
        let template = template(lease);
        gauge!("lock_waiting", "template" => template).increment(1.0);
        Waiting {
            template,
            since: Instant::now(),
        }
    }

    impl Drop for Waiting {
        fn drop(&mut self) {
            gauge!("lock_waiting", "template" => self.template).decrement(1.0);
            let waited = self.since.elapsed().as_secs_f64();
            histogram!("lock_wait_seconds", "template" => self.template).record(waited);
        }
    }
}
