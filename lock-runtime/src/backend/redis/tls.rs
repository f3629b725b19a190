//! Encrypted connections, where the URL asks for them.

use redis::cluster::ClusterClientBuilder;
use redis::{Client, ConnectionAddr, ConnectionInfo, RedisError, RedisResult};

use super::place::{flag, invalid};
use crate::backend::address::{Address, Host};
use crate::error::LockError;

/// Whether connections are encrypted, and whom they trust.
#[derive(Clone)]
pub(super) struct Tls {
    is_on: bool,
    /// The certificates that are trusted, instead of those of the system.
    #[cfg(feature = "redis-tls")]
    trusted: Option<Vec<u8>>,
}

impl Tls {
    pub(super) fn none() -> Self {
        Self {
            is_on: false,
            #[cfg(feature = "redis-tls")]
            trusted: None,
        }
    }

    /// Takes the options that are about encryption.
    ///
    /// # Errors
    ///
    /// When they contradict each other, name a file that cannot be read, or ask for what this
    /// build does not have.
    pub(super) fn take_from(address: &mut Address, is_on: bool) -> Result<Self, LockError> {
        let scheme = address.scheme.clone();
        let is_on = flag(address, "tls", &scheme)? || is_on;
        let trusted = address.take_option("ca");
        if trusted.is_some() && !is_on {
            return Err(invalid(
                &scheme,
                "has the option `ca`, and no encryption; use `rediss:` or `tls=true`",
            ));
        }
        if !is_on {
            return Ok(Self::none());
        }
        Self::trusting(&scheme, trusted)
    }

    #[cfg(feature = "redis-tls")]
    fn trusting(scheme: &str, trusted: Option<String>) -> Result<Self, LockError> {
        let read = |path: String| {
            std::fs::read(&path).map_err(|error| {
                let path = path.escape_debug();
                invalid(
                    scheme,
                    &format!("has the option `ca`, and `{path}` cannot be read: {error}"),
                )
            })
        };
        choose_cryptography();
        Ok(Self {
            is_on: true,
            trusted: trusted.map(read).transpose()?,
        })
    }

    #[cfg(not(feature = "redis-tls"))]
    fn trusting(scheme: &str, _: Option<String>) -> Result<Self, LockError> {
        Err(invalid(
            scheme,
            "asks for encryption, which needs the feature `redis-tls` of the crate `lock-runtime`",
        ))
    }

    pub(super) fn address(&self, host: &Host, port: u16) -> ConnectionAddr {
        let (host, port) = (host.name.clone(), host.port.unwrap_or(port));
        if self.is_on {
            ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            }
        } else {
            ConnectionAddr::Tcp(host, port)
        }
    }

    #[cfg(feature = "redis-tls")]
    fn certificates(&self) -> Option<redis::TlsCertificates> {
        self.trusted.as_ref().map(|trusted| redis::TlsCertificates {
            client_tls: None,
            root_cert: Some(trusted.clone()),
        })
    }

    /// Every connection to a node of a cluster is encrypted, if any is.
    #[cfg(feature = "redis-tls")]
    pub(super) fn secure(&self, cluster: ClusterClientBuilder) -> ClusterClientBuilder {
        if !self.is_on {
            return cluster;
        }
        let cluster = cluster.tls(redis::TlsMode::Secure);
        match self.certificates() {
            Some(certificates) => cluster.certs(certificates),
            None => cluster,
        }
    }

    #[cfg(not(feature = "redis-tls"))]
    pub(super) fn secure(&self, cluster: ClusterClientBuilder) -> ClusterClientBuilder {
        cluster
    }

    pub(super) fn client(&self, node: ConnectionInfo) -> RedisResult<Client> {
        #[cfg(feature = "redis-tls")]
        if let Some(certificates) = self.certificates() {
            return Client::build_with_tls(node, certificates);
        }
        Client::open(node)
    }

    /// The certificates to trust are none.
    pub(super) fn refusal(&self, error: &RedisError) -> LockError {
        LockError::invalid_option(format!(
            "the certificates of the option `ca` cannot be used: {error}"
        ))
    }
}

/// Which library encrypts is a choice of the whole process. Where it has made none, it is made
/// here: otherwise the first connection would panic.
#[cfg(feature = "redis-tls")]
fn choose_cryptography() {
    use rustls::crypto::{CryptoProvider, ring};

    if CryptoProvider::get_default().is_none() {
        // Somebody else may choose at this very moment, which is as good.
        drop(ring::default_provider().install_default());
    }
}
