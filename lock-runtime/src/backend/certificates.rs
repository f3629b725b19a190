//! Files of certificates and keys, as options of a URL name them, in PEM form.
//!
//! None of the errors here shows anything of what is in a file.

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::error::LockError;

/// A file that was read.
pub(crate) struct PemFile {
    option: &'static str,
    path: String,
    pub(crate) text: Vec<u8>,
}

impl PemFile {
    /// # Errors
    ///
    /// When it cannot be read.
    pub(crate) fn read(option: &'static str, path: String) -> Result<Self, LockError> {
        let mut file = Self {
            option,
            path,
            text: Vec::new(),
        };
        file.text = std::fs::read(&file.path)
            .map_err(|error| file.fault(&format!("cannot be read: {error}")))?;
        Ok(file)
    }

    /// The certificates of those who may sign others.
    ///
    /// # Errors
    ///
    /// When there is none, or one that cannot be used.
    pub(crate) fn authorities(&self) -> Result<RootCertStore, LockError> {
        let mut authorities = RootCertStore::empty();
        for certificate in self.certificates()? {
            let added = authorities.add(certificate);
            added.map_err(|_| self.is_no_certificate())?;
        }
        Ok(authorities)
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, LockError> {
        let found = CertificateDer::pem_slice_iter(&self.text).collect::<Result<Vec<_>, _>>();
        let found = found.map_err(|_| self.is_no_certificate())?;
        if found.is_empty() {
            return Err(self.fault("has no certificate in PEM form"));
        }
        Ok(found)
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, LockError> {
        if self.is_encrypted() {
            return Err(self.fault(
                "has an encrypted key, which cannot be used: decrypt it with `openssl pkey -in \
                 encrypted.pem -out key.pem`, into a file that nobody but the service may read",
            ));
        }
        PrivateKeyDer::from_pem_slice(&self.text)
            .map_err(|_| self.fault("has no private key in PEM form"))
    }

    /// Whether a key in it can be read with a password only, as PKCS#8 says so and as older ones.
    fn is_encrypted(&self) -> bool {
        let mut lines = self.text.split(|byte| matches!(byte, b'\n' | b'\r'));
        lines.any(|line| {
            line.starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
                || line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED")
        })
    }

    fn is_no_certificate(&self) -> LockError {
        self.fault("has what is no certificate")
    }

    fn fault(&self, what: &str) -> LockError {
        let (option, path) = (self.option, self.path.escape_debug());
        LockError::invalid_option(format!("the file `{path}` of the option `{option}` {what}"))
    }
}

/// Who this program is: its certificate, those that lead from there to the authority, and its key.
///
/// # Errors
///
/// When one of the two is not in its file, or they do not belong together.
pub(crate) fn identity(
    certificate: &PemFile,
    key: &PemFile,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, LockError> {
    let identity = CertifiedKey::from_der(certificate.certificates()?, key.key()?, provider);
    identity.map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => key.fault(&format!(
            "has a key that does not belong to the first certificate of `{}`",
            certificate.option
        )),
        rustls::Error::InvalidCertificate(_) => certificate.is_no_certificate(),
        _ => key.fault("has a private key of a kind that cannot be used"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> PemFile {
        PemFile {
            option: "key_file",
            path: "/secrets/key.pem".to_owned(),
            text: text.as_bytes().to_vec(),
        }
    }

    fn assert_says(error: &LockError, says: &str) {
        let text = error.to_string();
        assert!(text.contains(says), "{says}: {text}");
        assert!(
            text.contains("`/secrets/key.pem` of the option `key_file`"),
            "{text}"
        );
        assert!(!text.contains("hunter"), "{text}");
    }

    #[test]
    fn faults_name_the_file_and_its_option_and_nothing_that_is_in_it() {
        for (text, says) in [
            ("", "no private key in PEM form"),
            ("hunter2", "no private key in PEM form"),
            ("-----BEGIN PRIVATE KEY-----\nhunter2", "no private key"),
            ("-----BEGIN PRIVATE KEY hunter2\n", "no private key"),
            (
                "-----BEGIN PRIVATE KEY-----\nhunter2!\n-----END PRIVATE KEY-----\n",
                "no private key",
            ),
            (
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nhunter2=\n\
                 -----END ENCRYPTED PRIVATE KEY-----\n",
                "`openssl pkey",
            ),
            (
                "-----BEGIN EC PRIVATE KEY-----\r\nProc-Type: 4,ENCRYPTED\r\n\
                 DEK-Info: AES-128-CBC,00\r\n\r\nhunter2=\r\n-----END EC PRIVATE KEY-----\r\n",
                "`openssl pkey",
            ),
        ] {
            assert_says(&file(text).key().unwrap_err(), says);
        }
        for (text, says) in [
            ("", "no certificate in PEM form"),
            ("-----BEGIN CERTIFICATE-----\nhunter2", "is no certificate"),
            (
                "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
                "is no certificate",
            ),
        ] {
            assert_says(&file(text).authorities().unwrap_err(), says);
        }
        let missing = PemFile::read("key_file", "/no/such/key".to_owned());
        let text = missing.err().expect("a fault").to_string();
        assert!(text.contains("`/no/such/key` of the option `key_file`"));
    }
}
