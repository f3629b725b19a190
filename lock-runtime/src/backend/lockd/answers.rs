//! What the daemon says, and what comes of it.

use super::convert;
use super::fault;
use super::news::News;
use super::pending::{Asking, Pending, Stage, What};
use super::session::Session;
use crate::backend::{Answer, Busy, ChangeAnswer, Grant};
use crate::caller::CallerId;
use crate::clock::Moment;
use crate::error::{BackendError, Lost};
use crate::fencing::FencingToken;
use crate::options::Mode;
use crate::wire::{ErrorCode, ToClient};

/// Why the connection is given up.
type Cut = BackendError;

impl Session {
    /// One message of the daemon.
    ///
    /// # Errors
    ///
    /// When the connection is over: the daemon says so, or says what makes no sense.
    pub(super) fn received(
        &mut self,
        now: Moment,
        message: ToClient<'_>,
        news: &mut Vec<News>,
    ) -> Result<(), Cut> {
        match message {
            ToClient::Lost { owner, cause } => {
                // One that was released meanwhile is nobody's any more.
                if let Some(section) = self.held.remove(owner) {
                    news.push(News::Lost(section.lease, cause));
                }
                Ok(())
            }
            ToClient::Bye { reason } => Err(fault::bye(&self.place, &reason)),
            ToClient::Error {
                id: None,
                code,
                message,
            }
            // It is asked again, of the daemon that comes after this one.
            | ToClient::Error {
                code: code @ ErrorCode::ShuttingDown,
                message,
                ..
            } => Err(fault::refused(&self.place, code, &message)),
            message => match number(&message) {
                Some(id) => self.answered(now, id, message, news),
                None => Err(self.nonsense("a greeting in the middle of a conversation")),
            },
        }
    }

    fn answered(
        &mut self,
        now: Moment,
        id: u64,
        message: ToClient<'_>,
        news: &mut Vec<News>,
    ) -> Result<(), Cut> {
        let Some(Pending {
            what,
            times_sent,
            sent_at,
        }) = self.remove(id)
        else {
            return match message {
                // A request that was taken back is over before its own answer comes.
                ToClient::Busy { .. } | ToClient::NotYourTurn { .. } if self.knows(id) => Ok(()),
                _ => Err(self.nonsense(&format!("an answer to {id}, which nobody has asked"))),
            };
        };
        match (what, message) {
            (What::Ask(asking), message) => {
                return self.asked(now, asking, (times_sent, sent_at), message, news);
            }
            (What::Reclaim { owner, ttl }, ToClient::Held { held: true, .. }) => {
                if let Some(section) = self.held.get(owner) {
                    section.reclaimed(sent_at, ttl);
                }
            }
            (What::Reclaim { owner, .. }, ToClient::Held { .. } | ToClient::Error { .. }) => {
                if let Some(section) = self.held.remove(owner) {
                    news.push(News::Lost(section.lease, Lost::Expired));
                }
            }
            (What::Release { owner, waiter, .. }, ToClient::Held { held, .. }) => {
                self.held.remove(owner);
                if let Some(Pending {
                    what: What::Ask(asking),
                    ..
                }) = self.asked_before(owner, id)
                {
                    asking.end(Ok(Answer::Busy(Busy::new())), news);
                }
                // The one that was sent before may have been the one that ended it.
                let held = held || times_sent > 1;
                news.extend(waiter.map(|waiter| News::Held(waiter, Ok(held))));
            }
            (What::Detach { owner, waiter, .. }, ToClient::Held { held, .. }) => {
                self.held.remove(owner);
                news.push(News::Held(waiter, Ok(held)));
            }
            (What::Renew(leases), ToClient::Renewed { lost, .. }) => {
                for lease in leases {
                    let is_held = !lost.contains(&lease.owner);
                    if !is_held {
                        // Whoever renews tells the lease.
                        self.held.remove(lease.owner);
                    }
                    news.push(News::Held(lease.waiter, Ok(is_held)));
                }
            }
            (What::Claim { .. }, ToClient::Held { .. } | ToClient::Error { .. }) => {}
            (What::Settled, ToClient::Done { .. } | ToClient::Held { .. }) => {
                self.is_settled = true;
            }
            (What::Inspect { waiter, name, .. }, ToClient::Lock { lock, .. }) => {
                return match convert::lock(lock) {
                    Ok(info) if info.name == name => {
                        news.push(News::Lock(waiter, Ok(info)));
                        Ok(())
                    }
                    Ok(_) => Err(self.no_answer(waiter, News::Lock, "another lock", news)),
                    Err(fault) => Err(self.no_answer(waiter, News::Lock, &fault, news)),
                };
            }
            (What::List { waiter, .. }, ToClient::Locks { locks, next, .. }) => {
                let locks: Result<Vec<_>, _> = locks.into_iter().map(convert::lock).collect();
                return match locks {
                    Ok(locks) => {
                        news.push(News::Locks(waiter, Ok((locks, next))));
                        Ok(())
                    }
                    Err(fault) => Err(self.no_answer(waiter, News::Locks, &fault, news)),
                };
            }
            (What::ForceRelease { waiter, .. }, ToClient::Ended { sections, .. }) => {
                news.push(News::Ended(waiter, Ok(sections)));
            }
            (What::Change { waiter, .. }, ToClient::Done { .. }) => {
                news.push(News::Changed(waiter, Ok(ChangeAnswer::Done)));
            }
            (What::Change { waiter, .. }, ToClient::NotYourTurn { holder, .. }) => {
                let holder = holder.map(CallerId::new);
                news.push(News::Changed(
                    waiter,
                    Ok(ChangeAnswer::NotYourTurn { holder }),
                ));
            }
            (What::Change { waiter, .. }, ToClient::SectionLost { .. }) => {
                news.push(News::Changed(waiter, Ok(ChangeAnswer::SectionLost)));
            }
            (What::Settled, ToClient::Error { code, message, .. }) => {
                return Err(fault::refused(&self.place, code, &message));
            }
            (what, ToClient::Error { code, message, .. }) => {
                if let What::Release { owner, .. } | What::Detach { owner, .. } = &what {
                    self.held.remove(*owner);
                }
                what.fail(&fault::refused(&self.place, code, &message), news);
            }
            (what, _) => {
                let error = self.nonsense("an answer of another kind than the request");
                what.fail(&error.clone().effect_unknown(), news);
                return Err(error);
            }
        }
        Ok(())
    }

    /// The answer to a request for a section, in one of its stages.
    fn asked(
        &mut self,
        now: Moment,
        mut asking: Asking,
        (times_sent, sent_at): (u32, Moment),
        message: ToClient<'_>,
        news: &mut Vec<News>,
    ) -> Result<(), Cut> {
        let is_adoption = asking.is_adoption();
        let answer = match (&asking.stage, message) {
            (_, ToClient::Error { code, message, .. }) => {
                Err(fault::refused(&self.place, code, &message))
            }
            (
                Stage::Asked,
                ToClient::Granted {
                    token,
                    mode,
                    queued,
                    ..
                },
            ) if (is_adoption || mode == asking.mode)
                && token.is_some() == (mode == Mode::Exclusive) =>
            {
                asking.mode = mode;
                if !asking.is_wanted {
                    // What was granted is given back by the release that follows.
                    Ok(Answer::Busy(Busy::new()))
                } else if times_sent > 1 {
                    if queued {
                        let lease = std::sync::Arc::clone(&asking.lease);
                        self.submit(now, What::Claim { lease });
                    }
                    asking.stage = Stage::Confirming { token };
                    self.submit(now, What::Ask(asking));
                    return Ok(());
                } else if queued {
                    asking.stage = Stage::Claiming { token };
                    self.submit(now, What::Ask(asking));
                    return Ok(());
                } else {
                    Ok(self.granted(now, &asking, token, sent_at))
                }
            }
            (
                Stage::Asked,
                ToClient::Busy {
                    in_the_way, ahead, ..
                },
            ) if !is_adoption => Ok(Answer::Busy(convert::busy(in_the_way, ahead))),
            (Stage::Asked, ToClient::Conflict { in_use, .. }) if !is_adoption => {
                Ok(Answer::Conflict { in_use })
            }
            (Stage::Asked, ToClient::NotYourTurn { holder, .. }) if !is_adoption => {
                let holder = holder.map(CallerId::new);
                Ok(Answer::NotYourTurn { holder })
            }
            (Stage::Asked, ToClient::Held { held: false, .. }) if is_adoption => {
                if times_sent > 1 {
                    Err(fault::unknown_adoption(&self.place))
                } else {
                    Ok(Answer::Busy(Busy::new()))
                }
            }
            (Stage::Claiming { token }, ToClient::Held { held, .. }) => {
                let token = *token;
                match self.taken_up(now, asking, held, token, sent_at) {
                    Some((taken, answer)) => {
                        asking = taken;
                        answer
                    }
                    None => return Ok(()),
                }
            }
            (Stage::Confirming { token }, ToClient::Renewed { lost, .. }) => {
                let token = *token;
                let held = !lost.contains(&asking.lease.owner());
                match self.taken_up(now, asking, held, token, sent_at) {
                    Some((taken, answer)) => {
                        asking = taken;
                        answer
                    }
                    None => return Ok(()),
                }
            }
            (_, _) => {
                let error = self.nonsense("an answer of another kind than the request");
                asking.end(Err(error.clone().effect_unknown()), news);
                return Err(error);
            }
        };
        asking.end(answer, news);
        Ok(())
    }

    /// A grant was taken up, or came too late: then it is asked for again, at the back of the
    /// queue, for as long as it may wait.
    fn taken_up(
        &mut self,
        now: Moment,
        mut asking: Asking,
        held: bool,
        token: Option<FencingToken>,
        sent_at: Moment,
    ) -> Option<(Asking, Result<Answer, BackendError>)> {
        if !asking.is_wanted {
            return Some((asking, Ok(Answer::Busy(Busy::new()))));
        }
        if held {
            let answer = self.granted(now, &asking, token, sent_at);
            return Some((asking, Ok(answer)));
        }
        if asking.still_waits(now) {
            asking.stage = Stage::Asked;
            self.submit(now, What::Ask(asking));
            return None;
        }
        Some((asking, Ok(Answer::Busy(Busy::new()))))
    }

    /// The section is this session's from now on; its lease counts from that moment.
    fn granted(
        &mut self,
        now: Moment,
        asking: &Asking,
        token: Option<FencingToken>,
        counted_from: Moment,
    ) -> Answer {
        let lease = std::sync::Arc::clone(&asking.lease);
        self.held
            .insert(lease, (asking.mode, token), asking.site, now);
        Answer::Granted(Grant::new(token).counted_from(counted_from))
    }

    fn nonsense(&self, what: &str) -> Cut {
        fault::nonsense(&self.place, what)
    }

    /// An answer that cannot be told on.
    fn no_answer<T>(
        &self,
        waiter: super::pending::Waiter<T>,
        news_of: impl FnOnce(super::pending::Waiter<T>, Result<T, BackendError>) -> News,
        what: &str,
        news: &mut Vec<News>,
    ) -> Cut {
        let error = self.nonsense(what);
        news.push(news_of(waiter, Err(error.clone())));
        error
    }
}

/// The number of the request that a message answers.
fn number(message: &ToClient<'_>) -> Option<u64> {
    match message {
        ToClient::Busy { id, .. }
        | ToClient::Conflict { id, .. }
        | ToClient::Done { id }
        | ToClient::Ended { id, .. }
        | ToClient::Granted { id, .. }
        | ToClient::Held { id, .. }
        | ToClient::Lock { id, .. }
        | ToClient::Locks { id, .. }
        | ToClient::NotYourTurn { id, .. }
        | ToClient::Pong { id }
        | ToClient::Renewed { id, .. }
        | ToClient::SectionLost { id } => Some(*id),
        ToClient::Error { id, .. } => *id,
        ToClient::Bye { .. } | ToClient::Hello(_) | ToClient::Lost { .. } => None,
    }
}
