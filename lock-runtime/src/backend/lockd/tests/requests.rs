//! Renewals, looks, changes, tickets and goodbyes.

use super::*;
use crate::wire::{LockOnWire, Next};

pub(super) fn free(name: &str) -> LockOnWire {
    LockOnWire {
        name: name.to_owned(),
        namespace: String::new(),
        holder: None,
        acquired_at_ms: None,
        expires_at_ms: None,
        sections: Vec::new(),
        resting_ms: None,
        waiting: 0,
        queue: Vec::new(),
    }
}

#[test]
fn renewals_of_the_same_moment_are_one_message() {
    let (stage, mut peer) = Stage::set();
    let leases: Vec<_> = (1..4)
        .map(|number| {
            let request = stage.request(&format!("a:{number}"), Wait::NONE, true);
            stage.lease(&mut peer, &request, number)
        })
        .collect();
    let owners: Vec<_> = leases.iter().map(|lease| lease.owner()).collect();
    let manager = stage.manager.clone();
    // On the thread that the connection is served on, which has nothing else to do meanwhile.
    let task = stage.spawn(async move {
        let renew = move |backend: Arc<dyn crate::backend::Backend>| {
            let replies = async move {
                let replies: Vec<_> = leases
                    .iter()
                    .map(|lease| backend.renew(lease, TTL))
                    .collect();
                let mut answers = Vec::new();
                for reply in replies {
                    answers.push(reply.await?);
                }
                Ok(answers)
            };
            Box::pin(replies) as std::pin::Pin<Box<dyn Future<Output = _> + Send>>
        };
        manager.call(renew).await
    });
    let ToDaemon::Renew { id, leases } = peer.hear() else {
        panic!("no renewal");
    };
    let renewed: Vec<_> = leases.iter().map(|lease| lease.owner).collect();
    assert_eq!(renewed, owners);
    peer.say(&ToClient::Renewed {
        id,
        lost: vec![owners[1]],
    });
    assert_eq!(stage.end(task).unwrap(), [true, false, true]);
    // What is lost is not reclaimed.
    drop(peer);
    let mut peer = stage.daemon.accept(true);
    for owner in [owners[0], owners[2]] {
        let ToDaemon::Reclaim(reclaim) = peer.hear() else {
            panic!("no reclaim");
        };
        assert_eq!(reclaim.owner, owner);
    }
    id_of!(peer, Settled);
}

#[test]
fn a_list_comes_page_by_page() {
    let (stage, mut peer) = Stage::set();
    let manager = stage.manager.clone();
    let list = stage.spawn(async move { manager.list("a").await });
    let next = |name: &str| Next {
        namespace: String::new(),
        name: name.to_owned(),
    };
    let mut page = |after: Option<Next>, name: &str, next: Option<Next>| {
        let ToDaemon::List {
            id,
            namespace,
            prefix,
            after: asked_after,
        } = peer.hear()
        else {
            panic!("no list");
        };
        assert_eq!((namespace.as_deref(), &*prefix), (Some(""), "a"));
        assert_eq!(asked_after, after);
        let locks = vec![free(name)];
        peer.say(&ToClient::Locks { id, locks, next });
    };
    page(None, "a:1", Some(next("a:1")));
    page(Some(next("a:1")), "a:2", None);
    let names: Vec<_> = stage
        .end(list)
        .unwrap()
        .into_iter()
        .map(|lock| lock.name)
        .collect();
    assert_eq!(
        names,
        ["a:1", "a:2"].map(|name| crate::LockName::new(name).unwrap())
    );

    // Pages that do not go on have an end all the same.
    let manager = stage.manager.clone();
    let list = stage.spawn(async move { manager.list("a").await });
    page(None, "a:1", Some(next("a:1")));
    page(Some(next("a:1")), "a:1", Some(next("a:1")));
    let error = stage.end(list).unwrap_err();
    assert!(error.is_unavailable(), "{error}");
}

#[test]
fn a_lock_that_is_none_is_not_shown() {
    let (stage, mut peer) = Stage::set();
    let look = stage.spawn(stage.manager.lock("a").info());
    let id = id_of!(peer, Inspect);
    let lock = free("two words");
    peer.say(&ToClient::Lock { id, lock });
    let error = stage.end(look).unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    peer.hear_end();
}

#[test]
fn a_section_that_is_given_away_stays() {
    let (stage, mut peer) = Stage::set();
    let (guard, asked) = stage.hold(&mut peer, stage.manager.lock("a"), 1);
    let ticket = guard.into_ticket().unwrap();
    let ToDaemon::Detach { id, owner, .. } = peer.hear() else {
        panic!("it ends with the process");
    };
    assert_eq!(owner, asked.owner);
    peer.say(&held(id, true));

    let adopting = stage.spawn(stage.manager.lock("a").adopt(ticket));
    let ToDaemon::Adopt(adopt) = peer.hear() else {
        panic!("no adoption");
    };
    assert_eq!(adopt.giver, asked.owner);
    peer.say(&granted(adopt.id, 1, false));
    let guard = stage.end(adopting).unwrap();
    assert_eq!(guard.fencing_token().unwrap().get(), 1);

    // The one that was given away is not reclaimed, the one that goes on is.
    drop(peer);
    let mut peer = stage.daemon.accept(true);
    let ToDaemon::Reclaim(reclaim) = peer.hear() else {
        panic!("no reclaim");
    };
    assert_eq!(reclaim.owner, adopt.owner);
    id_of!(peer, Settled);
}

#[test]
fn an_adoption_that_comes_too_late_is_a_loss() {
    let (stage, mut peer) = Stage::set();
    let (guard, _) = stage.hold(&mut peer, stage.manager.lock("a"), 1);
    let ticket = guard.into_ticket().unwrap();
    let id = id_of!(peer, Detach);
    peer.say(&held(id, true));
    let adopting = stage.spawn(stage.manager.lock("a").adopt(ticket));
    let ToDaemon::Adopt(adopt) = peer.hear() else {
        panic!("no adoption");
    };
    peer.say(&held(adopt.id, false));
    assert!(stage.end(adopting).unwrap_err().is_lost());
}

#[test]
fn a_forced_release_says_how_many_ended() {
    let (stage, mut peer) = Stage::set();
    let task = stage.spawn(stage.manager.lock("a").force_release());
    let id = id_of!(peer, ForceRelease);
    peer.say(&ToClient::Ended { id, sections: 2 });
    assert_eq!(stage.end(task).unwrap(), 2);
}

#[test]
fn a_manager_that_goes_says_goodbye() {
    let (stage, mut peer) = Stage::set();
    let Stage {
        runtime,
        daemon,
        manager,
    } = stage;
    drop(manager);
    assert!(matches!(peer.hear(), ToDaemon::Goodbye {}));
    peer.hear_end();
    drop((runtime, daemon));
}
