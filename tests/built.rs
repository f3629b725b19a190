//! The programs of this tree, as the test run has built them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// The daemon, and the command line: the programs that are no examples.
pub(crate) const DAEMON: &str = "lockd";
pub(crate) const COMMAND_LINE: &str = "lockctl";

/// The programs, and where they are. Built once, with the features of the whole
/// test run, so that what it has built already is not built again.
pub(crate) fn build() -> &'static BTreeMap<String, PathBuf> {
    static PROGRAMS: LazyLock<BTreeMap<String, PathBuf>> = LazyLock::new(|| {
        let this = std::env::current_exe().unwrap();
        // `target/debug/deps/this`
        let target = this.ancestors().nth(3).unwrap();
        let mut command = Command::new(env!("CARGO"));
        // What cargo says of this package is not meant for the others: some build scripts run
        // again when it changes.
        for (variable, _) in std::env::vars_os() {
            let name = variable.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&variable);
            }
        }
        let output = command
            .args(["build", "--locked", "--workspace", "--all-features"])
            .args(["--examples", "--bin", DAEMON, "--bin", COMMAND_LINE])
            .arg("--message-format=json-render-diagnostics")
            .arg("--target-dir")
            .arg(target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success(), "cargo failed: {}", output.status);
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().filter_map(program).collect()
    });
    &PROGRAMS
}

/// The program that a message of cargo is about.
fn program(message: &str) -> Option<(String, PathBuf)> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let target = &message["target"];
    let is_program = target["kind"]
        .as_array()?
        .iter()
        .any(|kind| kind == "example" || kind == "bin");
    let program = message["executable"].as_str().filter(|_| is_program)?;
    Some((target["name"].as_str()?.to_owned(), program.into()))
}
