//! A table and its model side by side: every step is done to both, and what comes of it compared.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::LazyLock;
use std::time::Duration;

use super::steps::{Asked, CALLERS, From, Jump, NAMES, OWNERS, Step, Word};
use super::{Counter, Who, effects, name, start};
use crate::caller::CallerId;
use crate::clock::Moment;
use crate::fencing::FencingToken;
use crate::info::InTheWay;
use crate::name::LockName;
use crate::options::Mode;
use crate::owner::Owner;
use crate::table::model::{As, Lock, News, Outcome, Wanted};
use crate::table::{
    Acquired, Ask, Description, Effect, Effects, Entry, Giver, Place, Refusal, Table, Way, Within,
};

static NAME: LazyLock<[LockName; NAMES]> = LazyLock::new(|| std::array::from_fn(name));
static CALLER: LazyLock<[CallerId; CALLERS]> =
    LazyLock::new(|| std::array::from_fn(|number| CallerId::new(format!("caller {number}"))));

struct Attempt {
    name: usize,
    owner: Owner,
    who: Who,
    place: Option<Place>,
    /// Whether it still waits, as far as it was told.
    waits: bool,
}

pub(super) struct World {
    now: Moment,
    table: Table<Who, Counter>,
    model: [Lock<Who>; NAMES],
    /// Who asks at present, for each name: whoever has queued once does not ask again.
    owners: [[Owner; OWNERS]; NAMES],
    attempts: Vec<Attempt>,
    tokens: BTreeMap<u32, FencingToken>,
    largest: u64,
    /// The largest token before this step.
    largest_before: u64,
}

type Checked = Result<(), String>;

impl World {
    pub(super) fn new() -> Self {
        Self {
            now: start(),
            table: Table::new(Counter::default()),
            model: std::array::from_fn(|_| Lock::new()),
            owners: std::array::from_fn(|_| std::array::from_fn(|_| Owner::random())),
            attempts: Vec::new(),
            tokens: BTreeMap::new(),
            largest: 0,
            largest_before: 0,
        }
    }

    pub(super) fn run(steps: &[Step]) -> Checked {
        let mut world = Self::new();
        for (number, step) in steps.iter().enumerate() {
            world
                .step(*step)
                .map_err(|fault| format!("step {number}, {step:?}: {fault}"))?;
        }
        world.end_everything()
    }

    fn step(&mut self, step: Step) -> Checked {
        let (mut effects, mut news) = (effects(), News::new());
        self.largest_before = self.largest;
        let touched = self.do_step(step, &mut effects, &mut news)?;
        // Whoever was granted anything has a token from now on.
        let granted = effects.iter().filter_map(|effect| match effect {
            Effect::Granted(who) => Some(self.attempts[who.0 as usize].name),
            _ => None,
        });
        let seen: BTreeSet<usize> = granted.chain(touched).collect();
        self.compare_news(effects, news)?;
        for name in seen {
            self.compare_descriptions(name)?;
        }
        let in_use = self.model.iter().filter(|lock| !lock.is_unused()).count();
        same("records", &self.table.kept().records, &in_use)?;
        let (looks, due) = (self.table.next_look(), self.next_due());
        if let Some(due) = due.filter(|due| *due != Moment::NEVER)
            && looks.is_none_or(|look| look > due)
        {
            return Err(format!("due at {due:?}, but looked at {looks:?}"));
        }
        Ok(())
    }

    /// Does a step to both, and compares the answers. Says which name it was about.
    fn do_step(
        &mut self,
        step: Step,
        effects: &mut Effects<Who>,
        news: &mut News<Who>,
    ) -> Result<Option<usize>, String> {
        let now = self.now;
        match step {
            Step::Acquire { name, owner, .. } => {
                if self.may_ask(name, owner) {
                    self.acquire(step, effects, news)?;
                    return Ok(Some(name));
                }
                Ok(None)
            }
            // Not looked at afterwards: a look makes a record of it.
            Step::TakeFree(name, owner) => {
                if self.may_ask(name, owner) {
                    self.take_free(name, owner, news)?;
                }
                Ok(None)
            }
            Step::ReturnUntouched(name) => {
                self.return_untouched(name, news)?;
                Ok(None)
            }
            Step::Claim(name, owner) => {
                let token = self
                    .table
                    .claim(now, &NAME[name], self.owners[name][owner], effects);
                let held = self.model[name].claim(now, self.owners[name][owner], news);
                same("claim", &token.is_ok(), &held)?;
                Ok(Some(name))
            }
            Step::Renew(name, owner, ttl) => {
                let renewed =
                    self.table
                        .renew(now, &NAME[name], self.owners[name][owner], ttl, effects);
                let held = self.model[name].renew(now, self.owners[name][owner], ttl, news);
                same("renew", &renewed.is_ok(), &held)?;
                Ok(Some(name))
            }
            Step::Release(name, owner, body_ran) => {
                let released = self.table.release(
                    || now,
                    &NAME[name],
                    self.owners[name][owner],
                    body_ran,
                    effects,
                );
                let held = self.model[name].release(now, self.owners[name][owner], body_ran, news);
                same("release", &released.is_ok(), &held)?;
                Ok(Some(name))
            }
            Step::Withdraw(name, owner) => {
                let owner = self.owners[name][owner];
                let withdrawn = self.table.withdraw(now, &NAME[name], owner, effects);
                let waited = self.model[name].withdraw(now, owner, news);
                same("withdraw", &withdrawn.is_ok(), &waited)?;
                Ok(Some(name))
            }
            Step::Cancel(back) => Ok(self.cancel(back, effects, news)),
            Step::Adopt {
                name,
                giver,
                taker,
                ttl,
            } => {
                self.adopt((name, giver, taker), ttl, effects, news)?;
                Ok(Some(name))
            }
            Step::ForceRelease(name) => {
                let ended = self.table.force_release(now, &NAME[name], effects);
                same("force", &ended, &self.model[name].force_release(now, news))?;
                Ok(Some(name))
            }
            Step::Assign { name, .. }
            | Step::Transfer { name, .. }
            | Step::Unassign { name, .. } => {
                self.change(step, effects, news)?;
                Ok(Some(name))
            }
            Step::Describe(name) => {
                self.model[name].settle(now, news);
                let seen = self.table.describe(now, &NAME[name], effects);
                self.compare_description(name, seen)?;
                Ok(Some(name))
            }
            Step::Time(jump, is_told) => {
                self.pass_time(jump);
                if is_told {
                    self.advance(effects, news);
                }
                Ok(None)
            }
        }
    }

    fn acquire(&mut self, step: Step, effects: &mut Effects<Who>, news: &mut News<Who>) -> Checked {
        let Step::Acquire {
            name,
            owner,
            asked,
            ttl,
            wait,
            from,
            at_least,
        } = step
        else {
            unreachable!("only called with it");
        };
        let owner = self.owners[name][owner];
        let who = Who::new(u32::try_from(self.attempts.len()).unwrap(), owner);
        let mode = mode(asked);
        let wait_until = wait.map(|wait| self.now + wait);
        let (entry, as_whom) = entry(from);
        let mut way = None;
        let answer = self.table.acquire(
            self.now,
            &Ask {
                name: &NAME[name],
                owner,
                mode,
                ttl,
                wait_until,
                entry,
                at_least,
            },
            |which| {
                way = Some(which);
                who
            },
            effects,
        );
        let wanted = Wanted {
            owner,
            who,
            mode,
            ttl,
            at_least,
            entry: as_whom,
        };
        let expected = self.model[name].acquire(self.now, wanted, wait_until, news);
        let place = match answer {
            Ok(Acquired::Queued(place)) => Some(place),
            _ => None,
        };
        let outcome = match (&answer, way) {
            (Ok(Acquired::Granted { .. }), Some(Way::Granted)) => Ok(Outcome::Granted),
            (Ok(Acquired::Granted { .. }), None) => Ok(Outcome::HadIt),
            (Ok(Acquired::Queued(_)), Some(Way::Queued)) => Ok(Outcome::Queued),
            (Err(refusal), None) => Err(without_token(refusal.clone())),
            odd => return Err(format!("the way does not fit the answer: {odd:?}")),
        };
        same("acquire", &outcome, &expected)?;
        self.attempts.push(Attempt {
            name,
            owner,
            who,
            place,
            waits: place.is_some(),
        });
        match answer {
            Ok(Acquired::Granted { token }) if way.is_some() => self.new_token(mode, who, token),
            _ => Ok(()),
        }
    }

    /// Granted if and only if nothing is known of the name; otherwise nothing happens.
    fn take_free(&mut self, name: usize, owner: usize, news: &mut News<Who>) -> Checked {
        let owner = self.owners[name][owner];
        let who = Who::new(u32::try_from(self.attempts.len()).unwrap(), owner);
        let token = self.table.take_free(self.now, &NAME[name], || who);
        let lock = &mut self.model[name];
        same("take free", &token.is_some(), &lock.is_unused())?;
        if token.is_none() {
            return Ok(());
        }
        let wanted = Wanted {
            owner,
            who,
            mode: Mode::Exclusive,
            ttl: None,
            at_least: Duration::ZERO,
            entry: As::Plain,
        };
        let outcome = lock.acquire(self.now, wanted, None, news);
        same("take free", &outcome, &Ok(Outcome::Granted))?;
        self.attempts.push(Attempt {
            name,
            owner,
            who,
            place: None,
            waits: false,
        });
        self.new_token(Mode::Exclusive, who, token)
    }

    /// By the last who asked for the name; refused if anything was done to it since.
    fn return_untouched(&mut self, name: usize, news: &mut News<Who>) -> Checked {
        let Some(last) = self.attempts.iter().rev().find(|it| it.name == name) else {
            return Ok(());
        };
        let returned = self
            .table
            .return_untouched(&NAME[name], |who| *who == last.who);
        if returned {
            let held = self.model[name].release(self.now, last.owner, true, news);
            same("return", &held, &true)?;
            same("unused", &self.model[name].is_unused(), &true)?;
        }
        Ok(())
    }

    /// Every acquisition has an owner of its own. One that waits does not ask once more, and one
    /// that is over does so as somebody else.
    fn may_ask(&mut self, name: usize, slot: usize) -> bool {
        let owner = self.owners[name][slot];
        let attempts = self.attempts.iter().rev();
        let mut own = attempts.filter(|it| it.name == name && it.owner == owner);
        let queued = own.find(|attempt| attempt.place.is_some());
        let has_section = self.model[name].attempt_of(owner).is_some();
        match queued {
            Some(attempt) if attempt.waits => return false,
            Some(_) if !has_section => self.owners[name][slot] = Owner::random(),
            _ => {}
        }
        true
    }

    fn cancel(
        &mut self,
        back: usize,
        effects: &mut Effects<Who>,
        news: &mut News<Who>,
    ) -> Option<usize> {
        let mut queued = self.attempts.iter_mut().rev();
        let attempt = queued.by_ref().filter(|it| it.place.is_some()).nth(back)?;
        let (name, place) = (attempt.name, attempt.place?);
        attempt.waits = false;
        self.table
            .cancel(self.now, &NAME[name], place, attempt.owner, effects);
        self.model[name].cancel(self.now, attempt.owner, &attempt.who, news);
        Some(name)
    }

    fn adopt(
        &mut self,
        (name, giver, taker): (usize, usize, usize),
        ttl: Option<Duration>,
        effects: &mut Effects<Who>,
        news: &mut News<Who>,
    ) -> Checked {
        // Whoever takes over is an acquisition of its own.
        let giver = self.owners[name][giver];
        self.owners[name][taker] = Owner::random();
        let taker = self.owners[name][taker];
        let who = Who::new(u32::try_from(self.attempts.len()).unwrap(), taker);
        self.model[name].settle(self.now, news);
        let from = self.model[name].attempt_of(giver);
        let adopted = self
            .table
            .adopt(self.now, &NAME[name], giver, (taker, who), ttl, effects);
        let held = self.model[name].adopt(self.now, giver, (taker, who), ttl, news);
        same("adopt", &adopted.is_ok(), &held)?;
        self.attempts.push(Attempt {
            name,
            owner: taker,
            who,
            place: None,
            waits: false,
        });
        let (Ok(token), Some(from)) = (adopted, from) else {
            return Ok(());
        };
        match self.tokens.get(&from.0) {
            Some(known) => same("the token of an adopted section", &token, &Some(*known))?,
            None if token.is_some() => self.new_token(Mode::Exclusive, from, token)?,
            None => {}
        }
        if let Some(token) = token {
            self.tokens.insert(who.0, token);
        }
        Ok(())
    }

    fn change(&mut self, step: Step, effects: &mut Effects<Who>, news: &mut News<Who>) -> Checked {
        let (now, table, owners) = (self.now, &mut self.table, &self.owners);
        let inside =
            |name: usize, within: Option<usize>| within.map(|owner| Within(owners[name][owner]));
        let (name, word, within, is_unassign, to, answer) = match step {
            Step::Assign {
                name,
                to,
                ttl,
                word,
                within,
            } => {
                let target = (&CALLER[to], ttl);
                let answer = table.assign(
                    now,
                    &NAME[name],
                    target,
                    giver(word),
                    inside(name, within),
                    effects,
                );
                (name, word, within, false, Some(to), answer)
            }
            Step::Transfer {
                name,
                to,
                word,
                within,
            } => {
                let answer = table.transfer(
                    now,
                    &NAME[name],
                    &CALLER[to],
                    giver(word),
                    inside(name, within),
                    effects,
                );
                (name, word, within, false, None, answer)
            }
            Step::Unassign { name, word, within } => {
                let answer =
                    table.unassign(now, &NAME[name], giver(word), inside(name, within), effects);
                (name, word, within, true, None, answer)
            }
            _ => unreachable!("only called with a change"),
        };
        let lock = &mut self.model[name];
        lock.settle(now, news);
        let holder = lock.holder().cloned();
        let is_lost =
            within.is_some_and(|owner| lock.attempt_of(self.owners[name][owner]).is_none());
        let is_allowed = match (word, to, &holder) {
            (Word::Operator, _, _) => true,
            (_, Some(to), holder) => holder.as_ref().is_none_or(|holder| *holder == CALLER[to]),
            (_, _, None) if is_unassign => true,
            (Word::Holder(caller), _, holder) => holder.as_ref() == Some(&CALLER[caller]),
            (Word::Caller(caller), _, holder) => holder
                .as_ref()
                .is_none_or(|holder| *holder == CALLER[caller]),
        };
        let expected = if is_lost {
            Err(Refusal::SectionLost)
        } else if !is_allowed {
            Err(Refusal::NotYourTurn { holder })
        } else {
            match step {
                Step::Assign { to, ttl, .. } => lock.assign(now, &CALLER[to], ttl, news),
                Step::Transfer { to, .. } => lock.transfer(now, &CALLER[to], news),
                _ => lock.unassign(now, news),
            }
            Ok(())
        };
        same("change", &answer, &expected)
    }

    fn next_due(&self) -> Option<Moment> {
        self.model.iter().filter_map(Lock::next_due).min()
    }

    fn pass_time(&mut self, jump: Jump) {
        let due = self.next_due().filter(|due| *due != Moment::NEVER);
        let target = match (jump, due) {
            (Jump::By(by), _) => self.now + by,
            (Jump::ToDue, Some(due)) => due,
            (Jump::JustBeforeDue, Some(due)) => due.saturating_sub(super::NANO),
            (_, None) => self.now + super::seconds(1),
        };
        self.now = self.now.max(target);
    }

    fn advance(&mut self, effects: &mut Effects<Who>, news: &mut News<Who>) {
        self.table.advance(self.now, effects);
        for lock in &mut self.model {
            lock.settle(self.now, news);
        }
    }

    /// Granted ones in their order for each name; the others in any order.
    fn compare_news(&mut self, effects: Effects<Who>, news: News<Who>) -> Checked {
        for effect in &effects {
            if let Effect::Granted(who) | Effect::Refused(who, _) = effect {
                self.attempts[who.0 as usize].waits = false;
            }
        }
        let sorted = |news: Vec<Effect<Who>>| {
            let attempts = &self.attempts;
            let mut news: Vec<_> = news
                .into_iter()
                .map(|effect| match effect {
                    Effect::Granted(who) => {
                        (0, attempts[who.0 as usize].name, Effect::Granted(who))
                    }
                    Effect::Refused(who, refusal) => {
                        (1 + who.0, 0, Effect::Refused(who, without_token(refusal)))
                    }
                    Effect::Lost(who, cause) => (1 + who.0, 0, Effect::Lost(who, cause)),
                })
                .collect();
            news.sort_by_key(|(order, name, _)| (*order, *name));
            news
        };
        same("news", &sorted(effects.into_vec()), &sorted(news))
    }

    fn compare_descriptions(&mut self, name: usize) -> Checked {
        // At the same moment nothing more is due, so that looking must change nothing.
        let mut nothing = effects();
        let seen = self.table.describe(self.now, &NAME[name], &mut nothing);
        if !nothing.is_empty() {
            return Err(format!("a look changed something: {nothing:?}"));
        }
        self.compare_description(name, seen)
    }

    fn compare_description(&mut self, name: usize, mut seen: Description) -> Checked {
        check_together(&seen)?;
        let mut new = Vec::new();
        for section in &mut seen.sections {
            let attempt = section.owner.line;
            let token = section.token.take();
            if token.is_some() != (section.mode == Mode::Exclusive) {
                return Err(format!("{:?} has {token:?}", section.mode));
            }
            match (self.tokens.get(&attempt), token) {
                (Some(known), Some(token)) => same("token", &token, known)?,
                (None, Some(token)) => new.push((attempt, token)),
                (_, None) => {}
            }
        }
        for (attempt, token) in new {
            let who = self.attempts[attempt as usize].who;
            self.new_token(Mode::Exclusive, who, Some(token))?;
        }
        same("description", &seen, &self.model[name].describe(self.now))
    }

    /// A token is larger than every one that was given in an earlier step, of all names.
    fn new_token(&mut self, mode: Mode, who: Who, token: Option<FencingToken>) -> Checked {
        let Some(token) = token else {
            return same("a token", &None, &(mode == Mode::Exclusive).then_some(()));
        };
        if self.tokens.values().any(|known| *known == token) {
            return Err(format!("{token} was given twice"));
        }
        if token.get() <= self.largest_before {
            return Err(format!("{token} after {}", self.largest_before));
        }
        self.largest = self.largest.max(token.get());
        self.tokens.insert(who.0, token);
        Ok(())
    }

    /// When everything has ended, nothing is left: no record, and no look that stays.
    fn end_everything(&mut self) -> Checked {
        let mut ignored = effects();
        for attempt in &self.attempts {
            if let Some(place) = attempt.place {
                let name = &NAME[attempt.name];
                self.table
                    .cancel(self.now, name, place, attempt.owner, &mut ignored);
            }
        }
        for name in NAME.iter() {
            let operator = Giver::Operator;
            self.table.force_release(self.now, name, &mut ignored);
            self.table
                .unassign(self.now, name, operator, None, &mut ignored)
                .map_err(|refusal| format!("{refusal:?}"))?;
            self.table.force_release(self.now, name, &mut ignored);
        }
        let kept = self.table.kept();
        same("records left", &kept.records, &0)?;
        self.table
            .advance(self.now + super::seconds(1_000_000), &mut ignored);
        match self.table.next_look() {
            None | Some(Moment::NEVER) => Ok(()),
            Some(look) => Err(format!("an empty table looks at {look:?}")),
        }
    }
}

/// What may be in at the same time.
fn check_together(seen: &Description) -> Checked {
    let modes: Vec<Mode> = seen.sections.iter().map(|section| section.mode).collect();
    let is_fine = match modes.first() {
        None => true,
        Some(Mode::Exclusive) => modes.len() == 1 && seen.resting.is_none(),
        Some(Mode::Shared) => modes.iter().all(|mode| *mode == Mode::Shared),
        Some(Mode::Permits(number)) => {
            modes.iter().all(|mode| *mode == modes[0]) && modes.len() <= number.get() as usize
        }
    };
    if is_fine {
        Ok(())
    } else {
        Err(format!(
            "in at the same time: {modes:?}, {:?}",
            seen.resting
        ))
    }
}

fn same<T: PartialEq<U> + std::fmt::Debug, U: std::fmt::Debug>(
    what: &str,
    seen: &T,
    expected: &U,
) -> Checked {
    if *seen == *expected {
        Ok(())
    } else {
        Err(format!("{what}: {seen:#?} instead of {expected:#?}"))
    }
}

/// The model knows no tokens.
fn without_token(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Busy {
            in_the_way: InTheWay::Section(mut section),
            ahead,
        } => {
            section.token = None;
            Refusal::Busy {
                in_the_way: InTheWay::Section(section),
                ahead,
            }
        }
        other => other,
    }
}

fn mode(asked: Asked) -> Mode {
    match asked {
        Asked::Exclusive => Mode::Exclusive,
        Asked::Shared => Mode::Shared,
        Asked::Permits(number) => Mode::Permits(NonZeroU32::new(number).unwrap()),
    }
}

fn entry(from: From) -> (Entry<'static>, As) {
    let (id, must_be_assigned) = match from {
        From::Plain => return (Entry::Plain, As::Plain),
        From::Caller(caller) => (caller.map(|caller| &CALLER[caller]), false),
        From::Assigned(caller) => (Some(&CALLER[caller]), true),
    };
    let as_whom = As::Caller {
        id: id.cloned(),
        must_be_assigned,
    };
    (
        Entry::Caller {
            id,
            must_be_assigned,
        },
        as_whom,
    )
}

fn giver(word: Word) -> Giver<'static> {
    match word {
        Word::Caller(caller) => Giver::Caller(&CALLER[caller]),
        Word::Holder(caller) => Giver::Holder(&CALLER[caller]),
        Word::Operator => Giver::Operator,
    }
}
