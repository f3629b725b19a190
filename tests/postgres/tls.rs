//! Encrypted connections: whose certificate is checked, and whose is not.

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
