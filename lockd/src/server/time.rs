//! Time, and the one alarm that the daemon needs.

use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use lock_runtime::{__daemon, Clock, Moment};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::descriptor::readable;

/// When simulated time begins: late enough that moments before it exist.
const SIMULATION_STARTS_AT: Duration = Duration::from_secs(3600);

/// Where time comes from.
#[derive(Clone, Debug)]
pub struct Time(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Simulated { start: Instant },
}

impl Time {
    /// The system's: the time since boot, suspend included, which the clients use too.
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// That of the tokio runtime it is called in, which a simulation pauses and moves.
    #[must_use]
    pub fn simulated() -> Self {
        Self(Source::Simulated {
            start: Instant::now(),
        })
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Moment {
        match self.0 {
            Source::System => Clock::system().now(),
            Source::Simulated { start } => {
                __daemon::moment(0) + SIMULATION_STARTS_AT + start.elapsed()
            }
        }
    }

    /// Now by the wall clock: for people to read, for what rests over a restart of the machine, and
    /// for the first token where there is no state.
    #[must_use]
    pub fn wall(&self) -> SystemTime {
        match self.0 {
            Source::System => SystemTime::now(),
            Source::Simulated { .. } => SystemTime::UNIX_EPOCH + self.now().since_start(),
        }
    }

    /// An alarm of this time.
    pub(super) fn alarm(&self) -> io::Result<Alarm> {
        let kind = match self.0 {
            Source::System => {
                // tokio's own timers count in milliseconds, round up, and stand still during
                // suspend: an expiry would be told late.
                let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
                let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
                Kind::Timer(readable(timer)?)
            }
            Source::Simulated { start } => Kind::Simulated {
                start,
                changed: Notify::new(),
            },
        };
        Ok(Alarm {
            at: Cell::new(None),
            kind,
        })
    }
}

/// Rings when a moment has come.
pub(super) struct Alarm {
    at: Cell<Option<Moment>>,
    kind: Kind,
}

enum Kind {
    Timer(AsyncFd<OwnedFd>),
    Simulated { start: Instant, changed: Notify },
}

impl Alarm {
    /// Rings at this moment unless it rings earlier anyway. An alarm that rings early costs one
    /// look; setting it for every lease that is renewed would cost more.
    pub(super) fn set_earlier(&self, at: Moment) -> io::Result<()> {
        if self.at.get().is_some_and(|before| before <= at) {
            return Ok(());
        }
        match &self.kind {
            Kind::Timer(timer) => {
                // Zero would take the alarm off. A moment that has passed rings at once.
                let at = at.since_start().max(Duration::from_nanos(1));
                let time = Itimerspec {
                    it_interval: Timespec::default(),
                    it_value: Timespec {
                        tv_sec: i64::try_from(at.as_secs()).unwrap_or(i64::MAX),
                        tv_nsec: at.subsec_nanos().into(),
                    },
                };
                timerfd_settime(timer, TimerfdTimerFlags::ABSTIME, &time)?;
            }
            Kind::Simulated { changed, .. } => changed.notify_one(),
        }
        self.at.set(Some(at));
        Ok(())
    }

    /// Waits until it rings; then it is no longer set.
    ///
    /// # Cancel safety
    ///
    /// An alarm that nobody waits for rings when somebody does again.
    pub(super) async fn rings(&self) -> io::Result<()> {
        match &self.kind {
            Kind::Timer(timer) => loop {
                let mut ready = timer.readable().await?;
                let read = ready.try_io(|timer| {
                    let mut count = [0_u8; 8];
                    Ok(rustix::io::read(timer, &mut count)?)
                });
                // An error is that it has not rung: it was set anew in the meantime.
                if let Ok(read) = read {
                    read?;
                    self.at.set(None);
                    return Ok(());
                }
            },
            Kind::Simulated { start, changed } => loop {
                let Some(at) = self.at.get() else {
                    changed.notified().await;
                    continue;
                };
                let since = at.since_start().saturating_sub(SIMULATION_STARTS_AT);
                let Some(until) = start.checked_add(since) else {
                    changed.notified().await;
                    continue;
                };
                tokio::select! {
                    () = tokio::time::sleep_until(until) => {
                        self.at.set(None);
                        return Ok(());
                    }
                    () = changed.notified() => {}
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime(paused: bool) -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(paused)
            .build()
            .expect("a runtime")
    }

    #[test]
    fn the_system_alarm_rings_at_the_earliest_moment_and_not_before() {
        runtime(false).block_on(async {
            let time = Time::system();
            let alarm = time.alarm().expect("an alarm");
            let at = time.now() + Duration::from_millis(20);
            alarm
                .set_earlier(at + Duration::from_secs(3600))
                .expect("set");
            alarm.set_earlier(at).expect("set");
            alarm
                .set_earlier(at + Duration::from_secs(60))
                .expect("set");
            let rang = tokio::time::timeout(Duration::from_secs(60), alarm.rings());
            rang.await.expect("it rings").expect("and is no error");
            assert!(time.now() >= at);

            // One that has passed rings too, and more than once.
            for _ in 0..2 {
                alarm.set_earlier(at).expect("set");
                let rang = tokio::time::timeout(Duration::from_secs(60), alarm.rings());
                rang.await.expect("it rings").expect("and is no error");
            }
        });
    }

    #[test]
    fn simulated_time_is_the_runtime_s() {
        runtime(true).block_on(async {
            let time = Time::simulated();
            let alarm = time.alarm().expect("an alarm");
            let start = time.now();
            alarm
                .set_earlier(start + Duration::from_secs(3600))
                .expect("set");
            alarm
                .set_earlier(start + Duration::from_secs(7))
                .expect("set");
            alarm.rings().await.expect("it rings");
            assert_eq!(time.now() - start, Duration::from_secs(7));
            alarm.set_earlier(start).expect("set");
            alarm.rings().await.expect("it rings");
            assert_eq!(time.now() - start, Duration::from_secs(7));
        });
    }
}
