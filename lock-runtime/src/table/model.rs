//! The slow reference model of the lock table.
//!
//! It keeps plain lists, looks at all of them every time, and knows neither places nor schedules.
//! It was written from the promises, so that a fault of the table is not repeated here. What it
//! leaves open are the numbers of the tokens: those are checked by whoever compares the two.

use std::time::Duration;

use super::{Description, Effect, Party, Refusal};
use crate::caller::CallerId;
use crate::clock::Moment;
use crate::error::Lost;
use crate::info::{InTheWay, SectionInfo};
use crate::options::{CLAIM_WINDOW, Mode};
use crate::owner::Owner;

/// As whom a request comes.
#[derive(Clone, Debug)]
pub(super) enum As {
    Plain,
    Caller {
        id: Option<CallerId>,
        must_be_assigned: bool,
    },
}

/// A request for a section by an attempt.
#[derive(Clone, Debug)]
pub(super) struct Wanted<H> {
    pub(super) owner: Owner,
    pub(super) who: H,
    pub(super) mode: Mode,
    pub(super) ttl: Option<Duration>,
    pub(super) at_least: Duration,
    pub(super) entry: As,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// A new section.
    Granted,
    /// The section that the owner had already.
    HadIt,
    Queued,
}

struct Section<H> {
    wanted: Wanted<H>,
    since: Moment,
    until: Moment,
    is_claimed: bool,
    /// How many sections came before.
    number: usize,
}

/// A name that stays busy although its section has ended.
struct Rest {
    mode: Mode,
    number: usize,
    until: Moment,
}

struct Turn {
    holder: CallerId,
    since: Moment,
    until: Moment,
    length: Option<Duration>,
}

enum May {
    Enter,
    OnlyWait,
    NotEnter,
}

/// One lock.
pub(super) struct Lock<H> {
    sections: Vec<Section<H>>,
    rests: Vec<Rest>,
    queue: Vec<(Wanted<H>, Moment)>,
    turn: Option<Turn>,
    granted: usize,
}

/// What is told to others.
pub(super) type News<H> = Vec<Effect<H>>;

impl<H: Party + PartialEq> Lock<H> {
    pub(super) fn new() -> Self {
        Self {
            sections: Vec::new(),
            rests: Vec::new(),
            queue: Vec::new(),
            turn: None,
            granted: 0,
        }
    }

    pub(super) fn is_unused(&self) -> bool {
        self.sections.is_empty()
            && self.rests.is_empty()
            && self.queue.is_empty()
            && self.turn.is_none()
    }

    /// Everything happens that is due by now, in the order of its moments: who waited only until
    /// before a name came free does not get it. What is given is given now.
    pub(super) fn settle(&mut self, now: Moment, news: &mut News<H>) {
        while let Some(moment) = self.next_end().filter(|moment| *moment <= now) {
            self.time_is_up(now, news, |deadline| deadline < moment);
            self.end_what_ends(moment, news);
            self.serve(now, news);
        }
        self.time_is_up(now, news, |deadline| deadline <= now);
    }

    pub(super) fn next_due(&self) -> Option<Moment> {
        let deadlines = self.queue.iter().map(|(_, deadline)| *deadline);
        self.next_end().into_iter().chain(deadlines).min()
    }

    fn next_end(&self) -> Option<Moment> {
        let sections = self.sections.iter().map(|section| section.until);
        let rests = self.rests.iter().map(|rest| rest.until);
        let turn = self.turn.iter().map(|turn| turn.until);
        sections.chain(rests).chain(turn).min()
    }

    fn end_what_ends(&mut self, moment: Moment, news: &mut News<H>) {
        self.rests.retain(|rest| rest.until > moment);
        while let Some(index) = self.sections.iter().position(|it| it.until <= moment) {
            let section = self.sections.remove(index);
            news.push(Effect::Lost(section.wanted.who.clone(), Lost::Expired));
            if section.is_claimed {
                self.rest_after(&section, moment);
            }
        }
        self.turn = self.turn.take().filter(|turn| turn.until > moment);
    }

    fn rest_after(&mut self, section: &Section<H>, ended: Moment) {
        let until = section.since + section.wanted.at_least;
        if until > ended {
            self.rests.push(Rest {
                mode: section.wanted.mode,
                number: section.number,
                until,
            });
        }
    }

    fn time_is_up(&mut self, now: Moment, news: &mut News<H>, is_up: impl Fn(Moment) -> bool) {
        let waiting = std::mem::take(&mut self.queue);
        let mut gone = Vec::new();
        for (ahead, (wanted, deadline)) in waiting.into_iter().enumerate() {
            if is_up(deadline) {
                gone.push((ahead, wanted.who));
            } else {
                self.queue.push((wanted, deadline));
            }
        }
        if gone.is_empty() {
            return;
        }
        for (ahead, who) in gone {
            news.push(Effect::Refused(who, self.busy(now, ahead)));
        }
        self.serve(now, news);
    }

    /// First those who may not enter any more are sent away; then everybody enters who may, first
    /// come, first served.
    fn serve(&mut self, now: Moment, news: &mut News<H>) {
        let not_your_turn = self.not_your_turn();
        let waiting = std::mem::take(&mut self.queue);
        for (wanted, deadline) in waiting {
            if matches!(self.may(&wanted.entry), May::NotEnter) {
                news.push(Effect::Refused(wanted.who, not_your_turn.clone()));
            } else {
                self.queue.push((wanted, deadline));
            }
        }
        loop {
            let first = self
                .queue
                .iter()
                .position(|(wanted, _)| matches!(self.may(&wanted.entry), May::Enter));
            let Some(first) = first.filter(|first| self.fits(self.queue[*first].0.mode)) else {
                return;
            };
            let (wanted, _) = self.queue.remove(first);
            news.push(Effect::Granted(wanted.who.clone()));
            self.start(wanted, now, now + CLAIM_WINDOW, false);
        }
    }

    fn start(&mut self, wanted: Wanted<H>, since: Moment, until: Moment, is_claimed: bool) {
        self.granted += 1;
        self.sections.push(Section {
            wanted,
            since,
            until,
            is_claimed,
            number: self.granted,
        });
    }

    fn fits(&self, mode: Mode) -> bool {
        let sections = self.sections.iter().map(|section| section.wanted.mode);
        let inside: Vec<Mode> = sections
            .chain(self.rests.iter().map(|rest| rest.mode))
            .collect();
        match mode {
            Mode::Exclusive => inside.is_empty(),
            Mode::Shared => inside.iter().all(|other| *other == Mode::Shared),
            Mode::Permits(number) => {
                inside.iter().all(|other| *other == mode) && inside.len() < number.get() as usize
            }
        }
    }

    fn may(&self, entry: &As) -> May {
        match (entry, &self.turn) {
            (As::Plain, None) => May::Enter,
            (As::Plain, Some(_)) => May::OnlyWait,
            (As::Caller { id: Some(id), .. }, Some(turn)) if *id == turn.holder => May::Enter,
            (As::Caller { .. }, Some(_)) => May::NotEnter,
            (
                As::Caller {
                    must_be_assigned, ..
                },
                None,
            ) => {
                if *must_be_assigned {
                    May::NotEnter
                } else {
                    May::Enter
                }
            }
        }
    }

    pub(super) fn acquire(
        &mut self,
        now: Moment,
        wanted: Wanted<H>,
        wait_until: Option<Moment>,
        news: &mut News<H>,
    ) -> Result<Outcome, Refusal> {
        self.settle(now, news);
        if self.section_of(wanted.owner).is_some() {
            return Ok(Outcome::HadIt);
        }
        let may = self.may(&wanted.entry);
        if matches!(may, May::NotEnter) {
            return Err(self.not_your_turn());
        }
        if let Some(in_use) = self.other_number(wanted.mode) {
            return Err(Refusal::Conflict { in_use });
        }
        let is_first = !self
            .queue
            .iter()
            .any(|(other, _)| matches!(self.may(&other.entry), May::Enter));
        if matches!(may, May::Enter) && is_first && self.fits(wanted.mode) {
            let until = wanted.ttl.map_or(Moment::NEVER, |ttl| now + ttl);
            self.start(wanted, now, until, true);
            return Ok(Outcome::Granted);
        }
        match wait_until {
            Some(deadline) if deadline > now => {
                self.queue.push((wanted, deadline));
                Ok(Outcome::Queued)
            }
            _ => Err(self.busy(now, self.queue.len())),
        }
    }

    /// The number of permits that the name is in use with, or waited for with, if it is another.
    fn other_number(&self, mode: Mode) -> Option<u32> {
        let Mode::Permits(asked) = mode else {
            return None;
        };
        let sections = self.sections.iter().map(|section| section.wanted.mode);
        let rests = self.rests.iter().map(|rest| rest.mode);
        let waiting = self.queue.iter().map(|(wanted, _)| wanted.mode);
        let mut modes = sections.chain(rests).chain(waiting);
        modes.find_map(|mode| match mode {
            Mode::Permits(number) if number != asked => Some(number.get()),
            _ => None,
        })
    }

    pub(super) fn claim(&mut self, now: Moment, owner: Owner, news: &mut News<H>) -> bool {
        self.settle(now, news);
        let Some(section) = self.section_of_mut(owner) else {
            return false;
        };
        if !section.is_claimed {
            section.is_claimed = true;
            section.until = section.wanted.ttl.map_or(Moment::NEVER, |ttl| now + ttl);
        }
        true
    }

    pub(super) fn renew(
        &mut self,
        now: Moment,
        owner: Owner,
        ttl: Option<Duration>,
        news: &mut News<H>,
    ) -> bool {
        self.settle(now, news);
        let Some(section) = self.section_of_mut(owner) else {
            return false;
        };
        section.is_claimed = true;
        section.wanted.ttl = ttl.or(section.wanted.ttl);
        section.until = section.wanted.ttl.map_or(Moment::NEVER, |ttl| now + ttl);
        true
    }

    pub(super) fn release(
        &mut self,
        now: Moment,
        owner: Owner,
        body_ran: bool,
        news: &mut News<H>,
    ) -> bool {
        self.settle(now, news);
        let index = self.sections.iter().position(|it| it.wanted.owner == owner);
        let Some(index) = index else {
            return false;
        };
        let section = self.sections.remove(index);
        if body_ran {
            self.rest_after(&section, now);
        }
        self.serve(now, news);
        true
    }

    pub(super) fn cancel(&mut self, now: Moment, owner: Owner, who: &H, news: &mut News<H>) {
        self.settle(now, news);
        let waiting = self.queue.len();
        self.queue.retain(|(wanted, _)| wanted.who != *who);
        if self.queue.len() == waiting {
            self.sections
                .retain(|section| section.wanted.owner != owner);
        }
        self.serve(now, news);
    }

    /// A request that waits is taken back, and told so.
    pub(super) fn withdraw(&mut self, now: Moment, owner: Owner, news: &mut News<H>) -> bool {
        self.settle(now, news);
        let place = self
            .queue
            .iter()
            .position(|(wanted, _)| wanted.owner == owner);
        let Some(place) = place else {
            return false;
        };
        let (wanted, _) = self.queue.remove(place);
        news.push(Effect::Refused(
            wanted.who,
            self.busy(now, self.queue.len()),
        ));
        self.serve(now, news);
        true
    }

    pub(super) fn adopt(
        &mut self,
        now: Moment,
        giver: Owner,
        taker: (Owner, H),
        ttl: Option<Duration>,
        news: &mut News<H>,
    ) -> bool {
        self.settle(now, news);
        let Some(section) = self.section_of_mut(giver) else {
            return false;
        };
        let from = std::mem::replace(&mut section.wanted.who, taker.1);
        section.wanted.owner = taker.0;
        section.wanted.ttl = ttl;
        section.is_claimed = true;
        section.until = ttl.map_or(Moment::NEVER, |ttl| now + ttl);
        news.push(Effect::Lost(from, Lost::Adopted));
        true
    }

    pub(super) fn force_release(&mut self, now: Moment, news: &mut News<H>) -> usize {
        self.settle(now, news);
        let ended = self.sections.len();
        for section in self.sections.drain(..) {
            news.push(Effect::Lost(section.wanted.who, Lost::ForcedOut));
        }
        self.rests.clear();
        self.serve(now, news);
        ended
    }

    pub(super) fn holder(&self) -> Option<&CallerId> {
        self.turn.as_ref().map(|turn| &turn.holder)
    }

    /// The attempt that the owner's section came from.
    pub(super) fn attempt_of(&self, owner: Owner) -> Option<H> {
        let section = self.section_of(owner)?;
        Some(section.wanted.who.clone())
    }

    pub(super) fn assign(
        &mut self,
        now: Moment,
        to: &CallerId,
        length: Option<Duration>,
        news: &mut News<H>,
    ) {
        let since = match &self.turn {
            Some(turn) if turn.holder == *to => turn.since,
            _ => now,
        };
        self.give_turn(now, since, to, length, news);
    }

    pub(super) fn transfer(&mut self, now: Moment, to: &CallerId, news: &mut News<H>) {
        let length = self.turn.as_ref().and_then(|turn| turn.length);
        self.give_turn(now, now, to, length, news);
    }

    fn give_turn(
        &mut self,
        now: Moment,
        since: Moment,
        to: &CallerId,
        length: Option<Duration>,
        news: &mut News<H>,
    ) {
        self.turn = Some(Turn {
            holder: to.clone(),
            since,
            until: length.map_or(Moment::NEVER, |length| now + length),
            length,
        });
        self.serve(now, news);
    }

    pub(super) fn unassign(&mut self, now: Moment, news: &mut News<H>) {
        self.turn = None;
        self.serve(now, news);
    }

    pub(super) fn describe(&self, now: Moment) -> Description {
        let turn = self.turn.as_ref();
        Description {
            assignment: turn.map(|turn| (turn.holder.clone(), turn.since, turn.until)),
            sections: self
                .sections
                .iter()
                .map(|section| Self::seen(section, now))
                .collect(),
            resting: self.rests.iter().map(|rest| rest.until - now).max(),
            waiting: self.queue.len(),
        }
    }

    fn seen(section: &Section<H>, now: Moment) -> SectionInfo {
        let wanted = &section.wanted;
        let held_for = now - section.since;
        let seen = SectionInfo::new(wanted.who.describe(), wanted.mode, None, held_for);
        if section.until == Moment::NEVER {
            seen
        } else {
            seen.expires_in(section.until - now)
        }
    }

    /// The longest running section is in the way, or else the first rest, or else the holder.
    fn busy(&self, now: Moment, ahead: usize) -> Refusal {
        let rest = self.rests.iter().min_by_key(|rest| rest.number);
        let in_the_way = if let Some(section) = self.sections.first() {
            InTheWay::Section(Box::new(Self::seen(section, now)))
        } else if let Some(rest) = rest {
            InTheWay::Resting(rest.until - now)
        } else if let Some(turn) = &self.turn {
            InTheWay::Assigned(turn.holder.clone())
        } else {
            InTheWay::Queue
        };
        Refusal::Busy { in_the_way, ahead }
    }

    fn not_your_turn(&self) -> Refusal {
        Refusal::NotYourTurn {
            holder: self.holder().cloned(),
        }
    }

    fn section_of(&self, owner: Owner) -> Option<&Section<H>> {
        self.sections.iter().find(|it| it.wanted.owner == owner)
    }

    fn section_of_mut(&mut self, owner: Owner) -> Option<&mut Section<H>> {
        self.sections.iter_mut().find(|it| it.wanted.owner == owner)
    }
}
