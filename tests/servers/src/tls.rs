//! Certificates of an authority of their own, as files.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use crate::folder::Folder;

/// Files of certificates and keys, all by one authority that nobody else knows.
#[derive(Clone, Debug)]
pub struct Certificates {
    authority: PathBuf,
    server: (PathBuf, PathBuf),
    client: (PathBuf, PathBuf),
}

impl Certificates {
    /// Makes them: one for a server on `127.0.0.1` or `localhost`, and one for a client.
    ///
    /// The client's could be that of a server too, and the other way round: only the names differ.
    pub(crate) fn create(folder: &Folder, client: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        name(&mut authority, "an authority of tests");
        let certificate = authority.self_signed(&key).expect("signed");
        let authority = Issuer::new(authority, key);
        Self {
            server: issue(folder, &authority, "server", "localhost"),
            client: issue(folder, &authority, "client", client),
            authority: folder.write("authority.pem", &certificate.pem()),
        }
    }

    /// The certificate of the authority, which a client has to trust.
    pub fn authority(&self) -> &Path {
        &self.authority
    }

    /// The certificate of the server, and its key.
    pub fn server(&self) -> (&Path, &Path) {
        (&self.server.0, &self.server.1)
    }

    /// The certificate of a client, and its key.
    pub fn client(&self) -> (&Path, &Path) {
        (&self.client.0, &self.client.1)
    }
}

/// A certificate and its key.
fn issue(
    folder: &Folder,
    authority: &Issuer<'_, KeyPair>,
    file: &str,
    common_name: &str,
) -> (PathBuf, PathBuf) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    name(&mut params, common_name);
    params.subject_alt_names = vec![
        SanType::DnsName("localhost".try_into().expect("ASCII")),
        SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
    ];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // A server of etcd is a client too, of its own gateway and of its peers.
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, authority).expect("signed");
    (
        folder.write(&format!("{file}.pem"), &certificate.pem()),
        folder.write(&format!("{file}.key"), &key.serialize_pem()),
    )
}

/// A file with the authorities of all of these.
pub(crate) fn authorities(folder: &Folder, of: &[&Certificates]) -> PathBuf {
    let read = |certificates: &&Certificates| fs::read_to_string(certificates.authority());
    let all: String = of.iter().map(|one| read(one).expect("written")).collect();
    folder.write("authorities.pem", &all)
}

fn name(params: &mut CertificateParams, name: &str) {
    params.distinguished_name.push(DnType::CommonName, name);
}
