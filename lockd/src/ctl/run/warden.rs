//! The warden: it outlives lockctl, ends the command, and gives the lock back.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use lock_runtime::{Guard, LockError, LockManager};
use nix::sys::signal::SigSet;
use rustix::process::{Signal, setsid};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::unix::pipe;

use super::group::Group;
use super::link::{Charge, Order, READY, WATCHING, now};
use super::outlive;
use crate::ctl::exit;
use crate::ctl::failure::{Failure, tell};

/// How long the command has after SIGTERM when lockctl has died. Short: nobody renews the lock
/// unless the warden can go on with it.
const GRACE: Duration = Duration::from_secs(2);

/// How long the end of a group may take. Only a process that the kernel does not let go of takes
/// longer; then the lock is not given back, but ends with its lease.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// How long the store may take, until the lease has to do.
const STORE: Duration = Duration::from_secs(10);

/// The longest sleep before the time is looked at again: the sleeping clock stands still while
/// the machine is suspended, the lease does not.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Watches over a lockctl and its command; returns the exit code.
pub(in crate::ctl) fn warden() -> u8 {
    match begin().and_then(|runtime| runtime.block_on(watch())) {
        Ok(()) => exit::OK,
        Err(error) => Failure::os("the warden failed", &error).report(),
    }
}

/// What is meant for lockctl and the command must not reach it: neither a signal to their group
/// nor one from their terminal.
fn begin() -> io::Result<tokio::runtime::Runtime> {
    setsid()?;
    // Before there is a second thread, so that all of them inherit it.
    SigSet::all().thread_block()?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

async fn watch() -> io::Result<()> {
    let orders = io::stdin().as_fd().try_clone_to_owned()?;
    let mut orders = BufReader::new(pipe::Receiver::from_owned_fd(orders)?).lines();
    say(READY)?;
    let charge = match next(&mut orders).await {
        Some(Order::Watch(charge)) => charge,
        // There is nothing to watch, and nobody who would have.
        _ => return Ok(()),
    };
    let group = charge.group().ok_or(io::ErrorKind::InvalidData)?;
    let group = Group::of(group);
    say(WATCHING)?;
    let mut kill_at = None;
    loop {
        tokio::select! {
            biased;
            order = next(&mut orders) => match order {
                Some(Order::Done) => return Ok(()),
                Some(Order::KillAt(time)) => kill_at = Some(time),
                Some(Order::Watch(_)) | None => break,
            },
            () = until(kill_at) => {
                group.signal(Signal::KILL);
                kill_at = None;
            }
        }
    }
    take_over(group, &charge).await;
    Ok(())
}

/// The next order; `None` when nobody is left to give one, or gives one that is none.
async fn next(orders: &mut Lines<BufReader<pipe::Receiver>>) -> Option<Order> {
    let line = orders.next_line().await.ok()??;
    serde_json::from_str(&line).ok()
}

/// Completes at a time of `CLOCK_BOOTTIME`; never without one.
async fn until(time: Option<u64>) {
    let Some(time) = time else {
        return std::future::pending().await;
    };
    loop {
        let left = Duration::from_millis(time.saturating_sub(now()));
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LOOK_AGAIN)).await;
    }
}

fn say(word: &str) -> io::Result<()> {
    let mut stdout = io::stdout();
    writeln!(stdout, "{word}")?;
    stdout.flush()
}

/// lockctl has died: ends the command, and only then gives the lock back. The lock is gone on with
/// meanwhile, so that it cannot end before the command has.
async fn take_over(group: Group, charge: &Charge) {
    let name = charge.ticket.name().clone();
    let (adopted, ended) =
        tokio::join!(adopt(charge), tokio::time::timeout(LIMIT, group.end(GRACE)));
    if ended.is_err() {
        tell(&format!(
            "the command under {name} could not be ended; the lock stays until its lease ends"
        ));
        // Neither released by a drop nor said goodbye for.
        std::process::exit(i32::from(exit::OS));
    }
    let released = match adopted {
        Ok(Some((manager, guard))) => {
            let released = guard.release().await;
            manager.shutdown(STORE).await;
            released
        }
        // It has died with lockctl.
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = released {
        tell(&format!(
            "the lock {name} could not be given back at once, and is free when its lease has \
             ended: {error}"
        ));
    }
}

/// Goes on with the section; `None` where it was kept in lockctl's own memory.
async fn adopt(charge: &Charge) -> Result<Option<(LockManager, Guard)>, LockError> {
    let give_up = now() + u64::try_from(charge.ttl.as_millis()).unwrap_or(u64::MAX / 2);
    loop {
        // Never dropped half-way: what was adopted meanwhile would be released. Every request has
        // a limit of its own.
        match try_to_adopt(charge).await {
            Err(error) if error.is_unavailable() && now() < give_up => {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            adopted => return adopted,
        }
    }
}

async fn try_to_adopt(charge: &Charge) -> Result<Option<(LockManager, Guard)>, LockError> {
    let manager = charge.place.connect().await?;
    if manager.capabilities().embedded {
        return Ok(None);
    }
    let request = manager.lock(charge.ticket.name().as_str()).ttl(charge.ttl);
    let guard = outlive(request).adopt(charge.ticket.clone()).await?;
    Ok(Some((manager, guard)))
}
