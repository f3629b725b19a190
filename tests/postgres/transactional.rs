//! The example `transactional`, with a server.

use std::process::Command;

use super::built::build;
use super::stage::Database;

#[test]
fn a_frozen_process_does_not_write() {
    let database = Database::create();
    let output = Command::new(&build()["transactional"])
        .env("LOCK_URL", database.url())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert!(
        text.contains("and commits: ERROR: Lock lost: account:7"),
        "{text}"
    );
    assert!(text.contains("The balance is 105."), "{text}");
}
