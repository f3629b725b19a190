//! The README's snippets and commands, done as a new user would: in a crate of its own, with the
//! dependency lines that the README gives.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a workspace")
        .to_path_buf()
}

/// The blocks of the README in this language.
fn blocks(language: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("the README");
    let start = format!("```{language}\n");
    let mut blocks = Vec::new();
    let mut rest = readme.as_str();
    while let Some((_, after)) = rest.split_once(&start) {
        let (block, after) = after.split_once("```").expect("the end of the block");
        blocks.push(block.to_owned());
        rest = after;
    }
    blocks
}

fn cargo(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("RUSTFLAGS")
        .env(
            "CARGO_TARGET_DIR",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme-target"),
        )
        .output()
        .expect("cargo runs")
}

fn assert_success(what: &str, output: &Output) {
    let (out, error) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{what} failed:\n{out}\n{error}");
}

/// A snippet without `main`, as the body of an async function with a manager of its own.
fn wrapped(snippet: &str) -> String {
    format!(
        "#[tokio::main]\nasync fn main() -> Result<(), lock_runtime::LockError> {{\n\
         lock_runtime::LockManager::memory().scope(async {{\n{snippet}\n\
         Ok::<(), lock_runtime::LockError>(())\n}}).await\n}}\n"
    )
}

#[test]
fn the_snippets_run_in_a_new_crate() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme-crate");
    // What an earlier run left there must not be taken for what the README says now.
    let _nothing_there = std::fs::remove_dir_all(&folder);
    let programs = folder.join("src/bin");
    std::fs::create_dir_all(&programs).expect("a folder");

    let dependencies = blocks("toml").join("\n");
    let runtime = root().join("lock-runtime");
    let dependencies = dependencies.replace("../lock-runtime", &runtime.to_string_lossy());
    let mut manifest = String::from(
        "[package]\nname = \"new-user\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n",
    );
    manifest.write_str(&dependencies).expect("a string");
    std::fs::write(folder.join("Cargo.toml"), manifest).expect("a manifest");
    std::fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).expect("a lock file");

    let snippets = blocks("rust");
    assert!(snippets.len() >= 5, "the README has lost its snippets");
    for (number, snippet) in snippets.iter().enumerate() {
        let program = if snippet.contains("fn main()") {
            snippet.clone()
        } else {
            wrapped(snippet)
        };
        std::fs::write(programs.join(format!("snippet{number}.rs")), program).expect("a program");
    }
    assert_success(
        "cargo build",
        &cargo(&folder, &["build", "--offline", "--bins"]),
    );
    for number in 0..snippets.len() {
        let name = format!("snippet{number}");
        assert_success(
            &name,
            &cargo(&folder, &["run", "--offline", "--quiet", "--bin", &name]),
        );
    }
}

#[test]
fn the_commands_are_there() {
    let commands = blocks("sh").join("\n");
    let commands: Vec<&str> = commands
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|command| !command.is_empty())
        .collect();
    assert_eq!(commands, ["cargo run --example kanban", "make test"]);

    let makefile = std::fs::read_to_string(root().join("Makefile")).expect("the Makefile");
    assert!(makefile.contains("\ntest:"), "`make test` is this very run");
    let output = cargo(&root(), &["run", "--offline", "--example", "kanban"]);
    assert_success(commands[0], &output);
}

#[test]
fn every_example_is_named() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("the README");
    let manifest = std::fs::read_to_string(root().join("examples/Cargo.toml")).expect("a manifest");
    let examples = manifest.split("[[example]]").skip(1).map(|section| {
        let name = section.split('"').nth(1).expect("a name");
        format!("`{name}`")
    });
    for example in examples {
        assert!(
            readme.contains(&example),
            "the README does not name the example {example}"
        );
    }
}
