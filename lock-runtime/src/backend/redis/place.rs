//! Where a Redis is, as its URL says it.

use std::fmt;
use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo,
};

use super::tls::{self, Tls};
use crate::backend::address::{Address, Host};
use crate::error::LockError;
use crate::options;

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// How long a grant waits for its replicas when nothing else is said.
const REPLICAS_WITHIN: Duration = Duration::from_millis(100);

/// The shortest time to wait for them: a server takes nothing for a wait without an end.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// The longest time to wait for them: the connection answers nothing else meanwhile.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The options that every URL may have, and those that only some may.
const OPTIONS: &[&str] = &["allow_eviction", "wait_replicas", "wait_timeout"];
const SOCKET_OPTIONS: &[&str] = &["db"];
const SENTINEL_OPTIONS: &[&str] = &["sentinel_password", "sentinel_tls", "sentinel_user"];

/// What a URL says of a Redis, checked.
pub(super) struct Place {
    pub(super) kind: Kind,
    shown: String,
    pub(super) options: Options,
    /// Whether it is spoken to with TLS; `None` where that cannot be.
    pub(super) encryption: Option<bool>,
}

pub(super) enum Kind {
    One(Client),
    Sentinel {
        client: tokio::sync::Mutex<SentinelClient>,
        /// What the Sentinels call the master.
        service: String,
    },
    Cluster {
        nodes: Vec<ConnectionInfo>,
        tls: Tls,
    },
}

/// What a URL asks for beyond a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Options {
    /// The server may throw keys away.
    pub(super) allow_eviction: bool,
    /// How many replicas have to know of a grant, and within which time; none have to by default.
    pub(super) replicas: Option<(u32, Duration)>,
}

impl Place {
    /// # Errors
    ///
    /// When a part of the URL is missing, unknown, or cannot be.
    pub(super) fn parse(url: &str) -> Result<Self, LockError> {
        let mut address = Address::parse(&with_a_host(url))?;
        let scheme = address.scheme.clone();
        let refused = |what: &str| Err(invalid(&scheme, what));
        let is_socket = scheme == "redis+unix";
        let tls = if is_socket {
            Tls::none()
        } else {
            Tls::take_from(&mut address, scheme == "rediss")?
        };
        let encryption = (!is_socket).then_some(tls.is_on());
        let (kind, known) = match scheme.as_str() {
            "redis" | "rediss" => {
                if address.hosts.len() > 1 {
                    return refused(
                        "names one server; several are `redis+sentinel:` or `redis+cluster:`",
                    );
                }
                let login = login(&address).set_db(database(&address.path, &scheme)?);
                let node = node(tls.address(&address.hosts[0], PORT), login)?;
                let client = tls.client(node).map_err(|_| invalid_client(&scheme))?;
                (Kind::One(client), [OPTIONS, tls::OPTIONS].concat())
            }
            "redis+unix" => {
                let path = format!("/{}", address.path);
                if path == "/" {
                    return refused(
                        "names the path of a socket, such as `redis+unix:///run/redis.sock`",
                    );
                }
                let database = address.take_option("db").unwrap_or_default();
                let login = login(&address).set_db(database_number(&database, &scheme)?);
                let node = node(ConnectionAddr::Unix(path.into()), login)?;
                let client = Client::open(node).map_err(|_| invalid_client(&scheme))?;
                (Kind::One(client), [OPTIONS, SOCKET_OPTIONS].concat())
            }
            "redis+sentinel" => (
                sentinel(&mut address, &scheme, &tls)?,
                [OPTIONS, SENTINEL_OPTIONS, tls::OPTIONS].concat(),
            ),
            "redis+cluster" => {
                if !address.path.is_empty() {
                    return refused("has no database: a cluster has only one");
                }
                let login = login(&address);
                let nodes = address
                    .hosts
                    .iter()
                    .map(|host| node(tls.address(host, PORT), login.clone()))
                    .collect::<Result<_, _>>()?;
                (
                    Kind::Cluster { nodes, tls },
                    [OPTIONS, tls::OPTIONS].concat(),
                )
            }
            _ => return refused("is not one of Redis"),
        };
        let options = Options::take_from(&mut address, &scheme)?;
        address.refuse_other_options(&known)?;
        let shown = match &kind {
            Kind::One(_) if is_socket => {
                format!("Redis at `/{}`", address.path.escape_debug())
            }
            Kind::One(_) => format!("Redis at `{}`", hosts(&address, PORT)),
            Kind::Sentinel { .. } => {
                format!(
                    "Redis of the Sentinels at `{}`",
                    hosts(&address, SENTINEL_PORT)
                )
            }
            Kind::Cluster { .. } => format!("the Redis Cluster at `{}`", hosts(&address, PORT)),
        };
        Ok(Self {
            kind,
            shown,
            options,
            encryption,
        })
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.kind, Kind::Cluster { .. })
    }

    /// What Sentinels call the master; `None` where there are none.
    pub(super) fn service(&self) -> Option<&str> {
        match &self.kind {
            Kind::Sentinel { service, .. } => Some(service),
            Kind::One(_) | Kind::Cluster { .. } => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.shown).finish()
    }
}

impl Options {
    fn take_from(address: &mut Address, scheme: &str) -> Result<Self, LockError> {
        let allow_eviction = flag(address, "allow_eviction", scheme)?.unwrap_or(false);
        let replicas = address
            .take_option("wait_replicas")
            .map(|number| {
                number
                    .parse()
                    .ok()
                    .filter(|number| *number > 0)
                    .ok_or_else(|| {
                        invalid(
                            scheme,
                            "has a `wait_replicas` that is no number of replicas",
                        )
                    })
            })
            .transpose()?;
        let within = address
            .take_option("wait_timeout")
            .map(|time| {
                options::duration(&time)
                    .filter(|time| (SHORTEST_WAIT..=LONGEST_WAIT).contains(time))
                    .ok_or_else(|| {
                        invalid(
                            scheme,
                            "has a `wait_timeout` that is no duration from 1 ms to 1 s, such as \
                             `100ms`",
                        )
                    })
            })
            .transpose()?;
        if replicas.is_none() && within.is_some() {
            return Err(invalid(
                scheme,
                "has `wait_timeout` without `wait_replicas`, which says for how many to wait",
            ));
        }
        Ok(Self {
            allow_eviction,
            replicas: replicas.map(|number| (number, within.unwrap_or(REPLICAS_WITHIN))),
        })
    }
}

fn sentinel(address: &mut Address, scheme: &str, tls: &Tls) -> Result<Kind, LockError> {
    let (name, database) = address.path.split_once('/').unwrap_or((&address.path, ""));
    if name.is_empty() {
        return Err(invalid(
            scheme,
            "names the service after the Sentinels: `redis+sentinel://one:26379,two:26379/mymaster`",
        ));
    }
    let service = name.to_owned();
    let database = self::database(database, scheme)?;
    let to_sentinels = match flag(address, "sentinel_tls", scheme)? {
        Some(_) if !tls.is_on() => {
            return Err(invalid(
                scheme,
                "has `sentinel_tls` without `tls=true`, which encrypts the ways to the Sentinels \
                 and to the server that they name; `sentinel_tls=false` beside it excepts the \
                 Sentinels",
            ));
        }
        Some(false) => Tls::none(),
        Some(true) | None => tls.clone(),
    };
    let hosts = address.hosts.iter();
    let sentinels = hosts.map(|host| to_sentinels.address(host, SENTINEL_PORT));
    let mut builder =
        SentinelClientBuilder::new(sentinels, service.clone(), SentinelServerType::Master)
            .map_err(|_| invalid_client(scheme))?
            .set_client_to_redis_db(database)
            .set_client_to_redis_protocol(ProtocolVersion::RESP3)
            .set_client_to_redis_tcp_settings(tcp())
            .set_client_to_sentinel_tcp_settings(tcp());
    if let Some(user) = &address.user {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = &address.password {
        builder = builder.set_client_to_redis_password(password);
    }
    if let Some(user) = address.take_option("sentinel_user") {
        builder = builder.set_client_to_sentinel_username(user);
    }
    if let Some(password) = address.take_option("sentinel_password") {
        builder = builder.set_client_to_sentinel_password(password);
    }
    builder = to_sentinels.secure_sentinels(tls.secure_servers(builder));
    let client = builder.build().map_err(|_| invalid_client(scheme))?;
    Ok(Kind::Sentinel {
        client: tokio::sync::Mutex::new(client),
        service,
    })
}

/// A socket's URL has a path and no host, which every other URL has.
fn with_a_host(url: &str) -> String {
    const SOCKET: &str = "redis+unix://";
    match url.strip_prefix(SOCKET).map(|rest| rest.split_once('/')) {
        Some(Some((login, path))) if login.is_empty() || login.ends_with('@') => {
            format!("{SOCKET}{login}localhost/{path}")
        }
        _ => url.to_owned(),
    }
}

fn login(address: &Address) -> RedisConnectionInfo {
    let mut login = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP3)
        .set_skip_set_lib_name();
    if let Some(user) = &address.user {
        login = login.set_username(user);
    }
    if let Some(password) = &address.password {
        login = login.set_password(password);
    }
    login
}

fn node(address: ConnectionAddr, login: RedisConnectionInfo) -> Result<ConnectionInfo, LockError> {
    let node = address
        .into_connection_info()
        .map_err(|_| LockError::invalid_option("the URL of a Redis names no address"))?;
    Ok(node.set_redis_settings(login).set_tcp_settings(tcp()))
}

/// Small messages go out at once: without this a request may wait for the acknowledgement of the
/// one before.
pub(super) fn tcp() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

fn database(path: &str, scheme: &str) -> Result<i64, LockError> {
    database_number(path.trim_end_matches('/'), scheme)
}

fn database_number(text: &str, scheme: &str) -> Result<i64, LockError> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse::<u32>().map(i64::from).map_err(|_| {
        invalid(
            scheme,
            "has a database that is no number, as in `redis://host/0`, or `?db=0` of a socket",
        )
    })
}

pub(super) fn flag(
    address: &mut Address,
    option: &str,
    scheme: &str,
) -> Result<Option<bool>, LockError> {
    match address.take_option(option).as_deref() {
        None => Ok(None),
        Some("false") => Ok(Some(false)),
        Some("true") => Ok(Some(true)),
        Some(_) => Err(invalid(
            scheme,
            &format!("has an option `{option}` that is neither `true` nor `false`"),
        )),
    }
}

pub(super) fn invalid(scheme: &str, what: &str) -> LockError {
    LockError::invalid_option(format!("the `{}:` URL {what}", scheme.escape_debug()))
}

fn invalid_client(scheme: &str) -> LockError {
    invalid(scheme, "is not valid")
}

fn hosts(address: &Address, port: u16) -> String {
    let hosts = address.hosts.iter().map(|host| {
        let port = host.port.or(Some(port));
        Host {
            port,
            ..host.clone()
        }
        .to_string()
    });
    hosts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
