//! What is given back without a word of a server, for nothing was sent to one.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::names::Vanished;
use super::*;
use crate::lease::{self, SharedTerms, Terms};
use crate::owner::Process;

fn backend() -> EtcdBackend {
    EtcdBackend::new("etcd://127.0.0.1", Clock::system()).unwrap()
}

fn lease() -> Arc<Lease> {
    let terms = SharedTerms::from(Terms::plain(Wait::NONE));
    let process = Process::new(None);
    let made = lease::make(None, 1, &process, &terms, None, |name| {
        *name = LockName::new("name")?;
        Ok(())
    });
    made.unwrap()
}

/// Waits until nothing is known of an acquisition any more.
async fn until_forgotten(shared: &Shared, lease: &Lease) {
    let forgotten = async {
        while shared.attempts.find(lease.owner()).is_some() {
            tokio::task::yield_now().await;
        }
    };
    let limit = Duration::from_secs(30);
    let is_forgotten = tokio::time::timeout(limit, forgotten).await;
    is_forgotten.expect("it is forgotten");
}

#[tokio::test]
async fn a_release_that_is_dropped_while_a_question_is_under_way_goes_on() {
    let (backend, lease) = (backend(), lease());
    let shared = backend.shared();
    let attempt = shared.attempts.begin(lease.owner());
    let question = attempt.gate.lock().await;
    {
        let mut release = pin!(backend.release(&lease, Release::Abandoned));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(release.as_mut().poll(&mut cx), Poll::Pending));
    }
    tokio::task::yield_now().await;
    assert!(shared.attempts.find(lease.owner()).is_some());
    drop(question);
    until_forgotten(&shared, &lease).await;
    assert!(attempt.gate.lock().await.is_over);
}

#[tokio::test]
async fn a_section_that_was_taken_away_is_forgotten() {
    let (backend, lease) = (backend(), lease());
    let shared = backend.shared();
    let attempt = shared.attempts.begin(lease.owner());
    attempt.hold(&lease, shared.clock.now());
    shared.tell(vec![Vanished {
        lease: Arc::clone(&lease),
        adopted: true,
    }]);
    assert!(!attempt.is_held());
    until_forgotten(&shared, &lease).await;
}
