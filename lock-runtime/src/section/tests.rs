//! Tests of sections that are polled in ways that `await` never does.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use super::{Section, run};
use crate::error::LockError;

#[test]
fn who_asks_again_after_a_refusal_is_refused_again() {
    let mut section = Section::refused(LockError::closed());
    let mut has_run = false;
    let mut body = pin!(async { has_run = true });
    for _ in 0..3 {
        let mut run = run(&mut section, body.as_mut());
        let polled = Pin::new(&mut run).poll(&mut Context::from_waker(Waker::noop()));
        match polled {
            Poll::Ready(ended) => assert!(ended.into_result().is_err()),
            Poll::Pending => panic!("it is refused"),
        }
    }
    assert!(!has_run);
}
