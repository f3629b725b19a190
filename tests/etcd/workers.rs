//! Eight processes that add to one number under one lock, and die now and then.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lock_runtime::{LockError, LockManager, Wait};
use servers::Etcd;

use crate::support::until;

const WORKERS: usize = 8;
const TURNS: usize = 15;

/// What tells this program that it is a worker: the URL, the folder, and its number.
const VARIABLE: &str = "ETCD_TEST_WORKER";

/// Not a test: what the others run. Without being told it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn worker() {
    let Ok(told) = std::env::var(VARIABLE) else {
        return;
    };
    let told: Vec<&str> = told.split(' ').collect();
    let [url, folder, number] = told[..] else {
        panic!("told {told:?}");
    };
    let builder = LockManager::builder().url(url).namespace("workers");
    let manager = builder.ttl(Duration::from_secs(2)).connect().await;
    let manager = manager.expect("a manager");
    let folder = Path::new(folder);
    for _ in 0..TURNS {
        add_one(&manager, folder, number).await.expect("its turn");
    }
}

/// Adds one to the number, which a late writer must not take back: the token decides.
async fn add_one(manager: &LockManager, folder: &Path, worker: &str) -> Result<(), LockError> {
    let guard = manager.lock("number").wait(Wait::Forever).acquire().await?;
    let token = guard.fencing_token().expect("a token").get();
    let number = read(folder);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(guard.is_held(), "lost although nothing stood still");
    // Whole or not at all, and named after the token: who comes late does not come last.
    let written = folder.join(format!("new-{worker}"));
    fs::write(&written, (number + 1).to_string()).expect("written");
    fs::rename(written, folder.join(format!("{token:020}"))).expect("renamed");
    guard.release().await
}

/// The number, as the one with the highest token wrote it.
fn read(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).expect("a folder");
    let names = files.map(|file| file.expect("a file").file_name());
    let names = names.filter_map(|name| name.into_string().ok());
    let last = names.filter(|name| !name.starts_with("new")).max();
    last.map_or(0, |name| {
        let number = fs::read_to_string(folder.join(name)).expect("a number");
        number.parse().expect("a number")
    })
}

fn start(url: &str, folder: &Path, number: usize) -> Child {
    let program = std::env::current_exe().expect("this program");
    let told = format!("{url} {} {number}", folder.display());
    let mut command = Command::new(program);
    command
        .args(["--exact", "workers::worker", "--nocapture"])
        .env(VARIABLE, told)
        .stdout(Stdio::null());
    command.spawn().expect("it runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_turn_is_lost_and_nobody_is_stuck() {
    let server = Etcd::start();
    let folder = tempfile::tempdir().expect("a folder");
    let path: PathBuf = folder.path().to_owned();
    let mut workers: Vec<_> = (0..WORKERS)
        .map(|number| start(&server.url(), &path, number))
        .collect();
    // One of them dies in the middle of its work, whatever it is doing.
    let turns = || fs::read_dir(&path).expect("a folder").count();
    until("work is done", async || turns() > 10).await;
    workers[0].kill().expect("it runs");
    workers[0].wait().expect("it is dead");
    for worker in &mut workers[1..] {
        until("a worker has had its turns", async || {
            worker.try_wait().expect("a child").is_some()
        })
        .await;
        let status = worker.wait().expect("it has ended");
        assert!(status.success(), "a worker ended with {status}");
    }
    // Every turn is one file, whose number is the one before and one more.
    let mut names: Vec<_> = fs::read_dir(&path)
        .expect("a folder")
        .map(|file| {
            file.expect("a file")
                .file_name()
                .into_string()
                .expect("text")
        })
        .filter(|name| !name.starts_with("new"))
        .collect();
    names.sort();
    for (index, name) in names.iter().enumerate() {
        let number = fs::read_to_string(path.join(name)).expect("a number");
        assert_eq!(number, (index + 1).to_string(), "{name}");
    }
    assert!(
        names.len() >= (WORKERS - 1) * TURNS,
        "{} turns",
        names.len()
    );
}
