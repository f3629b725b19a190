//! What happens to a lock by itself: leases, rests, assignments and waits that end.

use std::time::Duration;

use super::record::{Record, Standing};
use super::request::{Effect, Effects, Party, TokenSource};
use crate::clock::Moment;
use crate::error::Lost;

impl<H: Party> Record<H> {
    /// Lets everything happen that is due. At one moment, leases end first, then the queue is
    /// served, and then the time of waiters is up: a waiter gets a name that comes free at its
    /// very deadline.
    #[inline]
    pub(super) fn settle(
        &mut self,
        now: Moment,
        tokens: &impl TokenSource,
        effects: &mut Effects<H>,
    ) {
        if self.next_due() <= now {
            self.settle_due(now, tokens, effects);
        }
    }

    #[cold]
    fn settle_due(&mut self, now: Moment, tokens: &impl TokenSource, effects: &mut Effects<H>) {
        // In the order of their moments, however late this look is: who waited only until before
        // a name came free does not get it.
        loop {
            let moment = self.next_end();
            let is_over = moment <= now;
            let time_is_up = if is_over {
                moment.saturating_sub(Duration::from_nanos(1))
            } else {
                now
            };
            self.refuse_overdue(now, time_is_up, tokens, effects);
            if !is_over {
                return;
            }
            self.end_what_ends(moment, effects);
            self.dispatch(now, tokens, effects);
        }
    }

    fn refuse_overdue(
        &mut self,
        now: Moment,
        time_is_up: Moment,
        tokens: &impl TokenSource,
        effects: &mut Effects<H>,
    ) {
        let overdue = self.queue.remove_overdue(time_is_up);
        if overdue.is_empty() {
            return;
        }
        for (ahead, waiter) in overdue {
            let refusal = self.busy(now, ahead);
            effects.push(Effect::Refused(waiter.party, refusal));
        }
        // Who has left may have been all that others stood behind.
        self.dispatch(now, tokens, effects);
    }

    /// Ends the sections, the rests and the assignment whose time is over at this moment.
    fn end_what_ends(&mut self, moment: Moment, effects: &mut Effects<H>) {
        let mut index = 0;
        while let Some(grant) = self.grants.get_mut(index) {
            if grant.ends > moment {
                index += 1;
                continue;
            }
            let (party, claimed) = (grant.party.take(), grant.claimed);
            match party {
                Some(party) => {
                    effects.push(Effect::Lost(party, Lost::Expired));
                    let ended = grant.ends;
                    if claimed {
                        self.end(index, ended);
                    } else {
                        self.grants.remove(index);
                    }
                }
                None => {
                    self.grants.remove(index);
                }
            }
        }
        if self.assignment.as_ref().is_some_and(|a| a.ends <= moment) {
            self.assignment = None;
            self.send_away(effects);
        }
    }

    /// Sends away those who may not enter any more, wherever they stand in the queue.
    pub(super) fn send_away(&mut self, effects: &mut Effects<H>) {
        let mut after = None;
        while let Some((place, waiter)) = self.queue.next_after(after) {
            after = Some(place);
            if !matches!(self.standing(&waiter.entry.borrowed()), Standing::Refused) {
                continue;
            }
            let refusal = self.not_your_turn();
            if let Some(waiter) = self.queue.remove(place) {
                effects.push(Effect::Refused(waiter.party, refusal));
            }
        }
    }

    /// Ends a section whose body ran: the name may have to rest.
    pub(super) fn end(&mut self, index: usize, now: Moment) {
        let grant = &mut self.grants[index];
        let rests_until = grant.since + grant.at_least;
        if grant.at_least.is_zero() || rests_until <= now {
            self.grants.remove(index);
        } else {
            grant.party = None;
            grant.ends = rests_until;
        }
    }

    /// The earliest moment at which something happens by itself.
    #[inline]
    pub(super) fn next_due(&self) -> Moment {
        self.next_end().min(self.queue.earliest_deadline())
    }

    /// The earliest moment at which a section, a rest or the assignment ends.
    #[inline]
    fn next_end(&self) -> Moment {
        let assignment = self.assignment.as_ref().map(|assignment| assignment.ends);
        let ends = self.grants.iter().map(|grant| grant.ends).chain(assignment);
        ends.fold(Moment::NEVER, Moment::min)
    }
}
