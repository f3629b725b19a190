//! A client that looks at locks, and one that comes next.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Client, eventually};
use crate::process::now;

/// Longer than a test takes.
pub(crate) const MINUTE: u64 = 60_000;

/// A request for a lock. The number is the request's and the owner's.
pub(crate) fn acquire(name: &str, number: u64, ttl_ms: u64, wait_ms: u64) -> Value {
    json!({"acquire": {
        "id": number,
        "name": name,
        "owner": owner(number),
        "ttl_ms": ttl_ms,
        "wait_ms": wait_ms,
    }})
}

/// What comes of a request: `claim` or `release`.
pub(crate) fn then(what: &str, name: &str, number: u64) -> Value {
    json!({what: {"id": number, "name": name, "owner": owner(number)}})
}

/// An owner, whose first half is shown to others and whose second half is its secret.
pub(crate) fn owner(number: u64) -> String {
    format!("{number:016x}{number:032x}")
}

/// Looks at locks, and holds none.
pub(crate) struct Eye(Client);

impl Eye {
    pub(crate) fn on(socket: &Path) -> Self {
        Self(Client::greeted(socket))
    }

    pub(crate) fn lock(&mut self, name: &str) -> Value {
        self.0.say(&json!({"inspect": {"id": 1, "name": name}}));
        self.0.hear()["lock"]["lock"].take()
    }

    #[track_caller]
    pub(crate) fn until_held(&mut self, name: &str) {
        let sections = |lock: &Value| lock["sections"].as_array().expect("a list").len();
        eventually("it is held", || sections(&self.lock(name)) == 1);
    }

    #[track_caller]
    pub(crate) fn until_waiting(&mut self, name: &str, number: usize) {
        eventually("so many wait", || {
            self.lock(name)["waiting"] == json!(number)
        });
    }

    /// Everything of which anything is known.
    pub(crate) fn list(&mut self) -> Vec<Value> {
        self.0.say(&json!({"list": {"id": 1, "prefix": ""}}));
        let mut answer = self.0.hear();
        assert_eq!(answer["locks"]["next"], Value::Null, "{answer}");
        serde_json::from_value(answer["locks"]["locks"].take()).expect("a list")
    }

    /// Waits until nothing is left.
    #[track_caller]
    pub(crate) fn until_nothing_is_left(&mut self) {
        eventually("nothing is left", || self.list().is_empty());
    }
}

/// Waits for a lock, and holds it.
pub(crate) struct Next {
    client: Client,
    name: String,
    number: u64,
}

impl Next {
    /// Somebody who waits for it. The number is its own.
    pub(crate) fn waits(socket: &Path, name: &str, number: u64) -> Self {
        let mut next = Self {
            client: Client::greeted(socket),
            name: name.to_owned(),
            number,
        };
        next.waits_again(number);
        next
    }

    /// Waits for it once more, on the same connection.
    pub(crate) fn waits_again(&mut self, number: u64) {
        self.number = number;
        self.client
            .say(&acquire(&self.name, number, MINUTE, MINUTE));
    }

    /// Waits until it has the lock. Returns the token, and when it had it.
    #[track_caller]
    pub(crate) fn enters(&mut self) -> (u64, Duration) {
        let granted = self.client.hear();
        let token = granted["granted"]["token"].as_u64();
        let token = token.unwrap_or_else(|| panic!("not granted: {granted}"));
        if granted["granted"]["queued"] == json!(true) {
            self.client.say(&then("claim", &self.name, self.number));
            let held = self.client.hear();
            assert_eq!(held["held"]["held"], json!(true), "{held}");
        }
        (token, now())
    }

    /// Nobody lets it in yet.
    #[track_caller]
    pub(crate) fn is_kept_out(&mut self) {
        self.client.hears_nothing();
    }

    #[track_caller]
    pub(crate) fn leaves(&mut self) {
        self.client.say(&then("release", &self.name, self.number));
        let held = self.client.hear();
        assert_eq!(held["held"]["held"], json!(true), "{held}");
    }
}
