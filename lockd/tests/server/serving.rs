//! A daemon on a thread, over its socket.

use std::io::Write;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};

use lockd::server::{Server, ServerError};
use serde_json::json;

use crate::client::{Client, acquire, daemon, folder, release, settings};

#[test]
fn locks_are_granted_queued_for_and_handed_on() {
    let (_base, server) = daemon();
    let mut one = Client::greeted(server.path());
    let mut other = Client::greeted(server.path());
    assert!(one.acquire("a", 1)["granted"].is_object());
    assert!(other.acquire("a", 2)["busy"].is_object());
    other.say(&acquire("a", 3, 60_000));
    other.hears_nothing();
    one.say(&release("a", 1));
    assert_eq!(one.hear()["held"]["held"], json!(true));
    assert_eq!(other.hear()["granted"]["queued"], json!(true));
    server.stop().expect("it ends well");
}

#[test]
fn a_burst_of_many_messages_is_answered_in_whole() {
    let (_base, server) = daemon();
    let mut client = Client::greeted(server.path());
    let mut writes = client.stream().try_clone().expect("a duplicate");
    let writer = std::thread::spawn(move || {
        let mut lines = String::new();
        for id in 0..20_000 {
            lines += &format!("{}\n", json!({"ping": {"id": id}}));
        }
        writes.write_all(lines.as_bytes()).expect("written");
    });
    for id in 0..20_000 {
        assert_eq!(client.hear(), json!({"pong": {"id": id}}));
    }
    writer.join().expect("it has written");
}

#[test]
fn everybody_is_told_at_the_end_and_the_socket_goes_but_not_its_lock() {
    let (base, server) = daemon();
    let socket = server.path().to_path_buf();
    let found = socket.symlink_metadata().expect("there");
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o7777, 0o600);
    // Connections are accepted in their order: this one before the next is greeted.
    let mut silent = Client::connect(&socket);
    let mut client = Client::greeted(&socket);
    server.stop().expect("it ends well");
    assert!(client.hear()["bye"].is_object());
    assert!(client.hear_or_end().is_none());
    assert!(silent.hear()["bye"].is_object());
    assert!(!socket.exists());
    assert!(base.path().join("run").join("l.sock.lock").exists());
}

#[test]
fn a_second_daemon_is_refused_and_does_no_harm() {
    let (base, server) = daemon();
    let error = Server::start(settings(&base)).expect_err("it is taken");
    assert!(matches!(error, ServerError::InUse { .. }), "{error}");
    // Nor on another socket with the same state.
    let mut other = settings(&base);
    other.socket = lockd::server::SocketSource::Path {
        path: base.path().join("run").join("other.sock"),
        mode: 0o600,
        group: None,
    };
    let error = Server::start(other).expect_err("its state is taken");
    assert!(error.to_string().contains("the state file"), "{error}");
    assert!(!base.path().join("run").join("other.sock").exists());
    Client::greeted(server.path());
    server.stop().expect("it ends well");
}

#[test]
fn it_can_be_started_again() {
    let base = folder();
    for number in 1..=3 {
        let server = Server::start(settings(&base)).expect("it starts");
        let mut client = Client::greeted(server.path());
        let granted = client.acquire(&format!("a{number}"), number);
        assert!(granted["granted"].is_object(), "{granted}");
        client.say(&release(&format!("a{number}"), number));
        client.hear();
        server.stop().expect("it ends well");
    }
}

#[test]
fn a_state_that_is_gone_stops_the_start_until_the_operator_says_so() {
    let (base, server) = daemon();
    let mut client = Client::greeted(server.path());
    assert!(client.acquire("a", 1)["granted"].is_object());
    server.stop().expect("it ends well");
    let state = base.path().join("state").join("l.state");
    std::fs::remove_file(&state).expect("it is there");
    let error = Server::start(settings(&base)).expect_err("it is missing");
    assert!(matches!(error, ServerError::StateMissing(_)), "{error}");
    assert!(!base.path().join("run").join("l.sock").exists());

    let mut reset = settings(&base);
    reset.reset_state = true;
    let server = Server::start(reset).expect("the operator says so");
    let mut client = Client::greeted(server.path());
    assert!(client.acquire("a", 2)["granted"].is_object());
    server.stop().expect("it ends well");
    Server::start(settings(&base)).expect("it is there again");
}

#[test]
fn a_state_that_cannot_be_read_stops_the_start() {
    let (base, server) = daemon();
    let mut client = Client::greeted(server.path());
    assert!(client.acquire("a", 1)["granted"].is_object());
    server.stop().expect("it ends well");
    let state = base.path().join("state").join("l.state");
    for text in ["", "{", "\u{0}", "something else"] {
        std::fs::write(&state, text).expect("written");
        let error = Server::start(settings(&base)).expect_err("it is no state");
        assert!(
            matches!(error, ServerError::StateUnreadable { .. }),
            "{error}"
        );
        assert!(error.to_string().contains("--reset-state"), "{error}");
        assert_eq!(
            std::fs::read_to_string(&state).expect("there"),
            text,
            "it stays"
        );
    }
}
