//! The rules of the lock table, one by one, on records that are made by hand.

use std::num::NonZeroU32;

use super::*;
use crate::backend::etcd::record::Stored;
use crate::backend::etcd::stored::{
    AssignmentValue, Millis, RestValue, SectionValue, WaiterValue, write, write_owned,
};
use crate::owner::{OwnerInfo, Process};
use crate::site::Origin;

const ALONE: Mode = Mode::Exclusive;

fn permits(number: u32) -> Mode {
    Mode::Permits(NonZeroU32::new(number).unwrap())
}

/// A name, with one thing after the other written to it.
#[derive(Default)]
struct World {
    record: Record,
}

impl World {
    fn write(&mut self, part: &str, value: &[u8]) {
        self.record.revision += 1;
        let revision = self.record.revision;
        let stored = Stored {
            value,
            created: revision,
            modified: revision,
            lease: revision,
        };
        self.record.put(part, stored);
    }

    fn enter(&mut self, owner: Owner, mode: Mode) {
        let part = match mode {
            Mode::Exclusive => "exclusive/a".to_owned(),
            Mode::Shared => format!("shared/{}", owner.id()),
            Mode::Permits(_) => format!("permit/{}", owner.id()),
        };
        let value = SectionValue {
            owner: info(owner),
            mode,
            since: Millis::now(),
            is_handed: false,
        };
        self.write(&part, &write_owned(owner, &value));
    }

    fn rest(&mut self, owner: Owner, mode: Mode) {
        let part = format!("rest/{}", owner.id());
        self.write(&part, &write_owned(owner, &RestValue { mode }));
    }

    fn wait(&mut self, ask: &Ask) {
        let value = WaiterValue {
            owner: info(ask.owner),
            mode: ask.mode,
            auth: ask.auth,
            caller: ask.caller.clone(),
            since: Millis::now(),
            may_be_handed: true,
        };
        let part = format!("queue/{}", ask.owner.id());
        self.write(&part, &write_owned(ask.owner, &value));
    }

    fn assign(&mut self, holder: &str) {
        let value = AssignmentValue {
            holder: CallerId::new(holder),
            since: Millis::now(),
            ttl: None,
            change: 1,
        };
        self.write("assigned", write(&value).as_bytes());
    }

    fn may_enter(&self, ask: &Ask) -> bool {
        matches!(self.record.decide(ask), Step::Enter(_))
    }

    fn waits(&self, ask: &Ask) -> bool {
        matches!(self.record.decide(ask), Step::Busy { .. })
    }

    fn called(&self, asks: &[&Ask]) -> Vec<bool> {
        let called = self.record.called();
        asks.iter()
            .map(|ask| called.contains(&ask.owner.id()))
            .collect()
    }
}

fn info(owner: Owner) -> OwnerInfo {
    let origin = Origin::Called(std::panic::Location::caller());
    Process::new(Some("test".into())).describe(owner.id(), origin)
}

fn plain(mode: Mode) -> Ask {
    Ask {
        owner: Owner::random(),
        mode,
        auth: None,
        caller: None,
    }
}

fn call(caller: &str) -> Ask {
    Ask {
        auth: Some(AuthPolicy::Required),
        caller: Some(CallerId::new(caller)),
        ..plain(ALONE)
    }
}

#[test]
fn modes_fit_or_they_do_not() {
    let modes = [ALONE, Mode::Shared, permits(2)];
    for inside in modes {
        for asked in modes {
            let mut world = World::default();
            world.enter(Owner::random(), inside);
            let fits = inside == asked && asked != ALONE;
            assert_eq!(world.may_enter(&plain(asked)), fits, "{inside} {asked}");
            let mut world = World::default();
            world.rest(Owner::random(), inside);
            assert_eq!(
                world.may_enter(&plain(asked)),
                fits,
                "{inside} rests, {asked}"
            );
        }
    }
}

#[test]
fn who_came_first_says_how_many_permits_there_are() {
    let (first, second) = (plain(permits(2)), plain(permits(3)));
    let mut world = World::default();
    world.enter(Owner::random(), ALONE);
    world.wait(&first);
    world.wait(&second);
    assert!(world.waits(&first));
    for later in [&second, &plain(permits(3))] {
        let conflict = world.record.decide(later);
        assert!(matches!(conflict, Step::Conflict { in_use: 2, .. }));
    }
}

#[test]
fn permits_are_counted_and_have_one_number() {
    let mut world = World::default();
    let first = Owner::random();
    world.enter(first, permits(2));
    // The rest of a section that runs is no second one.
    world.rest(first, permits(2));
    assert!(world.may_enter(&plain(permits(2))));
    world.enter(Owner::random(), permits(2));
    assert!(world.waits(&plain(permits(2))));
    let conflict = world.record.decide(&plain(permits(3)));
    assert!(
        matches!(conflict, Step::Conflict { in_use: 2, .. }),
        "{conflict:?}"
    );
}

#[test]
fn an_owner_is_granted_what_it_has_and_an_impostor_is_not() {
    let mut world = World::default();
    let ask = plain(ALONE);
    world.enter(ask.owner, ALONE);
    let entered = Entered {
        created: 1,
        slot: Slot::A,
        handed: None,
    };
    assert_eq!(world.record.decide(&ask), Step::Held(entered));
    let impostor = Ask {
        owner: Owner::random(),
        ..ask.clone()
    };
    assert!(world.waits(&impostor));
    assert_eq!(
        world
            .record
            .section_of(ask.owner)
            .unwrap()
            .token()
            .unwrap()
            .get(),
        1
    );
}

#[test]
fn those_who_wait_are_served_in_order() {
    let mut world = World::default();
    let asks = [plain(ALONE), plain(ALONE), plain(ALONE)];
    let holder = Owner::random();
    world.enter(holder, ALONE);
    asks.iter().for_each(|ask| world.wait(ask));
    let [one, two, three] = asks.each_ref();
    assert_eq!(world.called(&[one, two, three]), [false; 3]);
    world.record.delete("exclusive/a");
    assert_eq!(world.called(&[one, two, three]), [true, false, false]);
    assert!(world.may_enter(one) && world.waits(two));
    // Nobody who comes anew passes them.
    assert!(world.waits(&plain(ALONE)));
    let Step::Busy {
        ahead, is_queued, ..
    } = world.record.decide(three)
    else {
        panic!("it is not its turn");
    };
    assert_eq!((ahead, is_queued), (2, true));
}

#[test]
fn readers_enter_together_up_to_the_first_writer() {
    let mut world = World::default();
    let asks = [
        plain(Mode::Shared),
        plain(Mode::Shared),
        plain(ALONE),
        plain(Mode::Shared),
    ];
    asks.iter().for_each(|ask| world.wait(ask));
    let [one, two, writer, three] = asks.each_ref();
    assert_eq!(
        world.called(&[one, two, writer, three]),
        [true, true, false, false]
    );
    assert!(world.may_enter(two) && world.waits(writer) && world.waits(three));
}

#[test]
fn a_holder_passes_those_who_wait_without_a_caller() {
    let mut world = World::default();
    world.assign("alice");
    let (waiter, alice, bob) = (plain(ALONE), call("alice"), call("bob"));
    world.wait(&waiter);
    assert!(world.waits(&waiter) && world.may_enter(&alice));
    let refused = world.record.decide(&bob);
    assert!(
        matches!(
            refused,
            Step::NotYourTurn {
                holder: Some(_),
                ..
            }
        ),
        "{refused:?}"
    );
    world.record.delete("assigned");
    assert!(world.may_enter(&waiter));
    assert!(world.waits(&alice), "nobody passes a waiter who may enter");
}

#[test]
fn who_is_sent_away_is_called_and_blocks_nobody() {
    let mut world = World::default();
    let (alice, bob) = (call("alice"), call("bob"));
    world.wait(&alice);
    world.wait(&bob);
    world.assign("bob");
    assert_eq!(world.called(&[&alice, &bob]), [true, true]);
    assert!(world.may_enter(&bob));
    let refused = world.record.decide(&alice);
    assert!(
        matches!(
            refused,
            Step::NotYourTurn {
                is_queued: true,
                ..
            }
        ),
        "{refused:?}"
    );
}

#[test]
fn policies_let_in_whom_they_say() {
    let anonymous = Ask {
        auth: Some(AuthPolicy::Optional),
        ..plain(ALONE)
    };
    let assigned = Ask {
        auth: Some(AuthPolicy::Assigned),
        ..call("alice")
    };
    let mut world = World::default();
    assert!(world.may_enter(&anonymous));
    let refused = world.record.decide(&assigned);
    assert!(
        matches!(refused, Step::NotYourTurn { holder: None, .. }),
        "{refused:?}"
    );
    world.assign("alice");
    assert!(world.may_enter(&assigned));
    let refused = world.record.decide(&anonymous);
    assert!(matches!(refused, Step::NotYourTurn { .. }), "{refused:?}");
}

#[test]
fn what_was_taken_back_is_not_done() {
    let mut world = World::default();
    let ask = plain(ALONE);
    world.write(&format!("withdrawn/{}", ask.owner.id()), b"");
    assert_eq!(world.record.decide(&ask), Step::Withdrawn);
    assert!(world.may_enter(&plain(ALONE)));
}

#[test]
fn a_full_queue_takes_nobody_more() {
    let mut world = World::default();
    world.enter(Owner::random(), ALONE);
    let mut last = plain(ALONE);
    for _ in 0..MAX_WAITING {
        last = plain(ALONE);
        world.wait(&last);
    }
    let full = world.record.decide(&plain(ALONE));
    assert_eq!(
        full,
        Step::Full {
            waiting: MAX_WAITING
        }
    );
    assert!(world.waits(&last));
}

#[test]
fn a_decision_says_what_it_rests_on() {
    let mut world = World::default();
    world.assign("alice");
    let alice = call("alice");
    world.wait(&alice);
    let basis = Basis::Record {
        revision: 2,
        assignment: Some(1),
        place: Some(2),
    };
    assert_eq!(world.record.decide(&alice), Step::Enter(basis));
    world.record.delete("assigned");
    world.record.delete(&format!("queue/{}", alice.owner.id()));
    let basis = Basis::Record {
        revision: 2,
        assignment: None,
        place: None,
    };
    assert_eq!(world.record.decide(&alice), Step::Enter(basis));
}

#[test]
fn what_cannot_be_read_is_known_until_it_is_deleted() {
    let mut world = World::default();
    for part in [
        "exclusive/a",
        "exclusive/c",
        "shared/1",
        "queue/1",
        "assigned",
        "rest/1",
        "unknown",
    ] {
        world.write(part, b"something");
        assert_eq!(world.record.unreadable(), Some(part));
        assert!(!world.record.is_empty());
        world.record.delete(part);
        assert!(world.record.unreadable().is_none() && world.record.is_empty());
    }
}

#[test]
fn a_name_is_handed_to_who_comes_next_and_runs_alone() {
    let (holder, alice, plain_one) = (call("alice"), call("alice"), plain(ALONE));
    let mut world = World::default();
    world.enter(holder.owner, ALONE);
    let leave = |world: &World| world.record.next_after(holder.owner);
    assert!(leave(&world).is_none(), "nobody waits");
    world.assign("alice");
    world.wait(&plain_one);
    assert!(leave(&world).is_none(), "it is alice's");
    world.wait(&alice);
    let next = leave(&world).expect("alice waits");
    assert_eq!(next.waiter.owner, alice.owner);
    assert_eq!((next.place, next.assignment), (4, Some(2)));
    assert_eq!(next.slot, Slot::B);
    assert!(
        world.record.next_after(alice.owner).is_none(),
        "not hers yet"
    );
    world.record.delete("assigned");
    let next = leave(&world).expect("both may enter");
    assert_eq!(next.waiter.owner, plain_one.owner);
    assert_eq!((next.place, next.assignment), (3, None));
    world.rest(holder.owner, ALONE);
    assert!(leave(&world).is_none(), "it rests");

    for mode in [Mode::Shared, permits(2)] {
        let mut world = World::default();
        world.enter(holder.owner, ALONE);
        world.wait(&plain(mode));
        world.wait(&plain(ALONE));
        assert!(leave(&world).is_none(), "{mode} comes first");
        let mut world = World::default();
        world.enter(holder.owner, mode);
        world.wait(&plain(ALONE));
        assert!(
            leave(&world).is_none(),
            "others may be inside beside {mode}"
        );
    }
}

#[test]
fn who_left_and_who_was_handed_the_name_have_different_keys() {
    let (holder, next) = (Owner::random(), Owner::random());
    let mut world = World::default();
    world.enter(holder, ALONE);
    let value = SectionValue {
        owner: info(next),
        mode: ALONE,
        since: Millis::now(),
        is_handed: true,
    };
    world.write("exclusive/b", &write_owned(next, &value));
    // Whatever the order in which one step is told.
    world.record.delete("exclusive/a");
    assert!(world.record.section_of(holder).is_none());
    let ask = Ask {
        owner: next,
        ..plain(ALONE)
    };
    let entered = Entered {
        created: 2,
        slot: Slot::B,
        handed: Some(2),
    };
    assert_eq!(world.record.decide(&ask), Step::Held(entered));
    world.record.delete("exclusive/b");
    assert!(world.record.is_empty());
}
