//! One of the processes: this test program again, started as a worker.

use std::io::stdin;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lock_runtime::{Guard, LockError, LockManager};

use super::resource::{CountedFile, CountedRow};
use crate::harness::{LONG, PATIENCE, ms};

/// What a worker is told when it is started.
pub(crate) const URL: &str = "STORES_WORKER_URL";
pub(crate) const FILE: &str = "STORES_WORKER_FILE";
/// Where the row is, if there is one.
pub(crate) const ROW: &str = "STORES_WORKER_ROW";
pub(crate) const TTL_MS: &str = "STORES_WORKER_TTL_MS";
/// That it is to cancel requests.
pub(crate) const CANCELS: &str = "STORES_WORKER_CANCELS";

/// What is before each word that a worker says: libtest writes to the same output.
pub(crate) const MARK: &str = "@worker ";

/// The lock that all of them want.
pub(crate) const NAME: &str = "number";

/// How long a section takes.
const BODY: Duration = ms(5);

/// How long it waits for an answer at most, where leases are longer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// What it was told meanwhile.
#[derive(Default)]
struct Orders {
    is_to_stop: AtomicBool,
    /// The next section stays, until so many were let go.
    stays: AtomicUsize,
    goes: AtomicUsize,
}

impl Orders {
    /// Ends this process with the one that started it.
    fn listen(&self) {
        for line in stdin().lines() {
            match line.expect("an order").as_str() {
                "stay" => self.stays.fetch_add(1, Ordering::SeqCst),
                "go" => self.goes.fetch_add(1, Ordering::SeqCst),
                "stop" => usize::from(self.is_to_stop.swap(true, Ordering::SeqCst)),
                order => panic!("{order}?"),
            };
        }
        std::process::exit(1);
    }

    fn is_to_stay(&self) -> bool {
        self.stays.load(Ordering::SeqCst) > self.goes.load(Ordering::SeqCst)
    }

    fn is_to_stop(&self) -> bool {
        self.is_to_stop.load(Ordering::SeqCst)
    }
}

fn say(said: &str) {
    println!("{MARK}{said}");
}

struct Worker {
    manager: LockManager,
    ttl: Duration,
    orders: Arc<Orders>,
    file: CountedFile,
    row: Option<CountedRow>,
}

/// What a worker does, when this process is one. In an ordinary run this does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker() {
    let Ok(url) = std::env::var(URL) else {
        return;
    };
    let told = |variable| std::env::var(variable).ok();
    let ttl = told(TTL_MS).and_then(|ttl| ttl.parse().ok());
    let ttl = ms(ttl.expect("a number"));
    let manager = LockManager::builder()
        .url(url)
        .application("worker")
        .ttl(ttl)
        .wait(LONG)
        .request_timeout(REQUEST_TIMEOUT.min(ttl / 2));
    let orders = Arc::new(Orders::default());
    let mut worker = Worker {
        manager: manager.connect().await.expect("connected"),
        ttl,
        orders: Arc::clone(&orders),
        file: CountedFile::at(Path::new(&told(FILE).expect("a path"))),
        row: told(ROW).map(|url| CountedRow::at(&url)),
    };
    std::thread::spawn(move || orders.listen());
    let cancels = told(CANCELS).is_some();
    let mut turn = 0;
    while !worker.orders.is_to_stop() {
        if cancels {
            worker.cancel(turn).await;
        }
        worker.take_a_turn().await;
        turn += 1;
    }
    // What could not be given back yet is, before this process ends.
    worker.manager.shutdown(PATIENCE).await;
    say("done");
    std::process::exit(0);
}

impl Worker {
    async fn take_a_turn(&mut self) {
        say("asks");
        match self.manager.lock(NAME).acquire().await {
            Ok(guard) => self.increment(guard).await,
            Err(error) => failed(&error).await,
        }
    }

    /// Reads, waits, and writes, whatever has become of the lock: it is for the token to decide.
    async fn increment(&mut self, guard: Guard) {
        let token = guard.fencing_token().expect("a token").get();
        let in_file = self.file.read(token);
        let in_row = match &mut self.row {
            Some(row) => row.read(token).await,
            None => None,
        };
        if self.orders.is_to_stay() {
            // It was handed the lock for a moment, perhaps, and has a whole lease soon.
            while guard.expires_in().is_some_and(|left| left < self.ttl / 2) && guard.is_held() {
                tokio::time::sleep(ms(1)).await;
            }
            say(&format!("stays {token}"));
            while self.orders.is_to_stay() {
                tokio::time::sleep(ms(1)).await;
            }
        } else {
            say(&format!("holds {token}"));
            tokio::time::sleep(BODY).await;
        }
        let mut is_taken = in_file.is_some_and(|number| self.file.write(token, number + 1));
        if is_taken {
            say("written");
        }
        if let Some(row) = &mut self.row {
            is_taken &= match in_row {
                Some(number) => row.write(token, number + 1).await,
                None => false,
            };
        }
        if !is_taken {
            // Somebody has entered since, and who was here before knows.
            assert!(!guard.is_held(), "a holder's token {token} was refused");
            say("refused");
        }
        say("leaves");
        match guard.release().await {
            Ok(()) => {}
            Err(error) if error.is_lost() => say("lost"),
            Err(error) => panic!("{error}"),
        }
    }

    /// Asks, and takes no interest in the answer, sooner or later.
    async fn cancel(&self, turn: u64) {
        // From before it is sent until after its turn has come.
        let limit = Duration::from_micros(turn * 7_919 % 120_000);
        let request = self.manager.lock(NAME).acquire();
        match tokio::time::timeout(limit, request).await {
            Err(_) => say("cancels"),
            Ok(Ok(guard)) => drop(guard),
            Ok(Err(error)) => failed(&error).await,
        }
    }
}

/// Of all that can go wrong only the way to the server does.
async fn failed(error: &LockError) {
    assert!(error.is_unavailable(), "{error}");
    say("fails");
    tokio::time::sleep(ms(10)).await;
}
