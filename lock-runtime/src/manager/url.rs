//! Backends by URL, and managers from the environment.

use std::sync::Arc;
use std::time::Duration;

use super::LockManagerBuilder;
use crate::backend::Backend;
use crate::backend::memory::MemoryBackend;
use crate::clock::Clock;
use crate::error::LockError;
use crate::options::{self, Wait};
use crate::owner::Process;

/// The backend that a URL names. A URL may hold a password: errors show its scheme alone.
pub(super) fn backend(
    url: &str,
    clock: &Clock,
    process: &Arc<Process>,
) -> Result<Arc<dyn Backend>, LockError> {
    let (scheme, rest) = url.split_once(':').ok_or_else(|| {
        LockError::invalid_option("the lock URL has no scheme; the simplest one is `memory:`")
    })?;
    match scheme {
        "memory" if rest.is_empty() => Ok(Arc::new(MemoryBackend::new(clock.clone()))),
        "memory" => Err(LockError::invalid_option(
            "`memory:` stands alone: locks in memory have no address",
        )),
        "etcd" => etcd(url, clock),
        "postgres" | "postgresql" => postgres(url, clock, process),
        "redis" | "rediss" | "redis+cluster" | "redis+sentinel" | "redis+unix" => redis(url, clock),
        "unix" => lockd(rest, clock, process),
        _ => Err(LockError::invalid_option(format!(
            "no backend of this build has the URL scheme `{}`; it knows {}",
            scheme.escape_debug(),
            known_schemes()
        ))),
    }
}

/// The schemes that this build knows, as an error names them.
fn known_schemes() -> String {
    let known = [
        ("memory", true),
        ("unix", cfg!(all(unix, feature = "lockd"))),
        ("redis", cfg!(feature = "redis")),
        ("postgres", cfg!(feature = "postgres")),
        ("etcd", cfg!(feature = "etcd")),
    ];
    let known = known.iter().filter(|(_, is_built)| *is_built);
    let known: Vec<_> = known.map(|(scheme, _)| format!("`{scheme}:`")).collect();
    known.join(", ")
}

#[cfg(all(unix, feature = "lockd"))]
fn lockd(path: &str, clock: &Clock, process: &Arc<Process>) -> Result<Arc<dyn Backend>, LockError> {
    use crate::backend::lockd::LockdBackend;

    if !path.starts_with('/') {
        return Err(LockError::invalid_option(format!(
            "`unix:` takes the absolute path of lockd's socket, such as `unix:/run/lockd.sock`; \
             `{}` is none",
            path.escape_debug()
        )));
    }
    let backend = LockdBackend::of_process(path, clock.clone(), Arc::clone(process));
    Ok(Arc::new(backend))
}

#[cfg(not(all(unix, feature = "lockd")))]
fn lockd(_: &str, _: &Clock, _: &Arc<Process>) -> Result<Arc<dyn Backend>, LockError> {
    Err(LockError::invalid_option(if cfg!(unix) {
        "`unix:` needs the feature `lockd` of the crate `lock-runtime`, which this build is without"
    } else {
        "`unix:` names a Unix socket, which this platform does not have"
    }))
}

#[cfg(feature = "redis")]
fn redis(url: &str, clock: &Clock) -> Result<Arc<dyn Backend>, LockError> {
    use crate::backend::redis::RedisBackend;

    let backend = RedisBackend::new(url, clock.clone())?;
    Ok(Arc::new(backend))
}

#[cfg(not(feature = "redis"))]
fn redis(_: &str, _: &Clock) -> Result<Arc<dyn Backend>, LockError> {
    Err(LockError::invalid_option(
        "`redis:` needs the feature `redis` of the crate `lock-runtime`, which this build is without",
    ))
}

#[cfg(feature = "postgres")]
fn postgres(
    url: &str,
    clock: &Clock,
    process: &Arc<Process>,
) -> Result<Arc<dyn Backend>, LockError> {
    use crate::backend::postgres::PostgresBackend;

    let backend = PostgresBackend::of_process(url, clock.clone(), Arc::clone(process))?;
    Ok(Arc::new(backend))
}

#[cfg(not(feature = "postgres"))]
fn postgres(_: &str, _: &Clock, _: &Arc<Process>) -> Result<Arc<dyn Backend>, LockError> {
    Err(LockError::invalid_option(
        "`postgres:` needs the feature `postgres` of the crate `lock-runtime`, which this build \
         is without",
    ))
}

#[cfg(feature = "etcd")]
fn etcd(url: &str, clock: &Clock) -> Result<Arc<dyn Backend>, LockError> {
    let backend = crate::backend::etcd::EtcdBackend::new(url, clock.clone())?;
    Ok(Arc::new(backend))
}

#[cfg(not(feature = "etcd"))]
fn etcd(_: &str, _: &Clock) -> Result<Arc<dyn Backend>, LockError> {
    Err(LockError::invalid_option(
        "`etcd:` needs the feature `etcd` of the crate `lock-runtime`, which this build is without",
    ))
}

pub(super) fn from_env(
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<LockManagerBuilder>, LockError> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let Some(url) = set("LOCK_URL") else {
        let others = ["LOCK_NAMESPACE", "LOCK_TTL", "LOCK_WAIT"];
        return match others.into_iter().find(|other| set(other).is_some()) {
            None => Ok(None),
            // Most likely a misspelled name: such a service would run without locks.
            Some(other) => Err(LockError::invalid_option(format!(
                "{other} is set, but LOCK_URL is not: it says where locks live"
            ))),
        };
    };
    let mut builder = LockManagerBuilder::default().url(url);
    if let Some(namespace) = set("LOCK_NAMESPACE") {
        builder = builder.namespace(namespace);
    }
    if let Some(ttl) = set("LOCK_TTL") {
        builder = builder.ttl(duration("LOCK_TTL", &ttl, "")?);
    }
    if let Some(wait) = set("LOCK_WAIT") {
        let wait = match wait.as_str() {
            "forever" => Wait::Forever,
            wait => Wait::For(duration("LOCK_WAIT", wait, " (or `forever`)")?),
        };
        builder = builder.wait(wait);
    }
    Ok(Some(builder))
}

/// A duration, as the environment says it.
fn duration(variable: &str, text: &str, or: &str) -> Result<Duration, LockError> {
    options::duration(text).ok_or_else(|| {
        LockError::invalid_option(format!(
            "{variable} is `{}`; write a number and a unit, such as `500ms`, `30s`, `5m` or `1h`{or}",
            text.escape_debug()
        ))
    })
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
        for url in ["unix:", "unix:lockd.sock", "unix:\u{1b}[31m"] {
            let text = fault(url);
            assert!(text.contains("`unix:/run/lockd.sock`"), "{text}");
            assert!(!text.contains('\u{1b}'), "{text:?}");
        }
        for url in ["unix:/run/lockd.sock", "unix:///run/lockd.sock"] {
            let backend = backend(url, &Clock::system(), &Process::new(None)).unwrap();
            assert_eq!(backend.name(), "lockd");
        }
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
        ] {
            let text = refusal(&[("LOCK_URI", "memory:"), setting]);
            assert!(
                text.contains(setting.0) && text.contains("LOCK_URL"),
                "{text}"
            );
        }
        assert!(from_env(|_| None).unwrap().is_none());
        assert!(from_env(|_| Some(String::new())).unwrap().is_none());
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
}
