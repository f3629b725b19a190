//! The connection is cut: what is held is reclaimed, what is asked is asked again, in order.

use super::*;
use crate::backend::Answer;
use crate::backend::lockd::pending::What;
use crate::caller::{Caller, CallerId};
use crate::error::Lost;
use crate::wire::{Encoding, Reclaim, Renewal};

fn hear_reclaim(peer: &mut Peer) -> Reclaim<'static> {
    match peer.hear() {
        ToDaemon::Reclaim(reclaim) => reclaim,
        other => panic!("{other:?}"),
    }
}

fn hear_renewal(peer: &mut Peer) -> (u64, Vec<Renewal<'static>>) {
    match peer.hear() {
        ToDaemon::Renew { id, leases } => (id, leases),
        other => panic!("{other:?}"),
    }
}

fn settle(peer: &mut Peer) {
    let id = id_of!(peer, Settled);
    peer.say(&ToClient::Done { id });
}

#[test]
fn a_request_is_asked_again_and_a_grant_of_it_made_sure() {
    let (stage, mut peer) = Stage::set();
    let session = peer.greeting.clone().unwrap().session;
    let clock = stage.manager.clock();
    let request = stage.request("a", Wait::For(Duration::from_secs(60)), true);
    let task = stage.spawn(stage.manager.inner().backend.acquire(&request));
    let first = peer.hear_acquire();
    drop(peer);

    let mut peer = stage.daemon.accept(true);
    assert_eq!(peer.greeting.clone().unwrap().session, session);
    let again = peer.hear_acquire();
    assert_eq!(peer.sites.len(), 1, "the places are named again");
    assert_eq!((again.owner, again.site), (first.owner, Some(0)));
    assert!(again.wait_ms <= first.wait_ms && again.wait_ms > Some(0));
    settle(&mut peer);
    // It may have been granted before the cut already: since then its lease has run.
    let before = clock.now();
    peer.say(&granted(again.id, 5, false));
    let (id, leases) = hear_renewal(&mut peer);
    assert_eq!(leases[0].owner, first.owner);
    assert_eq!(leases[0].ttl_ms, 30_000);
    peer.say(&ToClient::Renewed {
        id,
        lost: Vec::new(),
    });
    let Answer::Granted(grant) = stage.end(task).unwrap() else {
        panic!("no grant");
    };
    assert!(grant.counted_from.unwrap() >= before);
}

#[test]
fn a_grant_that_is_lost_before_it_is_made_sure_is_asked_for_again() {
    let (stage, mut peer) = Stage::set();
    let task = stage.acquire(stage.manager.lock("a"));
    let first = peer.hear_acquire();
    peer.say(&granted(first.id, 1, true));
    id_of!(peer, Claim);
    drop(peer);
    let mut peer = stage.daemon.accept(false);
    let again = peer.hear_acquire();
    settle(&mut peer);
    peer.say(&granted(again.id, 1, true));
    let id = id_of!(peer, Claim);
    peer.say(&held(id, false));
    let (id, _) = hear_renewal(&mut peer);
    peer.say(&ToClient::Renewed {
        id,
        lost: vec![first.owner],
    });
    let third = peer.hear_acquire();
    assert_eq!(third.owner, first.owner);
    peer.say(&granted(third.id, 2, false));
    let guard = stage.end(task).unwrap();
    assert_eq!(guard.fencing_token().unwrap().get(), 2);
}

#[test]
fn everything_comes_again_in_its_order() {
    let (stage, mut peer) = Stage::set();
    let lock = |name: &str| stage.manager.lock(name.to_owned());
    let (kept, asked) = stage.hold(&mut peer, lock("kept").at_least(TTL).linger(), 1);
    let (ending, _) = stage.hold(&mut peer, lock("ending"), 2);
    let release = stage.spawn(ending.release());
    peer.hear_release("ending");
    let waiting = stage.acquire(lock("waiting"));
    peer.hear_acquire();
    drop(peer);

    // It does not get far on the first connection that it has.
    let mut peer = stage.daemon.accept(true);
    for name in ["kept", "ending"] {
        assert_eq!(hear_reclaim(&mut peer).name, name);
    }
    peer.hear_release("ending");
    assert_eq!(peer.hear_acquire().name, "waiting");
    id_of!(peer, Settled);
    drop(peer);

    let mut peer = stage.daemon.accept(false);
    let reclaimed = [hear_reclaim(&mut peer), hear_reclaim(&mut peer)];
    let reclaim = &reclaimed[0];
    assert_eq!((&*reclaim.name, reclaim.owner), ("kept", asked.owner));
    assert_eq!(reclaim.token.unwrap().get(), 1);
    assert_eq!((reclaim.ttl_ms, reclaim.at_least_ms), (30_000, 30_000));
    assert!(reclaim.linger && reclaim.held_ms < 20_000 && reclaim.site.is_some());
    assert_eq!(reclaimed[1].name, "ending");
    for reclaim in &reclaimed {
        peer.say(&held(reclaim.id, true));
    }
    let (id, _) = peer.hear_release("ending");
    // The first of the three may have ended it.
    peer.say(&held(id, false));
    let again = peer.hear_acquire();
    settle(&mut peer);
    stage.end(release).unwrap();
    peer.say(&ToClient::Conflict {
        id: again.id,
        in_use: 3,
    });
    assert!(stage.end(waiting).is_err());
    assert!(kept.is_held());
}

#[test]
fn a_reclaim_that_is_refused_is_a_loss_at_once() {
    let (stage, mut peer) = Stage::set();
    let manager = stage.manager.clone();
    let body = async move { manager.lock("a").run(std::future::pending::<()>).await };
    let task = stage.spawn(body);
    let asked = peer.hear_acquire();
    peer.say(&granted(asked.id, 1, false));
    drop(peer);
    let mut peer = stage.daemon.accept(false);
    let reclaim = hear_reclaim(&mut peer);
    peer.say(&held(reclaim.id, false));
    let error = stage.end(task).unwrap_err();
    assert!(error.is_lost(), "{error}");
}

#[test]
fn a_reclaim_that_is_granted_prolongs_the_lease() {
    let (stage, mut peer) = Stage::set();
    let clock = stage.manager.clock();
    let renewed = stage.lease(&mut peer, &stage.request("a", Wait::NONE, true), 1);
    let fixed = stage.lease(&mut peer, &stage.request("b", Wait::NONE, false), 2);
    let soon = clock.now() + TTL / 2;
    renewed.prolong(soon);
    fixed.prolong(soon);
    drop(peer);
    let mut peer = stage.daemon.accept(true);
    let first = hear_reclaim(&mut peer);
    let second = hear_reclaim(&mut peer);
    let asked_by = clock.now();
    assert_eq!((&*first.name, first.ttl_ms), ("a", 30_000));
    // One that is not renewed keeps its end.
    assert!(second.ttl_ms <= 15_000, "{second:?}");
    peer.say(&held(second.id, true));
    peer.say(&held(first.id, true));
    eventually("it is prolonged", || renewed.deadline() > soon);
    assert!(renewed.deadline() < asked_by + TTL);
    assert_eq!(fixed.deadline(), soon);
}

#[test]
fn a_reclaim_does_not_prolong_what_is_being_renewed() {
    let (stage, mut peer) = Stage::set();
    let clock = stage.manager.clock();
    let lease = stage.lease(&mut peer, &stage.request("a", Wait::NONE, true), 1);
    let soon = clock.now() + TTL / 2;
    lease.prolong(soon);
    // A shorter lease is asked for, and may arrive after the reclaim.
    let renewal = stage.spawn(stage.manager.inner().backend.renew(&lease, TTL / 2));
    hear_renewal(&mut peer);
    drop(peer);
    let mut peer = stage.daemon.accept(true);
    let reclaim = hear_reclaim(&mut peer);
    let (id, leases) = hear_renewal(&mut peer);
    assert_eq!(leases[0].ttl_ms, 15_000);
    peer.say(&held(reclaim.id, true));
    peer.say(&ToClient::Renewed {
        id,
        lost: Vec::new(),
    });
    assert!(stage.end(renewal).unwrap());
    assert_eq!(lease.deadline(), soon);
}

#[test]
fn a_change_is_the_same_change_again() {
    let (stage, mut peer) = Stage::set();
    let task = stage.spawn(
        Caller::new("alice").scope(stage.manager.acquire_lock("turn:1", CallerId::new("alice"))),
    );
    let ToDaemon::Assign(first) = peer.hear() else {
        panic!("no assignment");
    };
    drop(peer);
    let mut peer = stage.daemon.accept(true);
    let ToDaemon::Assign(again) = peer.hear() else {
        panic!("no assignment");
    };
    assert_eq!(again.attempt, first.attempt);
    assert_eq!((&*again.name, &*again.to), ("turn:1", "alice"));
    settle(&mut peer);
    peer.say(&ToClient::Done { id: again.id });
    stage.end(task).unwrap();
}

#[test]
fn what_nobody_wants_any_more_is_not_asked_again() {
    let (stage, mut peer) = Stage::set();
    let task = stage.acquire(stage.manager.lock("a"));
    let asked = peer.hear_acquire();
    let looking = stage.spawn(stage.manager.lock("b").info());
    id_of!(peer, Inspect);
    drop(peer);
    // The connection is made, and not greeted yet, when they are dropped.
    let mut peer = stage.daemon.accept_silently();
    peer.hear_greeting();
    task.abort();
    assert!(stage.runtime.block_on(task).is_err());
    eventually("it is taken back", || {
        stage.session(|session| {
            let mut pending = session.pending.values();
            pending.all(|pending| !matches!(pending.what, What::Ask(_)))
        })
    });
    peer.welcome(Encoding::Postcard, true);
    // A look is driven to its end by the manager; the request is not, its release is.
    id_of!(peer, Inspect);
    match peer.hear() {
        ToDaemon::Release { owner, .. } => assert_eq!(owner, asked.owner),
        other => panic!("{other:?}"),
    }
    settle(&mut peer);
    looking.abort();
}

#[test]
fn a_loss_is_pushed() {
    let (stage, mut peer) = Stage::set();
    let (guard, asked) = stage.hold(&mut peer, stage.manager.lock("a"), 1);
    let watch = guard.watch();
    let lost = stage.spawn(async move { watch.lost().await });
    peer.say(&ToClient::Lost {
        owner: asked.owner,
        cause: Lost::ForcedOut,
    });
    stage.end(lost);
    let error = stage.end(stage.spawn(guard.release())).unwrap_err();
    assert!(error.to_string().contains("operator"), "{error}");
    // It is not reclaimed.
    drop(peer);
    let mut peer = stage.daemon.accept(true);
    settle(&mut peer);
}

#[test]
fn a_goodbye_and_nonsense_lead_to_another_connection() {
    let (stage, mut peer) = Stage::set();
    let (guard, asked) = stage.hold(&mut peer, stage.manager.lock("a"), 1);
    peer.say(&ToClient::Bye {
        reason: "going down".into(),
    });
    let mut peer = stage.daemon.accept(true);
    let reclaim = hear_reclaim(&mut peer);
    peer.say(&held(reclaim.id, true));
    settle(&mut peer);
    // Nonsense, from a frame that is none to an answer that nobody has asked for.
    for nonsense in [&b"\xff\xff\xff\xff"[..], b"\x01\x00\x00\x00\xff"] {
        peer.say_bytes(nonsense);
        peer = stage.daemon.accept(true);
        let reclaim = hear_reclaim(&mut peer);
        assert_eq!(reclaim.owner, asked.owner);
        peer.say(&held(reclaim.id, true));
        settle(&mut peer);
    }
    peer.say(&granted(1_000_000, 2, false));
    let mut peer = stage.daemon.accept(true);
    hear_reclaim(&mut peer);
    assert!(guard.is_held());
}

#[test]
fn a_release_without_a_connection_is_sent_on_the_next() {
    let (stage, mut peer) = Stage::set();
    let (guard, asked) = stage.hold(&mut peer, stage.manager.lock("a"), 1);
    drop(peer);
    let mut peer = stage.daemon.accept_silently();
    peer.hear_greeting();
    let release = stage.spawn(guard.release());
    eventually("it is asked", || {
        stage.session(|session| !session.pending.is_empty())
    });
    // That it knows the session does not say that it knows the section.
    peer.welcome(Encoding::Postcard, true);
    assert_eq!(hear_reclaim(&mut peer).owner, asked.owner);
    let (id, _) = peer.hear_release("a");
    settle(&mut peer);
    // Sent once, and refused: the section was gone.
    peer.say(&held(id, false));
    assert!(stage.end(release).unwrap_err().is_lost());
}

#[test]
fn what_has_run_out_is_not_reclaimed() {
    let (stage, mut peer) = Stage::set();
    let request = stage.request("a", Wait::For(Duration::from_secs(60)), true);
    let lease = stage.lease(&mut peer, &request, 1);
    // The process stood still; nobody has looked at the lease yet.
    lease.prolong(stage.manager.clock().now());
    drop(peer);
    let mut peer = stage.daemon.accept(false);
    // A daemon that was started anew would believe it, although it may be another's by now.
    settle(&mut peer);
    let now = || stage.manager.clock().now();
    assert!(lease.deadline() <= now());
    assert_eq!(lease.check(now), Some(Lost::Expired));
}
