//! Waiting, the queue and the names of the embedded manager.

use super::*;
use crate::backend::memory::MemoryBackend;
use crate::error::LockErrorKind;
use crate::info::InTheWay;
use crate::options::{CLAIM_WINDOW, Wait};

#[test]
fn a_wait_ends_at_its_deadline_and_says_who_was_in_the_way() {
    let (time, manager) = embedded();
    let guard = run(manager.lock("a").acquire()).unwrap();
    let owner = guard.owner().unwrap();
    time.advance(seconds(3));
    let mut first = Task::pending(manager.lock("a").wait(seconds(20)).acquire());
    let mut second = Task::pending(manager.lock("a").wait(seconds(5)).acquire());
    time.advance(seconds(5) - NANO);
    assert!(!second.is_woken() && second.poll().is_pending());
    time.advance(NANO);
    assert!(second.is_woken());
    let error = second.now().unwrap_err();
    assert!(error.is_busy());
    assert_eq!(error.waited(), Some(seconds(5)));
    let Some(InTheWay::Section(section)) = error.in_the_way() else {
        panic!("{error}");
    };
    assert_eq!((section.owner.id, section.held_for), (owner.id, seconds(8)));
    assert!(
        error.to_string().contains("waited 5 s; held for 8 s by"),
        "{error}"
    );
    assert!(error.to_string().ends_with("; 1 ahead)"), "{error}");
    assert!(first.poll().is_pending());
    drop((guard, first));
    assert!(is_free(&manager, "a"));
}

#[test]
fn a_request_that_does_not_wait_leaves_nothing_in_the_queue() {
    let (_time, manager) = embedded();
    let guard = run(manager.lock("a").acquire()).unwrap();
    let error = run(manager.lock("a").wait(Wait::NONE).acquire()).unwrap_err();
    assert_eq!(
        (error.kind(), error.waited()),
        (LockErrorKind::Busy, Some(Duration::ZERO))
    );
    assert!(run(manager.lock("a").try_acquire()).unwrap().is_none());
    assert_eq!(
        run(manager.lock("a").run_if_available(|| async { 1 })).unwrap(),
        None
    );
    assert_eq!(info(&manager, "a").waiting, 0);
    drop(guard);
    assert_eq!(
        run(manager.lock("a").run_if_available(|| async { 1 })).unwrap(),
        Some(1)
    );
}

#[test]
fn waiters_are_woken_one_by_one_in_order() {
    let (_time, manager) = embedded();
    let mut holder = Some(run(manager.lock("a").acquire()).unwrap());
    let mut waiting: Vec<_> = (0..10)
        .map(|_| Task::pending(manager.lock("a").acquire()))
        .collect();
    while !waiting.is_empty() {
        drop(holder.take());
        let woken: Vec<bool> = waiting.iter().map(Task::is_woken).collect();
        assert!(
            woken[0] && woken[1..].iter().all(|woken| !woken),
            "{woken:?}"
        );
        holder = Some(waiting.remove(0).now().unwrap());
    }
}

#[test]
fn a_waiter_that_is_not_polled_is_passed_over_and_gets_its_turn_later() {
    let (time, manager) = embedded();
    let guard = run(manager.lock("a").acquire()).unwrap();
    let mut asleep = Task::pending(manager.lock("a").acquire());
    let mut awake = Task::pending(manager.lock("a").acquire());
    drop(guard);
    time.advance(CLAIM_WINDOW - NANO);
    assert!(asleep.is_woken() && !awake.is_woken());
    time.advance(NANO);
    let guard = awake.now().unwrap();
    assert!(
        asleep.poll().is_pending(),
        "it came too late, and queues again"
    );
    assert_eq!(info(&manager, "a").waiting, 1);
    drop(guard);
    let guard = asleep.now().unwrap();
    assert!(guard.is_held() && guard.fencing_token().is_some());
    drop(guard);
    assert!(is_free(&manager, "a"));
}

#[test]
fn a_waiter_that_comes_too_late_at_its_deadline_is_told_so() {
    let (time, manager) = embedded();
    let guard = run(manager.lock("a").acquire()).unwrap();
    let mut asleep = Task::pending(manager.lock("a").wait(seconds(3)).acquire());
    drop(guard);
    time.advance(CLAIM_WINDOW);
    let guard = run(manager.lock("a").acquire()).unwrap();
    time.advance(seconds(3));
    assert!(asleep.now().unwrap_err().is_busy());
    drop(guard);
    assert!(is_free(&manager, "a"));
}

#[test]
fn a_grant_that_is_dropped_before_it_was_claimed_goes_to_the_next_at_once() {
    let (_time, manager) = embedded();
    let guard = run(manager.lock("a").acquire()).unwrap();
    let first = Task::pending(manager.lock("a").acquire());
    let mut second = Task::pending(manager.lock("a").acquire());
    drop(guard);
    assert!(first.is_woken());
    drop(first);
    assert!(second.is_woken());
    drop(second.now().unwrap());
}

#[test]
fn namespaces_share_a_store_and_not_their_names() {
    let time = ManualClock::new();
    let store = MemoryBackend::new(time.clock());
    let named = |namespace: &str| {
        LockManager::builder()
            .clock(time.clock())
            .backend(store.clone())
            .namespace(namespace)
            .build()
            .unwrap()
    };
    let (shop, again, bank) = (named("shop"), named("shop"), named("bank"));
    let in_shop = run(shop.lock("a").acquire()).unwrap();
    let in_bank = run(bank.lock("a").wait(Wait::NONE).acquire()).unwrap();
    assert!(run(again.lock("a").try_acquire()).unwrap().is_none());
    assert!(in_bank.fencing_token() > in_shop.fencing_token());
    let listed = |manager: &LockManager| {
        let manager = manager.clone();
        run(async move { manager.list("").await }).unwrap().len()
    };
    assert_eq!((listed(&shop), listed(&bank)), (1, 1));
}

#[test]
fn several_names_are_sorted_and_taken_once_each() {
    let (_time, manager) = embedded();
    let guard = run(manager.lock("b").and("a").and("b").acquire()).unwrap();
    let names: Vec<_> = guard.names().map(ToString::to_string).collect();
    assert_eq!(names, ["a", "b"]);
    drop(guard);
    assert!(is_free(&manager, "a") && is_free(&manager, "b"));
}

#[test]
fn several_names_are_all_taken_or_none() {
    let (time, manager) = embedded();
    let guard = run(manager.lock("b").acquire()).unwrap();
    let mut both = Task::pending(manager.lock("a").and("b").wait(seconds(5)).acquire());
    assert!(info(&manager, "a").is_locked());
    time.advance(seconds(5));
    let error = both.now().unwrap_err();
    assert_eq!(error.name().unwrap().as_str(), "b");
    assert!(is_free(&manager, "a"));
    assert!(guard.is_held());
}

#[test]
fn two_who_take_the_same_names_in_another_order_do_not_wait_for_each_other() {
    let (_time, manager) = embedded();
    let mut one = Task::new(manager.lock("a").and("b").acquire());
    let guard = one.now().unwrap();
    let mut other = Task::pending(manager.lock("b").and("a").acquire());
    drop(guard);
    assert!(other.is_woken());
    drop(other.now().unwrap());
}

#[test]
fn the_token_of_several_names_is_above_every_earlier_one_of_each() {
    let (_time, manager) = embedded();
    let before = run(manager.lock("b").acquire()).unwrap();
    let seen = before.fencing_token();
    drop(before);
    let both = run(manager.lock("a").and("b").acquire()).unwrap();
    let token = both.fencing_token();
    assert!(token > seen);
    drop(both);
    assert!(run(manager.lock("a").acquire()).unwrap().fencing_token() > token);
    assert!(run(manager.lock("b").acquire()).unwrap().fencing_token() > token);
    let shared = run(manager.lock("a").shared().acquire()).unwrap();
    let permit = run(manager.lock("b").permits(2).acquire()).unwrap();
    assert_eq!(
        (shared.fencing_token(), permit.fencing_token()),
        (None, None)
    );
}

#[test]
fn a_ticket_is_gone_on_with_under_the_same_token() {
    let (time, manager) = embedded();
    let guard = run(manager.lock("a").ttl(seconds(10)).acquire()).unwrap();
    let token = guard.fencing_token();
    let ticket = guard.into_ticket().unwrap();
    time.advance(seconds(10) - NANO);
    let adopted = run(manager.lock("a").adopt(ticket.clone())).unwrap();
    assert_eq!(adopted.fencing_token(), token);
    // It is renewed again, and the ticket was good once.
    time.advance(seconds(1000));
    assert!(adopted.is_held());
    assert!(run(manager.lock("a").adopt(ticket)).unwrap_err().is_lost());
    assert!(adopted.is_held());
    run(adopted.release()).unwrap();
    assert!(is_free(&manager, "a"));
}

#[test]
fn a_ticket_that_nobody_uses_ends_with_its_lease() {
    let (time, manager) = embedded();
    let guard = run(manager.lock("a").ttl(seconds(10)).acquire()).unwrap();
    let ticket = guard.into_ticket().unwrap();
    time.advance(seconds(10) - NANO);
    assert!(!is_free(&manager, "a"));
    time.advance(NANO);
    assert!(is_free(&manager, "a"));
    assert!(run(manager.lock("a").adopt(ticket)).unwrap_err().is_lost());
}

#[test]
fn a_ticket_can_be_had_without_giving_the_lock_away() {
    let (time, manager) = embedded();
    let guard = run(manager.lock("a").ttl(seconds(10)).acquire()).unwrap();
    let ticket = guard.ticket().unwrap();
    assert_eq!(ticket.fencing_token(), guard.fencing_token());
    time.advance(seconds(1000));
    assert!(guard.is_held(), "it goes on, and is renewed");
    let adopted = run(manager.lock("a").adopt(ticket.clone())).unwrap();
    assert!(adopted.is_held() && !guard.is_held());
    assert!(guard.ticket().unwrap_err().is_lost());
    assert!(run(guard.release()).unwrap_err().is_lost());
    assert!(adopted.is_held(), "a late release is of no effect");
    run(adopted.release()).unwrap();
    assert!(run(manager.lock("a").adopt(ticket)).unwrap_err().is_lost());
    let two = run(manager.lock("a").and("b").acquire()).unwrap();
    let error = two.ticket().unwrap_err();
    assert_eq!(error.kind(), LockErrorKind::InvalidOption);
}

#[test]
fn a_ticket_of_another_lock_is_refused() {
    let (_time, manager) = embedded();
    let ticket = run(manager.lock("a").acquire())
        .unwrap()
        .into_ticket()
        .unwrap();
    let error = run(manager.lock("b").adopt(ticket)).unwrap_err();
    assert_eq!(error.kind(), LockErrorKind::InvalidOption);
}

/// A subscriber that panics where a grant is written down.
struct PanicsAtGrants;

impl tracing::Subscriber for PanicsAtGrants {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {
        panic!("it cannot be written down");
    }

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_grant_that_nobody_can_write_down_is_given_back() {
    let (_time, manager) = embedded();
    // A span that another test uses for the first time just then is nobody's for ever.
    run(run(manager.lock("a").acquire()).unwrap().release()).unwrap();
    let asking = std::panic::AssertUnwindSafe(|| {
        tracing::subscriber::with_default(PanicsAtGrants, || {
            run(manager.lock("a").acquire()).map(drop)
        })
    });
    assert!(std::panic::catch_unwind(asking).is_err());
    assert!(is_free(&manager, "a"));
}
