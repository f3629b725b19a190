//! What happens when the state cannot be saved.

use std::fs;

use lockd::server::{Server, ServerError};

use crate::client::{Client, daemon, settings};

#[test]
fn nothing_is_said_that_could_not_be_saved() {
    let (base, server) = daemon();
    // Works for root too: the new file has no place.
    let in_the_way = base.path().join("state").join("l.state.new");
    fs::create_dir_all(in_the_way.join("x")).expect("made");
    let mut client = Client::greeted(server.path());
    client.say(&crate::client::acquire("a", 1, 0));
    client.hears_nothing();
    fs::remove_dir_all(&in_the_way).expect("removed");
    assert!(client.hear()["granted"].is_object());
    server.stop().expect("it ends well");
}

#[test]
fn an_end_without_the_last_changes_is_an_error_and_leaves_what_was_saved() {
    let (base, server) = daemon();
    let mut client = Client::greeted(server.path());
    assert!(client.acquire("a", 1)["granted"].is_object());
    let state = base.path().join("state").join("l.state");
    let before = fs::read(&state).expect("there");
    let in_the_way = base.path().join("state").join("l.state.new");
    fs::create_dir_all(in_the_way.join("x")).expect("made");
    client.say(&serde_json::json!({"assign": {
        "id": 2,
        "attempt": "0123456789abcdef0123456789abcdef",
        "name": "b",
        "to": "alice",
        "by": {"caller": "alice"},
    }}));
    client.hears_nothing();
    let error = server.stop().expect_err("it could not be saved");
    assert!(
        matches!(error, ServerError::StateNotSaved { .. }),
        "{error}"
    );
    assert_eq!(fs::read(&state).expect("there"), before);
    fs::remove_dir_all(&in_the_way).expect("removed");
    Server::start(settings(&base)).expect("it goes on from there");
}
