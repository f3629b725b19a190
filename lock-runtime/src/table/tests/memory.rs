//! What the table keeps and looks at: nothing is left behind, and nothing is gone through again
//! and again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::{Counter, Who, effects, name, seconds, start};
use crate::clock::Moment;
use crate::name::LockName;
use crate::options::Mode;
use crate::owner::{Owner, OwnerInfo};
use crate::table::queue::visits;
use crate::table::{Acquired, Ask, Effect, Effects, Entry, Party, Place, Table};

fn acquire(
    table: &mut Table<Who, Counter>,
    name: &LockName,
    owner: Owner,
    ttl: Option<Duration>,
    wait_until: Option<Moment>,
) -> Acquired {
    let ask = Ask {
        name,
        owner,
        mode: Mode::Exclusive,
        ttl,
        wait_until,
        entry: Entry::Plain,
        at_least: Duration::ZERO,
    };
    let granted = table.acquire(start(), &ask, |_| Who::new(0, owner), &mut effects());
    granted.unwrap()
}

fn queue_up(
    table: &mut Table<Who, Counter>,
    lock: &LockName,
    number: usize,
) -> Vec<(Owner, Place)> {
    (0..number)
        .map(|_| {
            let owner = Owner::random();
            match acquire(table, lock, owner, None, Some(Moment::NEVER)) {
                Acquired::Queued(place) => (owner, place),
                granted => panic!("{granted:?}"),
            }
        })
        .collect()
}

fn assert_small(table: &Table<Who, Counter>) {
    let kept = table.kept();
    assert_eq!(kept.records, 0, "{kept:?}");
    assert!(kept.record_room <= 4096, "{kept:?}");
    assert!(kept.looks <= 128 && kept.look_room <= 4096, "{kept:?}");
}

#[test]
fn a_million_names_that_were_used_leave_no_memory() {
    let mut table = Table::new(Counter::default());
    let owner = Owner::random();
    for number in 0..1_000_000 {
        let lock = name(number);
        acquire(&mut table, &lock, owner, Some(seconds(30)), None);
        table
            .release(start, &lock, owner, true, &mut effects())
            .unwrap();
    }
    assert_small(&table);
}

#[test]
fn a_free_name_that_nobody_else_asks_for_costs_no_record() {
    let mut table = Table::new(Counter::default());
    let (lock, owner) = (name("alone"), Owner::random());
    let who = Who::new(1, owner);
    assert!(table.take_free(start(), &lock, || who).is_some());
    assert_eq!(table.take_free(start(), &lock, || who), None);
    assert!(!table.return_untouched(&lock, |party| party.0 == 2));
    assert!(table.return_untouched(&lock, |party| *party == who));
    assert!(!table.return_untouched(&lock, |party| *party == who));
    assert_small(&table);

    table.take_free(start(), &lock, || who);
    let asked = acquire(
        &mut table,
        &lock,
        Owner::random(),
        None,
        Some(Moment::NEVER),
    );
    assert!(matches!(asked, Acquired::Queued(_)), "{asked:?}");
    assert!(
        !table.return_untouched(&lock, |party| *party == who),
        "somebody waits"
    );
    let mut told = effects();
    table.release(start, &lock, owner, true, &mut told).unwrap();
    assert!(matches!(told.as_slice(), [Effect::Granted(_)]), "{told:?}");
}

#[test]
fn a_section_whose_owner_cannot_be_drawn_is_still_known() {
    #[derive(Clone)]
    struct NoOwner;
    impl Party for NoOwner {
        fn describe(&self) -> OwnerInfo {
            panic!("not asked for")
        }

        fn owner(&self) -> Owner {
            panic!("no random numbers")
        }
    }
    let mut table: Table<NoOwner, Counter> = Table::new(Counter::default());
    let lock = name("alone");
    table.take_free(start(), &lock, || NoOwner).unwrap();
    let look = AssertUnwindSafe(|| table.force_release(start(), &lock, &mut Effects::new()));
    assert!(catch_unwind(look).is_err());
    assert_eq!(table.take_free(start(), &lock, || NoOwner), None);
    assert!(table.return_untouched(&lock, |_| true));
}

#[test]
fn many_free_names_that_are_returned_leave_no_room() {
    let mut table = Table::new(Counter::default());
    let names: Vec<LockName> = (0..200_000).map(name).collect();
    let who = Who::new(1, Owner::random());
    for lock in &names {
        table.take_free(start(), lock, || who).unwrap();
    }
    for lock in &names {
        assert!(table.return_untouched(lock, |party| *party == who));
    }
    assert_small(&table);
}

#[test]
fn names_that_were_in_use_together_leave_no_memory() {
    let mut table = Table::new(Counter::default());
    let owner = Owner::random();
    let names: Vec<LockName> = (0..200_000).map(name).collect();
    for lock in &names {
        acquire(&mut table, lock, owner, Some(seconds(30)), None);
    }
    assert!(table.kept().record_room >= names.len());
    for lock in &names {
        table
            .release(start, lock, owner, true, &mut effects())
            .unwrap();
    }
    assert_small(&table);
}

#[test]
fn names_whose_leases_ended_leave_no_memory() {
    let mut table = Table::new(Counter::default());
    for number in 0..200_000 {
        acquire(
            &mut table,
            &name(number),
            Owner::random(),
            Some(seconds(30)),
            None,
        );
    }
    let mut lost = effects();
    table.advance(start() + seconds(30), &mut lost);
    assert_eq!(lost.len(), 200_000);
    assert_small(&table);
}

#[test]
fn a_name_that_is_renewed_for_long_is_looked_at_once_per_lease() {
    let mut table = Table::new(Counter::default());
    let (lock, owner) = (name("long"), Owner::random());
    acquire(&mut table, &lock, owner, Some(seconds(30)), None);
    for second in 0..100_000 {
        let now = start() + seconds(second);
        table
            .renew(now, &lock, owner, None, &mut effects())
            .unwrap();
        table.advance(now, &mut effects());
        assert!(table.kept().looks <= 2, "{:?}", table.kept());
    }
}

#[test]
fn ten_thousand_waiters_are_served_in_order_and_in_linear_time() {
    const WAITERS: usize = 10_000;
    let mut table = Table::new(Counter::default());
    let lock = name("queue");
    let mut holder = Owner::random();
    acquire(&mut table, &lock, holder, None, None);
    let waiting = queue_up(&mut table, &lock, WAITERS);
    let before = visits();
    for (next, _) in waiting {
        let mut told = effects();
        table
            .release(start, &lock, holder, true, &mut told)
            .unwrap();
        assert_eq!(told.as_slice(), [Effect::Granted(Who::new(0, next))]);
        table.claim(start(), &lock, next, &mut effects()).unwrap();
        holder = next;
    }
    let visited = visits() - before;
    assert!(visited <= 8 * WAITERS as u64, "{visited} visits");
}

#[test]
fn ten_thousand_waiters_who_leave_from_the_middle_cost_linear_time() {
    const WAITERS: usize = 10_000;
    let mut table = Table::new(Counter::default());
    let (lock, holder) = (name("queue"), Owner::random());
    acquire(&mut table, &lock, holder, None, None);
    let waiting = queue_up(&mut table, &lock, WAITERS);
    let before = visits();
    // Every order but that of the queue: 7919 is prime to their number.
    for number in 0..WAITERS {
        let (owner, place) = waiting[(5_000 + number * 7_919) % WAITERS];
        table.cancel(start(), &lock, place, owner, &mut effects());
    }
    let visited = visits() - before;
    assert!(visited <= 16 * WAITERS as u64, "{visited} visits");
    let seen = table.describe(start(), &lock, &mut effects());
    assert_eq!((seen.waiting, seen.sections.len()), (0, 1));
}

#[test]
fn a_million_waiters_who_left_leave_nothing() {
    let mut table = Table::new(Counter::default());
    let (lock, holder) = (name("queue"), Owner::random());
    acquire(&mut table, &lock, holder, None, None);
    for _ in 0..1_000 {
        // One stays in front, so that the queue is never empty.
        for (owner, place) in queue_up(&mut table, &lock, 1_000).into_iter().skip(1) {
            table.cancel(start(), &lock, place, owner, &mut effects());
        }
        assert!(
            table.queue_room(&lock) <= 8_192,
            "{}",
            table.queue_room(&lock)
        );
    }
    let seen = table.describe(start(), &lock, &mut effects());
    assert_eq!(seen.waiting, 1_000);
    table.force_release(start(), &lock, &mut effects());
    let mut told = effects();
    for _ in 0..1_000 {
        told.clear();
        table.force_release(start(), &lock, &mut told);
    }
    assert_small(&table);
}
