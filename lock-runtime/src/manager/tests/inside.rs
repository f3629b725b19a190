//! Entering a section from inside it.

use std::cell::Cell;
use std::rc::Rc;

use super::*;
use crate::LockFutureExt;
use crate::error::LockErrorKind;

/// Counts who is inside at the same time.
#[derive(Clone, Default)]
struct Inside(Rc<Cell<usize>>, Rc<Cell<usize>>);

impl Inside {
    async fn body(self) {
        self.0.set(self.0.get() + 1);
        self.1.set(self.1.get().max(self.0.get()));
        yield_once().await;
        self.0.set(self.0.get() - 1);
    }

    fn most(&self) -> usize {
        self.1.get()
    }
}

pub(super) async fn yield_once() {
    let mut has_yielded = false;
    std::future::poll_fn(move |cx| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn a_nested_entry_without_leave_is_an_error_at_once() {
    let (_time, manager) = embedded();
    let inner = manager.clone();
    let ran = run(manager
        .lock("a")
        .run(|| async move { inner.lock("a").run(|| async {}).await }));
    let error = ran.unwrap().unwrap_err();
    assert_eq!(error.kind(), LockErrorKind::Reentered);
    assert!(is_free(&manager, "a"));
}

#[test]
fn two_branches_inside_never_overlap() {
    let (_time, manager) = embedded();
    let inside = Inside::default();
    let (left, right, seen) = (inside.clone(), inside.clone(), inside);
    let (one, other) = (manager.clone(), manager.clone());
    let token = run(manager.lock("a").reentrant().run(|| async move {
        let branches = tokio::join!(
            one.lock("a").reentrant().run(|| left.body()),
            other.lock("a").reentrant().run(|| right.body()),
        );
        branches.0.and(branches.1).unwrap();
        one.lock("a")
            .reentrant()
            .acquire()
            .await
            .unwrap()
            .fencing_token()
    }));
    assert!(token.unwrap().is_some());
    assert_eq!(seen.most(), 1);
    assert!(is_free(&manager, "a"));
}

#[test]
fn an_entry_from_inside_keeps_the_token() {
    let (_time, manager) = embedded();
    let inner = manager.clone();
    let tokens = run(manager.lock("a").reentrant().run(|| async move {
        let outer = info(&inner, "a").section().unwrap().token;
        let guard = inner.lock("a").acquire().await.unwrap();
        (outer, guard.fencing_token())
    }));
    let (outer, inner) = tokens.unwrap();
    assert!(outer.is_some());
    assert_eq!(outer, inner);
}

#[test]
fn the_last_one_out_releases_it() {
    let (_time, manager) = embedded();
    let inner = manager.clone();
    let carried = run(manager.lock("a").reentrant().run(|| async move {
        let entry = inner.lock("a").reentrant().run(forever);
        let mut carried = Task::new(entry.in_current_section());
        assert!(carried.poll().is_pending());
        carried
    }));
    assert!(!is_free(&manager, "a"), "somebody is still inside");
    drop(carried.unwrap());
    assert!(is_free(&manager, "a"));
}

#[test]
fn work_that_is_carried_in_after_the_section_ended_enters_like_anybody() {
    let (_time, manager) = embedded();
    let inner = manager.clone();
    let carried = run(manager.lock("a").reentrant().run(|| async move {
        Task::new(inner.lock("a").reentrant().acquire().in_current_section())
    }));
    let other = run(manager.lock("a").acquire()).unwrap();
    let mut carried = carried.unwrap();
    assert!(carried.poll().is_pending());
    drop(other);
    drop(carried.now().unwrap());
}

#[test]
fn everybody_inside_is_told_of_the_loss() {
    let (_time, manager) = embedded();
    let inner = manager.clone();
    let inner_tasks = Rc::new(Cell::new(None));
    let kept = Rc::clone(&inner_tasks);
    let mut outer = Task::pending(manager.lock("a").reentrant().run(|| async move {
        let entry = inner.lock("a").reentrant().run(forever);
        kept.set(Some(Task::pending(entry.in_current_section())));
        forever().await;
    }));
    let mut carried = inner_tasks.take().unwrap();
    run(manager.lock("a").force_release()).unwrap();
    assert!(outer.is_woken(), "the outer body is told");
    assert!(carried.is_woken(), "the inner body is told");
    assert!(outer.now().unwrap_err().is_lost());
    assert!(carried.now().unwrap_err().is_lost());
}

#[test]
fn what_the_closure_does_before_its_future_is_inside_too() {
    let (_time, manager) = embedded();
    let inner = manager.clone();
    let ran = run(manager.lock("a").reentrant().run(move || {
        let entered = inner.lock("a").reentrant().blocking().run(|| 7);
        async move { entered }
    }));
    assert_eq!(ran.unwrap().unwrap(), 7);
}

#[test]
fn an_entry_from_inside_waits_no_longer_than_it_says() {
    let (time, manager) = embedded();
    let inner = manager.clone();
    let inside = time.clone();
    let ran = run(manager.lock("a").reentrant().run(|| async move {
        let mut first = Task::pending(
            inner
                .lock("a")
                .reentrant()
                .run(forever)
                .in_current_section(),
        );
        let second = inner.lock("a").reentrant().wait(seconds(5)).acquire();
        let mut second = Task::pending(second.in_current_section());
        inside.advance(seconds(5));
        assert!(first.poll().is_pending());
        second.now().unwrap_err()
    }));
    let error = ran.unwrap();
    assert!(
        error.is_busy() && error.waited() == Some(seconds(5)),
        "{error}"
    );
    assert!(is_free(&manager, "a"));
}

#[test]
fn an_entry_that_is_carried_out_of_an_entry_takes_turns_with_others_inside() {
    let (_time, manager) = embedded();
    let inside = Inside::default();
    let seen = inside.clone();
    let outer = manager.clone();
    run(manager.lock("a").reentrant().run(|| async move {
        let again = || outer.lock("a").reentrant();
        let mut carried = None;
        let (carry, left) = (outer.clone(), inside.clone());
        again()
            .run(|| async {
                let entry = carry.lock("a").reentrant().run(move || left.body());
                carried = Some(entry.in_current_section());
            })
            .await
            .unwrap();
        // The entry that it was made in has ended: now it is one of those inside the outer one.
        let carried = carried.take().expect("it ran");
        let (one, other) = tokio::join!(carried, again().run(|| inside.body()));
        one.unwrap();
        other.unwrap();
    }))
    .unwrap();
    assert_eq!(seen.most(), 1);
    assert!(is_free(&manager, "a"));
}

#[test]
fn an_entry_carried_out_and_still_running_keeps_the_turn_of_the_entry_it_came_from() {
    let (_time, manager) = embedded();
    let inside = Inside::default();
    let seen = inside.clone();
    let outer = manager.clone();
    run(manager.lock("a").reentrant().run(|| async move {
        let again = || outer.lock("a").reentrant();
        let (carry, left) = (outer.clone(), inside.clone());
        let carried = again()
            .run(|| async {
                let entry = carry.lock("a").reentrant().run(move || left.body());
                let mut entry = Box::pin(entry.in_current_section());
                let polled = std::future::poll_fn(|cx| Poll::Ready(entry.as_mut().poll(cx))).await;
                assert!(polled.is_pending(), "it is inside, and has not ended");
                Some(entry)
            })
            .await
            .unwrap()
            .expect("it ran");
        let (one, other) = tokio::join!(again().run(|| inside.body()), carried);
        one.unwrap();
        other.unwrap();
    }))
    .unwrap();
    assert_eq!(seen.most(), 1);
    assert!(is_free(&manager, "a"));
}
