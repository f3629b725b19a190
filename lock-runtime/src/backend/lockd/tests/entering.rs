//! From a request to a section, and what becomes of one that nobody wants.

use super::*;
use crate::backend::{Answer, Grant};
use crate::info::InTheWay;
use crate::wire::Blocker;

#[test]
fn a_free_name_is_granted_at_once() {
    let (stage, mut peer) = Stage::set();
    let request = stage.manager.lock("task:42").linger();
    let task = stage.acquire(request);
    let ToDaemon::Site(site) = peer.hear_anything() else {
        panic!("no site");
    };
    assert_eq!((site.number, &*site.file), (0, file!()));
    let asked = peer.hear_acquire();
    assert_eq!((&*asked.name, &*asked.namespace), ("task:42", ""));
    assert_eq!((asked.ttl_ms, asked.site), (30_000, Some(0)));
    assert!(asked.wait_ms.is_some_and(|ms| ms > 20_000), "{asked:?}");
    assert!(asked.linger && asked.auth.is_none());
    peer.say(&granted(asked.id, 7, false));
    let guard = stage.end(task).unwrap();
    assert_eq!(guard.fencing_token().unwrap().get(), 7);

    let release = stage.spawn(guard.release());
    let (id, _) = peer.hear_release("task:42");
    peer.say(&held(id, true));
    stage.end(release).unwrap();
}

#[test]
fn a_body_that_ran_is_said_to_have_run() {
    let (stage, mut peer) = Stage::set();
    let manager = stage.manager.clone();
    let task = stage.spawn(async move { manager.lock("a").run(|| async { 42 }).await });
    let asked = peer.hear_acquire();
    assert!(!asked.linger);
    peer.say(&granted(asked.id, 1, false));
    let (id, body_ran) = peer.hear_release("a");
    assert!(body_ran);
    peer.say(&held(id, true));
    assert_eq!(stage.end(task).unwrap(), 42);
}

#[test]
fn a_grant_out_of_the_queue_counts_from_its_claim() {
    let (stage, mut peer) = Stage::set();
    let clock = stage.manager.clock();
    let request = stage.request("a", Wait::Forever, true);
    let task = stage.spawn(stage.manager.inner().backend.acquire(&request));
    let asked = peer.hear_acquire();
    assert_eq!(asked.wait_ms, None);
    let before = clock.now();
    peer.say(&granted(asked.id, 3, true));
    let id = id_of!(peer, Claim);
    let after = clock.now();
    assert!(!task.is_finished(), "it is not claimed yet");
    peer.say(&held(id, true));
    let Answer::Granted(Grant {
        token,
        counted_from: Some(counted_from),
        lasting: None,
    }) = stage.end(task).unwrap()
    else {
        panic!("no grant");
    };
    assert_eq!(token.unwrap().get(), 3);
    assert!((before..=after).contains(&counted_from));
}

#[test]
fn a_claim_that_came_too_late_queues_again() {
    let (stage, mut peer) = Stage::set();
    let task = stage.acquire(stage.manager.lock("a"));
    let first = peer.hear_acquire();
    peer.say(&granted(first.id, 3, true));
    let id = id_of!(peer, Claim);
    peer.say(&held(id, false));
    let second = peer.hear_acquire();
    assert_eq!(second.owner, first.owner);
    assert!(second.wait_ms <= first.wait_ms && second.wait_ms > Some(0));
    peer.say(&ToClient::Busy {
        id: second.id,
        in_the_way: Blocker::RecoveringMs(12_000),
        ahead: 0,
    });
    let error = stage.end(task).unwrap_err();
    assert!(error.is_busy(), "{error}");
    let way = InTheWay::Recovering(Duration::from_secs(12));
    assert_eq!(error.in_the_way(), Some(&way));
    let text = error.to_string();
    assert!(
        text.contains("started anew") && text.contains("12 s"),
        "{text}"
    );
}

#[test]
fn a_claim_that_came_too_late_for_the_wait_is_busy() {
    let (stage, mut peer) = Stage::set();
    let wait = Duration::from_millis(30);
    let asked_at = Instant::now();
    let task = stage.acquire(stage.manager.lock("a").wait(wait));
    let asked = peer.hear_acquire();
    peer.say(&granted(asked.id, 3, true));
    let id = id_of!(peer, Claim);
    eventually("time passes", || asked_at.elapsed() > wait * 2);
    peer.say(&held(id, false));
    let error = stage.end(task).unwrap_err();
    assert!(error.is_busy(), "{error}");
}

#[test]
fn an_exclusive_grant_without_a_token_is_none() {
    let (stage, mut peer) = Stage::set();
    let task = stage.acquire(stage.manager.lock("a"));
    let asked = peer.hear_acquire();
    peer.say(&granted(asked.id, 0, false));
    let error = stage.end(task).unwrap_err();
    assert!(error.is_unavailable() && error.may_be_held(), "{error}");
    peer.hear_end_past_releases();
}

#[test]
fn a_request_that_is_dropped_is_taken_back() {
    let (stage, mut peer) = Stage::set();
    let task = stage.acquire(stage.manager.lock("a"));
    let asked = peer.hear_acquire();
    task.abort();
    let (id, body_ran) = peer.hear_release("a");
    assert!(!body_ran);
    peer.say(&ToClient::Busy {
        id: asked.id,
        in_the_way: Blocker::Queue,
        ahead: 0,
    });
    peer.say(&held(id, true));
}

#[test]
fn a_reply_that_is_dropped_gives_back_what_comes_of_it() {
    let (stage, mut peer) = Stage::set();
    let request = stage.request("a", Wait::Forever, true);
    drop(stage.manager.inner().backend.acquire(&request));
    let asked = peer.hear_acquire();
    let (id, body_ran) = peer.hear_release("a");
    assert!(!body_ran);
    // Granted before the release was read.
    peer.say(&granted(asked.id, 1, false));
    peer.say(&held(id, true));

    let request = stage.request("b", Wait::Forever, true);
    let backend = &stage.manager.inner().backend;
    let unpolled = backend.acquire(&request);
    let asked = peer.hear_acquire();
    peer.say(&granted(asked.id, 2, false));
    // When a later question is answered, the grant has been heard of, and lies there.
    let looked = stage.spawn(backend.inspect(request.name()));
    let id = id_of!(peer, Inspect);
    let lock = requests::free("b");
    peer.say(&ToClient::Lock { id, lock });
    stage.end(looked).unwrap();
    drop(unpolled);
    let (id, _) = peer.hear_release("b");
    peer.say(&held(id, true));

    // Nothing of it is claimed on another connection.
    drop(peer);
    let mut peer = stage.daemon.accept(true);
    id_of!(peer, Settled);
}

#[test]
fn an_answer_of_another_kind_is_an_error_and_ends_the_connection() {
    let (stage, mut peer) = Stage::set();
    let task = stage.acquire(stage.manager.lock("a"));
    let asked = peer.hear_acquire();
    peer.say(&ToClient::Pong { id: asked.id });
    let error = stage.end(task).unwrap_err();
    assert!(error.is_unavailable() && error.may_be_held(), "{error}");
    assert!(error.to_string().contains("makes no sense"), "{error}");
    // What may have been granted is given back.
    let mut peer = stage.daemon.accept(true);
    loop {
        match peer.hear() {
            ToDaemon::Release { id, .. } => break peer.say(&held(id, false)),
            ToDaemon::Settled { id } => peer.say(&ToClient::Done { id }),
            other => panic!("{other:?}"),
        }
    }
}
