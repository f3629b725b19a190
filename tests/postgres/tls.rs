//! Encrypted connections: whose certificate is checked, and whose is not.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

use servers::Postgres;

use super::stage::{connect, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_checked_unless_the_url_says_otherwise() {
    let server = Postgres::options().tls().start();
    let place = format!("postgres://postgres@localhost:{}/postgres", server.port());
    let authority = server.certificates().authority().display();

    let checked = format!("{place}?sslmode=verify-full&sslrootcert={authority}");
    let manager = connect(&checked).await.unwrap();
    manager.lock("name").run(async || ()).await.unwrap();

    let believed = format!("{place}?sslmode=require&insecure=true");
    let manager = connect(&believed).await.unwrap();
    manager.lock("name").run(async || ()).await.unwrap();

    // Signed by nobody whom this machine knows.
    let text = refusal(&format!("{place}?sslmode=verify-full")).await;
    assert!(
        text.contains("not trusted") && text.contains("sslrootcert"),
        "{text}"
    );

    let text = refusal(&format!("{place}?sslmode=require")).await;
    assert!(text.contains("insecure=true"), "{text}");

    // The server wants encryption.
    let text = refusal(&format!("{place}?sslmode=disable")).await;
    assert!(text.contains("pg_hba.conf"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_encryption_is_refused_where_it_is_wanted() {
    let server = Postgres::shared();
    let url = format!("{}?sslmode=require&insecure=true", server.url());
    let text = refusal(&url).await;
    assert!(text.contains("speaks no TLS"), "{text}");
}

/// A server that is going down hangs up in the middle of the handshake, and says nothing of its
/// certificate.
#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_breaks_is_no_lack_of_trust() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = [0; 8];
            let _asked = stream.read_exact(&mut asked);
            let _yes = stream.write_all(b"S");
        }
    });
    let url = format!("postgres://me@127.0.0.1:{port}/app?sslmode=require&insecure=true");
    let text = refusal(&url).await;
    assert!(text.contains("cannot be reached"), "{text}");
    assert!(!text.contains("not trusted"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wants_a_certificate_is_shown_one() {
    let server = Postgres::options().client_certificates().start();
    let certificates = server.certificates();
    let place = format!("postgres://postgres@localhost:{}/postgres", server.port());
    let checked = format!("{place}?sslrootcert={}", certificates.authority().display());
    let shown = |(certificate, key): (&Path, &Path)| {
        let (certificate, key) = (certificate.display(), key.display());
        format!("sslcert={certificate}&sslkey={key}")
    };
    let own = shown(certificates.client());

    let manager = connect(&format!("{checked}&{own}")).await.unwrap();
    manager.lock("name").run(async || ()).await.unwrap();
    let believed = format!("{place}?sslmode=require&insecure=true");
    let manager = connect(&format!("{believed}&{own}")).await.unwrap();
    manager.lock("name").run(async || ()).await.unwrap();
    // Both connections show it: also the one that listens somewhere else.
    let listening = format!("{checked}&{own}").replace('?', "%3F");
    let listening = listening.replace('&', "%26");
    let manager = connect(&format!("{checked}&{own}&listen_url={listening}")).await;
    manager
        .unwrap()
        .lock("name")
        .run(async || ())
        .await
        .unwrap();

    let text = refusal(&checked).await;
    assert!(text.contains("`sslcert`"), "missing: {text}");
    let stranger = Postgres::options().tls().start();
    let other = shown(stranger.certificates().client());
    let text = refusal(&format!("{checked}&{other}")).await;
    assert!(text.contains("`sslcert`"), "of a stranger: {text}");
    assert!(text.contains("does not trust this program"), "{text}");
    // It is for `localhost`, and the user is `postgres`.
    let text = refusal(&format!("{checked}&{}", shown(certificates.server()))).await;
    assert!(text.contains("`sslcert`"), "of another user: {text}");
    assert!(text.contains("does not let this user in"), "{text}");
    let (certificate, _) = certificates.client();
    let (_, key) = certificates.server();
    let text = refusal(&format!("{checked}&{}", shown((certificate, key)))).await;
    assert!(text.contains("does not belong"), "no pair: {text}");
}
