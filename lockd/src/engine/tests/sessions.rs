//! Processes that die, connections that end, and sessions that go on.

use serde_json::json;

use super::world::{World, acquire, claim, first_token, held, secs};
use crate::engine::Limits;

#[test]
fn a_dead_process_loses_its_sections_and_its_places_at_once() {
    let mut world = World::new();
    let (mut a, b, mut c) = (world.client(1, 1), world.client(2, 2), world.client(3, 3));
    let owners = [world.owner(), world.owner(), world.owner()];
    world.acquire(&mut a, "x", &owners[0]).unwrap();
    world.send(&b, &acquire(2, "x", &owners[1], 60_000));
    world.send(&c, &acquire(3, "x", &owners[2], 60_000));
    world.kill(2);
    world.nothing(&mut c);
    world.kill(1);
    assert_eq!(world.receive(&mut c)["granted"]["id"], 3);
    assert!(
        world.engine.is_closing(a.id),
        "a forked child may hold it open"
    );
}

#[test]
fn a_connection_that_ends_while_its_process_lives_keeps_sections_and_places() {
    let mut world = World::new();
    let (mut a, b, mut c) = (world.client(1, 1), world.client(2, 2), world.client(3, 3));
    let owners = [world.owner(), world.owner(), world.owner()];
    let token = world.acquire(&mut a, "x", &owners[0]).unwrap();
    world.send(&b, &acquire(2, "x", &owners[1], 60_000));
    world.send(&c, &acquire(3, "x", &owners[2], 60_000));
    world.disconnect(&a);
    world.disconnect(&b);
    world.pass(secs(5));
    world.nothing(&mut c);
    // Both come back: the one still holds, the other still is before the third.
    let mut a = world.client(1, 1);
    assert!(world.reclaim(&mut a, "x", &owners[0], Some(token)));
    world.settle(&mut a);
    let mut b = world.client(2, 2);
    world.send(&b, &acquire(7, "x", &owners[1], 50_000));
    world.settle(&mut b);
    assert!(world.release(&mut a, "x", &owners[0]));
    assert_eq!(world.receive(&mut b)["granted"]["id"], 7);
    world.nothing(&mut c);
}

#[test]
fn what_is_not_spoken_of_after_a_return_is_released() {
    let mut world = World::new();
    let (mut a, mut b) = (world.client(1, 1), world.client(2, 2));
    let owners = [world.owner(), world.owner(), world.owner()];
    world.acquire(&mut a, "x", &owners[0]).unwrap();
    world.acquire(&mut a, "y", &owners[1]).unwrap();
    world.send(&b, &acquire(3, "x", &owners[2], 60_000));
    world.disconnect(&a);
    let mut a = world.client(1, 1);
    assert!(world.reclaim(&mut a, "y", &owners[1], Some(2)));
    world.nothing(&mut b);
    world.settle(&mut a);
    assert_eq!(world.receive(&mut b)["granted"]["id"], 3);
    assert!(world.release(&mut a, "y", &owners[1]));
}

#[test]
fn a_grant_whose_answer_was_lost_is_the_same_grant_again() {
    let mut world = World::new();
    let a = world.client(1, 1);
    let owner = world.owner();
    world.send(&a, &acquire(2, "x", &owner, 0));
    world.disconnect(&a);
    world.pass(secs(6));
    let mut a = world.client(1, 1);
    let again = world.ask(&mut a, &acquire(2, "x", &owner, 0));
    assert_eq!(
        again,
        json!({"granted": {
            "id": 2, "token": first_token(), "mode": "exclusive", "queued": false,
        }})
    );
    // Its owner counts from here, so the daemon does as well.
    world.pass(secs(9));
    world.nothing(&mut a);
    assert!(world.release(&mut a, "x", &owner));
}

#[test]
fn a_queued_grant_whose_push_was_lost_is_pushed_again() {
    let mut world = World::new();
    let (mut a, b) = (world.client(1, 1), world.client(2, 2));
    let (mine, yours) = (world.owner(), world.owner());
    world.acquire(&mut a, "x", &mine).unwrap();
    world.send(&b, &acquire(2, "x", &yours, 60_000));
    world.disconnect(&b);
    world.release(&mut a, "x", &mine);
    let mut b = world.client(2, 2);
    let granted = world.ask(&mut b, &acquire(2, "x", &yours, 60_000));
    assert_eq!(granted["granted"]["queued"], true);
    assert_eq!(world.ask(&mut b, &claim(3, "x", &yours)), held(3, true));
}

#[test]
fn a_new_connection_takes_the_session_from_the_old_one() {
    let mut world = World::new();
    let mut old = world.client(1, 1);
    let owner = world.owner();
    let mut new = world.client(1, 1);
    assert!(world.receive(&mut old)["bye"]["reason"].is_string());
    assert!(world.engine.is_closing(old.id));
    // What the old one had still to say is not listened to: it could overtake.
    world.send(&old, &acquire(2, "x", &owner, 0));
    let another = world.owner();
    assert!(world.acquire(&mut new, "x", &another).is_some());
}

#[test]
fn a_connection_that_was_given_up_does_not_take_the_session_back() {
    let mut world = World::new();
    let hello = |connection: u64| {
        let session = super::world::session(1);
        json!({"hello": {"version": 1, "session": session, "connection": connection}})
    };
    let (mut old, mut new) = (world.connect(1), world.connect(1));
    world.ask(&mut new, &hello(2));
    let owner = world.owner();
    assert!(world.acquire(&mut new, "x", &owner).is_some());
    // What the client sent before it gave up is heard only now.
    let answer = world.ask(&mut old, &hello(1));
    assert_eq!(answer["error"]["code"], "forbidden");
    assert!(world.engine.is_closing(old.id));
    assert!(world.release(&mut new, "x", &owner));
}

#[test]
fn a_session_is_not_taken_by_another_process() {
    let mut world = World::new();
    let _mine = world.client(1, 1);
    let mut thief = world.connect(2);
    let hello = json!({"hello": {"version": 1, "session": super::world::session(1)}});
    let answer = world.ask(&mut thief, &hello);
    assert_eq!(answer["error"]["code"], "forbidden");
    assert!(world.engine.is_closing(thief.id));
}

#[test]
fn a_goodbye_releases_everything() {
    let mut world = World::new();
    let (mut a, mut b) = (world.client(1, 1), world.client(2, 2));
    let (mine, yours) = (world.owner(), world.owner());
    let asked = json!({"id": 1, "name": "x", "owner": mine, "ttl_ms": 9_000, "linger": true});
    world.ask(&mut a, &json!({ "acquire": asked }));
    world.send(&a, &json!({"goodbye": {}}));
    assert!(world.acquire(&mut b, "x", &yours).is_some());
    assert!(world.engine.is_closing(a.id));
}

#[test]
fn what_lingers_outlives_its_process_until_its_lease_ends() {
    let mut world = World::new();
    let (mut a, mut b) = (world.client(1, 1), world.client(2, 2));
    let (mine, yours) = (world.owner(), world.owner());
    let asked = json!({"id": 1, "name": "x", "owner": mine, "ttl_ms": 9_000, "linger": true});
    world.ask(&mut a, &json!({ "acquire": asked }));
    world.kill(1);
    world.pass(secs(8));
    assert_eq!(world.acquire(&mut b, "x", &yours), None);
    world.pass(secs(1));
    assert!(world.acquire(&mut b, "x", &yours).is_some());
}

#[test]
fn what_lingers_holds_others_up_over_a_restart_too() {
    let mut world = World::new();
    let (mut a, mut b) = (world.client(1, 1), world.client(2, 2));
    let (mine, yours) = (world.owner(), world.owner());
    let asked = json!({"id": 1, "name": "x", "owner": mine, "ttl_ms": 9_000, "linger": true});
    world.ask(&mut a, &json!({ "acquire": asked }));
    world.settle(&mut b);
    world.kill(1);
    world.crash();
    world.kill(1);
    let mut b = world.client(2, 2);
    world.settle(&mut b);
    world.pass(secs(8));
    assert_eq!(world.acquire(&mut b, "x", &yours), None);
    world.pass(secs(30));
    assert!(world.acquire(&mut b, "x", &yours).is_some());
}

#[test]
fn what_alone_lingers_is_known_to_a_restart_too() {
    let mut world = World::new();
    let a = world.client(1, 1);
    let (mine, yours, third) = (world.owner(), world.owner(), world.owner());
    let asked = json!({"id": 1, "name": "x", "owner": mine, "ttl_ms": 9_000, "linger": true});
    world.send(&a, &json!({ "acquire": asked }));
    world.kill(1);
    world.disconnect(&a);
    // The first grant of another makes a snapshot.
    let mut b = world.client(2, 2);
    world.acquire(&mut b, "y", &yours).unwrap();
    world.crash();
    let mut b = world.client(2, 2);
    world.settle(&mut b);
    assert_eq!(world.acquire(&mut b, "x", &third), None);
}

#[test]
fn a_section_that_another_session_reclaims_is_known_to_a_restart() {
    let mut world = World::new();
    let mut a = world.connect(1);
    world.ask(&mut a, &json!({"hello": {"version": 1}}));
    let (mine, yours, third) = (world.owner(), world.owner(), world.owner());
    let token = world.acquire(&mut a, "x", &mine).unwrap();
    world.disconnect(&a);
    let mut a = world.client(1, 11);
    assert!(world.reclaim(&mut a, "x", &mine, Some(token)));
    let mut b = world.client(2, 2);
    world.acquire(&mut b, "y", &yours).unwrap();
    world.crash();
    let mut b = world.client(2, 2);
    world.settle(&mut b);
    assert_eq!(world.acquire(&mut b, "x", &third), None);
}

#[test]
fn a_session_whose_process_could_not_be_told_is_known_by_its_number() {
    let mut world = World::new();
    let peer = crate::engine::Peer {
        uid: 1000,
        pid: 1,
        process: None,
    };
    let id = world.engine.connect(world.now, peer);
    let hello = json!({"hello": {"version": 1, "session": super::world::session(1)}});
    let owner = world.owner();
    let said = format!("{hello}\n{}\n", acquire(1, "x", &owner, 0));
    world.engine.received(world.now, id, said.as_bytes());
    world.save();
    world.engine.disconnected(world.now, id);
    let mut a = world.client(1, 1);
    assert!(world.reclaim(&mut a, "x", &owner, Some(1)));
}

#[test]
fn a_process_does_not_gather_sessions_without_end() {
    let mut world = World::with_limits(Limits {
        connections_per_process: 3,
        ..Limits::default()
    });
    for number in 0..4 {
        let mut client = world.connect(1);
        let answer = world.ask(&mut client, &json!({"hello": {"version": 1}}));
        if number == 3 {
            assert_eq!(answer["error"]["code"], "limit");
            continue;
        }
        let owner = world.owner();
        world
            .acquire(&mut client, &format!("x:{number}"), &owner)
            .unwrap();
        world.disconnect(&client);
    }
    world.pass(secs(10));
    world.client(1, 9);
}

#[test]
fn a_session_without_a_number_ends_its_waits_with_its_connection() {
    let mut world = World::new();
    let mut a = world.client(1, 1);
    let mut b = world.connect(2);
    world.ask(&mut b, &json!({"hello": {"version": 1}}));
    let owners = [world.owner(), world.owner(), world.owner()];
    world.acquire(&mut a, "x", &owners[0]).unwrap();
    assert!(world.acquire(&mut b, "y", &owners[1]).is_some());
    world.send(&b, &acquire(2, "x", &owners[2], 60_000));
    world.disconnect(&b);
    assert!(world.release(&mut a, "x", &owners[0]));
    assert!(
        world.acquire(&mut a, "x", &owners[0]).is_some(),
        "nobody waits"
    );
    assert_eq!(
        world.acquire(&mut a, "y", &owners[2]),
        None,
        "it runs for its lease"
    );
}

#[test]
fn a_session_has_so_many_locks_and_waits_and_no_more() {
    let mut world = World::with_limits(Limits {
        locks_per_session: 2,
        waiting_per_session: 1,
        ..Limits::default()
    });
    let (mut a, mut b) = (world.client(1, 1), world.client(2, 2));
    let owners: Vec<String> = (0..6).map(|_| world.owner()).collect();
    world.acquire(&mut a, "x", &owners[0]).unwrap();
    world.acquire(&mut a, "y", &owners[1]).unwrap();
    let refused = world.ask(&mut a, &acquire(3, "z", &owners[2], 0));
    assert_eq!(refused["error"]["code"], "limit", "{refused}");
    world.send(&b, &acquire(4, "x", &owners[3], 60_000));
    let refused = world.ask(&mut b, &acquire(5, "x", &owners[4], 60_000));
    assert_eq!(
        (&refused["error"]["code"], &refused["error"]["id"]),
        (&json!("limit"), &json!(5))
    );
    assert!(world.release(&mut a, "y", &owners[1]));
    assert!(world.acquire(&mut a, "z", &owners[2]).is_some());
}

#[test]
fn one_connection_too_many_is_told_so() {
    let mut world = World::with_limits(Limits {
        connections: 2,
        connections_per_process: 1,
        ..Limits::default()
    });
    let _one = world.client(1, 1);
    let mut two = world.connect(1);
    let refused = world.receive(&mut two);
    assert!(
        refused["error"]["message"]
            .as_str()
            .unwrap()
            .contains("this process has 1")
    );
    assert!(world.engine.is_closing(two.id));
    let mut three = world.connect(3);
    let refused = world.receive(&mut three);
    assert!(
        refused["error"]["message"]
            .as_str()
            .unwrap()
            .contains("lockd has 2")
    );
    world.disconnect(&two);
    world.disconnect(&three);
    let _fits = world.client(3, 3);
}

#[test]
fn nothing_is_left_of_sessions_that_are_gone() {
    let mut world = World::new();
    for pid in 1..50 {
        let mut client = world.client(pid, u64::from(pid));
        let owner = world.owner();
        world
            .acquire(&mut client, &format!("x:{pid}"), &owner)
            .unwrap();
        match pid % 3 {
            0 => world.kill(pid),
            1 => drop(world.release(&mut client, &format!("x:{pid}"), &owner)),
            _ => world.send(&client, &json!({"goodbye": {}})),
        }
        world.disconnect(&client);
    }
    world.pass(secs(60));
    assert_eq!(world.engine.sessions.len(), 0);
    assert_eq!(world.engine.by_key.len(), 0);
    assert_eq!(world.engine.connections.len(), 0);
    assert_eq!(world.engine.processes.len(), 0);
    assert_eq!(world.engine.durable.sessions.len(), 0);
    assert_eq!(world.engine.table.names().count(), 0);
    assert_eq!(
        world.engine.unfinished.len() + world.engine.greetings.len(),
        0
    );
}
