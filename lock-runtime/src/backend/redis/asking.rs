//! The questions for a section: to enter, to wait, to go on with another's.

use std::sync::Arc;
use std::time::Duration;

use super::answers::{self, Entered};
use super::batches::{REFRESHES, Small};
use super::ears::Sections;
use super::keys::Keys;
use super::{Shared, fault};
use crate::backend::waiting::{Failure, Question, SHOWN_EVERY, may_be_handed};
use crate::backend::{Answer, Grant, Request};
use crate::clock::Moment;
use crate::error::BackendError;
use crate::lease::Lease;
use crate::options::AuthPolicy;
use crate::owner::{Owner, OwnerId};
use crate::sync::atomic::{AtomicU64, Ordering};

/// What a waiter is answered that has reason to ask for itself.
const ASK: i64 = -2;

/// Whole milliseconds, rounded up: a lease or a rest is never shorter than asked for.
pub(super) fn ms(duration: Duration) -> String {
    duration.as_nanos().div_ceil(1_000_000).to_string()
}

pub(super) fn us(duration: Duration) -> String {
    duration.as_nanos().div_ceil(1_000).to_string()
}

/// The moment of a question, which means nothing to anybody else.
fn stamp(asked: Moment) -> String {
    asked.as_nanos().to_string()
}

/// Who somebody is, for people to read.
pub(super) fn describe(lease: &Lease) -> String {
    serde_json::to_string(&lease.describe()).unwrap_or_default()
}

/// A request for a section, as the store is asked it; the same each time.
struct Asking {
    shared: Arc<Shared>,
    request: Request,
    keys: Keys,
    owner: String,
    refusal: String,
    mode: String,
    ttl: String,
    at_least: String,
    info: String,
    may_be_handed: bool,
    /// Its place in the queue; 0 while it has none.
    place: AtomicU64,
}

/// A section that was asked for, and is forgotten unless it is granted.
struct Asked {
    sections: Arc<Sections>,
    owner: OwnerId,
    is_granted: bool,
}

impl Asked {
    fn new(sections: &Arc<Sections>, lease: &Arc<Lease>) -> Self {
        sections.ask(lease);
        Self {
            sections: Arc::clone(sections),
            owner: lease.owner().id(),
            is_granted: false,
        }
    }
}

impl Shared {
    /// Asks for a section until it is granted or refused, or the wait is over.
    pub(super) async fn enter(self: Arc<Self>, request: Request) -> Result<Answer, BackendError> {
        let lease = request.lease();
        let (keys, owner) = (self.keys(request.name()), request.owner().spelled());
        let asking = Asking {
            refusal: keys.refusal(&owner),
            keys,
            owner,
            mode: answers::spell(request.mode()),
            ttl: ms(request.ttl()),
            at_least: us(lease.at_least()),
            info: describe(lease),
            // Replicas are waited for by whoever asks.
            may_be_handed: may_be_handed(&request) && self.place().options.replicas.is_none(),
            place: AtomicU64::new(0),
            request: request.clone(),
            shared: Arc::clone(&self),
        };
        let mut asked = Asked::new(&self.line.ears().sections, lease);
        let clock = self.clock.clone();
        let until = request.wait_until(clock.now());
        let asking = Arc::new(asking);
        let waiters = Arc::clone(&self.line.ears().waiters);
        let answer = waiters
            .wait(clock, request, move |question, now| {
                let asking = Arc::clone(&asking);
                let wait = wait_us(now, until);
                async move { asking.ask(question, now, &wait).await }
            })
            .await;
        asked.is_granted = matches!(answer, Ok(Answer::Granted(_)));
        answer
    }

    /// Goes on with the section of another owner.
    pub(super) async fn adopt(
        self: Arc<Self>,
        giver: Owner,
        request: Request,
    ) -> Result<Option<Grant>, BackendError> {
        let lease = request.lease();
        let keys = self.keys(request.name());
        let (giver, taker) = (giver.spelled(), request.owner().spelled());
        let refusal = keys.refusal(&taker);
        let (ttl, info) = (ms(request.ttl()), describe(lease));
        let mut asked = Asked::new(&self.line.ears().sections, lease);
        let adopted = self
            .patiently(|| async {
                let sent = self.clock.now();
                let ears = self.line.ears();
                ears.sections
                    .question_begins(request.owner().id(), self.line.up()?);
                let arguments = [giver.as_str(), &taker, ears.process(), &ttl, &info];
                let answer = self
                    .run(&self.scripts.adopt, &[&keys.lock, &refusal], &arguments)
                    .await;
                ears.sections.question_ends(request.owner().id());
                let answer = answer?;
                let grant = answers::adopted(&answer).map_err(|what| self.nonsense(what))?;
                // Asked again, the lease began with the last question.
                Ok(grant.map(|grant| grant.counted_from(sent)))
            })
            .await?;
        asked.is_granted = adopted.is_some();
        Ok(adopted)
    }
}

impl Asking {
    async fn ask(&self, question: Question, now: Moment, wait: &str) -> Result<Answer, Failure> {
        let owner = self.request.owner().id();
        let sections = &self.shared.line.ears().sections;
        let over = self.shared.line.up()?;
        let is_woken = sections.question_begins(owner, over);
        let answer = self.ask_once(question, now, wait, is_woken, over).await;
        sections.question_ends(owner);
        answer
    }

    async fn ask_once(
        &self,
        question: Question,
        now: Moment,
        wait: &str,
        is_woken: bool,
        over: u64,
    ) -> Result<Answer, Failure> {
        let shared = &self.shared;
        let place = self.place.load(Ordering::Relaxed);
        if question == Question::Queue && place != 0 && !is_woken {
            let next_end = self.refresh(now).await?;
            if next_end != ASK {
                return Ok(answers::queued(next_end));
            }
        }
        let question = match question {
            Question::Last => "l",
            Question::Queue => "q",
            Question::Try => "t",
        };
        let keys = &self.keys;
        let answer = shared
            .run(
                &shared.scripts.enter,
                &[
                    &keys.lock,
                    &keys.queue,
                    &keys.waiters,
                    &keys.token,
                    &self.refusal,
                ],
                &[
                    &self.owner,
                    shared.line.ears().process(),
                    &self.mode,
                    &self.ttl,
                    &self.at_least,
                    self.policy(),
                    self.caller(),
                    question,
                    wait,
                    &self.info,
                    if self.may_be_handed { "1" } else { "0" },
                    &stamp(now),
                    &place.to_string(),
                ],
            )
            .await?;
        match answers::entered(answer).map_err(|what| shared.nonsense(what))? {
            Entered::Answered(answer) => {
                if let Answer::Granted(_) = &answer {
                    shared.wait_for_replicas(keys, over).await?;
                }
                Ok(answer)
            }
            Entered::Queued(answer, place) => {
                self.place.store(place, Ordering::Relaxed);
                Ok(answer)
            }
            Entered::IsOver => Err(Failure::Lasting(fault::is_over(shared.place()))),
            Entered::QueueIsFull(waiting) => {
                let error = fault::queue_is_full(shared.place(), waiting);
                Err(Failure::Lasting(error))
            }
        }
    }

    /// Shows that it is alive, together with others. Whether it should ask for itself, or else
    /// when something ends.
    async fn refresh(&self, now: Moment) -> Result<i64, Failure> {
        let Keys {
            lock,
            queue,
            waiters,
            ..
        } = self.keys.clone();
        let (policy, caller) = (self.policy().to_owned(), self.caller().to_owned());
        let (owner, mode, asked) = (self.owner.clone(), self.mode.clone(), stamp(now));
        let arguments = vec![owner, mode, policy, caller, asked];
        let refresh = Small {
            bucket: self.keys.bucket(),
            keys: vec![lock, queue, waiters],
            arguments,
            within: SHOWN_EVERY,
        };
        self.shared.ask_together(&REFRESHES, refresh).await
    }

    fn policy(&self) -> &'static str {
        match self.request.auth() {
            None => "-",
            Some(AuthPolicy::Assigned) => "a",
            Some(AuthPolicy::Optional | AuthPolicy::Required) => "c",
        }
    }

    fn caller(&self) -> &str {
        self.request.caller().map_or("", |caller| caller.as_str())
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.is_granted {
            self.sections.forget(self.owner);
        }
    }
}

/// What is left of a wait; less than zero waits for ever.
fn wait_us(now: Moment, until: Option<Moment>) -> String {
    match until {
        None => "0".to_owned(),
        Some(Moment::NEVER) => "-1".to_owned(),
        Some(until) => us(until - now),
    }
}
