//! The processes, seen from the one that started them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use servers::Proxy;
use tempfile::TempDir;

use super::resource::{CountedFile, CountedRow};
use super::worker::{CANCELS, FILE, MARK, NAME, ROW, TTL_MS, URL};
use crate::harness::{is_free, until};
use crate::store::{Server, Store};

pub(crate) const PROCESSES: usize = 8;

/// What a worker does.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum Phase {
    #[default]
    Starting,
    Asking,
    Holding,
    /// Holding, until it is let go.
    Staying,
    Leaving,
    Done,
}

/// What a worker has said so far.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Said {
    pub(crate) phase: Phase,
    /// How often that has changed.
    pub(crate) changes: usize,
    /// Of the section that it is in, or was in last.
    pub(crate) token: u64,
    pub(crate) written: usize,
    pub(crate) refused: usize,
    pub(crate) lost: usize,
    pub(crate) failed: usize,
    pub(crate) cancelled: usize,
}

impl Said {
    fn hear(&mut self, said: &str) {
        let (word, token) = said.split_once(' ').unwrap_or((said, ""));
        let phase = match word {
            "asks" => Phase::Asking,
            "holds" => Phase::Holding,
            "stays" => Phase::Staying,
            "leaves" => Phase::Leaving,
            "done" => Phase::Done,
            "written" => return self.written += 1,
            "refused" => return self.refused += 1,
            "lost" => return self.lost += 1,
            "fails" => return self.failed += 1,
            "cancels" => return self.cancelled += 1,
            _ => panic!("{said}?"),
        };
        if !token.is_empty() {
            self.token = token.parse().expect("a number");
        }
        self.phase = phase;
        self.changes += 1;
    }
}

/// A process, and its own way to the server.
pub(crate) struct Worker {
    child: Child,
    orders: ChildStdin,
    said: Arc<Mutex<Said>>,
    pub(crate) proxy: Proxy,
}

/// How the workers are to be.
pub(crate) struct Manner {
    pub(crate) ttl: Duration,
    pub(crate) cancels: bool,
}

/// Eight processes that increment one number under one lock.
pub(crate) struct Crew {
    pub(crate) workers: Vec<Worker>,
    pub(crate) file: CountedFile,
    row: Option<CountedRow>,
    folder: TempDir,
    /// Whether one was killed, who cannot say how much it has written.
    has_killed: bool,
}

impl Worker {
    fn start(server: &Server, folder: &TempDir, row: Option<&str>, manner: &Manner) -> Self {
        let (proxy, url) = server.way();
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command
            .args(["--exact", "counting::worker::worker", "--nocapture"])
            .env(URL, url)
            .env(FILE, folder.path().join("number"))
            .env(TTL_MS, manner.ttl.as_millis().to_string());
        if let Some(row) = row {
            command.env(ROW, row);
        }
        if manner.cancels {
            command.env(CANCELS, "1");
        }
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("it runs");
        let said = Arc::new(Mutex::new(Said::default()));
        let (output, heard) = (child.stdout.take().expect("piped"), Arc::clone(&said));
        std::thread::spawn(move || listen(output, &heard));
        let orders = child.stdin.take().expect("piped");
        Self {
            child,
            orders,
            said,
            proxy,
        }
    }

    pub(crate) fn said(&self) -> Said {
        *self.said.lock().expect("nobody panics")
    }

    fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").expect("it runs");
    }

    /// Waits until it is in a section that stays. Returns its token.
    pub(crate) async fn stays(&mut self) -> u64 {
        self.order("stay");
        until("it stays", async || self.said().phase == Phase::Staying).await;
        self.said().token
    }

    /// Lets it write, and leave.
    pub(crate) fn goes(&mut self) {
        self.order("go");
    }

    /// Waits until it begins to do something, again. Returns what it has said by then.
    pub(crate) async fn begins(&self, phase: Phase) -> Said {
        let before = self.said().changes;
        let mut said = self.said();
        until("it does", async || {
            said = self.said();
            said.phase == phase && said.changes > before
        })
        .await;
        said
    }

    /// Waits until it waits among others.
    pub(crate) async fn queues(&self) -> Said {
        let mut before = self.begins(Phase::Asking).await;
        loop {
            tokio::time::sleep(Duration::from_millis(15)).await;
            if self.said().changes == before.changes {
                return before;
            }
            before = self.begins(Phase::Asking).await;
        }
    }

    /// Stops it where it stands. Comes back when all of it stands.
    pub(crate) async fn freezes(&self) {
        self.signal("STOP");
        let threads = format!("/proc/{}/task", self.child.id());
        until("it stands still", async || {
            let threads = fs::read_dir(&threads).expect("it is there").flatten();
            let mut states = threads.map(|thread| {
                let stat = fs::read_to_string(thread.path().join("stat"));
                stat.unwrap_or_default()
            });
            states.all(|stat| stat.is_empty() || stat.contains(") T "))
        })
        .await;
    }

    /// Lets it go on.
    pub(crate) fn thaws(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let script = format!("kill -{signal} {}", self.child.id());
        let sent = Command::new("sh").args(["-c", &script]).status();
        assert!(sent.expect("a shell").success(), "{script}");
    }

    /// Kills it, as `kill -9` does.
    fn dies(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is dead");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn listen(output: ChildStdout, heard: &Mutex<Said>) {
    for line in BufReader::new(output).lines() {
        let line = line.expect("text");
        if let Some((_, said)) = line.split_once(MARK) {
            heard.lock().expect("nobody panics").hear(said);
        }
    }
}

impl Crew {
    /// Starts them. Comes back when each of them has had a turn.
    pub(crate) async fn start(store: Store, server: &Server, manner: &Manner) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = server.url();
        let row_at = (store == Store::Postgres).then_some(url.as_str());
        let mut row = row_at.map(CountedRow::at);
        if let Some(row) = &mut row {
            row.create().await;
        }
        let start = |_| Worker::start(server, &folder, row_at, manner);
        let crew = Self {
            workers: (0..PROCESSES).map(start).collect(),
            file: CountedFile::at(&folder.path().join("number")),
            row,
            folder,
            has_killed: false,
        };
        crew.goes_on(1).await;
        crew
    }

    /// How much all have written.
    pub(crate) fn turns(&self) -> usize {
        self.sum(|said| said.written)
    }

    pub(crate) fn sum(&self, of: impl Fn(&Said) -> usize) -> usize {
        self.workers.iter().map(|worker| of(&worker.said())).sum()
    }

    /// Waits until everybody has had so many more turns.
    pub(crate) async fn goes_on(&self, turns: usize) {
        let written = || self.workers.iter().map(|worker| worker.said().written);
        let before: Vec<_> = written().collect();
        until(&format!("{turns} turns more than {before:?}"), async || {
            written()
                .zip(&before)
                .all(|(now, before)| now >= before + turns)
        })
        .await;
    }

    /// Waits until somebody has entered after a section.
    pub(crate) async fn is_followed(&self, token: u64) {
        until("somebody follows", async || self.file.token() > token).await;
    }

    /// Kills one of them, as `kill -9` does, and goes on without it.
    pub(crate) fn loses(&mut self, worker: usize) {
        self.workers.remove(worker).dies();
        self.has_killed = true;
    }

    /// Ends them, and looks whether everything is as it should be: each of them has turns to the
    /// last, no update is lost, and nothing is left of their locks.
    pub(crate) async fn ends(mut self, server: &Server, at_least: usize) {
        self.goes_on(2).await;
        for worker in &mut self.workers {
            worker.order("stop");
        }
        for worker in &mut self.workers {
            let mut status = None;
            until("all have ended", async || {
                status = worker.child.try_wait().expect("a child");
                status.is_some()
            })
            .await;
            assert!(status.is_some_and(|status| status.success()), "{status:?}");
        }
        let report: Vec<_> = self.workers.iter().map(Worker::said).collect();
        println!("{report:#?}");
        let mut written = self.file.judge();
        for worker in &self.workers {
            let of_file = written.remove(&worker.child.id()).unwrap_or_default();
            // The last words may be on their way.
            until("it has said so", async || worker.said().written == of_file).await;
        }
        let of_killed: usize = written.values().sum();
        assert!(of_killed == 0 || self.has_killed, "{written:?}");
        let turns = self.turns() + of_killed;
        assert!(turns >= at_least, "only {turns} turns");
        if let Some(row) = &mut self.row {
            let turns = row.judge().await.values().sum::<usize>();
            assert!(turns >= at_least, "only {turns} turns in the row");
        }
        let manager = server.manager().await;
        until("it is free", async || is_free(&manager, NAME).await).await;
        if !self.has_killed {
            server.keeps_nothing().await;
        }
        drop(self.folder);
    }
}
