//! Who may enter: a pure function of what is known of a name, as in the lock table.
//!
//! What it says may be out of date when it is acted on. The transaction that does so compares
//! everything that the decision rests on ([`Basis`]), and is refused when any of it has changed.

use std::time::Duration;

use super::keys::Slot;
use super::record::{Record, Section, Waiter};
use crate::backend::Request;
use crate::caller::CallerId;
use crate::fencing::FencingToken;
use crate::info::{InTheWay, SectionInfo};
use crate::options::{AuthPolicy, Mode};
use crate::owner::{Owner, OwnerId};

/// How many may wait for one name: the store answers with the whole queue where it is asked for.
pub(super) const MAX_WAITING: usize = 4_096;

/// What somebody asks for.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) owner: Owner,
    pub(super) mode: Mode,
    pub(super) auth: Option<AuthPolicy>,
    pub(super) caller: Option<CallerId>,
}

/// What is to be done about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Nothing: others come first. The one who asks has a place in the queue, or has none yet.
    Busy {
        is_queued: bool,
        ahead: usize,
        in_the_way: InTheWay,
        /// The lease of a rest that is in the way: only the store knows how long it lasts.
        resting: Option<i64>,
    },
    /// It is in use with this other number of permits.
    Conflict { in_use: u32, is_queued: bool },
    /// It may be entered.
    Enter(Basis),
    /// The queue is full.
    Full { waiting: usize },
    /// The one who asks has it already.
    Held(Entered),
    /// It belongs to another caller, or to nobody where somebody is needed.
    NotYourTurn {
        holder: Option<CallerId>,
        is_queued: bool,
    },
    /// The request was taken back.
    Withdrawn,
}

/// A section that the one who asks has already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entered {
    /// The revision in which it began.
    pub(super) created: i64,
    pub(super) slot: Slot,
    /// The lease that it ends with, if it was handed over and not renewed since.
    pub(super) handed: Option<i64>,
}

/// Who is handed the name by the one who leaves it, and what that rests on.
#[derive(Clone, Debug)]
pub(super) struct Next {
    pub(super) waiter: Waiter,
    /// When it came to the queue.
    pub(super) place: i64,
    /// When the assignment was last written; `None` when there is none.
    pub(super) assignment: Option<i64>,
    /// The key that its section gets.
    pub(super) slot: Slot,
}

/// What a decision to let somebody in rests on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Basis {
    /// That nothing at all is known of the name.
    Nothing,
    /// What was there at a revision.
    Record {
        revision: i64,
        /// When the assignment was last written; `None` when there is none.
        assignment: Option<i64>,
        /// When the one who enters came to the queue, if it did.
        place: Option<i64>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    MayEnter,
    MustWait,
    Refused,
}

/// Who is inside, as far as it matters to who may follow.
#[derive(Clone, Copy, Default)]
struct Inside {
    exclusive: bool,
    permits: usize,
    shared: bool,
}

impl Ask {
    pub(super) fn of(request: &Request) -> Self {
        Self {
            owner: request.owner(),
            mode: request.mode(),
            auth: request.auth(),
            caller: request.caller().cloned(),
        }
    }
}

impl Inside {
    fn fits(self, mode: Mode) -> bool {
        match mode {
            Mode::Exclusive => !self.exclusive && !self.shared && self.permits == 0,
            Mode::Shared => !self.exclusive && self.permits == 0,
            Mode::Permits(number) => {
                !self.exclusive && !self.shared && self.permits < number.get() as usize
            }
        }
    }

    fn add(&mut self, mode: Mode) {
        match mode {
            Mode::Exclusive => self.exclusive = true,
            Mode::Shared => self.shared = true,
            Mode::Permits(_) => self.permits += 1,
        }
    }
}

impl Record {
    /// What is to be done about a request.
    pub(super) fn decide(&self, ask: &Ask) -> Step {
        if let Some(section) = self.section_of(ask.owner) {
            return Step::Held(Entered {
                created: section.created,
                slot: section.slot,
                handed: section.value.is_handed.then_some(section.lease),
            });
        }
        if self.is_withdrawn(ask.owner) {
            return Step::Withdrawn;
        }
        let place = self.place_of(ask.owner);
        let is_queued = place.is_some();
        let standing = self.standing(ask.auth, ask.caller.as_ref());
        if standing == Standing::Refused {
            let holder = self.holder().cloned();
            return Step::NotYourTurn { holder, is_queued };
        }
        if let Some(in_use) = self.other_permits(ask.mode, place) {
            return Step::Conflict { in_use, is_queued };
        }
        if standing == Standing::MayEnter && self.is_turn_of(ask, place) {
            return Step::Enter(Basis::Record {
                revision: self.revision,
                assignment: self.assigned_at(),
                place,
            });
        }
        let waiting = self.queue.len();
        if !is_queued && waiting >= MAX_WAITING {
            return Step::Full { waiting };
        }
        let ahead = place.map_or(waiting, |place| self.queue.range(..place).count());
        let (in_the_way, resting) = self.in_the_way();
        Step::Busy {
            is_queued,
            ahead,
            in_the_way,
            resting,
        }
    }

    /// Who enters when this owner leaves, where the one may make the section of the other: both run
    /// alone, and nothing but the first one keeps the second one out.
    pub(super) fn next_after(&self, owner: Owner) -> Option<Next> {
        let leaving = self.exclusive.as_ref()?;
        if leaving.owner != owner || !self.rests.is_empty() || self.unreadable().is_some() {
            return None;
        }
        let mut queue = self.queue.iter();
        let (place, next) =
            queue.find(|(_, waiter)| self.standing_of(waiter) == Standing::MayEnter)?;
        let is_alone = next.value.mode == Mode::Exclusive;
        (is_alone && next.value.may_be_handed).then(|| Next {
            waiter: next.clone(),
            place: *place,
            assignment: self.assigned_at(),
            slot: leaving.slot.other(),
        })
    }

    fn assigned_at(&self) -> Option<i64> {
        self.assignment.as_ref().map(|found| found.modified)
    }

    /// Those in the queue for whom there is news: who may enter, and who is sent away.
    pub(super) fn called(&self) -> Vec<OwnerId> {
        let mut called = Vec::new();
        let (mut inside, mut is_blocked) = (self.inside(), false);
        for waiter in self.queue.values() {
            let mode = waiter.value.mode;
            match self.standing_of(waiter) {
                Standing::Refused => called.push(waiter.owner.id()),
                Standing::MayEnter if !is_blocked && inside.fits(mode) => {
                    inside.add(mode);
                    called.push(waiter.owner.id());
                }
                Standing::MayEnter => is_blocked = true,
                Standing::MustWait => {}
            }
        }
        called
    }

    fn is_turn_of(&self, ask: &Ask, place: Option<i64>) -> bool {
        let mut inside = self.inside();
        let ahead = self.queue.range(..place.unwrap_or(i64::MAX));
        for (_, waiter) in ahead {
            if self.standing_of(waiter) != Standing::MayEnter {
                continue;
            }
            // Nobody who comes anew passes one who waits and may enter.
            let mode = waiter.value.mode;
            if place.is_none() || !inside.fits(mode) {
                return false;
            }
            inside.add(mode);
        }
        inside.fits(ask.mode)
    }

    fn inside(&self) -> Inside {
        let mut inside = Inside::default();
        let running = self
            .sections()
            .into_iter()
            .map(|section| section.value.mode);
        let resting = self.resting().map(|rest| rest.value.mode);
        running.chain(resting).for_each(|mode| inside.add(mode));
        inside
    }

    pub(super) fn holder(&self) -> Option<&CallerId> {
        let assignment = self.assignment.as_ref();
        assignment.map(|assignment| &assignment.value.holder)
    }

    fn standing_of(&self, waiter: &Waiter) -> Standing {
        let value = &waiter.value;
        self.standing(value.auth, value.caller.as_ref())
    }

    fn standing(&self, auth: Option<AuthPolicy>, caller: Option<&CallerId>) -> Standing {
        match (auth, self.holder()) {
            (None, None) => Standing::MayEnter,
            (None, Some(_)) => Standing::MustWait,
            (Some(_), Some(holder)) if caller == Some(holder) => Standing::MayEnter,
            (Some(_), Some(_)) | (Some(AuthPolicy::Assigned), None) => Standing::Refused,
            (Some(_), None) => Standing::MayEnter,
        }
    }

    /// The number of permits that it is in use with, when that is not what is asked for. Who has a
    /// place in the queue was there before those behind it.
    fn other_permits(&self, mode: Mode, place: Option<i64>) -> Option<u32> {
        let Mode::Permits(asked) = mode else {
            return None;
        };
        let running = self
            .sections()
            .into_iter()
            .map(|section| section.value.mode);
        let resting = self.resting().map(|rest| rest.value.mode);
        let ahead = self.queue.range(..place.unwrap_or(i64::MAX));
        let waiting = ahead.map(|(_, waiter)| waiter.value.mode);
        running
            .chain(resting)
            .chain(waiting)
            .find_map(|mode| match mode {
                Mode::Permits(number) if number != asked => Some(number.get()),
                _ => None,
            })
    }

    fn in_the_way(&self) -> (InTheWay, Option<i64>) {
        let running = self.sections().first().map(|section| section.describe());
        match (running, self.resting().next(), self.holder()) {
            (Some(section), _, _) => (InTheWay::Section(Box::new(section)), None),
            (None, Some(rest), _) => (InTheWay::Resting(Duration::ZERO), Some(rest.lease)),
            (None, None, Some(holder)) => (InTheWay::Assigned(holder.clone()), None),
            (None, None, None) => (InTheWay::Queue, None),
        }
    }
}

impl Section {
    pub(super) fn describe(&self) -> SectionInfo {
        let value = &self.value;
        SectionInfo::new(
            value.owner.clone(),
            value.mode,
            self.token(),
            value.since.ago(),
        )
    }

    /// The revision in which the key was made, for a section that is alone.
    pub(super) fn token(&self) -> Option<FencingToken> {
        let created = u64::try_from(self.created).ok();
        let token = created.and_then(FencingToken::new);
        token.filter(|_| self.value.mode == Mode::Exclusive)
    }
}

#[cfg(test)]
mod tests;
