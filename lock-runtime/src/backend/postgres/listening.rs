//! The connection that listens: what others tell this process comes over it.
//!
//! Nothing depends on it. A message that is lost costs time: waiters ask again by themselves, and
//! a section that was taken away is found lost when it is renewed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::{self, Instant};
use tokio_postgres::Notification;

use super::Shared;
use super::call::Call;
use super::fault::{self, Fault};
use super::link::Link;
use crate::race::{First, first};

/// How often it is made sure that messages still come through: the connection may be dead, or
/// lead to a server that is not the primary any more.
const CHECKED_EVERY: Duration = Duration::from_secs(10);

/// And how soon again where nobody knows.
const CHECKED_AGAIN: Duration = Duration::from_secs(1);

/// How long the server may take to answer.
const ANSWER_TAKES: Duration = Duration::from_secs(3);

/// How many answers are waited for until a message has to be there. One is enough, if no server
/// ever does things in another order.
const ROUNDS: usize = 2;

/// The pauses between two tries to connect, as those of the line.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The message that this process sends to itself.
const ECHO: &str = "echo";

/// A connection on which messages come in.
pub(super) struct Listening {
    link: Link,
    messages: UnboundedReceiver<Notification>,
}

/// What became of a message to oneself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Yes,
    /// It was sent and never came.
    No,
    /// Nobody knows: it could not be sent.
    Unknown,
}

/// Connects and listens.
pub(super) async fn open(shared: &Shared) -> Result<Listening, Fault> {
    let settings = &shared.settings;
    let target = settings.listening.as_ref().unwrap_or(&settings.statements);
    let (sender, messages) = mpsc::unbounded_channel();
    let link = Link::open(target, &shared.application(), Some(sender)).await?;
    let listen = format!("LISTEN {}", shared.channel.plain());
    match time::timeout(target.timeout, link.client.simple_query(&listen)).await {
        Ok(Ok(_)) => Ok(Listening { link, messages }),
        Ok(Err(error)) => Err(fault::statement(&target.place, &settings.schema, &error)),
        Err(_) => Err(fault::silent(&target.place, target.timeout)),
    }
}

impl Listening {
    /// Sends a message to itself, over the line, and looks whether it came.
    ///
    /// When the line has its answer, the server has told every session that listens. Such a
    /// session then says what it was told before it answers anything else.
    pub(super) async fn check(&mut self, shared: &Shared) -> Heard {
        let echo = Call::Notify {
            channel: shared.channel.plain().to_owned(),
            payload: ECHO.to_owned(),
        };
        if shared.ask(echo, true).await.is_err() {
            return Heard::Unknown;
        }
        for _ in 0..ROUNDS {
            let answer = self.link.client.simple_query("SELECT");
            if !matches!(time::timeout(ANSWER_TAKES, answer).await, Ok(Ok(_))) {
                return Heard::No;
            }
        }
        let mut heard = Heard::No;
        while let Ok(message) = self.messages.try_recv() {
            match message.payload() {
                ECHO => heard = Heard::Yes,
                other => shared.hear(other),
            }
        }
        heard
    }

    /// Leaves the session as it was, for whoever gets it from a pooler after this.
    pub(super) async fn leave(self) {
        let leave = self.link.client.simple_query("UNLISTEN *");
        // Nothing is sent to this channel, so that it does no harm if it stays.
        let _left = time::timeout(ANSWER_TAKES, leave).await;
    }

    /// A session that listens does nothing else for hours, which is no reason to end it.
    async fn stay(&self) {
        let stay = self
            .link
            .client
            .simple_query("SET idle_session_timeout = 0");
        // If it is ended all the same, there will be another.
        let _set = time::timeout(ANSWER_TAKES, stay).await;
    }

    /// Passes on what comes, until the connection is of no use any more.
    async fn pass_on(&mut self, shared: &Shared, heard: Heard) {
        let mut check_at = next_check(heard);
        loop {
            let next = time::timeout_at(check_at, self.messages.recv());
            match first(next, self.link.closed()).await {
                First::Left(Ok(Some(message))) => shared.hear(message.payload()),
                First::Left(Err(_)) => {
                    let heard = self.check(shared).await;
                    match heard {
                        Heard::Yes => shared.channel.set_heard(true),
                        Heard::No => return,
                        Heard::Unknown => {}
                    }
                    check_at = next_check(heard);
                }
                First::Left(Ok(None)) | First::Right(()) => return,
            }
        }
    }
}

fn next_check(heard: Heard) -> Instant {
    Instant::now()
        + match heard {
            Heard::Yes | Heard::No => CHECKED_EVERY,
            Heard::Unknown => CHECKED_AGAIN,
        }
}

/// Keeps listening for as long as somebody may ask.
pub(super) async fn keep(shared: Arc<Shared>, mut listening: Listening) {
    let mut pause = FIRST_PAUSE;
    let mut heard = Heard::Yes;
    loop {
        listening.stay().await;
        let started = Instant::now();
        listening.pass_on(&shared, heard).await;
        // Something may have been said and lost, and nobody can be told anything: those who wait
        // look by themselves until messages come through.
        shared.channel.set_heard(false);
        shared.waiters.wake_all();
        if started.elapsed() > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        listening = loop {
            time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            if let Ok(listening) = open(&shared).await {
                break listening;
            }
        };
        heard = listening.check(&shared).await;
        if heard == Heard::Yes {
            shared.channel.set_heard(true);
            // From now on those who wait may be told.
            shared.waiters.wake_all();
        }
    }
}
