//! The ten lines of PROTOCOL.md, run by Python.

use std::process::{Command, Output};

use crate::client::{Client, daemon};

const PAGE: &str = include_str!("../../PROTOCOL.md");

fn script() -> &'static str {
    let block = PAGE
        .split("```python\n")
        .nth(1)
        .expect("a client in Python");
    block.split("```").next().expect("its end")
}

fn run(socket: &std::path::Path) -> Output {
    Command::new("python3")
        .args(["-c", script()])
        .env("LOCKD_SOCKET", socket)
        .output()
        .expect("python3 runs; install the package python3-minimal")
}

#[test]
fn a_client_in_python_takes_ten_lines() {
    let (_base, server) = daemon();
    let mut last = 0;
    for _ in 0..2 {
        let output = run(server.path());
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{errors}");
        let said = String::from_utf8_lossy(&output.stdout);
        let token = said.trim_end().strip_prefix("token ");
        let token: u64 = token.and_then(|token| token.parse().ok()).expect("a token");
        assert!(token > last, "{token} after {last}");
        last = token;
    }
    let mut client = Client::greeted(server.path());
    assert!(client.acquire("report:7", 1)["granted"].is_object());
    let output = run(server.path());
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("busy: "));
    server.stop().expect("it ends well");
}
