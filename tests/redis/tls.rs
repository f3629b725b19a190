//! Encrypted ways, whose certificates are checked, and which show one of their own.

use std::path::Path;

use servers::{Certificates, Redis, RedisCluster, RedisOptions, Sentinels};

use crate::failovers::enter;
use crate::harness::{connected, refusal, seconds, soon, until};
use crate::refusals::assert_says;

/// What is said to whom a server's certificate is not trusted.
const UNTRUSTED: &[&str] = &["certificate that is not trusted", "`ca_file`"];

/// What is said to whom a server does not trust.
const UNKNOWN: &[&str] = &["wants a certificate", "`cert_file`", "`key_file`"];

fn encrypted() -> RedisOptions {
    Redis::options().tls()
}

fn ca_file(certificates: &Certificates) -> String {
    format!("ca_file={}", certificates.authority().display())
}

/// The options for a certificate and its key.
fn shown((certificate, key): (&Path, &Path)) -> String {
    let (certificate, key) = (certificate.display(), key.display());
    format!("cert_file={certificate}&key_file={key}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_trusted_by_its_authority() {
    let server = encrypted().start();
    let authority = ca_file(server.certificates());
    let manager = connected(&format!("{}?{authority}", server.url())).await;
    manager.lock("name").run(async || ()).await.unwrap();
    let plain = server.url().replace("rediss:", "redis:");
    let manager = connected(&format!("{plain}?tls=true&{authority}")).await;
    manager.lock("name").run(async || ()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_trusted_is_refused() {
    let both = ["--bind", "127.0.0.1", "127.0.0.2"];
    let server = encrypted().arguments(both).start();
    assert_says(&refusal(&server.url()).await, UNTRUSTED);
    let another = encrypted().start();
    let authority = ca_file(another.certificates());
    let text = refusal(&format!("{}?{authority}", server.url())).await;
    assert_says(&text, UNTRUSTED);
    // Nor is one whose certificate is for another address.
    let authority = ca_file(server.certificates());
    let elsewhere = server.url().replace("127.0.0.1", "127.0.0.2");
    let text = refusal(&format!("{elsewhere}?{authority}")).await;
    assert_says(&text, &["not for the name or address", "127.0.0.2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_trusted_by_its_authority() {
    let nodes = ["--cluster-enabled", "yes", "--tls-cluster", "yes"];
    let node = encrypted().arguments(nodes).start();
    node.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    until("it serves", async || {
        node.try_command(&["GET", "key"]).is_ok()
    })
    .await;
    let url = node.url().replace("rediss:", "redis+cluster:");
    let authority = ca_file(node.certificates());
    let manager = connected(&format!("{url}?tls=true&{authority}")).await;
    manager.lock("name").run(async || ()).await.unwrap();
    assert_says(&refusal(&format!("{url}?tls=true")).await, UNTRUSTED);
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_and_encrypted_do_not_meet() {
    let server = encrypted().start();
    let text = refusal(&server.url().replace("rediss:", "redis:")).await;
    assert_says(&text, &["127.0.0.1", "write `tls=true`"]);
    let server = Redis::start();
    let text = refusal(&server.url().replace("redis:", "rediss:")).await;
    assert_says(&text, &["127.0.0.1", "speaks no TLS"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wants_a_certificate_is_shown_one() {
    let server = encrypted().client_certificates().start();
    let certificates = server.certificates();
    let url = format!("{}?{}", server.url(), ca_file(certificates));
    let own = shown(certificates.client());
    let manager = connected(&format!("{url}&{own}")).await;
    manager.lock("name").run(async || ()).await.unwrap();

    assert_says(&refusal(&url).await, UNKNOWN);
    let stranger = encrypted().start();
    let other = shown(stranger.certificates().client());
    assert_says(&refusal(&format!("{url}&{other}")).await, UNKNOWN);
}

/// Of which the URL names one node: the others are spoken to like that one, and so is whoever
/// takes a master's place.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_wants_certificates_is_shown_one_everywhere() {
    let mut cluster = RedisCluster::start_encrypted();
    let url = cluster.url();
    let (one, _others) = url.split_once(',').unwrap();
    let certificates = cluster.certificates();
    let trusting = format!("{one}?tls=true&{}", ca_file(certificates));
    let manager = connected(&format!("{trusting}&{}", shown(certificates.client()))).await;
    assert_says(&refusal(&trusting).await, UNKNOWN);
    let names = ["one", "two", "three", "four", "five", "six"];
    let mut before = Vec::new();
    for name in names {
        before.push(enter(&manager, name).await);
    }
    cluster.nodes()[1].kill();
    for (name, before) in names.iter().zip(before) {
        assert!(enter(&manager, name).await > before, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_and_a_key_that_are_no_pair_are_refused() {
    let server = encrypted().start();
    let certificates = server.certificates();
    let url = format!("{}?{}", server.url(), ca_file(certificates));
    let (certificate, key) = certificates.client();
    let (_, other) = certificates.server();
    let text = refusal(&format!("{url}&{}", shown((certificate, other)))).await;
    assert_says(&text, &["does not belong", "`cert_file`", "server.key"]);
    let text = refusal(&format!("{url}&{}", shown((key, key)))).await;
    assert_says(&text, &["no certificate", "`cert_file`", "client.key"]);
    let text = refusal(&format!("{url}&{}", shown((certificate, certificate)))).await;
    assert_says(&text, &["no private key", "`key_file`", "client.pem"]);
    // Both in one file, which both options name.
    let folder = tempfile::tempdir().unwrap();
    let together = folder.path().join("together.pem");
    let read = |path| std::fs::read_to_string(path).unwrap();
    std::fs::write(&together, read(key) + &read(certificate)).unwrap();
    connected(&format!("{url}&{}", shown((&together, &together)))).await;
}

/// Sentinels and servers have authorities of their own, and want certificates of their clients.
#[tokio::test(flavor = "multi_thread")]
async fn encrypted_sentinels_lead_to_the_new_master() {
    let mut sentinels = Sentinels::start_encrypted();
    let url = format!(
        "{}?tls=true&ca_file={}&{}&wait_replicas=1&wait_timeout=1s",
        sentinels.url(),
        sentinels.both_authorities().display(),
        shown(sentinels.certificates().client())
    );
    let manager = connected(&url).await;
    let request = manager.lock("held").ttl(seconds(120));
    let guard = request.acquire().await.unwrap();
    let before = enter(&manager, "name").await;
    sentinels.master().kill();
    assert!(enter(&manager, "name").await > before);
    assert!(guard.is_held());
    assert!(manager.lock("held").try_acquire().await.unwrap().is_none());
    guard.release().await.unwrap();
    let guard = soon("free", manager.lock("held").acquire()).await.unwrap();
    guard.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_and_their_master_are_checked_each() {
    let sentinels = Sentinels::start_encrypted();
    let (nodes, own) = (
        sentinels.certificates(),
        sentinels.certificates_of_sentinels(),
    );
    let client = shown(nodes.client());
    let both = format!("ca_file={}", sentinels.both_authorities().display());
    let (url, plain) = (sentinels.url(), sentinels.plain_url());
    let all = format!("{url}?tls=true&{both}&{client}");
    connected(&format!("{all}&sentinel_tls=true")).await;

    // Of the two, only one is trusted.
    for trusted in [nodes, own] {
        let text = refusal(&format!("{url}?tls=true&{}&{client}", ca_file(trusted))).await;
        assert_says(&text, UNTRUSTED);
        assert_says(&text, &["a Sentinel, or the server that it names"]);
    }
    // Where the Sentinels are excepted, the master is not.
    let excepted = format!("{plain}?tls=true&sentinel_tls=false&{client}");
    let manager = connected(&format!("{excepted}&{}", ca_file(nodes))).await;
    manager.lock("name").run(async || ()).await.unwrap();
    let text = refusal(&format!("{excepted}&{}", ca_file(own))).await;
    assert_says(&text, UNTRUSTED);
    // They are excepted by these words alone.
    refusal(&format!("{plain}?tls=true&{both}&{client}")).await;
    refusal(&format!("{all}&sentinel_tls=false")).await;
    // Both want to know who asks: the Sentinels, and the master.
    assert_says(&refusal(&format!("{url}?tls=true&{both}")).await, UNKNOWN);
    let text = refusal(&format!("{plain}?tls=true&sentinel_tls=false&{both}")).await;
    assert_says(&text, UNKNOWN);
    // Nothing is encrypted that was not asked to be.
    refusal(&url).await;
    refusal(&plain).await;
}
