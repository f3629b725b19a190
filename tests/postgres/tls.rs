//! Encrypted connections: whose certificate is checked, and whose is not.

use std::io::{Read, Write};
use std::net::TcpListener;

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
