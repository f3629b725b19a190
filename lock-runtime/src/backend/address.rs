//! Where a store is, as a URL says it: `scheme://user:password@host:port,host:port/path?key=value`.
//!
//! A URL may hold a password. None of the errors here, and no `Debug`, shows any part of it but
//! its scheme, the place of the fault, and names of options.

use std::fmt;

use crate::error::LockError;

/// The parts of a URL, with percent-encoding undone.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) scheme: String,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    /// At least one. IPv6 addresses are without their brackets.
    pub(crate) hosts: Vec<Host>,
    /// What comes after the hosts, without its first slash; empty when there is none.
    pub(crate) path: String,
    options: Vec<(String, String)>,
}

/// A host, and its port where the URL names one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) port: Option<u16>,
}

impl Address {
    /// # Errors
    ///
    /// When a part is missing or cannot be read.
    pub(crate) fn parse(url: &str) -> Result<Self, LockError> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| {
            let scheme = url.split_once(':').map_or("redis", |(scheme, _)| scheme);
            let place = if scheme.ends_with("unix") {
                "/path/of/socket"
            } else {
                "host:port"
            };
            LockError::invalid_option(format!(
                "the lock URL has no `://`: write it as `{}://{place}`",
                scheme.escape_debug()
            ))
        })?;
        let fault = |what: &str| {
            LockError::invalid_option(format!("the `{}:` URL {what}", scheme.escape_debug()))
        };
        let decode = |part: &str, text: &str| {
            decode(text).ok_or_else(|| {
                fault(&format!(
                    "has a `%` in its {part} that does not begin a percent-encoded byte; write \
                     `%25` for the character itself"
                ))
            })
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (Some(login), hosts),
            None => (None, authority),
        };
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, "")))
        {
            None => (None, None),
            Some((user, password)) => (
                Some(decode("user", user)?).filter(|user| !user.is_empty()),
                Some(decode("password", password)?).filter(|password| !password.is_empty()),
            ),
        };
        let hosts = hosts
            .split(',')
            .map(|host| host_and_port(host).map_err(fault))
            .collect::<Result<_, _>>()?;
        let options = query
            .split('&')
            .filter(|option| !option.is_empty())
            .map(|option| {
                let (key, value) = option.split_once('=').ok_or_else(|| {
                    fault("has an option without a value; write `?key=value&key=value`")
                })?;
                Ok((decode("options", key)?, decode("options", value)?))
            })
            .collect::<Result<_, LockError>>()?;
        Ok(Self {
            scheme: scheme.to_owned(),
            user,
            password,
            hosts,
            path: decode("path", path)?,
            options,
        })
    }

    /// Takes an option out. The last one counts where it was given twice.
    pub(crate) fn take_option(&mut self, key: &str) -> Option<String> {
        let mut value = None;
        self.options.retain_mut(|(known, given)| {
            let is_it = known == key;
            if is_it {
                value = Some(std::mem::take(given));
            }
            !is_it
        });
        value
    }

    /// Takes two options out that say nothing without each other.
    ///
    /// # Errors
    ///
    /// When there is only one of them.
    pub(crate) fn take_both(
        &mut self,
        one: &str,
        other: &str,
    ) -> Result<Option<(String, String)>, LockError> {
        let (given, missing) = match (self.take_option(one), self.take_option(other)) {
            (Some(one), Some(other)) => return Ok(Some((one, other))),
            (None, None) => return Ok(None),
            (Some(_), None) => (one, other),
            (None, Some(_)) => (other, one),
        };
        let scheme = self.scheme.escape_debug();
        Err(LockError::invalid_option(format!(
            "the `{scheme}:` URL has the option `{given}` without `{missing}`: write both, or \
             neither"
        )))
    }

    /// To be called when every option that is known was taken out.
    ///
    /// # Errors
    ///
    /// When one is left: it would be ignored.
    pub(crate) fn refuse_other_options(&self, known: &[&str]) -> Result<(), LockError> {
        let Some((key, _)) = self.options.first() else {
            return Ok(());
        };
        let scheme = self.scheme.escape_debug();
        let known = known.join("`, `");
        Err(LockError::invalid_option(format!(
            "the `{scheme}:` URL has the option `{}`, which is not known; there are `{known}`",
            key.escape_debug()
        )))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address")
            .field("scheme", &self.scheme)
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.escape_debug();
        if self.name.contains(':') {
            write!(f, "[{name}]")?;
        } else {
            write!(f, "{name}")?;
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

fn host_and_port(text: &str) -> Result<Host, &'static str> {
    let (name, port) = match text.strip_prefix('[') {
        Some(text) => {
            let (name, port) = text
                .split_once(']')
                .ok_or("has a `[` without a `]` in its host")?;
            let port = match port {
                "" => None,
                port => Some(
                    port.strip_prefix(':')
                        .ok_or("has more than a port after a `]`")?,
                ),
            };
            (name, port)
        }
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    let port = port
        .map(str::parse)
        .transpose()
        .map_err(|_| "has a port that is no number up to 65535; an `@`, `:`, `/` or `?` in a password has to be percent-encoded")?;
    let name = decode(name)
        .filter(|name| !name.is_empty())
        .ok_or("names no host")?;
    Ok(Host { name, port })
}

/// Undoes percent-encoding. `None` when it is broken.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, others @ ..] = rest {
        rest = others;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, others) = rest.split_at_checked(2)?;
        let value = |digit: u8| char::from(digit).to_digit(16);
        let byte = value(digits[0])? * 16 + value(digits[1])?;
        bytes.push(u8::try_from(byte).ok()?);
        rest = others;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_read() {
        let url = "redis+sentinel://me:p%40ss@one:26379,[::1]:2,three/mymaster/0?a=1&b=x%26y&a=2";
        let mut address = Address::parse(url).unwrap();
        assert_eq!(address.scheme, "redis+sentinel");
        assert_eq!(address.user.as_deref(), Some("me"));
        assert_eq!(address.password.as_deref(), Some("p@ss"));
        let hosts: Vec<_> = address.hosts.iter().map(ToString::to_string).collect();
        assert_eq!(hosts, ["one:26379", "[::1]:2", "three"]);
        assert_eq!(address.path, "mymaster/0");
        assert_eq!(address.take_option("a").as_deref(), Some("2"));
        let refused = address.refuse_other_options(&["a"]).unwrap_err();
        let text = refused.to_string();
        assert!(text.contains("`b`") && text.contains("`a`"), "{text}");
        assert_eq!(address.take_option("b").as_deref(), Some("x&y"));
        assert!(address.refuse_other_options(&["a"]).is_ok());
    }

    #[test]
    fn one_of_two_options_that_belong_together_is_a_fault() {
        let take = |url: &str| Address::parse(url).unwrap().take_both("cert", "key");
        let both = Some(("x".to_owned(), "hunter2".to_owned()));
        assert_eq!(take("redis://host?key=hunter2&cert=x").unwrap(), both);
        assert_eq!(take("redis://host?a=b").unwrap(), None);
        for (url, says) in [
            ("redis://host?cert=hunter2", "`cert` without `key`"),
            ("redis://host?key=hunter2", "`key` without `cert`"),
        ] {
            let text = take(url).unwrap_err().to_string();
            assert!(text.contains(says), "{text}");
            assert!(!text.contains("hunter"), "{text}");
        }
    }

    #[test]
    fn what_is_missing_is_none() {
        let address = Address::parse("etcd://host").unwrap();
        assert_eq!((&address.user, &address.password), (&None, &None));
        assert_eq!((address.path.as_str(), address.hosts[0].port), ("", None));
        let address = Address::parse("redis://:secret@host/").unwrap();
        assert_eq!(address.user, None);
        assert_eq!(address.password.as_deref(), Some("secret"));
    }

    #[test]
    fn faults_are_named_and_secrets_are_not() {
        for (url, says) in [
            ("redis:hunter2", "no `://`: write it as `redis://host:port`"),
            ("redis+unix:/hunter2", "`redis+unix:///path/of/socket`"),
            ("redis://:hunter2@", "names no host"),
            ("redis://:hunter2@host:port", "port"),
            ("redis://:hunter2@host:99999", "port"),
            ("redis://:hunter/2@host", "port"),
            ("redis://:hunter2%@host", "percent-encoded"),
            ("redis://:hunter2@host,,other", "names no host"),
            ("redis://:hunter2@[::1", "`]`"),
            ("redis://:hunter2@[::1]8", "`]`"),
            ("redis://:hunter2@host?hunter2", "?key=value"),
        ] {
            let text = Address::parse(url).unwrap_err().to_string();
            assert!(text.contains(says), "{url}: {text}");
            assert!(!text.contains("hunter"), "{text}");
        }
        let address = Address::parse("redis://me:hunter2@host/0?p=hunter2").unwrap();
        assert!(!format!("{address:?}").contains("hunter"), "{address:?}");
    }
}
