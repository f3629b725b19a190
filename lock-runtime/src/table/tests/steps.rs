//! Random steps: what is done to a table, in small numbers, so that they meet often.

use std::time::Duration;

/// A generator whose numbers depend on nothing but its seed.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03)
    }

    fn roll(&mut self) -> u64 {
        // SplitMix64, by Steele, Lea and Flood (2014).
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, sides: u64) -> u64 {
        self.roll() % sides
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        let index = self.below(choices.len() as u64);
        choices[usize::try_from(index).unwrap()]
    }
}

pub(super) const NAMES: usize = 2;
pub(super) const OWNERS: usize = 6;
pub(super) const CALLERS: usize = 2;

/// How time goes on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Jump {
    By(Duration),
    /// To the next moment at which something is due.
    ToDue,
    /// To one nanosecond before it.
    JustBeforeDue,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    Exclusive,
    Shared,
    Permits(u32),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum From {
    Plain,
    /// As this caller, or as nobody.
    Caller(Option<usize>),
    /// As this caller, while somebody holds the lock.
    Assigned(usize),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Word {
    Caller(usize),
    Holder(usize),
    Operator,
}

/// What is done. Names, owners and callers are numbers; an attempt is counted back from the last.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Acquire {
        name: usize,
        owner: usize,
        asked: Asked,
        ttl: Option<Duration>,
        wait: Option<Duration>,
        from: From,
        at_least: Duration,
    },
    /// In short, where nobody else has to do with the name.
    TakeFree(usize, usize),
    ReturnUntouched(usize),
    Claim(usize, usize),
    Renew(usize, usize, Option<Duration>),
    Release(usize, usize, bool),
    Cancel(usize),
    Withdraw(usize, usize),
    Adopt {
        name: usize,
        giver: usize,
        taker: usize,
        ttl: Option<Duration>,
    },
    ForceRelease(usize),
    Assign {
        name: usize,
        to: usize,
        ttl: Option<Duration>,
        word: Word,
        within: Option<usize>,
    },
    Transfer {
        name: usize,
        to: usize,
        word: Word,
        within: Option<usize>,
    },
    Unassign {
        name: usize,
        word: Word,
        within: Option<usize>,
    },
    Describe(usize),
    /// Time goes on, and the table is told so, or learns of it with the next step.
    Time(Jump, bool),
}

const SECOND: Duration = Duration::from_secs(1);

fn lengths() -> [Option<Duration>; 5] {
    [None, None, Some(SECOND), Some(SECOND * 2), Some(SECOND * 5)]
}

/// A sequence of steps. Some use every mode and some only one, so that queues also grow long.
pub(super) fn sequence(seed: u64) -> Vec<Step> {
    let mut dice = Dice::new(seed);
    let modes = match dice.below(5) {
        0 | 1 => &[Asked::Exclusive][..],
        2 => &[Asked::Exclusive, Asked::Shared, Asked::Shared][..],
        3 => &[Asked::Permits(2)][..],
        _ => &[
            Asked::Exclusive,
            Asked::Shared,
            Asked::Permits(2),
            Asked::Permits(3),
        ][..],
    };
    let with_callers = dice.below(2) == 0;
    let length = 8 + dice.below(28);
    (0..length)
        .map(|_| step(&mut dice, modes, with_callers))
        .collect()
}

fn step(dice: &mut Dice, modes: &[Asked], with_callers: bool) -> Step {
    let name = index(dice, NAMES);
    let owner = index(dice, OWNERS);
    match dice.below(if with_callers { 32 } else { 26 }) {
        0 => Step::TakeFree(name, owner),
        1 if dice.below(2) == 0 => Step::ReturnUntouched(name),
        1..9 => acquire(dice, name, owner, modes, with_callers),
        9..12 => Step::Claim(name, owner),
        12 => Step::Renew(name, owner, dice.one_of(&lengths())),
        13..17 => Step::Release(name, owner, dice.below(2) == 0),
        17 if dice.below(3) == 0 => Step::Withdraw(name, owner),
        17 => Step::Cancel(index(dice, 6)),
        18 => Step::Adopt {
            name,
            giver: owner,
            taker: index(dice, OWNERS),
            ttl: dice.one_of(&lengths()),
        },
        19 if dice.below(2) == 0 => Step::ForceRelease(name),
        19 => Step::Describe(name),
        20..26 => time(dice),
        26..29 => Step::Assign {
            name,
            to: index(dice, CALLERS),
            ttl: dice.one_of(&lengths()),
            word: word(dice),
            within: within(dice),
        },
        29 | 30 => Step::Transfer {
            name,
            to: index(dice, CALLERS),
            word: word(dice),
            within: within(dice),
        },
        _ => Step::Unassign {
            name,
            word: word(dice),
            within: within(dice),
        },
    }
}

fn acquire(
    dice: &mut Dice,
    name: usize,
    owner: usize,
    modes: &[Asked],
    with_callers: bool,
) -> Step {
    let waits = [
        None,
        Some(Duration::ZERO),
        Some(SECOND),
        Some(SECOND * 3),
        Some(SECOND * 8),
        Some(Duration::MAX),
    ];
    let from = match dice.below(6) {
        _ if !with_callers => From::Plain,
        0 => From::Plain,
        1 => From::Caller(None),
        2 => From::Assigned(index(dice, CALLERS)),
        _ => From::Caller(Some(index(dice, CALLERS))),
    };
    Step::Acquire {
        name,
        owner,
        asked: dice.one_of(modes),
        ttl: dice.one_of(&lengths()),
        wait: dice.one_of(&waits),
        from,
        at_least: dice.one_of(&[Duration::ZERO, Duration::ZERO, SECOND, SECOND * 4]),
    }
}

fn time(dice: &mut Dice) -> Step {
    let jump = match dice.below(8) {
        0 => Jump::By(Duration::from_nanos(1)),
        1 => Jump::By(SECOND),
        2 => Jump::By(SECOND * 3),
        3 | 4 => Jump::JustBeforeDue,
        _ => Jump::ToDue,
    };
    Step::Time(jump, dice.below(3) > 0)
}

fn word(dice: &mut Dice) -> Word {
    match dice.below(4) {
        0 => Word::Operator,
        1 => Word::Holder(index(dice, CALLERS)),
        _ => Word::Caller(index(dice, CALLERS)),
    }
}

fn within(dice: &mut Dice) -> Option<usize> {
    (dice.below(4) == 0).then(|| index(dice, OWNERS))
}

fn index(dice: &mut Dice, sides: usize) -> usize {
    usize::try_from(dice.below(sides as u64)).unwrap()
}
