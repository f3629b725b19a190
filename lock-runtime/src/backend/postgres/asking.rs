//! Asking: once, until there is an answer, or for as long as a waiter waits.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::answers::{self, Entered, News};
use super::call::Call;
use super::fault;
use super::line::{Answered, MAX_WAITING, Waiting};
use crate::backend::waiting::{Failure, Question, SHOWN_EVERY};
use crate::backend::{Answer, Release, Reply, Request};
use crate::clock::Moment;
use crate::error::BackendError;
use crate::sync::{Mutex, lock};

/// The pauses before something is asked again.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How often waiters ask where nobody can tell them.
pub(super) const POLLED_EVERY: Duration = Duration::from_millis(100);

impl Shared {
    /// Asks once.
    pub(super) async fn ask(&self, call: Call, is_urgent: bool) -> Result<Answered, Failure> {
        let (sender, receiver) = oneshot::channel();
        let waiting = Waiting {
            call,
            is_urgent,
            answer: sender,
        };
        if let Err(error) = self.line.try_send(waiting) {
            return Err(match error {
                mpsc::error::TrySendError::Full(_) => {
                    Failure::Passing(fault::too_many(self.place(), MAX_WAITING))
                }
                mpsc::error::TrySendError::Closed(_) => {
                    Failure::Lasting(fault::not_connected(self.place()))
                }
            });
        }
        let answer = receiver.await;
        let answer =
            answer.unwrap_or_else(|_| Err(Failure::Lasting(fault::ended(self.place()))))?;
        if answer.text.starts_with('{') {
            let news = answers::read(self.place(), &answer.text);
            let news: News = news.map_err(Failure::Lasting)?;
            self.tell_all(news);
        }
        Ok(answer)
    }

    /// Asks until there is an answer, or it is too late for one.
    pub(super) async fn insist(&self, call: Call, worth: Duration) -> Result<String, BackendError> {
        let insisted = self.insist_and_know(call, worth).await?;
        Ok(insisted.0)
    }

    /// The same, and whether an earlier call may have taken effect whose answer was lost.
    pub(super) async fn insist_and_know(
        &self,
        mut call: Call,
        worth: Duration,
    ) -> Result<(String, bool), BackendError> {
        let until = self.clock.now() + worth;
        let mut pause = FIRST_PAUSE;
        let mut may_be_done = false;
        loop {
            match self.ask(call.clone(), true).await {
                Ok(answer) => return Ok((answer.text, may_be_done)),
                Err(failure) => {
                    let is_lasting = matches!(failure, Failure::Lasting(_));
                    let error = into_error(failure);
                    may_be_done |= error.is_effect_unknown();
                    // What it did when it was asked before is not to be told from its answer.
                    let is_over = may_be_done && !call.may_be_repeated();
                    if is_lasting || is_over || self.clock.now() >= until {
                        return Err(if may_be_done {
                            error.effect_unknown()
                        } else {
                            error
                        });
                    }
                    if may_be_done {
                        call.set_again();
                    }
                }
            }
            let jittered = pause.mul_f64(rand::random_range(0.5..1.0));
            self.clock.sleep(jittered).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One question of a waiter. It is in a hurry, unless it only shows that it is still there.
    pub(super) async fn enter(
        self: Arc<Self>,
        request: Request,
        question: Question,
        asked: Moment,
        is_urgent: bool,
    ) -> Result<Answer, Failure> {
        let owner = request.owner().id();
        let call = Call::Enter {
            place: self.sections.ask_again(owner),
            request: request.clone(),
            question,
            asked,
        };
        let Answered {
            text,
            sent,
            is_unsure,
        } = self.ask(call, is_urgent).await?;
        let place = self.place();
        let entered: Entered = answers::read(place, &text).map_err(Failure::Lasting)?;
        if let Some(place) = entered.place {
            self.sections.queue(owner, place);
        }
        let answer = entered.answer(place).map_err(Failure::Lasting)?;
        let is_over = match answer {
            Answer::Granted(_) => false,
            Answer::Busy(_) => question != Question::Queue,
            Answer::Conflict { .. } | Answer::NotYourTurn { .. } => true,
        };
        if is_over && is_unsure {
            // A question that was sent on a connection that is gone may still arrive, and nobody
            // would know of its grant.
            let take_back = Call::Release {
                name: request.name().clone(),
                owner: request.owner(),
                how: Release::Abandoned,
            };
            if let Err(failure) = self.ask(take_back, true).await {
                return Err(match failure {
                    Failure::Passing(error) => Failure::Passing(error.effect_unknown()),
                    Failure::Lasting(error) => Failure::Lasting(error.effect_unknown()),
                });
            }
        }
        match answer {
            Answer::Granted(grant) => {
                self.holds(request.lease());
                Ok(Answer::Granted(grant.counted_from(sent)))
            }
            Answer::Busy(busy) if question == Question::Queue && !self.channel.is_heard() => {
                // Nobody tells when it comes free.
                let soon = POLLED_EVERY.mul_f64(rand::random_range(0.5..1.5));
                Ok(Answer::Busy(busy.look_again(soon)))
            }
            answer => Ok(answer),
        }
    }

    pub(super) fn start_to_enter(
        self: &Arc<Self>,
        request: &Request,
    ) -> Reply<Result<Answer, BackendError>> {
        let asked_of = Arc::clone(self);
        let asking = request.clone();
        let mut last_asked: Option<Moment> = None;
        // When the question was sent that was granted.
        let granted = Arc::new(Mutex::new(None));
        let noted = Arc::clone(&granted);
        let ask = move |question, now| {
            // Whoever asks before it has to show itself was told to.
            let was_told = last_asked.is_none_or(|last| now < last + SHOWN_EVERY);
            last_asked = Some(now);
            let is_urgent = was_told || question != Question::Queue;
            let entering = Arc::clone(&asked_of).enter(asking.clone(), question, now, is_urgent);
            let noted = Arc::clone(&noted);
            async move {
                let answer = entering.await;
                if let Ok(Answer::Granted(grant)) = &answer {
                    *lock(&noted) = grant.counted_from;
                }
                answer
            }
        };
        let asked = self.asks(request.lease());
        let waiters = Arc::clone(&self.waiters);
        let waiting = waiters.wait(self.clock.clone(), request.clone(), ask);
        Reply::later(async move {
            let answer = waiting.await?;
            if let Answer::Granted(_) = &answer {
                asked.keep();
            }
            Ok(match (answer, *lock(&granted)) {
                // It may have stood in the line for longer than a lease, behind a connection that
                // had to be given up.
                (Answer::Granted(grant), Some(sent)) => Answer::Granted(grant.counted_from(sent)),
                (answer, _) => answer,
            })
        })
    }
}

pub(super) fn into_error(failure: Failure) -> BackendError {
    match failure {
        Failure::Passing(error) | Failure::Lasting(error) => error,
    }
}
