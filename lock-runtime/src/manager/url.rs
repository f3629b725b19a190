//! Backends by URL, and managers from the environment.

use std::sync::Arc;
use std::time::Duration;

use super::LockManagerBuilder;
use crate::backend::Backend;
use crate::backend::memory::MemoryBackend;
use crate::clock::Clock;
use crate::error::LockError;
use crate::info::Shown;
use crate::options::{self, MIN_TTL, Wait};
use crate::owner::Process;

/// The backend that a URL names. A URL may hold a password: errors show its scheme alone, and a
/// host and a port that stand where the scheme should.
pub(super) fn backend(
    url: &str,
    clock: &Clock,
    process: &Arc<Process>,
) -> Result<Arc<dyn Backend>, LockError> {
    let (scheme, rest) = url.split_once(':').ok_or_else(|| {
        LockError::invalid_option("the lock URL has no scheme; the simplest one is `memory:`")
    })?;
    if let Some(feature) = missing_feature(url) {
        return Err(LockError::invalid_option(format!(
            "`{scheme}:` needs the feature `{feature}` of the crate `lock-runtime`, which this \
             build is without"
        )));
    }
    match scheme {
        "memory" if rest.is_empty() => Ok(Arc::new(MemoryBackend::new(clock.clone()))),
        "memory" => Err(LockError::invalid_option(
            "`memory:` stands alone: locks in memory have no address",
        )),
        #[cfg(feature = "etcd")]
        "etcd" => {
            let backend = crate::backend::etcd::EtcdBackend::new(url, clock.clone())?;
            Ok(Arc::new(backend))
        }
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => {
            use crate::backend::postgres::PostgresBackend;

            let backend = PostgresBackend::of_process(url, clock.clone(), Arc::clone(process))?;
            Ok(Arc::new(backend))
        }
        #[cfg(feature = "redis")]
        "redis" | "rediss" | "redis+cluster" | "redis+sentinel" | "redis+unix" => {
            let backend = crate::backend::redis::RedisBackend::new(url, clock.clone())?;
            Ok(Arc::new(backend))
        }
        "unix" => lockd(rest, clock, process),
        _ => Err(unknown_scheme(scheme, rest)),
    }
}

/// The feature that the scheme of a URL needs, where this build is without it.
pub(crate) fn missing_feature(url: &str) -> Option<&'static str> {
    let (scheme, _) = url.split_once(':')?;
    let (feature, is_built) = match scheme {
        "etcd" => ("etcd", cfg!(feature = "etcd")),
        "postgres" | "postgresql" => ("postgres", cfg!(feature = "postgres")),
        "redis" | "redis+cluster" | "redis+sentinel" | "redis+unix" => {
            ("redis", cfg!(feature = "redis"))
        }
        "rediss" => ("redis-tls", cfg!(feature = "redis-tls")),
        "unix" if cfg!(unix) => ("lockd", cfg!(feature = "lockd")),
        _ => return None,
    };
    (!is_built).then_some(feature)
}

fn unknown_scheme(scheme: &str, rest: &str) -> LockError {
    let shown = scheme.escape_debug();
    let address = rest.split(['/', '?']).next().unwrap_or_default();
    if let Ok(port) = address.parse::<u16>() {
        let likely = match port {
            2379 => "etcd",
            5432 => "postgres",
            _ => "redis",
        };
        return LockError::invalid_option(format!(
            "the lock URL begins with a host and not with a scheme: write for example \
             `{likely}://{shown}:{port}`"
        ));
    }
    let (known, others): (Vec<_>, Vec<_>) = ["memory:", "unix:", "redis:", "postgres:", "etcd:"]
        .into_iter()
        .filter(|url| cfg!(unix) || *url != "unix:")
        .partition(|url| missing_feature(url).is_none());
    let mut text = format!(
        "no backend of this build has the URL scheme `{shown}`; it knows `{}`",
        known.join("`, `")
    );
    if !others.is_empty() {
        text += &format!("; with their features also `{}`", others.join("`, `"));
    }
    LockError::invalid_option(text)
}

#[cfg(all(unix, feature = "lockd"))]
fn lockd(rest: &str, clock: &Clock, process: &Arc<Process>) -> Result<Arc<dyn Backend>, LockError> {
    use crate::backend::lockd::LockdBackend;

    // Between two slashes and a third one there may be a host, which a socket has not.
    let path = match rest.strip_prefix("//") {
        Some(path) if path.starts_with('/') => path,
        _ => rest,
    };
    if !path.starts_with('/') || path.starts_with("//") {
        return Err(LockError::invalid_option(format!(
            "`unix:` takes the absolute path of lockd's socket and no host, such as \
             `unix:/run/lockd.sock`; `{}` is none",
            path.escape_debug()
        )));
    }
    if path.contains('?') {
        return Err(LockError::invalid_option(
            "`unix:` takes no options: write the path of lockd's socket alone, such as \
             `unix:/run/lockd.sock`",
        ));
    }
    let backend = LockdBackend::of_process(path, clock.clone(), Arc::clone(process));
    Ok(Arc::new(backend))
}

#[cfg(not(all(unix, feature = "lockd")))]
fn lockd(_: &str, _: &Clock, _: &Arc<Process>) -> Result<Arc<dyn Backend>, LockError> {
    Err(LockError::invalid_option(
        "`unix:` names a Unix socket, which this platform does not have",
    ))
}

pub(super) fn from_env(
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<LockManagerBuilder>, LockError> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let Some(url) = set("LOCK_URL") else {
        let others = ["LOCK_NAMESPACE", "LOCK_TTL", "LOCK_WAIT"];
        let other = others.into_iter().find(|other| set(other).is_some());
        let required = "LOCK_REQUIRED";
        let is_required = set(required).is_some_and(|value| options::requires_manager(&value));
        return match other.or(is_required.then_some(required)) {
            None => Ok(None),
            // Most likely a misspelled name: such a service would run without locks, or refuse all
            // of its calls.
            Some(other) => Err(LockError::invalid_option(format!(
                "{other} is set, but LOCK_URL is not: it says where locks live"
            ))),
        };
    };
    let mut builder = LockManagerBuilder::default().url(url);
    if let Some(namespace) = set("LOCK_NAMESPACE") {
        builder = builder.namespace(namespace);
    }
    if let Some(text) = set("LOCK_TTL") {
        let ttl = duration("LOCK_TTL", &text, "")?;
        if !options::is_valid_ttl(ttl) {
            let limits = format!("a lease is between {} and 24 h", Shown(MIN_TTL));
            return Err(out_of_limits("LOCK_TTL", &text, &limits));
        }
        builder = builder.ttl(ttl);
    }
    if let Some(text) = set("LOCK_WAIT") {
        let wait = match text.as_str() {
            "forever" => Wait::Forever,
            text => Wait::For(duration("LOCK_WAIT", text, ", or `forever`")?),
        };
        if !options::is_valid_wait(wait) {
            let limits = "a wait is at most 24 h, or `forever`";
            return Err(out_of_limits("LOCK_WAIT", &text, limits));
        }
        builder = builder.wait(wait);
    }
    Ok(Some(builder))
}

/// A duration, as the environment says it.
fn duration(variable: &str, text: &str, or: &str) -> Result<Duration, LockError> {
    options::duration(text).ok_or_else(|| {
        LockError::invalid_option(format!(
            "{variable} is `{}`; write whole numbers with a unit, such as `500ms`, `30s` or \
             `1m 30s`{or}",
            text.escape_debug()
        ))
    })
}

fn out_of_limits(variable: &str, text: &str, limits: &str) -> LockError {
    let text = text.escape_debug();
    LockError::invalid_option(format!("{variable} is `{text}`; {limits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a URL.
    fn fault(url: &str) -> String {
        let backend = backend(url, &Clock::system(), &Process::new(None));
        backend.err().expect("a fault").to_string()
    }

    #[cfg(all(unix, feature = "lockd"))]
    #[test]
    fn a_socket_has_an_absolute_path() {
        for url in [
            "unix:",
            "unix:lockd.sock",
            "unix:\u{1b}[31m",
            "unix://localhost/lockd.sock",
            "unix:/lockd.sock?ttl=5s",
        ] {
            let text = fault(url);
            assert!(text.contains("`unix:/run/lockd.sock`"), "{text}");
            assert!(!text.contains('\u{1b}'), "{text:?}");
        }
        for url in ["unix:/run/lockd.sock", "unix:///run/lockd.sock"] {
            let backend = backend(url, &Clock::system(), &Process::new(None)).unwrap();
            assert_eq!(backend.name(), "lockd");
        }
        assert!(fault("unix:/lockd.sock?ttl=5s").contains("no options"));
        assert!(fault("unix://localhost/lockd.sock").contains("no host"));
    }

    #[cfg(not(feature = "lockd"))]
    #[test]
    fn a_socket_without_its_feature_says_which() {
        let text = fault("unix:/run/lockd.sock");
        assert!(text.contains("feature `lockd`"), "{text}");
    }

    #[cfg(feature = "redis")]
    #[test]
    fn a_redis_is_known_by_every_scheme() {
        for url in [
            "redis://host",
            "redis+cluster://host",
            "redis+sentinel://host/main",
            "redis+unix:///run/redis.sock",
        ] {
            let backend = backend(url, &Clock::system(), &Process::new(None)).unwrap();
            assert_eq!(backend.name(), "redis");
        }
        #[cfg(not(feature = "redis-tls"))]
        assert!(fault("rediss://host").contains("feature `redis-tls`"));
    }

    #[cfg(not(feature = "redis"))]
    #[test]
    fn a_redis_without_its_feature_says_which() {
        let text = fault("redis://:secret@host");
        assert!(text.contains("feature `redis`"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }

    #[cfg(not(feature = "postgres"))]
    #[test]
    fn a_database_without_its_feature_says_which() {
        let text = fault("postgres://me:secret@host");
        assert!(text.contains("feature `postgres`"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn a_database_is_known_by_both_schemes() {
        for url in ["postgres://localhost/app", "postgresql://localhost/app"] {
            let backend = backend(url, &Clock::system(), &Process::new(None)).unwrap();
            assert_eq!(backend.name(), "postgres");
        }
    }

    #[cfg(feature = "etcd")]
    #[test]
    fn a_cluster_of_etcd_has_hosts() {
        let text = fault("etcd://:hunter2@");
        assert!(!text.contains("hunter2"), "{text}");
        let url = "etcd://one,two:2379?prefix=kanban/";
        let backend = backend(url, &Clock::system(), &Process::new(None)).unwrap();
        assert_eq!(backend.name(), "etcd");
    }

    #[cfg(not(feature = "etcd"))]
    #[test]
    fn etcd_without_its_feature_says_which() {
        let text = fault("etcd://one");
        assert!(text.contains("feature `etcd`"), "{text}");
    }

    #[test]
    fn an_unknown_scheme_is_told_what_there_is() {
        let text = fault("ftp://secret@host");
        assert!(
            text.contains("`ftp`") && text.contains("`memory:`"),
            "{text}"
        );
        assert!(!text.contains("secret"), "{text}");
        let others = text.split_once("with their features also ");
        for (scheme, is_built) in [
            ("`redis:`", cfg!(feature = "redis")),
            ("`postgres:`", cfg!(feature = "postgres")),
            ("`etcd:`", cfg!(feature = "etcd")),
        ] {
            let is_among_others = others.is_some_and(|(_, others)| others.contains(scheme));
            assert!(text.contains(scheme), "{text}");
            assert_eq!(is_among_others, !is_built, "{text}");
        }
    }

    #[test]
    fn a_host_where_the_scheme_should_be_is_told_of_schemes() {
        for (url, says) in [
            ("localhost:6379", "`redis://localhost:6379`"),
            ("localhost:6379/0", "`redis://localhost:6379`"),
            ("db:5432/app?sslmode=disable", "`postgres://db:5432`"),
            ("one:2379", "`etcd://one:2379`"),
            ("one:7", "`redis://one:7`"),
        ] {
            let text = fault(url);
            assert!(text.contains(says), "{text}");
        }
        // That may be a password.
        for url in ["me:12345@host", "me:123456"] {
            let text = fault(url);
            assert!(!text.contains("123"), "{text}");
        }
    }

    fn refusal(variables: &[(&str, &str)]) -> String {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        from_env(variable).unwrap_err().to_string()
    }

    #[test]
    fn settings_without_a_place_are_refused() {
        for setting in [
            ("LOCK_NAMESPACE", "kanban"),
            ("LOCK_TTL", "5s"),
            ("LOCK_WAIT", "forever"),
            ("LOCK_REQUIRED", "1"),
        ] {
            let text = refusal(&[("LOCK_URI", "memory:"), setting]);
            assert!(
                text.contains(setting.0) && text.contains("LOCK_URL"),
                "{text}"
            );
        }
        assert!(from_env(|_| None).unwrap().is_none());
        assert!(from_env(|_| Some(String::new())).unwrap().is_none());
        let no = |name: &str| (name == "LOCK_REQUIRED").then(|| "0".to_owned());
        assert!(from_env(no).unwrap().is_none());
    }

    #[test]
    fn a_wait_that_is_none_is_told_of_for_ever() {
        let text = refusal(&[("LOCK_URL", "memory:"), ("LOCK_WAIT", "ever")]);
        assert!(
            text.contains("`ever`") && text.contains("`forever`"),
            "{text}"
        );
        let text = refusal(&[("LOCK_URL", "memory:"), ("LOCK_TTL", "ever")]);
        assert!(
            text.contains("`ever`") && !text.contains("`forever`"),
            "{text}"
        );
    }

    #[test]
    fn a_time_out_of_its_limits_names_its_variable() {
        for (variable, value, says) in [
            ("LOCK_TTL", "1ms", "between 100 ms and 24 h"),
            ("LOCK_TTL", "1d 1s", "between 100 ms and 24 h"),
            ("LOCK_WAIT", "48h", "`forever`"),
        ] {
            let text = refusal(&[("LOCK_URL", "memory:"), (variable, value)]);
            for part in [variable, value, says] {
                assert!(text.contains(part), "{part}: {text}");
            }
            assert!(!text.contains("Wait::"), "{text}");
        }
    }
}
