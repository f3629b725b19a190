//! Eight processes increment one number under one lock, while everything around them fails.
//!
//! After every fault: no update is lost, although a holder writes that was followed by another;
//! tokens rise; everybody goes on; nothing is left in the store.

mod crew;
mod cuts;
mod resource;
mod worker;

use std::time::Duration;

use crate::harness::{LONG, until};
use crate::store::Store;
use crew::{Crew, Manner, PROCESSES, Phase};

pub(crate) use cuts::connections_are_cut_in_each_phase;

/// A lease that outlives every fault.
const LASTING: Manner = Manner {
    ttl: LONG,
    cancels: false,
};

/// A lease that does not.
const PASSING: Manner = Manner {
    ttl: Duration::from_secs(2),
    cancels: false,
};

/// First come, first served, over processes as well.
pub(crate) async fn nobody_is_passed_over(store: Store) {
    let server = store.start();
    let crew = Crew::start(store, &server, &LASTING).await;
    let written = || crew.workers.iter().map(|worker| worker.said().written);
    let before: Vec<_> = written().collect();
    let enough = crew.turns() + 160;
    until("there were many turns", async || crew.turns() >= enough).await;
    let turns: Vec<_> = written().zip(before).map(|(now, old)| now - old).collect();
    let (fewest, most) = (turns.iter().min().unwrap(), turns.iter().max().unwrap());
    assert!(*fewest >= most / 2, "{turns:?}");
    assert_eq!(crew.sum(|said| said.refused + said.lost + said.failed), 0);
    crew.ends(&server, enough).await;
}

pub(crate) async fn the_server_is_killed_and_started_again(store: Store) {
    const KILLS: usize = 8;
    let mut server = store.start();
    let mut crew = Crew::start(store, &server, &LASTING).await;
    for kill in 0..KILLS {
        // Every other time while somebody is in a section for certain, and otherwise in the
        // middle of whatever they do.
        if kill % 2 == 0 {
            let holder = &mut crew.workers[kill % PROCESSES];
            let token = holder.stays().await;
            server.kill();
            server.start_again();
            assert_eq!(
                (holder.said().phase, holder.said().token),
                (Phase::Staying, token)
            );
            holder.goes();
        } else {
            crew.workers[kill % PROCESSES].begins(Phase::Holding).await;
            server.kill();
            server.start_again();
        }
        crew.goes_on(2).await;
    }
    // Whoever stayed in a section has had it all the time. Who had been handed the lock a moment
    // before may have lost it, if the server was away for longer than that.
    assert_eq!(crew.sum(|said| said.refused), 0);
    assert!(crew.sum(|said| said.lost) <= KILLS / 2);
    crew.ends(&server, 100).await;
}

pub(crate) async fn the_way_is_a_black_hole_past_the_lease(store: Store) {
    const HOLDERS: usize = 2;
    let server = store.start();
    let mut crew = Crew::start(store, &server, &PASSING).await;
    for number in 0..HOLDERS {
        let token = crew.workers[number].stays().await;
        crew.workers[number].proxy.black_hole();
        crew.is_followed(token).await;
        is_late(&mut crew, number).await;
        crew.workers[number].proxy.mend();
        crew.goes_on(1).await;
    }
    // Who waits and is out of reach does not stand in the way of others.
    let waiter = &crew.workers[HOLDERS];
    waiter.queues().await;
    waiter.proxy.black_hole();
    let enough = crew.turns() + 50;
    until("the others go on", async || crew.turns() >= enough).await;
    crew.workers[HOLDERS].proxy.mend();
    crew.goes_on(1).await;
    crew.ends(&server, 100).await;
}

pub(crate) async fn a_process_stands_still_past_its_lease(store: Store) {
    const HOLDERS: usize = 2;
    let server = store.start();
    let mut crew = Crew::start(store, &server, &PASSING).await;
    for number in 0..HOLDERS {
        let token = crew.workers[number].stays().await;
        crew.workers[number].freezes().await;
        crew.is_followed(token).await;
        crew.workers[number].thaws();
        is_late(&mut crew, number).await;
        crew.goes_on(1).await;
    }
    let waiter = &crew.workers[HOLDERS];
    waiter.queues().await;
    waiter.freezes().await;
    let enough = crew.turns() + 50;
    until("the others go on", async || crew.turns() >= enough).await;
    crew.workers[HOLDERS].thaws();
    crew.goes_on(1).await;
    crew.ends(&server, 100).await;
}

/// Lets somebody write whose lease has ended, and who was followed: its token is refused.
async fn is_late(crew: &mut Crew, number: usize) {
    let late = &mut crew.workers[number];
    let before = late.said();
    late.goes();
    until("the late one has written", async || {
        late.said().changes > before.changes
    })
    .await;
    let said = late.said();
    assert_eq!(said.refused, before.refused + 1, "{said:?}");
    assert_eq!(said.written, before.written, "{said:?}");
    until("it is told", async || late.said().lost > before.lost).await;
}

pub(crate) async fn processes_are_killed(store: Store) {
    let server = store.start();
    let mut crew = Crew::start(store, &server, &PASSING).await;
    for _ in 0..2 {
        let token = crew.workers[0].stays().await;
        crew.loses(0);
        crew.is_followed(token).await;
        crew.goes_on(1).await;
    }
    crew.workers[0].queues().await;
    crew.loses(0);
    crew.goes_on(5).await;
    crew.ends(&server, 60).await;
}

pub(crate) async fn requests_are_cancelled(store: Store) {
    let server = store.start();
    let manner = Manner {
        ttl: LONG,
        cancels: true,
    };
    let crew = Crew::start(store, &server, &manner).await;
    let cancelled = |crew: &Crew| crew.sum(|said| said.cancelled);
    until("many were cancelled", async || cancelled(&crew) >= 120).await;
    assert_eq!(crew.sum(|said| said.failed), 0);
    // And now while their connections break.
    for number in 0..20 {
        crew.workers[number * 5 % crew.workers.len()].proxy.reset();
        let next = cancelled(&crew) + 4;
        until("more were cancelled", async || cancelled(&crew) >= next).await;
    }
    assert_eq!(crew.sum(|said| said.refused + said.lost), 0);
    crew.ends(&server, 100).await;
}
