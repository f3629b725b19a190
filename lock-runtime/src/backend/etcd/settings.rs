//! Where etcd is and how it is spoken to, as a URL says it.

use std::fmt;

use etcd_client::ConnectOptions;

use super::link::{ANSWERED_WITHIN, CONNECTED_WITHIN};
use crate::backend::address::Address;
use crate::error::LockError;

const PORT: u16 = 2379;
const DEFAULT_PREFIX: &str = "locks/";
const OPTIONS: &[&str] = &["prefix", "tls", "ca_file", "cert_file", "key_file"];

/// How long a prefix may be.
const MAX_PREFIX: usize = 256;

/// What a URL says. None of it is shown but the hosts: it may hold a password.
#[derive(Clone)]
pub(super) struct Settings {
    /// What every key begins with.
    pub(super) prefix: String,
    /// `host:port`, to be shown.
    pub(super) places: Vec<String>,
    pub(super) user: Option<String>,
    scheme: &'static str,
    options: ConnectOptions,
}

impl Settings {
    /// # Errors
    ///
    /// When the URL is none of etcd's, or a file that it names cannot be read.
    pub(super) fn parse(url: &str) -> Result<Self, LockError> {
        let mut address = Address::parse(url)?;
        if address.scheme != "etcd" {
            return Err(fault(
                "begins with `etcd://`, as in `etcd://127.0.0.1:2379`",
            ));
        }
        if !address.path.is_empty() {
            return Err(fault(
                "has no path; what the keys begin with is said by `?prefix=locks/`",
            ));
        }
        let prefix = address.take_option("prefix");
        let prefix = prefix.unwrap_or_else(|| DEFAULT_PREFIX.to_owned());
        let is_blank = |character: char| character.is_whitespace() || character.is_control();
        if prefix.is_empty() || prefix.len() > MAX_PREFIX || prefix.contains(is_blank) {
            return Err(fault(
                "takes a `prefix` of 1 to 256 bytes without white space, such as `prefix=locks/`",
            ));
        }
        let tls = Tls::take(&mut address)?;
        address.refuse_other_options(OPTIONS)?;
        let places = address.hosts.iter().map(|host| {
            let mut host = host.clone();
            host.port.get_or_insert(PORT);
            host.to_string()
        });
        let mut options = ConnectOptions::new()
            .with_require_leader(true)
            .with_connect_timeout(CONNECTED_WITHIN)
            // Not more often than every five seconds: a server may hang up on whoever asks more.
            .with_keep_alive(2 * ANSWERED_WITHIN, ANSWERED_WITHIN)
            .with_tcp_keepalive(2 * ANSWERED_WITHIN);
        match (&address.user, &address.password) {
            (Some(user), Some(password)) => {
                options = options
                    .with_user(user, password)
                    .with_auto_token_refresh(true);
            }
            (None, None) => {}
            _ => return Err(fault("names a user and a password, or neither of them")),
        }
        let scheme = if tls.is_on { "https" } else { "http" };
        Ok(Self {
            prefix,
            places: places.collect(),
            user: address.user.clone(),
            scheme,
            options: tls.apply(options)?,
        })
    }

    /// The URL of one of the places, and the options for it.
    pub(super) fn endpoint(&self, index: usize) -> (String, ConnectOptions) {
        let place = &self.places[index];
        (format!("{}://{place}", self.scheme), self.options.clone())
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "etcd at `{}`", self.places.join(","))
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("places", &self.places)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// What a URL says of TLS.
struct Tls {
    is_on: bool,
    ca_file: Option<String>,
    /// Certificate and key.
    identity: Option<(String, String)>,
}

impl Tls {
    fn take(address: &mut Address) -> Result<Self, LockError> {
        let is_on = match address.take_option("tls").as_deref() {
            Some("true") => true,
            Some("false") | None => false,
            Some(_) => return Err(fault("takes `tls=true` or `tls=false`")),
        };
        let ca_file = address.take_option("ca_file");
        let (identity, missing) = match address.take_both("cert_file", "key_file") {
            Ok(identity) => (identity, None),
            Err(missing) => (None, Some(missing)),
        };
        let tls = Self {
            is_on,
            ca_file,
            identity,
        };
        let names_files = tls.ca_file.is_some() || tls.identity.is_some() || missing.is_some();
        if names_files && !is_on {
            return Err(fault("names files for TLS, which needs `tls=true`"));
        }
        missing.map_or(Ok(tls), Err)
    }

    #[cfg(not(feature = "etcd-tls"))]
    fn apply(self, options: ConnectOptions) -> Result<ConnectOptions, LockError> {
        if self.is_on {
            return Err(fault(
                "asks for TLS, which needs the feature `etcd-tls` of the crate `lock-runtime`; \
                 this build is without",
            ));
        }
        Ok(options)
    }

    #[cfg(feature = "etcd-tls")]
    fn apply(self, options: ConnectOptions) -> Result<ConnectOptions, LockError> {
        use etcd_client::{Certificate, Identity, TlsOptions};

        if !self.is_on {
            return Ok(options);
        }
        let Some(ca_file) = &self.ca_file else {
            return Err(fault(
                "asks for TLS and names no `ca_file`: the certificate that the server's is \
                 checked against",
            ));
        };
        let mut tls = TlsOptions::new().ca_certificate(Certificate::from_pem(read(ca_file)?));
        if let Some((certificate, key)) = &self.identity {
            tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
        Ok(options.with_tls(tls))
    }
}

#[cfg(feature = "etcd-tls")]
fn read(path: &str) -> Result<Vec<u8>, LockError> {
    std::fs::read(path).map_err(|error| {
        let path = path.escape_debug();
        fault(&format!(
            "names the file `{path}`, which cannot be read: {error}"
        ))
    })
}

fn fault(what: &str) -> LockError {
    LockError::invalid_option(format!("a URL of etcd {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read() {
        let settings = Settings::parse("etcd://one,[::1]:5?prefix=kanban/").unwrap();
        assert_eq!(settings.places, ["one:2379", "[::1]:5"]);
        assert_eq!(settings.prefix, "kanban/");
        assert_eq!(settings.endpoint(1).0, "http://[::1]:5");
        assert_eq!(Settings::parse("etcd://one").unwrap().prefix, "locks/");
    }

    #[test]
    fn what_is_wrong_is_said_and_no_secret_is() {
        for (url, says) in [
            ("http://one", "etcd://"),
            ("etcd://one/locks", "?prefix="),
            ("etcd://one?prefix=", "prefix=locks/"),
            ("etcd://one?prefix=a%20b", "white space"),
            ("etcd://hunter2@one", "a user and a password"),
            ("etcd://:hunter2@one", "a user and a password"),
            ("etcd://one?tls=perhaps", "tls=true"),
            ("etcd://one?ca_file=/ca", "needs `tls=true`"),
            ("etcd://one?tls=true&cert_file=/c", "`key_file`"),
            ("etcd://one?timeout=5", "`timeout`"),
        ] {
            let text = Settings::parse(url).unwrap_err().to_string();
            assert!(text.contains(says), "{url}: {text}");
            assert!(!text.contains("hunter"), "{text}");
        }
        let settings = Settings::parse("etcd://me:hunter2@one").unwrap();
        assert!(!format!("{settings:?}").contains("hunter"));
    }

    #[cfg(not(feature = "etcd-tls"))]
    #[test]
    fn tls_without_its_feature_says_which() {
        let text = Settings::parse("etcd://one?tls=true&ca_file=/ca").unwrap_err();
        assert!(text.to_string().contains("`etcd-tls`"), "{text}");
    }

    #[cfg(feature = "etcd-tls")]
    #[test]
    fn a_file_that_is_not_there_is_named() {
        let text = Settings::parse("etcd://one?tls=true&ca_file=/no/such/ca").unwrap_err();
        assert!(text.to_string().contains("`/no/such/ca`"), "{text}");
        let text = Settings::parse("etcd://one?tls=true").unwrap_err();
        assert!(text.to_string().contains("`ca_file`"), "{text}");
    }
}
