//! Every example runs, ends well, and prints what it is there to show; those that take `LOCK_URL`
//! do so in two processes at once, through every store.

mod built;

use std::any::Any;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use built::{COMMAND_LINE, DAEMON, build};
use servers::{Etcd, Postgres, Redis};

/// A line, or the beginning of one, that shows what an example is about.
const TELLING: [(&str, &str); 11] = [
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
    ("two_processes", "With locks:    300 counted, 0 lost"),
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
        if [COMMAND_LINE, DAEMON].contains(&name.as_str()) {
            continue;
        }
        let output = ended(name, start(program, &[]));
        let telling = TELLING.iter().find(|(known, _)| *known == name);
        let telling = telling.map_or("", |(_, line)| *line);
        assert!(
            output.contains(telling) && !output.is_empty(),
            "`{telling}` is not in the output of `{name}`:\n{output}"
        );
    }
}

/// A program that runs; it does not outlive the test.
struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Running {
    /// The next line that it writes.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "it has ended");
        line
    }

    /// Waits for its end. Returns whether it was a good one, and the rest of what it wrote.
    fn end(mut self, name: &str) -> (bool, String) {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(started.elapsed() < PATIENCE, "`{name}` does not end");
            std::thread::sleep(Duration::from_millis(5));
        };
        let mut printed = String::new();
        self.output.read_to_string(&mut printed).unwrap();
        (status.success(), printed)
    }
}

/// Starts a program with these variables, and none else that says something of locks.
fn start(program: &Path, variables: &[(&str, &str)]) -> Running {
    let mut command = Command::new(program);
    for variable in ["REQUIRED", "URL", "NAMESPACE", "TTL", "WAIT"] {
        command.env_remove(format!("LOCK_{variable}"));
    }
    command.envs(variables.iter().copied());
    spawn(command)
}

fn spawn(mut command: Command) -> Running {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    Running { child, output }
}

/// What an example printed, which has to end well.
fn ended(name: &str, running: Running) -> String {
    let (is_well, printed) = running.end(name);
    assert!(is_well, "`{name}` failed:\n{printed}");
    printed
}

/// The examples that take `LOCK_URL`, and a store for them.
struct Shared {
    programs: &'static BTreeMap<String, PathBuf>,
    folder: tempfile::TempDir,
    url: String,
    /// Ends with the test.
    _store: Box<dyn Any>,
}

impl Shared {
    fn over(url: String, store: impl Any) -> Self {
        Self {
            programs: build(),
            folder: tempfile::tempdir().unwrap(),
            url,
            _store: Box::new(store),
        }
    }

    fn lockd() -> Self {
        let programs = build();
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(&programs[DAEMON]);
        for variable in ["LOCKD_SOCKET", "LISTEN_FDS", "NOTIFY_SOCKET"] {
            command.env_remove(variable);
        }
        command
            .arg("--socket")
            .arg(folder.path().join("lockd.sock"));
        command
            .arg("--state")
            .arg(folder.path().join("lockd.state"));
        let mut daemon = spawn(command);
        let line = daemon.line();
        let url = line.strip_prefix("lockd listens on ").expect(&line);
        Self::over(url.trim_end().to_owned(), (daemon, folder))
    }

    /// Starts an example, whose shared state is in `folder`.
    fn start(&self, name: &str, folder: &str, variables: &[(&str, &str)]) -> Running {
        let folder = self.folder.path().join(folder);
        let folder = folder.to_str().unwrap();
        let mut all = vec![
            ("LOCK_URL", self.url.as_str()),
            ("KANBAN_BOARD", folder),
            ("PAYMENTS_LEDGER", folder),
        ];
        all.extend(variables);
        start(&self.programs[name], &all)
    }
}

#[test]
fn two_processes_exclude_each_other_through_lockd() {
    exclude_each_other(&Shared::lockd());
}

#[test]
fn two_processes_exclude_each_other_through_redis() {
    let redis = Redis::start();
    exclude_each_other(&Shared::over(redis.url(), redis));
}

#[test]
fn two_processes_exclude_each_other_through_postgres() {
    let postgres = Postgres::start();
    exclude_each_other(&Shared::over(postgres.url(), postgres));
}

#[test]
fn two_processes_exclude_each_other_through_etcd() {
    let etcd = Etcd::start();
    exclude_each_other(&Shared::over(etcd.url(), etcd));
}

fn exclude_each_other(shared: &Shared) {
    let mut first = shared.start("kanban", "board", &[("KANBAN_ROUNDS", "8")]);
    while !first.line().starts_with("Round 1: ") {}
    let second = shared.start("kanban", "board", &[("KANBAN_ROUNDS", "1")]);
    let printed = ended("kanban", second);
    let telling = "With a lock manager:    100 remembered, 0 lost.";
    assert!(printed.contains(telling), "{printed}");
    let printed = ended("kanban", first);
    let telling = "With a lock manager:    800 remembered, 0 lost.";
    assert!(printed.contains(telling), "{printed}");
    let telling = "Other processes made 100 moves of the same tasks meanwhile.";
    assert!(printed.contains(telling), "{printed}");

    let both = [(); 2].map(|()| shared.start("payments", "ledger", &[("PAYMENTS_SECONDS", "3")]));
    let mut charged = 0;
    for printed in both.map(|running| ended("payments", running)) {
        let telling = "With a lock manager:    9 charges, 0 too many";
        assert!(printed.contains(telling), "{printed}");
        let by_this = printed.lines().filter_map(|line| {
            let by_this = line.strip_suffix(" of them by this process.")?;
            by_this.rsplit(' ').next()?.parse::<usize>().ok()
        });
        charged += by_this.sum::<usize>();
    }
    // Had the two not begun in the same second, the first and the last one would be of one alone.
    assert!((9..=12).contains(&charged), "{charged} charges");

    for (name, telling) in [
        (
            "connect_four",
            "42 pieces landed, 28 found their column full, 0 landed",
        ),
        ("chess", "bob moves first: Not your turn: turn:"),
        ("slides", "Not your turn: navigation:roadmap"),
    ] {
        let both = [(); 2].map(|()| shared.start(name, name, &[]));
        for printed in both.map(|running| ended(name, running)) {
            assert!(printed.contains(telling), "{printed}");
        }
    }
}

/// The control of the test above: without the exclusion, the example itself says what is lost.
#[test]
fn two_processes_that_do_not_exclude_each_other_are_noticed() {
    let shared = Shared::lockd();
    let both = ["ours", "theirs"].map(|namespace| {
        let variables = [("KANBAN_ROUNDS", "8"), ("LOCK_NAMESPACE", namespace)];
        shared.start("kanban", "board", &variables)
    });
    let ends = both.map(|running| running.end("kanban"));
    assert!(ends.iter().any(|(is_well, _)| !is_well), "{ends:#?}");
    let lost = |printed: &str| !printed.contains("With a lock manager:    800 remembered, 0 lost.");
    assert!(ends.iter().any(|(_, printed)| lost(printed)), "{ends:#?}");
}
