//! Encryption of the connection, and whether the server has to show who it is.

use tokio_postgres::config::SslMode;

use crate::error::LockError;

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
    pub(super) fn checked(_: Option<&str>) -> Result<Self, LockError> {
        Err(without_feature())
    }

    pub(super) fn unchecked(_: SslMode) -> Result<Self, LockError> {
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
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
    use tokio_postgres_rustls::MakeRustlsConnect;

    use super::{LockError, SslMode, Tls};

    impl Tls {
        /// The certificate has to be for the host of the URL, and signed by one of these in a PEM
        /// file, or by one that the system trusts.
        pub(in super::super) fn checked(roots: Option<&str>) -> Result<Self, LockError> {
            let roots = roots.map_or_else(system_roots, read_roots)?;
            let config = builder()?.with_root_certificates(roots);
            let connect = MakeRustlsConnect::new(config.with_no_client_auth());
            Ok(Self::On {
                mode: SslMode::Require,
                is_checked: true,
                connect,
            })
        }

        /// Whoever answers is believed.
        pub(in super::super) fn unchecked(mode: SslMode) -> Result<Self, LockError> {
            let believer = Arc::new(Believer(Arc::new(ring::default_provider())));
            let config = builder()?
                .dangerous()
                .with_custom_certificate_verifier(believer);
            Ok(Self::On {
                mode,
                is_checked: false,
                connect: MakeRustlsConnect::new(config.with_no_client_auth()),
            })
        }
    }

    type Builder = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;

    fn builder() -> Result<Builder, LockError> {
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| LockError::invalid_option(format!("TLS cannot be used: {error}")))
    }

    fn read_roots(path: &str) -> Result<RootCertStore, LockError> {
        let fault = |what: String| {
            let path = path.escape_debug();
            LockError::invalid_option(format!("`sslrootcert` `{path}` {what}"))
        };
        let certificates = CertificateDer::pem_file_iter(path)
            .map_err(|error| fault(format!("cannot be read: {error}")))?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            certificate
                .map_err(|error| error.to_string())
                .and_then(|found| roots.add(found).map_err(|error| error.to_string()))
                .map_err(|error| fault(format!("has what is no certificate: {error}")))?;
        }
        if roots.is_empty() {
            return Err(fault("has no certificate in PEM form".to_owned()));
        }
        Ok(roots)
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
