//! The signals that lockctl is sent while it runs a command.

use std::fs;
use std::task::Poll;

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind};

use super::ENDING;
use super::group::is_own_group_orphaned;
use crate::ctl::failure::Failure;

/// What goes on to the command, besides those that ask for an end.
const OTHERS: [Signal; 4] = [Signal::USR1, Signal::USR2, Signal::TSTP, Signal::CONT];

/// The signals that lockctl is sent.
pub(super) struct Signals(Vec<(Signal, unix::Signal)>);

impl Signals {
    /// Listens from now on. What was ignored when lockctl was started, as `nohup` has it, stays
    /// ignored, and by the command too.
    pub(super) fn listen() -> Result<Self, Failure> {
        let ignored = ignored();
        let wanted = ENDING.into_iter().chain(OTHERS);
        let wanted = wanted.filter(|signal| ignored & bit(*signal) == 0);
        wanted
            // Without this one there would be no word of a command that stopped.
            .chain([Signal::CHILD])
            .map(|signal| {
                let stream = unix::signal(SignalKind::from_raw(signal.as_raw()));
                let stream = stream
                    .map_err(|error| Failure::os("the signals cannot be listened to", &error))?;
                Ok((signal, stream))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The next signal. Several of one kind may count as one, as ever.
    ///
    /// # Cancel safety
    ///
    /// None is lost.
    pub(super) async fn next(&mut self) -> Signal {
        std::future::poll_fn(|cx| {
            let come = self.0.iter_mut().find_map(|(signal, stream)| {
                matches!(stream.poll_recv(cx), Poll::Ready(Some(()))).then_some(*signal)
            });
            come.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// The next signal that asks for an end. Others are dropped: there is no command yet.
    pub(super) async fn ending(&mut self) -> Signal {
        loop {
            match self.next().await {
                signal if ENDING.contains(&signal) => return signal,
                // As the default is: the waiting stops, and goes on when it is continued.
                Signal::TSTP if !is_own_group_orphaned() => {
                    let _stopped =
                        rustix::process::kill_process(rustix::process::getpid(), Signal::STOP);
                }
                _ => {}
            }
        }
    }
}

fn bit(signal: Signal) -> u64 {
    1 << (signal.as_raw() - 1)
}

/// The signals that this process ignores, one bit each.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or_default()
}
