//! Every example runs, ends well, and prints what it is there to show.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// A line, or the beginning of one, that shows what an example is about.
const TELLING: [(&str, &str); 10] = [
    ("bank_transfer", "400 in total, as in the beginning."),
    ("chess", "bob moves first: Not your turn: turn:7"),
    (
        "connect_four",
        "42 pieces landed, 28 found their column full, 0 landed",
    ),
    ("custom_backend", "10 seats were sold, none of them twice."),
    ("hello", "Hello, Ada!"),
    ("kanban", "With a lock manager:    100 remembered, 0 lost."),
    ("payments", "With a lock manager:    3 charges, 0 too many"),
    ("scheduled_job", "Two nights, two reports."),
    (
        "slides",
        "ann presents, ann turns; Not your turn: navigation:roadmap",
    ),
    ("sync_threads", "300 visits counted."),
];

/// Nobody waits longer for an example.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn every_example_shows_what_it_is_about() {
    let examples = build();
    for (name, _) in TELLING {
        assert!(examples.contains_key(name), "there is no example `{name}`");
    }
    for (name, program) in examples {
        let output = run(&name, &program);
        let telling = TELLING.iter().find(|(known, _)| *known == name);
        let telling = telling.map_or("", |(_, line)| *line);
        assert!(
            output.contains(telling) && !output.is_empty(),
            "`{telling}` is not in the output of `{name}`:\n{output}"
        );
    }
}

/// Builds the examples beside this test, and returns where they are.
fn build() -> BTreeMap<String, PathBuf> {
    let this = std::env::current_exe().unwrap();
    // `target/debug/deps/this`
    let target = this.ancestors().nth(3).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["build", "--examples", "--package", "examples"])
        .arg("--message-format=json-render-diagnostics")
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().filter_map(example).collect()
}

/// The example that a message of cargo is about.
fn example(message: &str) -> Option<(String, PathBuf)> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let target = &message["target"];
    let is_example = target["kind"]
        .as_array()?
        .iter()
        .any(|kind| kind == "example");
    let program = message["executable"].as_str().filter(|_| is_example)?;
    Some((target["name"].as_str()?.to_owned(), program.into()))
}

/// Runs an example to its end, and returns what it printed.
fn run(name: &str, program: &PathBuf) -> String {
    let mut child = Command::new(program)
        .env_remove("LOCK_REQUIRED")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if started.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("`{name}` does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let printed = std::io::read_to_string(child.stdout.take().unwrap()).unwrap();
    assert!(
        status.success(),
        "`{name}` failed with {status}:\n{printed}"
    );
    printed
}
