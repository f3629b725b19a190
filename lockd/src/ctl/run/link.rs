//! Between lockctl and its warden: what is said, and lockctl's end of it.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::time::Duration;

use lock_runtime::Ticket;
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::unix::pipe;

use super::{WARDEN, own_program};
use crate::ctl::failure::Failure;
use crate::ctl::place::Place;

/// How long a warden may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the warden says when it is ready to be told.
pub(super) const READY: &str = "ready";

/// What the warden says when it watches.
pub(super) const WATCHING: &str = "watching";

/// What lockctl says to the warden, one line of JSON each.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// This is to be watched.
    Watch(Box<Charge>),
    /// The group has to be killed at this time, unless it is prolonged: milliseconds of
    /// `CLOCK_BOOTTIME`.
    KillAt(u64),
    /// The group has ended, and the lock was given back.
    Done,
}

/// What the warden watches. The ticket holds the owner's secret: it goes through the pipe and
/// nowhere else.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Charge {
    pub(super) place: Place,
    pub(super) ticket: Ticket,
    pub(super) ttl: Duration,
    group: i32,
}

impl Charge {
    pub(super) fn new(place: Place, ticket: Ticket, ttl: Duration, group: Pid) -> Self {
        Self {
            place,
            ticket,
            ttl,
            group: group.as_raw_pid(),
        }
    }

    pub(super) fn group(&self) -> Option<Pid> {
        Pid::from_raw(self.group)
    }
}

/// Milliseconds of the clock that goes on during suspend, the same for all processes.
pub(super) fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let milliseconds = now.tv_sec * 1_000 + now.tv_nsec / 1_000_000;
    u64::try_from(milliseconds).unwrap_or_default()
}

/// lockctl's end: the warden.
pub(super) struct Warden {
    process: Child,
    orders: pipe::Sender,
    answers: Lines<BufReader<pipe::Receiver>>,
}

impl Warden {
    /// Starts a warden, which has nothing to watch yet.
    ///
    /// # Cancel safety
    ///
    /// A warden that has nothing to watch ends with its pipe.
    pub(super) async fn start() -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::os("the warden could not be started", &error);
        let mut program = own_program();
        program
            .arg(WARDEN)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = program.spawn().map_err(failed)?;
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        let (stdin, stdout) = (process.stdin.take(), process.stdout.take());
        let stdin = OwnedFd::from(stdin.ok_or_else(gone).map_err(failed)?);
        let stdout = OwnedFd::from(stdout.ok_or_else(gone).map_err(failed)?);
        let mut warden = Self {
            process,
            orders: pipe::Sender::from_owned_fd(stdin).map_err(failed)?,
            answers: BufReader::new(pipe::Receiver::from_owned_fd(stdout).map_err(failed)?).lines(),
        };
        warden.expect(READY).await.map_err(failed)?;
        Ok(warden)
    }

    /// Has it watch. It does when this returns.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a part of the order may have been sent.
    pub(super) async fn watch(&mut self, charge: &Charge) -> Result<(), Failure> {
        let watched = async {
            self.order(&Order::Watch(Box::new(charge.clone()))).await?;
            self.expect(WATCHING).await
        };
        watched
            .await
            .map_err(|error| Failure::os("the warden does not watch", &error))
    }

    /// The time at which it has to kill the group. One that does not read misses it, and kills at
    /// the time it knows: early and not late.
    pub(super) fn kill_at(&self, time: u64) {
        if let Ok(mut line) = serde_json::to_vec(&Order::KillAt(time)) {
            line.push(b'\n');
            // So short a line is written whole or not at all.
            let _written = self.orders.try_write(&line);
        }
    }

    /// Completes when it has died.
    ///
    /// # Cancel safety
    ///
    /// Waiting changes nothing.
    pub(super) async fn gone(&mut self) {
        while let Ok(Some(_)) = self.answers.next_line().await {}
    }

    /// Tells it that there is nothing left to watch, and sees it off.
    pub(super) async fn dismiss(mut self) {
        let left = async {
            // One that has died meanwhile needs no word.
            let _told = self.order(&Order::Done).await;
            self.gone().await;
        };
        // One that does not leave has to.
        let _left = tokio::time::timeout(PATIENCE, left).await;
        self.reap();
    }

    /// It has died, or dies now.
    pub(super) fn reap(&mut self) {
        let _killed = self.process.kill();
        let _reaped = self.process.wait();
    }

    async fn order(&mut self, order: &Order) -> io::Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        tokio::time::timeout(PATIENCE, self.orders.write_all(&line)).await?
    }

    async fn expect(&mut self, word: &str) -> io::Result<()> {
        let answer = tokio::time::timeout(PATIENCE, self.answers.next_line()).await??;
        if answer.as_deref() == Some(word) {
            Ok(())
        } else {
            Err(io::Error::other("it does not answer"))
        }
    }
}
