//! What a `postgres:` URL says.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};

use super::fault::Place;
use super::tls::{Files, Tls};
use crate::backend::address::{Address, Host};
use crate::error::LockError;
use crate::sync::atomic::AtomicUsize;

/// How long a connection may take to be made. A little less than what a manager waits for its
/// backend by default, so that the clearer one of two errors comes first.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A name of PostgreSQL has at most so many bytes.
const MAX_NAME: usize = 63;

/// The options of a URL.
const KNOWN: &[&str] = &[
    "connect_timeout",
    "insecure",
    "listen_url",
    "migrate",
    "schema",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
];

/// Where the locks are, and how they are reached.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) statements: Target,
    /// Where pushes come from, when that is not where statements go.
    pub(super) listening: Option<Target>,
    pub(super) schema: String,
    /// Whether the schema is made when it is missing.
    pub(super) migrate: bool,
}

/// A server to connect to.
#[derive(Clone)]
pub(super) struct Target {
    /// At least one; all the same but for where they are.
    pub(super) hosts: Vec<HostTarget>,
    /// The one to begin with, counted round and round.
    pub(super) next: Arc<AtomicUsize>,
    pub(super) tls: Tls,
    /// All of them.
    pub(super) place: Place,
    /// How long each of them has to let somebody in.
    pub(super) timeout: Duration,
}

/// One of the hosts where a server may be.
#[derive(Clone)]
pub(super) struct HostTarget {
    pub(super) config: Config,
    pub(super) place: Place,
}

impl Settings {
    /// # Errors
    ///
    /// When a part of the URL is missing, unknown or cannot be read.
    pub(super) fn parse(url: &str) -> Result<Self, LockError> {
        let mut address = parse_address(url, "the lock URL")?;
        let listen_url = address.take_option("listen_url");
        let schema = address.take_option("schema");
        let migrate = take_flag(&mut address, "migrate")?;
        let statements = Target::of(address)?;
        let listening = listen_url
            .map(|url| Target::of(parse_address(&url, "`listen_url`")?))
            .transpose()?;
        let schema = schema.unwrap_or_else(|| "lock_runtime".to_owned());
        check_schema(&schema)?;
        Ok(Self {
            statements,
            listening,
            schema,
            migrate: migrate.unwrap_or(true),
        })
    }
}

impl Target {
    fn of(mut address: Address) -> Result<Self, LockError> {
        let timeout = match address.take_option("connect_timeout") {
            None => CONNECT_TIMEOUT,
            Some(seconds) => match seconds.parse() {
                Ok(seconds @ 1..=60) => Duration::from_secs(seconds),
                _ => {
                    return Err(invalid(
                        "the option `connect_timeout` is a number of seconds, from 1 to 60",
                    ));
                }
            },
        };
        let tls = tls(&mut address)?;
        address.refuse_other_options(KNOWN)?;
        let database = match address.path.as_str() {
            "" => None,
            path if path.contains('/') => {
                return Err(invalid(
                    "the `postgres:` URL has a `/` in the name of its database; write `%2F` for \
                     the character itself",
                ));
            }
            path => Some(path.to_owned()),
        };
        let mut config = Config::new();
        if let Some(user) = &address.user {
            config.user(user);
        }
        if let Some(password) = &address.password {
            config.password(password);
        }
        if let Some(database) = &database {
            config.dbname(database);
        }
        if address.hosts.len() > 1 {
            // Of a cluster, the one that takes writes.
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        config
            .ssl_mode(tls.mode())
            .connect_timeout(timeout)
            .tcp_user_timeout(Duration::from_secs(10))
            .keepalives_idle(Duration::from_secs(5))
            .keepalives_interval(Duration::from_secs(2))
            .keepalives_retries(3);
        let database = database.or(address.user);
        let hosts = address.hosts.iter().map(|host| {
            let mut config = config.clone();
            config.host(&host.name).port(host.port.unwrap_or(5432));
            HostTarget {
                config,
                place: Place::new(std::slice::from_ref(host), database.clone()),
            }
        });
        Ok(Self {
            hosts: hosts.collect(),
            next: Arc::default(),
            tls,
            place: Place::new(&address.hosts, database),
            timeout,
        })
    }
}

/// Reads `sslmode`, `insecure`, and the options that name files. A connection that leaves this host is encrypted
/// and its server's certificate is checked, unless the URL says otherwise in so many words.
fn tls(address: &mut Address) -> Result<Tls, LockError> {
    let mode = address.take_option("sslmode");
    let files = Files::take_from(address)?;
    let insecure = take_flag(address, "insecure")?.unwrap_or(false);
    let tls = match mode.as_deref() {
        None if address.hosts.iter().all(is_this_host) && !files.are_named() && !insecure => {
            Tls::Off
        }
        None if insecure => Tls::unchecked(SslMode::Require, &files)?,
        None if !cfg!(feature = "postgres-tls") => {
            return Err(invalid(
                "the `postgres:` URL leads to another host, and this build has no TLS: build with \
                 the feature `postgres-tls` of the crate `lock-runtime`, or write \
                 `sslmode=disable` to send the password and everything else unencrypted",
            ));
        }
        None | Some("verify-full") => Tls::checked(&files)?,
        Some("disable") => Tls::Off,
        Some("prefer") if insecure => Tls::unchecked(SslMode::Prefer, &files)?,
        Some("require") if insecure => Tls::unchecked(SslMode::Require, &files)?,
        Some(mode @ ("prefer" | "require")) => {
            return Err(invalid(&format!(
                "`sslmode={mode}` talks to anybody who answers, because it does not check the \
                 server's certificate; write `sslmode=verify-full`, or `insecure=true` beside it \
                 if that is what you want"
            )));
        }
        Some(mode) => {
            return Err(invalid(&format!(
                "`sslmode={}` is not known; there are `disable`, `verify-full`, and with \
                 `insecure=true` `prefer` and `require`",
                mode.escape_debug()
            )));
        }
    };
    if let Some(what) = files.in_vain(&tls) {
        return Err(invalid(what));
    }
    Ok(tls)
}

fn is_this_host(host: &Host) -> bool {
    let ip: Option<std::net::IpAddr> = host.name.parse().ok();
    host.name.starts_with('/') || host.name == "localhost" || ip.is_some_and(|ip| ip.is_loopback())
}

fn parse_address(url: &str, what: &str) -> Result<Address, LockError> {
    let address = Address::parse(url)?;
    if matches!(address.scheme.as_str(), "postgres" | "postgresql") {
        return Ok(address);
    }
    let scheme = address.scheme.escape_debug();
    Err(invalid(&format!(
        "{what} has the scheme `{scheme}:`; here it has to be `postgres:`"
    )))
}

fn take_flag(address: &mut Address, key: &str) -> Result<Option<bool>, LockError> {
    let value = address.take_option(key);
    let flag = value.map(|value| match value.as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(invalid(&format!("the option `{key}` is `true` or `false`"))),
    });
    flag.transpose()
}

/// The name of a schema that needs no quotes, so that it reads the same everywhere.
fn check_schema(schema: &str) -> Result<(), LockError> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let begins_well = schema.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let is_taken = schema.starts_with("pg_") || schema == "public";
    if begins_well && schema.chars().all(is_plain) && schema.len() <= MAX_NAME && !is_taken {
        return Ok(());
    }
    Err(invalid(&format!(
        "`{}` is no name for the schema of the locks: it is one of their own, neither `public` \
         nor `pg_…`, with at most {MAX_NAME} lower-case letters, digits and `_`",
        schema.escape_debug()
    )))
}

fn invalid(what: &str) -> LockError {
    LockError::invalid_option(what)
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::Host as Known;

    use super::*;

    fn fault(url: &str) -> String {
        let fault = Settings::parse(url).err().expect("a fault").to_string();
        assert!(!fault.contains("hunter"), "{fault}");
        fault
    }

    #[test]
    fn every_part_is_read() {
        let url = "postgres://me:hunter%402@localhost:5433,127.0.0.1/app?schema=locks&\
                   migrate=false&connect_timeout=2&\
                   listen_url=postgresql%3A%2F%2Fyou%3Ahunter@%252Frun%252Fpostgresql%2Fapp";
        let settings = Settings::parse(url).unwrap();
        assert_eq!(settings.schema, "locks");
        assert!(!settings.migrate);
        let [first, second] = &*settings.statements.hosts else {
            panic!("two hosts");
        };
        let config = &first.config;
        assert_eq!(config.get_user(), Some("me"));
        assert_eq!(config.get_password(), Some(&b"hunter@2"[..]));
        assert_eq!(config.get_dbname(), Some("app"));
        assert_eq!(config.get_ports(), [5433]);
        assert_eq!(second.config.get_ports(), [5432]);
        assert_eq!(
            second.config.get_target_session_attrs(),
            TargetSessionAttrs::ReadWrite
        );
        assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(2)));
        let listening = settings.listening.unwrap();
        let config = &listening.hosts[0].config;
        assert_eq!(config.get_user(), Some("you"));
        assert_eq!(config.get_hosts(), [Known::Unix("/run/postgresql".into())]);
        let place = settings.statements.place.to_string();
        assert_eq!(
            place,
            "PostgreSQL at localhost:5433,127.0.0.1 (database `app`)"
        );
    }

    #[test]
    fn the_simplest_url_has_defaults() {
        let settings = Settings::parse("postgres://localhost").unwrap();
        assert_eq!(
            (&*settings.schema, settings.migrate),
            ("lock_runtime", true)
        );
        assert!(settings.listening.is_none());
        assert_eq!(settings.statements.tls.mode(), SslMode::Disable);
    }

    #[test]
    fn faults_say_the_way_out() {
        for (url, says) in [
            ("postgres://h:hunter@localhost?schema=Locks", "lower-case"),
            (
                "postgres://h:hunter@localhost?schema=public",
                "of their own",
            ),
            ("postgres://h:hunter@localhost?schema=a%22b", "lower-case"),
            (
                "postgres://h:hunter@localhost?migrate=no",
                "`true` or `false`",
            ),
            ("postgres://h:hunter@localhost?shema=x", "`shema`"),
            ("postgres://h:hunter@localhost?connect_timeout=0", "seconds"),
            ("postgres://h:hunter@localhost/a/b", "%2F"),
            (
                "postgres://h:hunter@localhost?sslmode=require",
                "insecure=true",
            ),
            (
                "postgres://h:hunter@localhost?sslmode=verify",
                "verify-full",
            ),
            (
                "postgres://h:hunter@localhost?sslmode=disable&sslrootcert=x",
                "sslrootcert",
            ),
            (
                "postgres://h:hunter@localhost?sslcert=x",
                "`sslcert` without `sslkey`",
            ),
            (
                "postgres://h:hunter@localhost?sslkey=hunter",
                "`sslkey` without `sslcert`",
            ),
            (
                "postgres://h:hunter@localhost?sslmode=disable&sslcert=x&sslkey=y",
                "nothing is encrypted",
            ),
            (
                "postgres://h:hunter@localhost?sslcert=x&sslkey=y&sslpassword=hunter",
                "`openssl pkey",
            ),
            (
                "postgres://h:hunter@localhost?listen_url=postgres://localhost%3Fsslkey=hunter",
                "`sslkey` without `sslcert`",
            ),
            (
                "postgres://h:hunter@localhost?listen_url=redis://:hunter@localhost",
                "`listen_url` has the scheme `redis:`",
            ),
        ] {
            let text = fault(url);
            assert!(text.contains(says), "{url}: {text}");
        }
    }

    #[cfg(not(feature = "postgres-tls"))]
    #[test]
    fn another_host_is_not_talked_to_in_the_clear_by_default() {
        let text = fault("postgres://me:hunter@db.example/app");
        assert!(
            text.contains("postgres-tls") && text.contains("sslmode=disable"),
            "{text}"
        );
        assert!(Settings::parse("postgres://db.example/app?sslmode=disable").is_ok());
        let text = fault("postgres://db.example/app?sslmode=verify-full");
        assert!(text.contains("postgres-tls"), "{text}");
    }

    #[cfg(feature = "postgres-tls")]
    #[test]
    fn another_host_has_to_show_its_certificate_by_default() {
        let settings = Settings::parse("postgres://me@db.example/app").unwrap();
        assert!(settings.statements.tls.is_checked());
        for (options, says) in [
            ("sslrootcert=/nowhere/root.pem", "/nowhere/root.pem"),
            ("sslrootcert=/dev/null", "no certificate"),
            (
                "sslcert=/nowhere/cert.pem&sslkey=/dev/null",
                "/nowhere/cert.pem",
            ),
            (
                "sslcert=/dev/null&sslkey=/nowhere/key.pem",
                "/nowhere/key.pem",
            ),
            (
                "sslmode=require&insecure=true&sslcert=/dev/null&sslkey=/nowhere/key.pem",
                "/nowhere/key.pem",
            ),
        ] {
            // Also on this host, where nothing is encrypted unless something asks for it.
            for host in ["db.example", "localhost"] {
                let text = fault(&format!("postgres://me:hunter@{host}/app?{options}"));
                assert!(text.contains(says), "{options}: {text}");
            }
        }
    }
}
