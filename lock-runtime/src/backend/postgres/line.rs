//! The line to the database: calls are sent one transaction at a time, and each takes along all
//! that came while the one before was under way.
//!
//! A transaction costs a commit however much it does, so that the more there is to do, the less
//! each call costs. Calls of one owner never overtake each other.

use std::collections::{HashSet, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time;
use tokio_postgres::SimpleQueryMessage;

use super::Shared;
use super::call::{Call, Sender};
use super::channel::Channel;
use super::fault::{self, Fault};
use super::link::Link;
use super::settings::Settings;
use crate::backend::waiting::Failure;
use crate::clock::{Clock, Moment};
use crate::observe;
use crate::owner::OwnerId;
use crate::race::{First, first};

/// How many calls may wait to be sent.
pub(super) const MAX_WAITING: usize = 16_384;

/// How many calls there are in one transaction at most: each keeps its lock until all are done.
const MAX_TOGETHER: usize = 128;

/// How long calls that are in no hurry wait for others to go with.
const COMPANY: Duration = Duration::from_millis(100);

/// How long the server may take to answer. A call that waits for a transaction that verifies a
/// lock gives up before that, so that the others are answered.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is said before the calls. Whatever is the default of the role or the database, the
/// functions see what others have committed; and the limits are those of this line. All of it
/// ends with the transaction: a pooler may be in between, though it looked otherwise, and the
/// session is somebody else's then.
pub(super) const PROLOGUE: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;\
     SET LOCAL statement_timeout='4s';SET LOCAL lock_timeout='2s';";

/// The pauses between two tries to connect: each is twice the one before, and they are drawn from
/// their second half, so that not everybody comes back at the same moment.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A call, and who waits for its answer.
pub(super) struct Waiting {
    pub(super) call: Call,
    pub(super) is_urgent: bool,
    pub(super) answer: oneshot::Sender<Result<Answered, Failure>>,
}

/// What the server said.
pub(super) struct Answered {
    pub(super) text: String,
    /// A moment before the call was sent.
    pub(super) sent: Moment,
    /// Whether an earlier request of this owner may still arrive.
    pub(super) is_unsure: bool,
}

/// The end of the line that sends.
pub(super) struct Line {
    settings: Arc<Settings>,
    application: String,
    channel: Arc<Channel>,
    clock: Clock,
    calls: mpsc::Receiver<Waiting>,
    /// Those who have not been sent yet.
    waiting: VecDeque<Waiting>,
    /// Nobody is to wait for company any more.
    hurry: Arc<Notify>,
    link: Option<Link>,
    is_out_of_reach: bool,
    /// Owners of whom a request was sent on a connection that is gone. It may still arrive.
    unsure: HashSet<OwnerId>,
    /// How many calls were sent.
    sent: u64,
}

impl Line {
    pub(super) fn new(shared: &Shared, calls: mpsc::Receiver<Waiting>, link: Link) -> Self {
        Self {
            settings: Arc::clone(&shared.settings),
            application: shared.application(),
            channel: Arc::clone(&shared.channel),
            clock: shared.clock.clone(),
            calls,
            waiting: VecDeque::new(),
            hurry: Arc::clone(&shared.hurry),
            link: Some(link),
            is_out_of_reach: false,
            unsure: HashSet::new(),
            sent: 0,
        }
    }

    /// Sends what comes, until nobody is left who could ask.
    pub(super) async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        while self.gather().await {
            let link = match self.take_link().await {
                Ok(link) => link,
                Err(fault) => {
                    for waiting in self.waiting.drain(..) {
                        let failure = match fault.tell() {
                            // What is held is to be given back, and this server has let this
                            // process in before.
                            Failure::Lasting(error) if waiting.call.leaves().is_some() => {
                                Failure::Passing(error)
                            }
                            failure => failure,
                        };
                        answer(waiting, Err(failure));
                    }
                    pause = rest(pause).await;
                    continue;
                }
            };
            let size = self.waiting.len().min(MAX_TOGETHER);
            let calls = self.waiting.drain(..size).collect();
            if self.send(&link, calls).await {
                self.link = Some(link);
                pause = FIRST_PAUSE;
            } else {
                // That it connects does not mean that it answers.
                drop(link);
                pause = rest(pause).await;
            }
        }
    }

    /// Waits until there is something to send. `false` when there never will be.
    async fn gather(&mut self) -> bool {
        if self.waiting.is_empty() {
            match self.calls.recv().await {
                Some(call) => self.waiting.push_back(call),
                None => return false,
            }
        }
        // Those who are ready to ask ask now.
        tokio::task::yield_now().await;
        let leave = self.hurry.notified();
        let mut leave = pin!(first(leave, time::sleep(COMPANY)));
        loop {
            while self.waiting.len() < MAX_WAITING
                && let Ok(call) = self.calls.try_recv()
            {
                self.waiting.push_back(call);
            }
            // Nobody waits for the answer of one that was given up.
            self.waiting
                .retain(|waiting| !waiting.answer.is_closed() || waiting.call.leaves().is_some());
            let is_urgent = self.waiting.iter().any(|waiting| waiting.is_urgent);
            if is_urgent || self.waiting.len() >= MAX_TOGETHER {
                return true;
            }
            match first(self.calls.recv(), leave.as_mut()).await {
                First::Left(Some(call)) => self.waiting.push_back(call),
                First::Left(None) | First::Right(_) => return true,
            }
        }
    }

    async fn take_link(&mut self) -> Result<Link, Fault> {
        if let Some(link) = self.link.take().filter(|link| !link.is_closed()) {
            return Ok(link);
        }
        let target = &self.settings.statements;
        let link = Link::open(target, &self.application, None).await;
        match &link {
            Ok(_) if self.is_out_of_reach => observe::back_in_reach(&target.place),
            Err(fault) if !self.is_out_of_reach => observe::out_of_reach(&target.place, fault),
            Ok(_) | Err(_) => {}
        }
        self.is_out_of_reach = link.is_err();
        link
    }

    /// Sends calls in one transaction and answers them. `false` when the connection is of no use
    /// any more.
    async fn send(&mut self, link: &Link, mut calls: Vec<Waiting>) -> bool {
        if calls.is_empty() {
            return true;
        }
        // Everybody takes locks in the same order; what is asked of one lock keeps its order.
        calls.sort_by(|one, other| one.call.lock().cmp(other.call.lock()));
        let sent = self.clock.now();
        match self.transact(link, &calls).await {
            Ok(answers) => {
                for (waiting, text) in calls.into_iter().zip(answers) {
                    if let Some(owner) = waiting.call.leaves() {
                        self.unsure.remove(&owner);
                    }
                    let owner = waiting.call.enters();
                    let is_unsure = owner.is_some_and(|owner| self.unsure.contains(&owner));
                    let answered = Answered {
                        text,
                        sent,
                        is_unsure,
                    };
                    answer(waiting, Ok(answered));
                }
                true
            }
            Err(fault) if fault.is_disconnected => {
                self.unsure
                    .extend(calls.iter().filter_map(|waiting| waiting.call.enters()));
                for waiting in calls {
                    answer(waiting, Err(fault.tell()));
                }
                false
            }
            Err(fault) => self.send_apart(link, calls, fault).await,
        }
    }

    /// None of the calls took effect because of one of them: sends each by itself.
    async fn send_apart(&mut self, link: &Link, calls: Vec<Waiting>, fault: Fault) -> bool {
        let mut calls = calls.into_iter();
        if calls.len() == 1 {
            calls.for_each(|waiting| answer(waiting, Err(fault.tell())));
            return true;
        }
        while let Some(waiting) = calls.next() {
            if !Box::pin(self.send(link, vec![waiting])).await {
                // The rest goes first over the next connection.
                calls
                    .rev()
                    .for_each(|waiting| self.waiting.push_front(waiting));
                return false;
            }
        }
        true
    }

    async fn transact(&mut self, link: &Link, calls: &[Waiting]) -> Result<Vec<String>, Fault> {
        let Settings {
            statements, schema, ..
        } = &*self.settings;
        let channel = self.channel.name();
        let mut sql = PROLOGUE.to_owned();
        for Waiting { call, .. } in calls {
            self.sent += 1;
            let sender = Sender {
                schema,
                channel: &channel,
                number: self.sent,
            };
            let owner = call.leaves();
            let is_unsure = owner.is_some_and(|owner| self.unsure.contains(&owner));
            call.write(&mut sql, &sender, is_unsure);
        }
        match time::timeout(PATIENCE, link.client.simple_query(&sql)).await {
            Err(_) => Err(fault::silent(&statements.place, PATIENCE)),
            Ok(Err(error)) => Err(fault::statement(&statements.place, schema, &error)),
            Ok(Ok(messages)) => Ok(rows(&messages)),
        }
    }
}

/// Waits before the next try to connect, and says how long to wait before the one after it.
async fn rest(pause: Duration) -> Duration {
    time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
    (pause * 2).min(LONGEST_PAUSE)
}

/// The one column of each row.
fn rows(messages: &[SimpleQueryMessage]) -> Vec<String> {
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
        _ => None,
    });
    rows.collect()
}

fn answer(waiting: Waiting, answer: Result<Answered, Failure>) {
    // Who asked may have gone.
    let _gone = waiting.answer.send(answer);
}
