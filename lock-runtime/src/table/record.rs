//! One lock: its sections, its queue, and the caller it is assigned to.

use std::time::Duration;

use smallvec::SmallVec;

use super::assignment::Assignment;
use super::known::Alone;
use super::queue::{OwnEntry, Queue, Waiter};
use super::request::{
    Acquired, Ask, Effect, Effects, Entry, NotHeld, Party, Place, Refusal, TokenSource, Way,
};
use crate::clock::Moment;
use crate::error::Lost;
use crate::fencing::FencingToken;
use crate::info::InTheWay;
use crate::name::LockName;
use crate::options::{CLAIM_WINDOW, MAX_WAITING, Mode};
use crate::owner::Owner;

pub(super) struct Record<H> {
    pub(super) name: LockName,
    pub(super) grants: SmallVec<[Grant<H>; 1]>,
    pub(super) queue: Queue<H>,
    pub(super) assignment: Option<Box<Assignment>>,
    /// When the schedule looks at this record.
    pub(super) look_at: Moment,
}

/// A section, or the rest that it left behind.
pub(super) struct Grant<H> {
    pub(super) owner: Owner,
    /// `None` once the section has ended and only rests.
    pub(super) party: Option<H>,
    pub(super) mode: Mode,
    pub(super) token: Option<FencingToken>,
    pub(super) since: Moment,
    /// When the grant ends by itself: the lease, the claim window, or the rest.
    pub(super) ends: Moment,
    ttl: Option<Duration>,
    pub(super) at_least: Duration,
    /// Whether the owner has it in hand; a grant out of the queue has to be claimed.
    pub(super) claimed: bool,
}

/// What a request may do, by the caller that it comes from.
pub(super) enum Standing {
    MayEnter,
    MustWait,
    Refused,
}

impl<H: Party> Record<H> {
    pub(super) fn new(name: LockName) -> Self {
        Self {
            name,
            grants: SmallVec::new(),
            queue: Queue::new(),
            assignment: None,
            look_at: Moment::NEVER,
        }
    }

    /// Goes on with a section of which nothing more was known until now.
    pub(super) fn go_on_with(&mut self, alone: Alone<H>, owner: Owner) {
        self.grants.push(Grant {
            owner,
            party: Some(alone.party),
            mode: Mode::Exclusive,
            token: Some(alone.token),
            since: alone.since,
            ends: Moment::NEVER,
            ttl: None,
            at_least: Duration::ZERO,
            claimed: true,
        });
    }

    pub(super) fn acquire(
        &mut self,
        now: Moment,
        ask: &Ask<'_>,
        party: impl FnOnce(Way) -> H,
        tokens: &impl TokenSource,
    ) -> Result<Acquired, Refusal> {
        if let Some(grant) = self.grant_of(ask.owner) {
            return Ok(Acquired::Granted { token: grant.token });
        }
        let standing = self.standing(&ask.entry);
        if matches!(standing, Standing::Refused) {
            return Err(self.not_your_turn());
        }
        self.check_permits(ask.mode)?;
        let is_free = matches!(standing, Standing::MayEnter)
            && self.fits(ask.mode)
            && !self.someone_is_first();
        if is_free {
            let token = token_for(ask.mode, tokens);
            self.grants.push(Grant {
                owner: ask.owner,
                party: Some(party(Way::Granted)),
                mode: ask.mode,
                token,
                since: now,
                ends: end_of_lease(now, ask.ttl),
                ttl: ask.ttl,
                at_least: ask.at_least,
                claimed: true,
            });
            return Ok(Acquired::Granted { token });
        }
        let Some(deadline) = ask.wait_until.filter(|deadline| *deadline > now) else {
            return Err(self.busy(now, self.queue.len()));
        };
        if self.queue.len() >= MAX_WAITING {
            return Err(Refusal::QueueFull {
                waiting: self.queue.len(),
            });
        }
        let place = self.queue.push(Waiter {
            owner: ask.owner,
            party: party(Way::Queued),
            mode: ask.mode,
            ttl: ask.ttl,
            since: now,
            deadline,
            at_least: ask.at_least,
            entry: OwnEntry::from(ask.entry),
        });
        Ok(Acquired::Queued(place))
    }

    pub(super) fn reinstate(
        &mut self,
        now: Moment,
        ask: &Ask<'_>,
        token: Option<FencingToken>,
        since: Moment,
        party: H,
    ) -> Result<(), NotHeld> {
        if self.has_section(ask.owner) {
            return self.renew(now, ask.owner, ask.ttl);
        }
        // A rest that the section itself left behind when the shell was started anew is its own.
        self.grants
            .retain(|grant| grant.party.is_some() || grant.ends > since + ask.at_least);
        if !self.fits(ask.mode) {
            return Err(NotHeld);
        }
        self.grants.push(Grant {
            owner: ask.owner,
            party: Some(party),
            mode: ask.mode,
            token,
            since,
            ends: end_of_lease(now, ask.ttl),
            ttl: ask.ttl,
            at_least: ask.at_least,
            claimed: true,
        });
        Ok(())
    }

    pub(super) fn rest(&mut self, mode: Mode, until: Moment) {
        self.grants.push(Grant {
            owner: Owner::NOBODY,
            party: None,
            mode,
            token: None,
            since: until,
            ends: until,
            ttl: None,
            at_least: Duration::ZERO,
            claimed: true,
        });
    }

    pub(super) fn claim(
        &mut self,
        now: Moment,
        owner: Owner,
    ) -> Result<Option<FencingToken>, NotHeld> {
        let grant = self.grant_of_mut(owner).ok_or(NotHeld)?;
        if !grant.claimed {
            grant.claimed = true;
            grant.ends = end_of_lease(now, grant.ttl);
        }
        Ok(grant.token)
    }

    pub(super) fn renew(
        &mut self,
        now: Moment,
        owner: Owner,
        ttl: Option<Duration>,
    ) -> Result<(), NotHeld> {
        let grant = self.grant_of_mut(owner).ok_or(NotHeld)?;
        if ttl.is_some() {
            grant.ttl = ttl;
        }
        grant.claimed = true;
        grant.ends = end_of_lease(now, grant.ttl);
        Ok(())
    }

    pub(super) fn release(
        &mut self,
        now: Moment,
        owner: Owner,
        body_ran: bool,
    ) -> Result<(), NotHeld> {
        if !body_ran {
            return self.take_out(owner);
        }
        let index = self.index_of(owner).ok_or(NotHeld)?;
        self.end(index, now);
        Ok(())
    }

    /// Whether nothing in it depends on time: no end, no rest, and nobody who waits.
    #[inline]
    pub(super) fn is_timeless(&self) -> bool {
        self.queue.is_empty()
            && self.next_due() == Moment::NEVER
            && self.grants.iter().all(|grant| grant.at_least.is_zero())
    }

    /// Takes out the section of an owner, without a rest.
    pub(super) fn take_out(&mut self, owner: Owner) -> Result<(), NotHeld> {
        let index = self.index_of(owner).ok_or(NotHeld)?;
        self.grants.remove(index);
        Ok(())
    }

    pub(super) fn adopt(
        &mut self,
        now: Moment,
        giver: Owner,
        taker: (Owner, H),
        ttl: Option<Duration>,
        effects: &mut Effects<H>,
    ) -> Result<Option<FencingToken>, NotHeld> {
        let grant = self.grant_of_mut(giver).ok_or(NotHeld)?;
        let (owner, party) = taker;
        grant.owner = owner;
        if let Some(giver) = grant.party.replace(party) {
            effects.push(Effect::Lost(giver, Lost::Adopted));
        }
        grant.claimed = true;
        grant.ttl = ttl;
        grant.ends = end_of_lease(now, ttl);
        Ok(grant.token)
    }

    pub(super) fn force_release(&mut self, cause: Lost, effects: &mut Effects<H>) -> usize {
        let ended = self
            .grants
            .iter()
            .filter(|grant| grant.party.is_some())
            .count();
        for grant in self.grants.drain(..) {
            effects.extend(grant.party.map(|party| Effect::Lost(party, cause)));
        }
        ended
    }

    /// Takes a request out of the queue, if it is still there.
    pub(super) fn leave_queue(&mut self, place: Place, owner: Owner) -> bool {
        let is_there = self
            .queue
            .get(place)
            .is_some_and(|waiter| waiter.owner == owner);
        is_there && self.queue.remove(place).is_some()
    }

    /// Takes the request of an owner out of the queue. It has no place at hand, so that this takes
    /// longer the longer the queue is.
    pub(super) fn withdraw(
        &mut self,
        now: Moment,
        owner: Owner,
        effects: &mut Effects<H>,
    ) -> Result<(), NotHeld> {
        let place = self
            .queue
            .iter()
            .find_map(|(place, waiter)| (waiter.owner == owner).then_some(place));
        let waiter = place.and_then(|place| self.queue.remove(place));
        let waiter = waiter.ok_or(NotHeld)?;
        let refusal = self.busy(now, self.queue.len());
        effects.push(Effect::Refused(waiter.party, refusal));
        Ok(())
    }

    /// Takes the requests of some parties out of the queue.
    pub(super) fn withdraw_all(
        &mut self,
        now: Moment,
        is_chosen: impl Fn(&H) -> bool,
        effects: &mut Effects<H>,
    ) {
        let mut after = None;
        while let Some((place, waiter)) = self.queue.next_after(after) {
            after = Some(place);
            if is_chosen(&waiter.party)
                && let Some(waiter) = self.queue.remove(place)
            {
                let refusal = self.busy(now, self.queue.len());
                effects.push(Effect::Refused(waiter.party, refusal));
            }
        }
    }

    /// Serves the queue: everybody who may enter now, first come, first served.
    #[inline]
    pub(super) fn dispatch(
        &mut self,
        now: Moment,
        tokens: &impl TokenSource,
        effects: &mut Effects<H>,
    ) {
        if !self.queue.is_empty() {
            self.serve_queue(now, tokens, effects);
        }
    }

    fn serve_queue(&mut self, now: Moment, tokens: &impl TokenSource, effects: &mut Effects<H>) {
        let mut after = None;
        while let Some((place, waiter)) = self.queue.next_after(after) {
            match self.standing(&waiter.entry.borrowed()) {
                // Those who are refused were sent away when that was decided.
                Standing::MustWait | Standing::Refused => after = Some(place),
                Standing::MayEnter if self.fits(waiter.mode) => {
                    if let Some(waiter) = self.queue.remove(place) {
                        self.grant_queued(now, waiter, tokens, effects);
                    }
                }
                Standing::MayEnter => break,
            }
        }
    }

    fn grant_queued(
        &mut self,
        now: Moment,
        waiter: Waiter<H>,
        tokens: &impl TokenSource,
        effects: &mut Effects<H>,
    ) {
        let token = token_for(waiter.mode, tokens);
        effects.push(Effect::Granted(waiter.party.clone()));
        self.grants.push(Grant {
            owner: waiter.owner,
            party: Some(waiter.party),
            mode: waiter.mode,
            token,
            since: now,
            ends: now + CLAIM_WINDOW,
            ttl: waiter.ttl,
            at_least: waiter.at_least,
            claimed: false,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.grants.is_empty() && self.queue.is_empty() && self.assignment.is_none()
    }

    /// Whether a section of this mode could run beside those that do.
    fn fits(&self, mode: Mode) -> bool {
        let all = |mode| self.grants.iter().all(|grant| grant.mode == mode);
        match mode {
            Mode::Exclusive => self.grants.is_empty(),
            Mode::Shared => all(mode),
            Mode::Permits(number) => all(mode) && self.grants.len() < number.get() as usize,
        }
    }

    fn check_permits(&self, mode: Mode) -> Result<(), Refusal> {
        let Mode::Permits(asked) = mode else {
            return Ok(());
        };
        let in_use = self.grants.iter().map(|grant| grant.mode);
        let waiting = self.queue.iter().map(|(_, waiter)| waiter.mode);
        for mode in in_use.chain(waiting) {
            match mode {
                Mode::Permits(number) if number != asked => {
                    return Err(Refusal::Conflict {
                        in_use: number.get(),
                    });
                }
                // One of them is enough: they all ask for the same number.
                Mode::Permits(_) => return Ok(()),
                Mode::Exclusive | Mode::Shared => {}
            }
        }
        Ok(())
    }

    pub(super) fn standing(&self, entry: &Entry<'_>) -> Standing {
        let holder = self
            .assignment
            .as_ref()
            .map(|assignment| &assignment.holder);
        match (entry, holder) {
            (Entry::Plain, None) => Standing::MayEnter,
            (Entry::Plain, Some(_)) => Standing::MustWait,
            (Entry::Caller { id, .. }, Some(holder)) if *id == Some(holder) => Standing::MayEnter,
            (Entry::Caller { .. }, Some(_)) => Standing::Refused,
            (
                Entry::Caller {
                    must_be_assigned, ..
                },
                None,
            ) if *must_be_assigned => Standing::Refused,
            (Entry::Caller { .. }, None) => Standing::MayEnter,
        }
    }

    /// Whether somebody in the queue may enter and came first.
    fn someone_is_first(&self) -> bool {
        let mut waiters = self.queue.iter();
        waiters.any(|(_, waiter)| {
            !matches!(self.standing(&waiter.entry.borrowed()), Standing::MustWait)
        })
    }

    pub(super) fn not_your_turn(&self) -> Refusal {
        let holder = self
            .assignment
            .as_ref()
            .map(|assignment| assignment.holder.clone());
        Refusal::NotYourTurn { holder }
    }

    pub(super) fn busy(&self, now: Moment, ahead: usize) -> Refusal {
        let running = self.grants.iter().find(|grant| grant.party.is_some());
        let in_the_way = match (running, self.grants.first(), &self.assignment) {
            (Some(grant), _, _) => match self.describe_grant(now, grant) {
                Some(section) => InTheWay::Section(Box::new(section)),
                None => InTheWay::Queue,
            },
            (None, Some(resting), _) => InTheWay::Resting(resting.ends - now),
            (None, None, Some(assignment)) => InTheWay::Assigned(assignment.holder.clone()),
            (None, None, None) => InTheWay::Queue,
        };
        Refusal::Busy { in_the_way, ahead }
    }

    pub(super) fn has_section(&self, owner: Owner) -> bool {
        self.index_of(owner).is_some()
    }

    fn index_of(&self, owner: Owner) -> Option<usize> {
        self.grants
            .iter()
            .position(|grant| grant.owner == owner && grant.party.is_some())
    }

    pub(super) fn grant_of(&self, owner: Owner) -> Option<&Grant<H>> {
        self.index_of(owner).map(|index| &self.grants[index])
    }

    pub(super) fn grant_of_mut(&mut self, owner: Owner) -> Option<&mut Grant<H>> {
        self.index_of(owner).map(|index| &mut self.grants[index])
    }
}

fn end_of_lease(now: Moment, ttl: Option<Duration>) -> Moment {
    ttl.map_or(Moment::NEVER, |ttl| now + ttl)
}

/// Only exclusive grants carry a token: others overlap.
fn token_for(mode: Mode, tokens: &impl TokenSource) -> Option<FencingToken> {
    (mode == Mode::Exclusive).then(|| tokens.next())
}
