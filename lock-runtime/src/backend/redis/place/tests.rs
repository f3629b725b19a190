//! What URLs say, and what is wrong with them.

use super::*;

fn fault(url: &str) -> String {
    Place::parse(url).unwrap_err().to_string()
}

#[test]
fn every_kind_of_place_is_read() {
    for (url, shown) in [
        ("redis://localhost", "Redis at `localhost:6379`"),
        ("redis://me:hunter2@[::1]:7/3", "Redis at `[::1]:7`"),
        (
            "redis+unix:///run/redis.sock?db=2",
            "Redis at `/run/redis.sock`",
        ),
        (
            "redis+unix://:hunter2@/run/redis.sock",
            "Redis at `/run/redis.sock`",
        ),
        (
            "redis+sentinel://:hunter2@one,two:7/main/1?sentinel_password=hunter3",
            "Redis of the Sentinels at `one:26379,two:7`",
        ),
        (
            "redis+cluster://one:7000,two:7001",
            "the Redis Cluster at `one:7000,two:7001`",
        ),
    ] {
        let place = Place::parse(url).unwrap();
        assert_eq!(place.to_string(), shown);
        assert!(!format!("{place:?}").contains("hunter"), "{place:?}");
    }
}

#[test]
fn options_are_read() {
    let place = Place::parse("redis://host?wait_replicas=2&allow_eviction=true").unwrap();
    let replicas = Some((2, REPLICAS_WITHIN));
    assert_eq!(
        (place.options.allow_eviction, place.options.replicas),
        (true, replicas)
    );
    let place = Place::parse("redis://host?wait_replicas=1&wait_timeout=1s").unwrap();
    assert_eq!(place.options.replicas, Some((1, Duration::from_secs(1))));
    assert!(!place.options.allow_eviction);
    let place = Place::parse("redis://host?wait_replicas=1&wait_timeout=0s%20100ms").unwrap();
    assert_eq!(
        place.options.replicas,
        Some((1, Duration::from_millis(100)))
    );
}

#[test]
fn faults_are_named_and_secrets_are_not() {
    for (url, says) in [
        ("redis://:hunter2@one,two", "`redis+cluster:`"),
        ("redis://:hunter2@host/zero", "`redis://host/0`"),
        ("redis://:hunter2@host?wait_replicas=0", "`wait_replicas`"),
        (
            "redis://:hunter2@host?wait_replicas=1&wait_timeout=1",
            "`100ms`",
        ),
        (
            "redis://:hunter2@host?wait_replicas=1&wait_timeout=2s",
            "1 s",
        ),
        (
            "redis://:hunter2@host?wait_replicas=1&wait_timeout=999us",
            "from 1 ms",
        ),
        ("redis://:hunter2@host?wait_timeout=1s", "`wait_replicas`"),
        (
            "redis://:hunter2@host?allow_eviction=yes",
            "`allow_eviction`",
        ),
        ("redis://:hunter2@host?patience=1", "`wait_timeout`"),
        ("redis://:hunter2@host?ca=x", "`ca_file`"),
        ("redis://:hunter2@host?ca_file=x", "`tls=true`"),
        ("redis://:hunter2@host?tls=yes", "`tls`"),
        ("rediss://:hunter2@host?tls=false", "`tls=false`"),
        ("redis://:hunter2@host?cert_file=x&key_file=y", "`tls=true`"),
        (
            "rediss://:hunter2@host?cert_file=hunter3",
            "`cert_file` without `key_file`",
        ),
        (
            "rediss://:hunter2@host?key_file=hunter3",
            "`key_file` without `cert_file`",
        ),
        ("redis+unix://:hunter2@/run/socket?tls=true", "`tls`"),
        ("redis+unix://:hunter2@/run/socket?ca_file=x", "`ca_file`"),
        ("redis+cluster://:hunter2@one?ca_file=x", "`tls=true`"),
        ("redis+sentinel://:hunter2@one/m?ca_file=x", "`tls=true`"),
        (
            "redis+sentinel://:hunter2@one/m?sentinel_tls=true",
            "without `tls=true`",
        ),
        (
            "redis+sentinel://:hunter2@one/m?tls=false&sentinel_tls=true",
            "without `tls=true`",
        ),
        ("redis://:hunter2@host?sentinel_tls=false", "`sentinel_tls`"),
        ("redis+unix://:hunter2@/", "socket"),
        ("redis+sentinel://:hunter2@one", "mymaster"),
        ("redis+cluster://:hunter2@one/1", "database"),
        ("redis+other://:hunter2@one", "not one of Redis"),
    ] {
        let text = fault(url);
        assert!(text.contains(says), "{url}: {text}");
        assert!(!text.contains("hunter"), "{text}");
    }
}

#[cfg(not(feature = "redis-tls"))]
#[test]
fn encryption_without_its_feature_says_which() {
    for url in [
        "rediss://host",
        "redis+cluster://one?tls=true",
        "redis+sentinel://one/main?tls=true",
    ] {
        assert!(fault(url).contains("`redis-tls`"), "{url}");
    }
}

#[cfg(feature = "redis-tls")]
#[test]
fn a_file_that_cannot_be_used_is_named() {
    for place in [
        "rediss://:hunter2@host?",
        "redis://:hunter2@host?tls=true&",
        "redis+cluster://:hunter2@one?tls=true&",
        "redis+sentinel://:hunter2@one/main?tls=true&",
    ] {
        for (options, says) in [
            ("ca_file=/no/such/ca", "`/no/such/ca`"),
            ("ca_file=", "`ca_file`"),
            ("ca_file=/dev/null", "no certificate"),
            ("cert_file=/no/such/cert&key_file=/dev/null", "`cert_file`"),
            ("cert_file=/dev/null&key_file=/no/such/key", "`key_file`"),
        ] {
            let text = fault(&format!("{place}{options}"));
            assert!(text.contains(says), "{place}{options}: {text}");
            assert!(!text.contains("hunter"), "{text}");
        }
        assert!(Place::parse(place.trim_end_matches(['?', '&'])).is_ok());
    }
}
