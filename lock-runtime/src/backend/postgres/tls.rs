//! Encryption of the connection, and whether the server has to show who it is.

use tokio_postgres::config::SslMode;

use crate::backend::address::Address;
use crate::error::LockError;

/// Paths of files, as a URL names them.
pub(super) struct Files {
    /// Who may sign the server's certificate.
    roots: Option<String>,
    /// The certificate of this program, and its key.
    identity: Option<(String, String)>,
}

impl Files {
    /// Takes the options `sslrootcert`, `sslcert` and `sslkey`.
    ///
    /// # Errors
    ///
    /// When one of the last two is missing.
    pub(super) fn take_from(address: &mut Address) -> Result<Self, LockError> {
        if address.take_option("sslpassword").is_some() {
            return Err(LockError::invalid_option(
                "the option `sslpassword` is for a key that is encrypted, which cannot be used: \
                 decrypt it with `openssl pkey -in encrypted.pem -out key.pem`, into a file that \
                 nobody but the service may read, and name that in `sslkey`",
            ));
        }
        Ok(Self {
            roots: address.take_option("sslrootcert"),
            identity: address.take_both("sslcert", "sslkey")?,
        })
    }

    /// An option that is about what `tls` does not do.
    pub(super) fn in_vain(&self, tls: &Tls) -> Option<&'static str> {
        if self.roots.is_some() && !tls.is_checked() {
            Some(
                "`sslrootcert` is given, but no certificate is checked; write `sslmode=verify-full`",
            )
        } else if self.identity.is_some() && tls.mode() == SslMode::Disable {
            Some("`sslcert` is given, but nothing is encrypted; write `sslmode=verify-full`")
        } else {
            None
        }
    }

    pub(super) fn are_named(&self) -> bool {
        self.roots.is_some() || self.identity.is_some()
    }
}

/// How a connection is encrypted.
#[derive(Clone)]
pub(super) enum Tls {
    Off,
    #[cfg(feature = "postgres-tls")]
    On {
        mode: SslMode,
        is_checked: bool,
        connect: tokio_postgres_rustls::MakeRustlsConnect,
    },
}

impl Tls {
    pub(super) fn mode(&self) -> SslMode {
        match self {
            Self::Off => SslMode::Disable,
            #[cfg(feature = "postgres-tls")]
            Self::On { mode, .. } => *mode,
        }
    }

    /// Whether the server's certificate is checked.
    pub(super) fn is_checked(&self) -> bool {
        match self {
            Self::Off => false,
            #[cfg(feature = "postgres-tls")]
            Self::On { is_checked, .. } => *is_checked,
        }
    }
}

#[cfg(not(feature = "postgres-tls"))]
impl Tls {
    pub(super) fn checked(_: &Files) -> Result<Self, LockError> {
        Err(without_feature())
    }

    pub(super) fn unchecked(_: SslMode, _: &Files) -> Result<Self, LockError> {
        Err(without_feature())
    }
}

#[cfg(not(feature = "postgres-tls"))]
fn without_feature() -> LockError {
    LockError::invalid_option(
        "TLS to PostgreSQL needs the feature `postgres-tls` of the crate `lock-runtime`, which \
         this build is without",
    )
}

#[cfg(feature = "postgres-tls")]
mod with_rustls {
    use std::sync::Arc;

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::{CryptoProvider, ring};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::sign::SingleCertAndKey;
    use rustls::{
        ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme,
    };
    use tokio_postgres_rustls::MakeRustlsConnect;

    use super::{Files, LockError, SslMode, Tls};
    use crate::backend::certificates::{PemFile, identity};

    impl Tls {
        /// The certificate has to be for the host of the URL, and signed by one of these in a PEM
        /// file, or by one that the system trusts.
        pub(in super::super) fn checked(files: &Files) -> Result<Self, LockError> {
            let roots = match &files.roots {
                Some(path) => PemFile::read("sslrootcert", path.clone())?.authorities()?,
                None => system_roots()?,
            };
            Ok(Self::On {
                mode: SslMode::Require,
                is_checked: true,
                connect: files.show_in(builder()?.with_root_certificates(roots))?,
            })
        }

        /// Whoever answers is believed.
        pub(in super::super) fn unchecked(mode: SslMode, files: &Files) -> Result<Self, LockError> {
            let believer = Arc::new(Believer(Arc::new(ring::default_provider())));
            let config = builder()?
                .dangerous()
                .with_custom_certificate_verifier(believer);
            Ok(Self::On {
                mode,
                is_checked: false,
                connect: files.show_in(config)?,
            })
        }
    }

    impl Files {
        /// Connections show the certificate of this program, if it has one.
        fn show_in(
            &self,
            config: ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>,
        ) -> Result<MakeRustlsConnect, LockError> {
            let config = match &self.identity {
                None => config.with_no_client_auth(),
                Some((certificate, key)) => {
                    let certificate = PemFile::read("sslcert", certificate.clone())?;
                    let key = PemFile::read("sslkey", key.clone())?;
                    let shown = identity(&certificate, &key, &ring::default_provider())?;
                    config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown)))
                }
            };
            Ok(MakeRustlsConnect::new(config))
        }
    }

    fn builder() -> Result<ConfigBuilder<ClientConfig, rustls::WantsVerifier>, LockError> {
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| LockError::invalid_option(format!("TLS cannot be used: {error}")))
    }

    fn system_roots() -> Result<RootCertStore, LockError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err(LockError::invalid_option(
                "this system trusts no certificate at all; name a file of them in `sslrootcert`",
            ));
        }
        Ok(roots)
    }

    /// Checks that the server has the key of the certificate that it shows, and nothing else.
    #[derive(Debug)]
    struct Believer(Arc<CryptoProvider>);

    impl ServerCertVerifier for Believer {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let known = &self.0.signature_verification_algorithms;
            rustls::crypto::verify_tls12_signature(message, certificate, signed, known)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let known = &self.0.signature_verification_algorithms;
            rustls::crypto::verify_tls13_signature(message, certificate, signed, known)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}
