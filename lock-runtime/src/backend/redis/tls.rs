//! Encrypted connections, where the URL asks for them.

#[cfg(feature = "redis-tls")]
use std::sync::Arc;

use redis::cluster::ClusterClientBuilder;
use redis::sentinel::SentinelClientBuilder;
use redis::{Client, ConnectionAddr, ConnectionInfo, RedisResult};
#[cfg(feature = "redis-tls")]
use rustls::crypto::CryptoProvider;

use super::place::{flag, invalid};
use crate::backend::address::{Address, Host};
#[cfg(feature = "redis-tls")]
use crate::backend::certificates::{self, PemFile};
use crate::error::LockError;

/// The options that are about encryption.
pub(super) const OPTIONS: &[&str] = &["ca_file", "cert_file", "key_file", "tls"];

/// Whether connections are encrypted, whom they trust, and what they show of this program.
#[derive(Clone)]
pub(super) struct Tls {
    is_on: bool,
    /// What differs from the trust of the system, and from showing nothing.
    #[cfg(feature = "redis-tls")]
    certificates: Option<redis::TlsCertificates>,
}

/// Paths of files, as a URL names them.
struct Files {
    authority: Option<String>,
    /// The certificate and its key.
    identity: Option<(String, String)>,
}

impl Tls {
    pub(super) fn none() -> Self {
        Self {
            is_on: false,
            #[cfg(feature = "redis-tls")]
            certificates: None,
        }
    }

    /// Takes the options that are about encryption, which the scheme may ask for already.
    ///
    /// # Errors
    ///
    /// When they contradict each other, name a file that cannot be used, or ask for what this
    /// build does not have.
    pub(super) fn take_from(address: &mut Address, by_scheme: bool) -> Result<Self, LockError> {
        let scheme = address.scheme.clone();
        let is_on = match flag(address, "tls", &scheme)? {
            Some(false) if by_scheme => {
                return Err(invalid(
                    &scheme,
                    "is encrypted, and has `tls=false`; leave that out, or write `redis:`",
                ));
            }
            said => said.unwrap_or(by_scheme),
        };
        let files = Files {
            authority: address.take_option("ca_file"),
            identity: address.take_both("cert_file", "key_file")?,
        };
        if is_on {
            return Self::of(&scheme, files);
        }
        let named = match files {
            Files {
                authority: Some(_), ..
            } => "ca_file",
            Files {
                identity: Some(_), ..
            } => "cert_file",
            _ => return Ok(Self::none()),
        };
        Err(invalid(
            &scheme,
            &format!("has the option `{named}`, and no encryption; write `tls=true` beside it"),
        ))
    }

    #[cfg(feature = "redis-tls")]
    fn of(_: &str, files: Files) -> Result<Self, LockError> {
        let provider = cryptography();
        let authority = files.authority.map(|path| {
            let authority = PemFile::read("ca_file", path)?;
            authority.authorities()?;
            Ok::<_, LockError>(authority.text)
        });
        let identity = files.identity.map(|(certificate, key)| {
            let certificate = PemFile::read("cert_file", certificate)?;
            let key = PemFile::read("key_file", key)?;
            certificates::identity(&certificate, &key, &provider)?;
            Ok::<_, LockError>(redis::ClientTlsConfig {
                client_cert: certificate.text,
                client_key: key.text,
            })
        });
        let certificates = redis::TlsCertificates {
            client_tls: identity.transpose()?,
            root_cert: authority.transpose()?,
        };
        let says_something = certificates.client_tls.is_some() || certificates.root_cert.is_some();
        Ok(Self {
            is_on: true,
            certificates: says_something.then_some(certificates),
        })
    }

    #[cfg(not(feature = "redis-tls"))]
    fn of(scheme: &str, _: Files) -> Result<Self, LockError> {
        Err(invalid(
            scheme,
            "asks for encryption, which needs the feature `redis-tls` of the crate `lock-runtime`",
        ))
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_on
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

    /// Every connection to a node of a cluster is encrypted, if any is.
    #[cfg(feature = "redis-tls")]
    pub(super) fn secure(&self, cluster: ClusterClientBuilder) -> ClusterClientBuilder {
        if !self.is_on {
            return cluster;
        }
        let cluster = cluster.tls(redis::TlsMode::Secure);
        match &self.certificates {
            Some(certificates) => cluster.certs(certificates.clone()),
            None => cluster,
        }
    }

    #[cfg(not(feature = "redis-tls"))]
    pub(super) fn secure(&self, cluster: ClusterClientBuilder) -> ClusterClientBuilder {
        cluster
    }

    /// Connections to the servers that Sentinels name are encrypted like this.
    #[cfg(feature = "redis-tls")]
    pub(super) fn secure_servers(&self, client: SentinelClientBuilder) -> SentinelClientBuilder {
        if !self.is_on {
            return client;
        }
        let client = client.set_client_to_redis_tls_mode(redis::TlsMode::Secure);
        match &self.certificates {
            Some(certificates) => client.set_client_to_redis_certificates(certificates.clone()),
            None => client,
        }
    }

    /// And those to the Sentinels like this, whose [`address`](Self::address) says whether they are.
    #[cfg(feature = "redis-tls")]
    pub(super) fn secure_sentinels(&self, client: SentinelClientBuilder) -> SentinelClientBuilder {
        match &self.certificates {
            Some(certificates) => client.set_client_to_sentinel_certificates(certificates.clone()),
            None => client,
        }
    }

    #[cfg(not(feature = "redis-tls"))]
    pub(super) fn secure_servers(&self, client: SentinelClientBuilder) -> SentinelClientBuilder {
        client
    }

    #[cfg(not(feature = "redis-tls"))]
    pub(super) fn secure_sentinels(&self, client: SentinelClientBuilder) -> SentinelClientBuilder {
        client
    }

    pub(super) fn client(&self, node: ConnectionInfo) -> RedisResult<Client> {
        #[cfg(feature = "redis-tls")]
        if let Some(certificates) = &self.certificates {
            return Client::build_with_tls(node, certificates.clone());
        }
        Client::open(node)
    }
}

/// Which library encrypts is a choice of the whole process. Where it has made none, it is made
/// here: otherwise the first connection would panic.
#[cfg(feature = "redis-tls")]
fn cryptography() -> Arc<CryptoProvider> {
    use rustls::crypto::ring;

    if CryptoProvider::get_default().is_none() {
        // Somebody else may choose at this very moment, which is as good.
        drop(ring::default_provider().install_default());
    }
    let chosen = CryptoProvider::get_default().map(Arc::clone);
    chosen.unwrap_or_else(|| Arc::new(ring::default_provider()))
}
