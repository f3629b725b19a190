//! One server of Redis.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use servers::Redis;

#[test]
fn it_answers_and_forgets_when_it_is_killed() {
    let mut redis = Redis::start();
    assert!(redis.url().starts_with("redis://127.0.0.1:"));
    redis.command(&["SET", "key", "value"]);
    assert_eq!(redis.command(&["GET", "key"]), "value");
    redis.kill();
    assert!(redis.try_command(&["PING"]).is_err());
    redis.start_again();
    assert_eq!(redis.command(&["GET", "key"]), "");
}

#[test]
fn a_durable_one_keeps_its_data() {
    let mut redis = Redis::options().durable().start();
    redis.command(&["SET", "key", "1"]);
    redis.kill();
    redis.start_again();
    redis.command(&["INCR", "key"]);
    redis.restart();
    assert_eq!(redis.command(&["GET", "key"]), "2");
}

#[test]
fn it_has_a_password_and_a_user() {
    let redis = Redis::options()
        .password("secret")
        .user("locker", "hidden", "~lock:* +@all")
        .start();
    assert_eq!(redis.command(&["ACL", "WHOAMI"]), "default");
    let port = redis.port();
    assert_eq!(
        redis.url(),
        format!("redis://locker:hidden@127.0.0.1:{port}")
    );
    assert!(redis.command(&["ACL", "LIST"]).contains("user locker on"));
}

#[test]
fn it_takes_arguments() {
    let redis = Redis::options()
        .arguments(["--maxmemory", "100kb", "--maxmemory-policy", "noeviction"])
        .start();
    let refused = redis.try_command(&["SET", "key", "value"]);
    assert!(refused.expect_err("no room").starts_with("OOM"));
}

#[test]
fn one_that_is_paused_does_not_answer_until_it_goes_on() {
    let mut redis = Redis::start();
    redis.pause();
    let mut client = Command::new("redis-cli");
    let client = client.args(["-p", &redis.port().to_string(), "INCR", "key"]);
    let client = client.stdout(Stdio::piped()).spawn().expect("it runs");
    // What it was sent meanwhile it does later.
    assert!(redis.try_command(&["GET", "key"]).is_err());
    redis.resume();
    let output = client.wait_with_output().expect("it ends");
    assert_eq!(output.stdout, b"1\n");
    assert_eq!(redis.command(&["GET", "key"]), "1");
}

#[test]
fn it_speaks_tls() {
    let redis = Redis::options().tls().start();
    assert_eq!(redis.url(), format!("rediss://127.0.0.1:{}", redis.port()));
    let ask = |arguments: &[&str]| -> Output {
        let mut client = Command::new("redis-cli");
        client.args(["-p", &redis.port().to_string()]);
        client
            .args(arguments)
            .arg("PING")
            .output()
            .expect("it runs")
    };
    let authority = redis.certificates().authority();
    let trusted = ask(&["--tls", "--cacert", authority.to_str().expect("text")]);
    assert_eq!(trusted.stdout, b"PONG\n");
    let (stranger, _) = redis.certificates().client();
    assert!(
        !ask(&["--tls", "--cacert", stranger.to_str().expect("text")])
            .status
            .success()
    );
    assert!(!ask(&[]).status.success());
}

#[test]
fn it_wants_a_certificate_of_its_authority() {
    let redis = Redis::options().client_certificates().start();
    let stranger = Redis::options().tls().start();
    let ask = |shown: &[&Path]| {
        let mut client = Command::new("redis-cli");
        client.args(["-p", &redis.port().to_string(), "--tls", "--cacert"]);
        client.arg(redis.certificates().authority());
        for (option, shown) in ["--cert", "--key"].iter().zip(shown) {
            client.arg(option).arg(shown);
        }
        client.arg("PING").output().expect("it runs").stdout
    };
    let (certificate, key) = redis.certificates().client();
    assert_eq!(ask(&[certificate, key]), b"PONG\n");
    assert_eq!(ask(&[]), b"");
    let (certificate, key) = stranger.certificates().client();
    assert_eq!(ask(&[certificate, key]), b"");
}

#[test]
fn the_shared_one_is_the_same_for_all() {
    let port = std::thread::spawn(|| Redis::shared().port()).join();
    let redis = Redis::shared();
    assert_eq!(port.expect("started"), redis.port());
    assert_eq!(redis.command(&["PING"]), "PONG");
}
