//! The cases at the edges, each by its name.

use std::num::NonZeroU32;
use std::time::Duration;

use super::{Counter, NANO, Who, effects, name, seconds, start};
use crate::caller::CallerId;
use crate::clock::Moment;
use crate::error::Lost;
use crate::fencing::FencingToken;
use crate::info::InTheWay;
use crate::options::{CLAIM_WINDOW, Mode};
use crate::owner::Owner;
use crate::table::{
    Acquired, Ask, Effect, Effects, Entry, Giver, NotHeld, Place, Refusal, Table, Within,
};

/// One lock of one table, and everybody who has asked for it.
struct Bench {
    now: Moment,
    table: Table<Who, Counter>,
    owners: Vec<Owner>,
    told: Effects<Who>,
}

/// A request with every default; the tests change what they are about.
fn ask() -> Ask<'static> {
    use std::sync::LazyLock;
    static NAME: LazyLock<crate::LockName> = LazyLock::new(|| name("bench"));
    static NOBODY: LazyLock<Owner> = LazyLock::new(Owner::random);
    Ask {
        name: &NAME,
        owner: *NOBODY,
        mode: Mode::Exclusive,
        ttl: None,
        wait_until: Some(Moment::NEVER),
        entry: Entry::Plain,
        at_least: Duration::ZERO,
    }
}

fn lasting(ttl: Duration) -> Ask<'static> {
    Ask {
        ttl: Some(ttl),
        ..ask()
    }
}

fn waiting(wait: Duration) -> Ask<'static> {
    Ask {
        wait_until: Some(start() + wait),
        ..ask()
    }
}

fn of_mode(mode: Mode) -> Ask<'static> {
    Ask { mode, ..ask() }
}

fn called_by(caller: &CallerId) -> Ask<'_> {
    Ask {
        entry: Entry::Caller {
            id: Some(caller),
            must_be_assigned: false,
        },
        ..ask()
    }
}

fn permits(number: u32) -> Mode {
    Mode::Permits(NonZeroU32::new(number).unwrap())
}

impl Bench {
    fn new() -> Self {
        Self {
            now: start(),
            table: Table::new(Counter::default()),
            owners: Vec::new(),
            told: effects(),
        }
    }

    /// The next number asks.
    fn asks(&mut self, ask: Ask<'_>) -> Result<Acquired, Refusal> {
        let owner = Owner::random();
        let who = Who::new(u32::try_from(self.owners.len()).unwrap(), owner);
        self.owners.push(owner);
        let ask = Ask { owner, ..ask };
        self.table.acquire(self.now, &ask, |_| who, &mut self.told)
    }

    fn gets(&mut self, ask: Ask<'_>) -> Option<FencingToken> {
        match self.asks(ask) {
            Ok(Acquired::Granted { token }) => token,
            other => panic!("{other:?}"),
        }
    }

    fn queues(&mut self, ask: Ask<'_>) -> Place {
        match self.asks(ask) {
            Ok(Acquired::Queued(place)) => place,
            other => panic!("{other:?}"),
        }
    }

    fn at(&mut self, after: Duration) {
        self.now = start() + after;
        self.table.advance(self.now, &mut self.told);
    }

    fn claims(&mut self, number: usize) -> Result<Option<FencingToken>, NotHeld> {
        let owner = self.owners[number];
        self.table
            .claim(self.now, ask().name, owner, &mut self.told)
    }

    fn releases(&mut self, number: usize, body_ran: bool) -> Result<(), NotHeld> {
        let owner = self.owners[number];
        self.table
            .release(|| self.now, ask().name, owner, body_ran, &mut self.told)
    }

    fn assigns(&mut self, to: &CallerId, ttl: Option<Duration>) {
        self.table
            .assign(
                self.now,
                ask().name,
                (to, ttl),
                Giver::Operator,
                None,
                &mut self.told,
            )
            .unwrap();
    }

    /// What was told since the last look, without details.
    fn told(&mut self) -> Vec<(u32, &'static str)> {
        let told = std::mem::take(&mut self.told).into_iter();
        told.map(|effect| match effect {
            Effect::Granted(who) => (who.0, "granted"),
            Effect::Refused(who, Refusal::NotYourTurn { .. }) => (who.0, "not your turn"),
            Effect::Refused(who, _) => (who.0, "busy"),
            Effect::Lost(who, Lost::Expired) => (who.0, "expired"),
            Effect::Lost(who, Lost::ForcedOut) => (who.0, "forced out"),
            Effect::Lost(who, _) => (who.0, "adopted"),
        })
        .collect()
    }

    fn is_free(&mut self) -> bool {
        let seen = self.table.describe(self.now, ask().name, &mut self.told);
        seen.sections.is_empty() && seen.resting.is_none()
    }
}

#[test]
fn a_lease_ends_at_exactly_its_end_and_not_a_nanosecond_before() {
    let mut bench = Bench::new();
    bench.gets(lasting(seconds(10)));
    bench.at(seconds(10) - NANO);
    assert!(!bench.is_free());
    assert_eq!(bench.told(), []);
    bench.at(seconds(10));
    assert!(bench.is_free());
    assert_eq!(bench.told(), [(0, "expired")]);
}

#[test]
fn a_waiter_gets_a_name_that_comes_free_at_its_very_deadline() {
    let mut bench = Bench::new();
    bench.gets(lasting(seconds(10)));
    bench.queues(waiting(seconds(10)));
    bench.at(seconds(10));
    assert_eq!(bench.told(), [(0, "expired"), (1, "granted")]);
}

#[test]
fn a_waiter_whose_time_was_up_before_does_not_get_it_however_late_the_look() {
    let mut bench = Bench::new();
    bench.gets(lasting(seconds(10)));
    bench.queues(waiting(seconds(10) - NANO));
    bench.queues(waiting(seconds(30)));
    bench.at(seconds(20));
    assert_eq!(bench.told(), [(1, "busy"), (0, "expired"), (2, "granted")]);
}

#[test]
fn a_grant_that_nobody_claims_goes_to_the_next_after_the_claim_window() {
    let mut bench = Bench::new();
    bench.gets(ask());
    bench.queues(ask());
    bench.queues(ask());
    bench.releases(0, false).unwrap();
    bench.at(CLAIM_WINDOW - NANO);
    assert_eq!(bench.told(), [(1, "granted")]);
    bench.at(CLAIM_WINDOW);
    assert_eq!(bench.told(), [(1, "expired"), (2, "granted")]);
    assert_eq!(bench.claims(1), Err(NotHeld));
    assert!(bench.claims(2).is_ok());
}

#[test]
fn a_lease_out_of_the_queue_runs_from_its_claim() {
    let mut bench = Bench::new();
    bench.gets(ask());
    bench.queues(lasting(seconds(10)));
    bench.releases(0, false).unwrap();
    bench.at(CLAIM_WINDOW / 2);
    bench.claims(1).unwrap();
    bench.told();
    bench.at(CLAIM_WINDOW / 2 + seconds(10) - NANO);
    assert_eq!(bench.told(), []);
    bench.at(CLAIM_WINDOW / 2 + seconds(10));
    assert_eq!(bench.told(), [(1, "expired")]);
}

#[test]
fn a_late_release_does_not_free_the_successor() {
    let mut bench = Bench::new();
    bench.gets(lasting(seconds(10)));
    bench.at(seconds(10));
    bench.gets(ask());
    assert_eq!(bench.releases(0, true), Err(NotHeld));
    assert!(!bench.is_free());
}

#[test]
fn readers_come_in_together_and_never_past_a_writer_who_waits() {
    let mut bench = Bench::new();
    bench.gets(of_mode(Mode::Shared));
    bench.gets(of_mode(Mode::Shared));
    bench.queues(ask());
    bench.queues(of_mode(Mode::Shared));
    bench.queues(of_mode(Mode::Shared));
    bench.releases(0, false).unwrap();
    assert_eq!(bench.told(), []);
    bench.releases(1, false).unwrap();
    assert_eq!(bench.told(), [(2, "granted")]);
    bench.releases(2, false).unwrap();
    assert_eq!(bench.told(), [(3, "granted"), (4, "granted")]);
}

#[test]
fn readers_behind_a_writer_come_in_when_the_writer_gives_up() {
    let mut bench = Bench::new();
    bench.gets(of_mode(Mode::Shared));
    bench.queues(waiting(seconds(5)));
    bench.queues(of_mode(Mode::Shared));
    bench.at(seconds(5));
    assert_eq!(bench.told(), [(1, "busy"), (2, "granted")]);
}

#[test]
fn only_exclusive_grants_carry_tokens_and_they_rise() {
    let mut bench = Bench::new();
    let first = bench.gets(ask());
    bench.releases(0, false).unwrap();
    assert_eq!(bench.gets(of_mode(Mode::Shared)), None);
    bench.releases(1, false).unwrap();
    assert_eq!(bench.gets(of_mode(permits(2))), None);
    bench.releases(2, false).unwrap();
    let second = bench.gets(ask());
    assert!(first.is_some() && second > first);
}

#[test]
fn another_number_of_permits_is_an_error_that_says_the_one_in_use() {
    let mut bench = Bench::new();
    bench.gets(of_mode(permits(2)));
    assert_eq!(
        bench.asks(of_mode(permits(3))),
        Err(Refusal::Conflict { in_use: 2 })
    );
    // Also while it is only waited for.
    bench.queues(ask());
    bench.queues(of_mode(permits(2)));
    bench.releases(0, false).unwrap();
    assert_eq!(
        bench.asks(of_mode(permits(3))),
        Err(Refusal::Conflict { in_use: 2 })
    );
}

#[test]
fn the_same_owner_gets_the_same_grant_again() {
    let mut bench = Bench::new();
    let token = bench.gets(ask());
    let again = Ask {
        owner: bench.owners[0],
        ..ask()
    };
    let answer = bench.table.acquire(
        bench.now,
        &again,
        |_| unreachable!("nothing new was granted"),
        &mut bench.told,
    );
    assert_eq!(answer, Ok(Acquired::Granted { token }));
    bench.releases(0, false).unwrap();
    assert!(bench.is_free());
}

#[test]
fn a_name_rests_until_so_long_after_the_grant_once_the_body_ran() {
    let mut bench = Bench::new();
    let resting = Ask {
        at_least: seconds(10),
        ..ask()
    };
    bench.gets(resting);
    bench.at(seconds(4));
    bench.releases(0, true).unwrap();
    let refused = bench.asks(Ask {
        wait_until: None,
        ..ask()
    });
    let in_the_way = InTheWay::Resting(seconds(6));
    assert_eq!(
        refused,
        Err(Refusal::Busy {
            in_the_way,
            ahead: 0
        })
    );
    bench.at(seconds(10) - NANO);
    assert!(!bench.is_free());
    bench.at(seconds(10));
    assert!(bench.is_free());

    // One that was never entered leaves no rest, and one whose lease ended does.
    let now = bench.now;
    bench.gets(resting);
    bench.releases(2, false).unwrap();
    assert!(bench.is_free());
    bench.gets(Ask {
        ttl: Some(seconds(3)),
        ..resting
    });
    bench.at(now + seconds(10) - start() - NANO);
    assert!(!bench.is_free());
    bench.at(now + seconds(10) - start());
    assert!(bench.is_free());
}

#[test]
fn a_queued_caller_who_is_no_longer_entitled_is_told_at_once() {
    let (alice, bob) = (CallerId::new("alice"), CallerId::new("bob"));
    let mut bench = Bench::new();
    bench.gets(called_by(&alice));
    bench.queues(called_by(&alice));
    bench.queues(called_by(&bob));
    // Behind somebody who may enter and has to wait for the section that runs.
    bench.assigns(&alice, None);
    assert_eq!(bench.told(), [(2, "not your turn")]);
    bench.assigns(&bob, None);
    assert_eq!(bench.told(), [(1, "not your turn")]);
}

#[test]
fn who_needs_a_holder_is_told_when_the_assignment_ends() {
    let alice = CallerId::new("alice");
    let mut bench = Bench::new();
    bench.assigns(&alice, Some(seconds(5)));
    let entry = Entry::Caller {
        id: Some(&alice),
        must_be_assigned: true,
    };
    bench.gets(Ask { entry, ..ask() });
    bench.queues(Ask { entry, ..ask() });
    bench.at(seconds(5) - NANO);
    assert_eq!(bench.told(), []);
    bench.at(seconds(5));
    assert_eq!(bench.told(), [(1, "not your turn")]);
}

#[test]
fn a_plain_waiter_is_passed_over_while_the_lock_is_assigned() {
    let alice = CallerId::new("alice");
    let mut bench = Bench::new();
    bench.assigns(&alice, None);
    bench.queues(ask());
    bench.gets(called_by(&alice));
    bench.queues(called_by(&alice));
    bench.releases(1, true).unwrap();
    assert_eq!(bench.told(), [(2, "granted")]);
    bench.claims(2).unwrap();
    bench.releases(2, true).unwrap();
    assert_eq!(bench.told(), []);
    let freed = bench.table.unassign(
        bench.now,
        ask().name,
        Giver::Caller(&alice),
        None,
        &mut bench.told,
    );
    assert_eq!((freed, bench.told()), (Ok(()), vec![(0, "granted")]));
}

#[test]
fn a_change_from_inside_a_section_that_is_lost_is_refused() {
    let (alice, bob) = (CallerId::new("alice"), CallerId::new("bob"));
    let mut bench = Bench::new();
    bench.assigns(&alice, None);
    bench.gets(Ask {
        ttl: Some(seconds(1)),
        ..called_by(&alice)
    });
    let within = Some(Within(bench.owners[0]));
    bench.at(seconds(1));
    let moved = bench.table.transfer(
        bench.now,
        ask().name,
        &bob,
        Giver::Caller(&alice),
        within,
        &mut bench.told,
    );
    assert_eq!(moved, Err(Refusal::SectionLost));
}

#[test]
fn adopting_keeps_the_token_and_ends_the_giver() {
    let mut bench = Bench::new();
    let token = bench.gets(ask());
    let taker = Owner::random();
    let (giver, who) = (bench.owners[0], Who::new(9, taker));
    let adopted = bench.table.adopt(
        bench.now,
        ask().name,
        giver,
        (taker, who),
        Some(seconds(1)),
        &mut bench.told,
    );
    assert_eq!((adopted, bench.told()), (Ok(token), vec![(0, "adopted")]));
    assert_eq!(bench.releases(0, true), Err(NotHeld));
    bench.at(seconds(1));
    assert_eq!(bench.told(), [(9, "expired")]);
}

#[test]
fn force_ends_everything_and_serves_the_queue() {
    let mut bench = Bench::new();
    bench.gets(ask());
    bench.queues(ask());
    let ended = bench
        .table
        .force_release(bench.now, ask().name, &mut bench.told);
    assert_eq!(ended, 1);
    assert_eq!(bench.told(), [(0, "forced out"), (1, "granted")]);
    assert_eq!(bench.releases(0, true), Err(NotHeld));
}

#[test]
fn a_queue_has_a_limit() {
    let mut bench = Bench::new();
    bench.gets(ask());
    for _ in 0..65_536 {
        bench.queues(ask());
    }
    assert_eq!(
        bench.asks(ask()),
        Err(Refusal::QueueFull { waiting: 65_536 })
    );
}
