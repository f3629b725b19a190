//! What a session says on a new connection, and what is over without one.

use std::sync::Arc;

use tokio::net::UnixStream;

use super::fault;
use super::news::News;
use super::pending::{Pending, Stage, What};
use super::session::{Phase, Session};
use crate::backend::{Answer, Busy};
use crate::clock::Moment;
use crate::error::BackendError;
use crate::wire::{Encoding, ToDaemon};

impl Session {
    /// Whether the task of the connection has to be woken. It is then taken as woken.
    pub(super) fn wants_the_task(&mut self) -> bool {
        let has_news =
            self.is_closed() || self.is_up() && !(self.out.is_empty() && self.renewals.is_empty());
        has_news && !std::mem::replace(&mut self.is_woken, true)
    }

    /// Hands over what there is to send. `sent` is empty: what was handed over before is sent.
    pub(super) fn take_output(&mut self, now: Moment, sent: &mut Vec<u8>) {
        self.is_woken = false;
        self.send_renewals(now);
        std::mem::swap(&mut self.out, sent);
        self.is_sending = !sent.is_empty();
    }

    /// Goes on with a connection, whose greetings are done: says what is held and what is asked.
    pub(super) fn resume(
        &mut self,
        now: Moment,
        stream: Arc<UnixStream>,
        encoding: Encoding,
        news: &mut Vec<News>,
    ) {
        let is_first = self.is_new();
        self.drop_what_is_too_late(now, news);
        self.phase = Phase::Up { stream, encoding };
        self.is_settled = is_first;
        self.trouble = None;
        for site in self.sites.all() {
            encoding.write(&ToDaemon::Site(site), &mut self.out);
        }
        let unanswered: Vec<u64> = self.pending.keys().copied().collect();
        for owner in self.held.to_reclaim(now) {
            if let Some(section) = self.held.get(owner) {
                let ttl = section.lease_left(now);
                self.submit(now, What::Reclaim { owner, ttl });
            }
        }
        for id in unanswered {
            self.say(id, now);
        }
        self.send_renewals(now);
        if !is_first {
            self.submit(now, What::Settled);
        }
    }

    /// The connection is cut. What nobody wants any more is over.
    pub(super) fn cut(&mut self, why: &BackendError, news: &mut Vec<News>) {
        if self.is_closed() {
            return;
        }
        self.phase = Phase::Down;
        self.out = Vec::new();
        self.is_sending = false;
        self.trouble = Some(why.to_string());
        let ids: Vec<u64> = self.pending.keys().copied().collect();
        for id in ids {
            let is_over = match self.pending.get_mut(&id).map(|pending| &mut pending.what) {
                None => continue,
                Some(What::Ask(asking)) => {
                    asking.stage = Stage::Asked;
                    !asking.is_wanted
                }
                Some(What::Renew(leases)) => leases.iter().all(|lease| lease.waiter.is_closed()),
                Some(what) => what.ends_with_connection() || what.is_idle_look(),
            };
            if is_over
                && let Some(Pending {
                    what: What::Ask(asking),
                    ..
                }) = self.remove(id)
            {
                asking.end(Ok(Answer::Busy(Busy::new())), news);
            }
        }
    }

    /// The daemon is still out of reach: what is too late to be sent fails.
    pub(super) fn still_down(&mut self, now: Moment, why: &BackendError, news: &mut Vec<News>) {
        self.trouble = Some(why.to_string());
        self.drop_what_is_too_late(now, news);
    }

    fn drop_what_is_too_late(&mut self, now: Moment, news: &mut Vec<News>) {
        let too_late: Vec<u64> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.what.worth_until() <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in too_late {
            if let Some(pending) = self.remove(id) {
                if let What::Release { owner, .. } | What::Detach { owner, .. } = &pending.what {
                    // Its lease has ended by now.
                    self.held.remove(*owner);
                }
                let was_sent = pending.times_sent > 0;
                let error = fault::too_late(&self.place, was_sent, self.trouble.as_deref());
                pending.what.fail(&error, news);
            }
        }
    }

    /// Ends everything: nothing is asked any more, and nothing answered.
    pub(super) fn close(&mut self, news: &mut Vec<News>) {
        self.phase = Phase::Closed;
        self.out = Vec::new();
        self.held.clear();
        self.asking.clear();
        let ended = fault::ended(&self.place);
        for (_, pending) in std::mem::take(&mut self.pending) {
            let error = if pending.times_sent == 0 {
                ended.clone()
            } else {
                ended.clone().effect_unknown()
            };
            pending.what.fail(&error, news);
        }
        What::Renew(std::mem::take(&mut self.renewals)).fail(&ended, news);
    }

    /// Says goodbye where that can be done at once, and ends everything.
    pub(super) fn say_goodbye(&mut self, news: &mut Vec<News>) {
        if let Phase::Up { stream, encoding } = &self.phase
            && !self.is_sending
        {
            encoding.write(&ToDaemon::Goodbye {}, &mut self.out);
            // Only a courtesy: the daemon sees the end of the process, and of the leases.
            let _sent = stream.try_write(&self.out);
        }
        self.close(news);
    }
}
