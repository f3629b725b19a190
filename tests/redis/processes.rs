//! Eight processes count under one lock, while their server is killed again and again.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use servers::Redis;

use crate::harness::{connected, ms, seconds};

const PROCESSES: usize = 8;
const TURNS: u64 = 40;

const URL: &str = "LOCK_TEST_REDIS_URL";
const COUNTER: &str = "LOCK_TEST_REDIS_COUNTER";

/// A resource that checks tokens: it takes no number with a token that is not larger than all
/// before.
struct Counter(PathBuf);

impl Counter {
    fn read(file: &mut File) -> (u64, u64) {
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        let mut numbers = text
            .split_whitespace()
            .map(|number| number.parse().unwrap());
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }

    fn open(&self) -> File {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false);
        let file = file.open(&self.0).unwrap();
        file.lock().unwrap();
        file
    }

    fn number(&self) -> u64 {
        Self::read(&mut self.open()).0
    }

    /// Whether it took the number.
    fn write(&self, number: u64, token: u64) -> bool {
        let mut file = self.open();
        let (_, last) = Self::read(&mut file);
        if token <= last {
            return false;
        }
        file.rewind().unwrap();
        file.set_len(0).unwrap();
        write!(file, "{number} {token}").unwrap();
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_increment_is_lost() {
    let mut server = Redis::options().durable().start();
    let folder = tempfile::tempdir().unwrap();
    let counter = Counter(folder.path().join("counter"));
    let url = server.url();
    let workers: Vec<_> = (0..PROCESSES).map(|_| start(&url, &counter.0)).collect();
    let outputs = tokio::task::spawn_blocking(move || {
        let outputs = workers
            .into_iter()
            .map(|worker| worker.wait_with_output().unwrap());
        outputs.collect::<Vec<_>>()
    });
    while !outputs.is_finished() {
        let before = counter.number();
        tokio::time::sleep(ms(300)).await;
        if counter.number() > before {
            server.kill();
            server.start_again();
        }
    }
    for output in outputs.await.unwrap() {
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
    }
    // Each process counts until all its turns were taken.
    assert_eq!(counter.number(), PROCESSES as u64 * TURNS);
}

fn start(url: &str, counter: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "processes::worker", "--nocapture"])
        .env(URL, url)
        .env(COUNTER, counter)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// One of the processes, when it was started as one.
#[tokio::test(flavor = "multi_thread")]
async fn worker() {
    let Some(url) = std::env::var_os(URL) else {
        return;
    };
    let counter = Counter(std::env::var_os(COUNTER).unwrap().into());
    let manager = connected(url.to_str().unwrap()).await;
    let mut turns = 0;
    while turns < TURNS {
        let request = manager.lock("counter").ttl(seconds(5)).wait(seconds(60));
        let guard = match request.acquire().await {
            Ok(guard) => guard,
            Err(error) if error.is_unavailable() => continue,
            Err(error) => panic!("{error}"),
        };
        let number = counter.number();
        tokio::time::sleep(ms(1)).await;
        let token = guard.fencing_token().unwrap().get();
        if counter.write(number + 1, token) {
            turns += 1;
        } else {
            assert!(!guard.is_held(), "a holder's token was refused");
        }
        drop(guard.release().await);
    }
}
