//! What a process leaves behind.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

use servers::{Etcd, PgBouncer, Postgres, Redis, eventually};

/// What a child is to do. Without it, the test that is a child does nothing.
const CHILD: &str = "SERVERS_TEST_CHILD";

/// What stands before what a child says.
const MARK: &str = "child: ";

#[test]
fn a_process_that_is_killed_leaves_no_server() {
    let mut child = child("is killed");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let said = lines.find_map(|line| Said::read(&line.expect("text")));
    let said = said.expect("it says what it has started");
    // Two servers of Redis, etcd, PgBouncer, PostgreSQL with its children, and who kills them.
    assert!(said.processes.len() > 9, "{said:?}");
    assert!(said.processes.iter().all(|&process| is_alive(process)));
    child.kill().expect("killed");
    child.wait().expect("dead");
    said.is_gone();
}

#[test]
fn a_process_that_ends_leaves_no_server() {
    let child = child("ends").wait_with_output().expect("it ends");
    assert!(child.status.success());
    let said = String::from_utf8(child.stdout).expect("text");
    let said = said.lines().find_map(Said::read).expect("said");
    assert_eq!(said.processes.len(), 2, "{said:?}");
    said.is_gone();
}

#[test]
fn a_server_that_is_dropped_is_gone() {
    let redis = Redis::start();
    let (process, folder) = (redis.pid(), folder_of(redis.pid()));
    assert!(is_alive(process));
    drop(redis);
    assert!(!is_alive(process));
    eventually("its folder is gone", || !folder.exists());
}

/// Starts servers when it is a child, and then does what it is told.
#[test]
fn is_a_child() {
    let Ok(what) = std::env::var(CHILD) else {
        return;
    };
    let shared = Redis::shared();
    let folder = folder_of(shared.pid());
    let folder = folder.parent().expect("that of all").display();
    let say = || {
        let processes = descendants(std::process::id());
        println!("\n{MARK}{folder} {processes:?}");
    };
    if what == "ends" {
        return say();
    }
    let (mut postgres, etcd) = (Postgres::start(), Etcd::start());
    let mut bouncer = PgBouncer::before(&postgres);
    // The thread that started it has ended.
    let redis = thread::spawn(Redis::start).join().expect("started");
    // A process that is stopped does not hear that it is to end.
    postgres.pause();
    bouncer.pause();
    say();
    let _all = (redis, etcd);
    loop {
        thread::park();
    }
}

/// What a child says that it has started.
#[derive(Debug)]
struct Said {
    folder: PathBuf,
    processes: Vec<u32>,
}

impl Said {
    fn read(line: &str) -> Option<Self> {
        let (folder, processes) = line.split_once(MARK)?.1.split_once(' ')?;
        let processes = processes.trim_matches(['[', ']']).split(", ");
        Some(Self {
            folder: folder.into(),
            processes: processes.flat_map(str::parse).collect(),
        })
    }

    #[track_caller]
    fn is_gone(&self) {
        eventually("nothing is left", || {
            !self.processes.iter().any(|&process| is_alive(process)) && !self.folder.exists()
        });
    }
}

fn child(what: &str) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "orphans::is_a_child", "--nocapture"])
        .env(CHILD, what)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts")
}

fn folder_of(process: u32) -> PathBuf {
    fs::read_link(format!("/proc/{process}/cwd")).expect("it lives")
}

fn descendants(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task"));
    let threads = threads.expect("it lives").flatten();
    let children = threads.flat_map(|thread| {
        let children = fs::read_to_string(thread.path().join("children")).expect("shown");
        let children: Vec<u32> = children.split_whitespace().flat_map(str::parse).collect();
        children
    });
    let mut all = Vec::new();
    for child in children {
        all.push(child);
        all.extend(descendants(child));
    }
    all
}

/// Whether there is such a process that is not dead.
fn is_alive(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().unwrap_or_default();
    !state.is_empty() && !state.starts_with(['Z', 'X'])
}
