//! Nothing waits in unbounded numbers, and nothing is sent that nobody can want any more.

use tokio::sync::oneshot;

use super::*;
use crate::backend::lockd::fault::{self, Place};
use crate::backend::lockd::news::News;
use crate::backend::lockd::pending::What;
use crate::backend::lockd::session::{MAX_UNANSWERED, Session};
use crate::backend::{Change, OnWhoseWord};
use crate::caller::CallerId;
use crate::clock::Moment;
use crate::error::BackendError;
use crate::name::LockName;
use crate::wire::Nonce;

/// A session whose daemon is out of reach.
fn session() -> (Session, BackendError) {
    let place = Place::new("/run/lockd.sock".into());
    let why = fault::hung_up(&place);
    let mut session = Session::new(place);
    session.cut(&why, &mut Vec::new());
    (session, why)
}

fn name() -> LockName {
    LockName::new("a").unwrap()
}

#[test]
fn a_session_that_is_not_connected_says_so() {
    let mut session = Session::new(Place::new("/run/lockd.sock".into()));
    let (waiter, _answer) = oneshot::channel();
    let what = What::Inspect {
        name: name(),
        until: Moment::NEVER,
        waiter,
    };
    let error = session.put(Moment::from_nanos(1), what).unwrap_err();
    assert!(error.to_string().contains("call `connect`"), "{error}");
}

#[test]
fn so_many_wait_and_no_more() {
    let (mut session, _) = session();
    let mut answers = Vec::new();
    let mut look = || {
        let (waiter, answer) = oneshot::channel();
        answers.push(answer);
        let what = What::Inspect {
            name: name(),
            until: Moment::NEVER,
            waiter,
        };
        session.put(Moment::from_nanos(1), what)
    };
    for _ in 0..MAX_UNANSWERED {
        look().unwrap();
    }
    let error = look().unwrap_err().to_string();
    assert!(error.contains("16384 requests wait"), "{error}");
    assert!(error.contains("without a word"), "says why: {error}");
}

#[test]
fn a_change_is_not_made_long_after_it_was_asked_for() {
    let (mut session, why) = session();
    let (waiter, mut answer) = oneshot::channel();
    let until = Moment::from_nanos(10);
    let what = What::Change {
        change: Change::Unassign {
            name: name(),
            giver: OnWhoseWord::Holder(CallerId::new("alice")),
            within: None,
        },
        attempt: Nonce::random(),
        until,
        waiter,
    };
    session.put(Moment::from_nanos(1), what).unwrap();
    let mut news = Vec::new();
    session.still_down(Moment::from_nanos(9), &why, &mut news);
    assert!(news.is_empty());
    session.still_down(until, &why, &mut news);
    assert!(news.drain(..).filter_map(News::tell).next().is_none());
    let error = answer.try_recv().unwrap().unwrap_err();
    assert!(error.to_string().contains("out of reach"), "{error}");
    assert!(!error.is_effect_unknown(), "it was never sent");
}

#[test]
fn a_lease_has_only_so_many_renewals_on_the_way() {
    let (stage, mut peer) = Stage::set();
    let lease = stage.lease(&mut peer, &stage.request("a", Wait::NONE, true), 1);
    let backend = &stage.manager.inner().backend;
    let mut replies: Vec<_> = (0..8).map(|_| backend.renew(&lease, TTL)).collect();
    let error = stage
        .end(stage.spawn(backend.renew(&lease, TTL)))
        .unwrap_err();
    assert!(error.to_string().contains("has not answered"), "{error}");
    let mut heard = 0;
    while heard < replies.len() {
        let ToDaemon::Renew { id, leases } = peer.hear() else {
            panic!("no renewal");
        };
        heard += leases.len();
        peer.say(&ToClient::Renewed {
            id,
            lost: Vec::new(),
        });
    }
    for reply in replies.drain(..) {
        assert!(stage.end(stage.spawn(reply)).unwrap());
    }
    let renewal = stage.spawn(backend.renew(&lease, TTL));
    let id = id_of!(peer, Renew);
    peer.say(&ToClient::Renewed {
        id,
        lost: Vec::new(),
    });
    assert!(stage.end(renewal).unwrap());
}

#[test]
fn a_caller_that_is_too_long_is_refused_here() {
    let (stage, _peer) = Stage::set();
    let to = CallerId::new("x".repeat(1025));
    let change = Change::Assign {
        name: name(),
        to,
        ttl: None,
        giver: OnWhoseWord::Operator,
        within: None,
    };
    let reply = stage.manager.inner().backend.change(&change);
    let error = stage.end(stage.spawn(reply)).unwrap_err();
    assert!(error.to_string().contains("1024 bytes"), "{error}");
}
