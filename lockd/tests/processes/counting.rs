//! Increments of a file by many processes.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::client::{LONG, eventually};
use crate::process::Process;
use crate::program::Daemon;
use crate::worker::{Order, Said, Settings, Worker};

const PROCESSES: usize = 8;

/// Starts processes that count in a folder.
fn start(settings: &Settings, folder: &Path, times: Option<u32>) -> Vec<Process<Worker>> {
    std::fs::write(folder.join("counter"), "0").expect("written");
    std::fs::write(folder.join("written"), "").expect("written");
    let workers: Vec<_> = (0..PROCESSES).map(|_| Process::start(settings)).collect();
    for worker in &workers {
        worker.hear(|said| matches!(said, Said::Ready).then_some(()));
    }
    for worker in &workers {
        let folder = folder.to_path_buf();
        worker.order(&Order::Count { folder, times });
    }
    workers
}

/// What a worker has counted in the end: increments, and calls that failed.
fn counted(worker: &Process<Worker>) -> (u32, u32) {
    worker.hear(|said| match said {
        Said::Counted { written, failed } => Some((*written, *failed)),
        _ => None,
    })
}

/// The file and the log of what was written to it agree with each other, and with what the
/// processes say.
fn judge(folder: &Path, mut expected: Vec<u32>) {
    let log = std::fs::read_to_string(folder.join("written")).expect("read");
    let mut last_token = 0;
    let mut written: BTreeMap<u64, u64> = BTreeMap::new();
    for line in log.lines() {
        let mut numbers = line.split(' ').map(|word| word.parse().expect("a number"));
        let mut number = || numbers.next().expect("three numbers");
        let (token, process, number) = (number(), number(), number());
        assert!(token > last_token, "{token} after {last_token}");
        last_token = token;
        let next = written.entry(process).or_default();
        assert_eq!(number, *next, "the increments of {process}");
        *next += 1;
    }
    let mut written: Vec<u32> = written.into_values().map(|n| n as u32).collect();
    written.sort_unstable();
    expected.retain(|number| *number > 0);
    expected.sort_unstable();
    assert_eq!(written, expected, "what each process has written");
    let counter = std::fs::read_to_string(folder.join("counter")).expect("read");
    let total: u32 = expected.iter().sum();
    assert_eq!(counter, total.to_string());
}

#[test]
fn eight_processes_with_a_thousand_increments_each_leave_eight_thousand() {
    let daemon = Daemon::start();
    let settings = Settings::new(daemon.url());
    let workers = start(&settings, daemon.folder(), Some(1000));
    // However long it takes: it is to go on.
    let (mut before, mut last) = (0, Instant::now());
    while lines_of(&daemon) < 8000 {
        let lines = lines_of(&daemon);
        if lines > before {
            (before, last) = (lines, Instant::now());
        }
        assert!(last.elapsed() < LONG, "nobody counts any more: {lines}");
        std::thread::sleep(Duration::from_millis(50));
    }
    let counted: Vec<_> = workers.iter().map(counted).collect();
    assert_eq!(counted, [(1000, 0); PROCESSES]);
    judge(daemon.folder(), vec![1000; PROCESSES]);
}

#[test]
fn nothing_is_lost_while_the_daemon_is_killed_again_and_again() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let mut daemon = Daemon::start();
    let settings = Settings {
        ttl_ms: 3_000,
        ..Settings::new(daemon.url())
    };
    let workers = start(&settings, daemon.folder(), None);
    for _ in 0..10 {
        // Mostly it is killed in the middle of the work, and now and then while those who held
        // something come back.
        if random.random_bool(0.7) {
            let before = lines_of(&daemon);
            eventually("somebody counts", || lines_of(&daemon) > before);
        }
        std::thread::sleep(Duration::from_millis(random.random_range(0..200)));
        daemon.kill();
        std::thread::sleep(Duration::from_millis(random.random_range(0..100)));
        daemon.start_again();
    }
    let before = lines_of(&daemon);
    let restarted = Instant::now();
    eventually("somebody counts", || lines_of(&daemon) > before);
    println!("counting again after {:?}", restarted.elapsed());
    for worker in &workers {
        worker.order(&Order::StopCounting);
    }
    let (written, failed): (Vec<_>, Vec<_>) = workers.iter().map(counted).unzip();
    println!("written {written:?}, failed calls {failed:?}");
    judge(daemon.folder(), written);
}

/// How many increments are written.
fn lines_of(daemon: &Daemon) -> usize {
    let written = std::fs::read(daemon.folder().join("written")).expect("read");
    written.into_iter().filter(|byte| *byte == b'\n').count()
}
