//! lockctl while the command runs: it renews the lock, passes signals on, and ends the command
//! when the lock cannot be kept.

use std::cell::Cell;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::pin::pin;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use lock_runtime::{DEFAULT_TTL, Guard, LockError};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_current_process_group, kill_process, waitid,
};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};

use super::exec::BEGIN;
use super::group::{Group, is_own_group_orphaned};
use super::link::{Charge, Warden, now};
use super::signals::Signals;
use super::terminal::Terminal;
use super::{ENDING, EXEC, name_lock, own_program};
use crate::ctl::args::Run;
use crate::ctl::exit;
use crate::ctl::failure::{Failure, tell};
use crate::ctl::place::Place;

/// How long what the command leaves behind has after SIGTERM. The lock is renewed meanwhile.
const GRACE: Duration = Duration::from_secs(5);

/// How long a command may take to stop when it is asked to.
const STOPPING: Duration = Duration::from_secs(1);

/// How often a warden that died is replaced. Who kills them one after the other means it.
const WARDENS: usize = 3;

/// A command that runs under a lock, and who watches it.
pub(super) struct Session {
    command: Child,
    group: Group,
    warden: Option<Warden>,
    wardens_left: usize,
    charge: Charge,
    terminal: Option<Terminal>,
    /// When lockctl was asked to stop, until the command has.
    asked_to_stop: Option<Instant>,
}

/// Why a command is being ended.
enum Ending {
    /// The lock is lost.
    Lost(LockError),
    /// The lock is about to be lost.
    NotRenewed,
    /// There is nobody left who would end it if lockctl died.
    NoWarden { failure: Failure, kill_at: Instant },
}

impl Session {
    /// Starts the command.
    pub(super) async fn begin(
        place: &Place,
        options: &Run,
        guard: &Guard,
    ) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::os("the command could not be started", &error);
        let mut warden = Warden::start().await?;
        let ticket = guard.ticket()?;
        let (word, mut say) = io::pipe().map_err(failed)?;
        // The one thing that is inherited; nothing else is started while it is open.
        fcntl_setfd(&word, FdFlags::empty()).map_err(|error| failed(error.into()))?;
        let mut program = own_program();
        program
            .arg(EXEC)
            .arg(word.as_raw_fd().to_string())
            .arg(std::process::id().to_string())
            .args(&options.command)
            .process_group(0);
        name_lock(&mut program, guard, &options.name);
        let command = program.spawn().map_err(failed)?;
        drop(word);
        // From here on every way out closes the pipe: what waits at its end does not begin.
        let pid = Pid::from_child(&command);
        let group = Group::of(pid);
        let ttl = options.ttl.unwrap_or(DEFAULT_TTL);
        let charge = Charge::new(place.clone(), ticket, ttl, pid);
        warden.watch(&charge).await?;
        let terminal = Terminal::find(group);
        if let Some(terminal) = terminal.as_ref().filter(|_| Terminal::is_direct()) {
            terminal.lend();
        }
        let session = Self {
            command,
            group,
            warden: Some(warden),
            wardens_left: WARDENS,
            charge,
            terminal,
            asked_to_stop: None,
        };
        session.prolong(guard);
        say.write_all(&[BEGIN]).map_err(failed)?;
        Ok(session)
    }

    /// Watches over the command until its whole group has ended, and returns its exit code.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the command would run on.
    pub(super) async fn watch(
        &mut self,
        guard: &Guard,
        signals: &mut Signals,
    ) -> Result<u8, Failure> {
        let mut ending: Option<Ending> = None;
        let is_ending = Cell::new(false);
        let (group, ttl) = (self.group, self.charge.ttl);
        let end = Notify::new();
        let mut ended = pin!(async {
            end.notified().await;
            if !is_ending.get() && group.is_alive() {
                tell("what the command has left running is ended too");
            }
            // The dead leader is not reaped yet, so that the group's number is nobody else's.
            group.end(GRACE).await;
        });
        let mut ticks = tokio::time::interval(
            (ttl / 40).clamp(Duration::from_millis(2), Duration::from_millis(500)),
        );
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                error = guard.lost(), if !matches!(ending, Some(Ending::Lost(_))) => {
                    // It may be another's by now.
                    group.signal(Signal::KILL);
                    is_ending.set(true);
                    ending = Some(Ending::Lost(error));
                }
                () = &mut ended => break,
                _ = ticks.tick() => {
                    self.check_lease(guard, &mut ending);
                    is_ending.set(ending.is_some());
                    // Should the signal for it be blocked, it is seen here.
                    if self.has_ended() {
                        end.notify_one();
                    }
                }
                signal = signals.next() => {
                    self.pass_on(signal);
                    if self.has_ended() {
                        end.notify_one();
                    }
                }
                () = gone(&mut self.warden) => {
                    if let Err(failure) = self.replace_warden(guard).await {
                        group.signal(Signal::TERM);
                        group.signal(Signal::CONT);
                        is_ending.set(true);
                        ending.get_or_insert(Ending::NoWarden {
                            failure,
                            kill_at: Instant::now() + GRACE,
                        });
                    }
                }
            }
        }
        self.terminal = None;
        let status = self.command.wait();
        let status =
            status.map_err(|error| Failure::os("the command was lost sight of", &error))?;
        match ending {
            None => Ok(code(status)),
            Some(Ending::Lost(error)) => Err(Failure::new(
                exit::LOST,
                format!("the command was ended: {error}"),
            )),
            Some(Ending::NotRenewed) => Err(Failure::new(
                exit::LOST,
                "the command was ended: the lock could not be renewed in time",
            )),
            Some(Ending::NoWarden { failure, .. }) => Err(failure),
        }
    }

    /// There is nothing left to watch.
    pub(super) async fn dismiss_warden(&mut self) {
        if let Some(warden) = self.warden.take() {
            warden.dismiss().await;
        }
    }

    /// Ends the command in time when the lease is not renewed, or when it has to end otherwise.
    fn check_lease(&self, guard: &Guard, ending: &mut Option<Ending>) {
        self.prolong(guard);
        let ttl = self.charge.ttl;
        if let Some(Ending::NoWarden { kill_at, .. }) = ending
            && Instant::now() >= *kill_at
        {
            self.group.signal(Signal::KILL);
        }
        let Some(left) = guard.expires_in() else {
            return;
        };
        if left <= ttl / 4 && ending.is_none() {
            self.group.signal(Signal::TERM);
            self.group.signal(Signal::CONT);
            *ending = Some(Ending::NotRenewed);
        }
        if left <= ttl / 10 {
            self.group.signal(Signal::KILL);
        }
    }

    /// Tells the warden until when the lock is held for sure.
    fn prolong(&self, guard: &Guard) {
        if let (Some(left), Some(warden)) = (guard.expires_in(), &self.warden) {
            let left = left.saturating_sub(self.charge.ttl / 20);
            warden.kill_at(now() + u64::try_from(left.as_millis()).unwrap_or(u64::MAX / 2));
        }
    }

    async fn replace_warden(&mut self, guard: &Guard) -> Result<(), Failure> {
        if let Some(mut dead) = self.warden.take() {
            dead.reap();
        }
        while self.wardens_left > 0 {
            self.wardens_left -= 1;
            let Ok(mut warden) = Warden::start().await else {
                continue;
            };
            if warden.watch(&self.charge).await.is_ok() {
                self.warden = Some(warden);
                self.prolong(guard);
                return Ok(());
            }
        }
        Err(Failure::new(
            exit::OS,
            "the command was ended: its wardens are killed, and nobody would end it if lockctl \
             died",
        ))
    }

    fn pass_on(&mut self, signal: Signal) {
        match signal {
            Signal::CHILD => self.look_whether_stopped(),
            // Who handles these says so; others in the group may not, and would die of them.
            Signal::USR1 | Signal::USR2 => {
                let _sent = kill_process(self.group.id(), signal);
            }
            signal => {
                self.asked_to_stop = (signal == Signal::TSTP).then(Instant::now);
                self.group.signal(signal);
                if ENDING.contains(&signal) {
                    // One that is stopped would not see it.
                    self.group.signal(Signal::CONT);
                }
            }
        }
    }

    /// Whether the command has ended. It is not reaped yet. One that cannot be asked about has.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(self.group.id()), options), Ok(None))
    }

    /// A command that stopped stops lockctl too where there is a shell that continues both, and
    /// gets the terminal where that is what it stopped for.
    fn look_whether_stopped(&mut self) {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
        let Ok(Some(status)) = waitid(WaitId::Pid(self.group.id()), options) else {
            return;
        };
        let (Some(signal), Some(terminal)) = (status.stopping_signal(), &self.terminal) else {
            return;
        };
        let wants_terminal = signal == Signal::TTIN.as_raw() || signal == Signal::TTOU.as_raw();
        // Who asked for the terminal just when it was to stop is to stop all the same; being
        // continued would take that back.
        let is_to_stop = self.asked_to_stop.take();
        let is_to_stop = is_to_stop.is_some_and(|since| since.elapsed() < STOPPING);
        if wants_terminal && !is_to_stop && terminal.lend() {
            self.group.signal(Signal::CONT);
            return;
        }
        terminal.take_back();
        if !is_own_group_orphaned() {
            // All of it, as the terminal does: a shell waits for everybody in a pipeline.
            let _stopped = kill_current_process_group(Signal::STOP);
            // Continued. Should the lease have ended meanwhile, the warden has killed the group.
        }
        let has_terminal = (wants_terminal || Terminal::is_direct()) && terminal.lend();
        if wants_terminal && !has_terminal && is_own_group_orphaned() {
            // It would stop again at once, and nobody could ever give it the terminal: the
            // system does the same with those who have lost theirs.
            self.group.signal(Signal::HUP);
        }
        self.group.signal(Signal::CONT);
    }
}

/// Completes when there was a warden and it has died.
async fn gone(warden: &mut Option<Warden>) {
    match warden {
        Some(warden) => warden.gone().await,
        None => std::future::pending().await,
    }
}

/// The exit code of a command, as a shell gives it.
fn code(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(u8::MAX),
        (None, Some(signal)) => exit::by_signal(signal),
        (None, None) => exit::OS,
    }
}
