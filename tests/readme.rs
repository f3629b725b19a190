//! The README's snippets and commands, done as a new user would: in a crate of its own, with the
//! dependency lines that the README gives.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

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

fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme-target")
}

fn cargo(folder: &Path, arguments: &[&str]) -> Output {
    let output = cargo_in(folder).args(arguments).output();
    output.expect("cargo runs")
}

fn cargo_in(folder: &Path) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(folder);
    cargo.env_remove("RUSTFLAGS");
    cargo.env("CARGO_TARGET_DIR", target());
    cargo
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
    let example = "cargo run -p examples --example kanban";
    assert_eq!(commands, [example, "make test"]);

    let makefile = std::fs::read_to_string(root().join("Makefile")).expect("the Makefile");
    assert!(makefile.contains("\ntest:"), "`make test` is this very run");
    let mut run = cargo_in(&root());
    run.args(["run", "--offline", "-p", "examples", "--example", "kanban"]);
    // It needs nothing but Rust, so not what etcd's client is built with either.
    let output = run.env("PROTOC", "/nowhere").output();
    assert_success(example, &output.expect("cargo runs"));
}

/// Where the README's demonstration has its daemon.
const DEMO: &str = "/tmp/lockd-demo";

/// The commands of the README that are about `lockd`, in a folder of their own.
struct Demo {
    folder: tempfile::TempDir,
}

/// A command that runs beside the test. All that it started ends with it.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let mut kill = Command::new("sh");
        kill.args(["-c", &format!("kill -9 -{}", self.0.id())]);
        let _killed = kill.stderr(Stdio::null()).status();
        let _reaped = self.0.wait();
    }
}

impl Demo {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder }
    }

    fn in_here(&self, command: &str) -> String {
        let folder = self.folder.path().join("demo");
        command.replace(DEMO, folder.to_str().expect("a name"))
    }

    /// A command line, as the shell of somebody who has installed lockd runs it.
    fn shell(&self, command: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", &self.in_here(command)]);
        shell.current_dir(root()).stdin(Stdio::null());
        for variable in ["URL", "NAMESPACE", "TTL", "WAIT", "REQUIRED"] {
            shell.env_remove(format!("LOCK_{variable}"));
        }
        for variable in ["LOCKD_SOCKET", "LOCKD_LOG", "LISTEN_FDS", "NOTIFY_SOCKET"] {
            shell.env_remove(variable);
        }
        let cargo = Path::new(env!("CARGO")).parent().expect("a folder");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = [self.folder.path().join("bin"), cargo.to_path_buf()]
            .into_iter()
            .chain(std::env::split_paths(&path));
        shell
            .env("PATH", std::env::join_paths(path).expect("a path"))
            .env("CARGO_NET_OFFLINE", "true")
            .env("CARGO_INSTALL_ROOT", self.folder.path())
            .env("CARGO_TARGET_DIR", target())
            .env("KANBAN_BOARD", self.folder.path().join("board"))
            .env("KANBAN_ROUNDS", "3")
            .env_remove("RUSTFLAGS")
            .process_group(0);
        shell
    }

    #[track_caller]
    fn done(&self, command: &str) -> String {
        let output = self.shell(command).output().expect("a shell");
        assert_success(command, &output);
        String::from_utf8(output.stdout).expect("text")
    }

    /// Starts a command, and returns when it has written a line with this in it.
    #[track_caller]
    fn until(&self, command: &str, telling: &str) -> Running {
        let mut shell = self.shell(command);
        let child = shell.stdout(Stdio::piped()).spawn().expect("a shell");
        let mut running = Running(child);
        wait_for(&mut running, telling);
        running
    }
}

#[track_caller]
fn wait_for(running: &mut Running, telling: &str) {
    let mut output = BufReader::new(running.0.stdout.take().expect("piped"));
    let mut printed = String::new();
    while !printed.contains(telling) {
        let length = output.read_line(&mut printed).expect("text");
        assert!(length > 0, "no `{telling}` in:\n{printed}");
    }
    // Whoever writes goes on.
    std::thread::spawn(move || output.read_to_end(&mut Vec::new()));
}

#[test]
fn the_commands_between_processes_work() {
    let commands = blocks("bash").join("\n");
    let commands: Vec<&str> = commands
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|command| !command.is_empty())
        .collect();
    let [install, lockd, kanban, watch, export, looks @ ..] = commands.as_slice() else {
        panic!("the README has lost its commands");
    };
    let demo = Demo::new();
    // What an installation without it builds takes longer, and does the same.
    demo.done(&format!("{install} --debug"));
    let _daemon = demo.until(lockd, "lockd listens on unix:");
    let mut watching = demo.shell(watch);
    let watching = watching.stdout(Stdio::piped()).spawn().expect("a shell");
    let mut watching = Running(watching);

    let run = " cargo run -p examples --example kanban";
    assert!(kanban.ends_with(run), "{kanban}");
    demo.done(&run.replace("run", "build"));
    let both = std::thread::scope(|scope| {
        [(); 2]
            .map(|()| scope.spawn(|| demo.done(kanban)))
            .map(|run| run.join().expect("it succeeds"))
    });
    for printed in both {
        let telling = "With a lock manager:    300 remembered, 0 lost.";
        assert!(printed.contains(telling), "{printed}");
    }
    wait_for(&mut watching, "kanban@");

    let held = format!("{export}; lockctl run task:1 -- sh -c 'echo in; exec sleep 1000'");
    let mut held = demo.until(&held, "in");
    let [list, show, release] = looks else {
        panic!("{looks:?}");
    };
    for (look, telling) in [
        (list, "lockctl run sh@"),
        (show, "state       held"),
        (release, "task:1: 1 section was ended"),
    ] {
        let printed = demo.done(&format!("{export}; {look}"));
        assert!(printed.contains(telling), "{look}:\n{printed}");
    }
    let ended = held.0.wait().expect("it has ended");
    assert_eq!(ended.code(), Some(75), "its lock is lost");

    // The service of the snippet, with the dependency that has the feature.
    let dependency = blocks("text").into_iter();
    let dependency = dependency.filter(|block| block.contains("features = [\"lockd\"]"));
    let dependency: String = dependency.collect();
    let runtime = root().join("lock-runtime");
    let dependency = dependency.replace("../lock-runtime", &runtime.to_string_lossy());
    let service = demo.folder.path().join("service");
    std::fs::create_dir_all(service.join("src")).expect("a folder");
    let manifest = format!(
        "[package]\nname = \"service\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n\
         [dependencies]\n{dependency}\
         tokio = {{ version = \"1\", features = [\"macros\", \"rt-multi-thread\"] }}\n"
    );
    std::fs::write(service.join("Cargo.toml"), manifest).expect("a manifest");
    std::fs::copy(root().join("Cargo.lock"), service.join("Cargo.lock")).expect("a lock file");
    let snippets = blocks("rust").into_iter();
    let snippet: String = snippets
        .filter(|block| block.contains("from_env"))
        .collect();
    std::fs::write(service.join("src/main.rs"), snippet).expect("a program");
    let run = format!("{export}; cd {}; cargo run --quiet", service.display());
    demo.done(&run);
    let wrong = run.replace("lockd.sock", "another.sock");
    let refused = demo.shell(&wrong).output().expect("a shell");
    assert!(!refused.status.success(), "nobody listens there");
}

#[test]
fn the_line_for_cron_works() {
    let [table] = blocks("cron").try_into().expect("one table of cron");
    let (url, job) = table.split_once('\n').expect("two lines");
    let socket = url.strip_prefix("LOCK_URL=unix:").expect(url);
    let job: Vec<&str> = job.trim().splitn(6, ' ').collect();
    let [_, _, _, _, _, command] = job.as_slice() else {
        panic!("{job:?}");
    };
    let (lockctl, report) = command.split_once(" -- ").expect("a command");
    assert!(report.starts_with('/'), "{report}");

    let demo = Demo::new();
    demo.done("cargo install --locked --path lockd --debug");
    let daemon = format!("lockd --socket {DEMO}/lockd.sock --state {DEMO}/lockd.state");
    let _daemon = demo.until(&daemon, "lockd listens on unix:");
    let job = |script: &str| {
        let url = url.replace(socket, &format!("{DEMO}/lockd.sock"));
        format!("{url}; export LOCK_URL; {lockctl} -- sh -c '{script}'")
    };
    let running = demo.until(&job("echo $LOCK_TOKEN; exec sleep 1000"), "\n");
    assert_eq!(demo.done(&job("echo twice")), "", "one runs already");
    drop(running);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while demo.done(&job("echo once")) != "once\n" {
        assert!(
            std::time::Instant::now() < deadline,
            "it does not run again"
        );
    }
}

/// Below its table of limits the README names the tests that show them.
#[test]
fn the_tests_behind_the_limits_are_there() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("the README");
    let (_, shown) = readme
        .split_once("What shows it")
        .expect("the list of tests");
    let (shown, _) = shown.split_once("\n## ").expect("another section");
    let named: Vec<_> = shown.split('`').skip(1).step_by(2).collect();
    assert!(named.len() > 10, "the README has lost its tests");
    let sources = ["lock-runtime/src", "lockd/src", "lockd/tests", "tests"];
    let sources: String = sources
        .iter()
        .map(|folder| source(&root().join(folder)))
        .collect();
    let cases = lock_runtime::conformance::case_names();
    for test in named {
        let is_there = match test.contains("::") {
            true => cases.iter().any(|case| case == test),
            false => sources.contains(&format!("fn {test}()")),
        };
        assert!(
            is_there,
            "the README names `{test}`, and there is no such test"
        );
    }
}

/// All Rust code below a folder.
fn source(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    let texts = entries.map(|entry| match entry.path() {
        path if path.is_dir() => source(&path),
        path if path.extension().is_some_and(|extension| extension == "rs") => {
            std::fs::read_to_string(path).expect("a source")
        }
        _ => String::new(),
    });
    texts.collect()
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
