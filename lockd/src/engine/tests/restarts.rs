//! What outlives the daemon, and who waits for whom after it was started anew.

use std::time::Duration;

use serde_json::json;

use super::world::{World, acquire, claim, held, process, secs};
use crate::engine::Saved;

#[test]
fn nothing_is_said_before_what_it_needs_is_on_disk() {
    let mut world = World::new();
    world.saves = false;
    let mut a = world.connect(1);
    let hello = json!({"hello": {"version": 1, "session": super::world::session(1)}});
    world.ask(&mut a, &hello);
    let owner = world.owner();
    world.send(&a, &acquire(2, "x", &owner, 0));
    world.nothing(&mut a);
    let snapshot = world.engine.snapshot(world.now).unwrap();
    // What comes meanwhile waits in its turn, but for what depends on nothing.
    let another = world.owner();
    world.send(&a, &acquire(4, "x", &another, 0));
    assert_eq!(
        world.ask(&mut a, &json!({"ping": {"id": 3}})),
        json!({"pong": {"id": 3}})
    );
    assert!(world.engine.snapshot(world.now).is_none(), "one at a time");
    world.engine.saved(world.now, snapshot.number);
    let said = world.all(&mut a);
    assert_eq!(said[0]["granted"]["id"], 2);
    assert_eq!(said[1]["busy"]["id"], 4);
    // From now on everything is covered in advance.
    let another = world.owner();
    assert!(world.acquire(&mut a, "y", &another).is_some());
}

#[test]
fn tokens_rise_over_every_crash() {
    let mut world = World::new();
    let mut last = 0;
    for round in 0..5 {
        let mut a = world.client(round + 1, u64::from(round));
        let owner = world.owner();
        let token = world.acquire(&mut a, "x", &owner).unwrap();
        assert!(token > last, "{token} after {last}");
        last = token;
        world.kill(round + 1);
        if round == 3 {
            world.reboot();
        } else {
            world.crash();
            // Seen once more: whoever is dead when the daemon starts is reported to it then.
            world.kill(round + 1);
        }
    }
}

#[test]
fn tokens_rise_although_the_state_is_gone() {
    let mut world = World::new();
    let mut a = world.client(1, 1);
    let owner = world.owner();
    let before = world.acquire(&mut a, "x", &owner).unwrap();
    world.pass(secs(1));
    world.disk = Saved::Nothing;
    world.crash();
    let mut b = world.client(2, 2);
    let owner = world.owner();
    let after = world.acquire(&mut b, "x", &owner).unwrap();
    assert!(after > before, "{after} after {before}");
}

#[test]
fn a_holder_comes_back_before_anybody_else_gets_its_name() {
    let mut world = World::new();
    let (mut a, mut b) = (world.client(1, 1), world.client(2, 2));
    let owners = [world.owner(), world.owner(), world.owner()];
    let token = world.acquire(&mut a, "x", &owners[0]).unwrap();
    world.acquire(&mut b, "y", &owners[1]).unwrap();
    world.crash();
    assert_eq!(world.engine.processes_to_watch(), [process(1), process(2)]);
    let mut b = world.client(2, 2);
    let busy = world.ask(&mut b, &acquire(4, "x", &owners[2], 0));
    assert!(
        busy["busy"]["in_the_way"]["recovering_ms"].is_u64(),
        "{busy}"
    );
    world.send(&b, &acquire(5, "x", &owners[2], 60_000));
    world.settle(&mut b);
    let mut a = world.client(1, 1);
    assert!(world.reclaim(&mut a, "x", &owners[0], Some(token)));
    world.settle(&mut a);
    world.nothing(&mut b);
    assert!(world.release(&mut a, "x", &owners[0]));
    let granted = world.receive(&mut b)["granted"].clone();
    assert!(granted["token"].as_u64().unwrap() > token);
    // It did not say that it holds y, so that nobody does.
    assert!(world.acquire(&mut a, "y", &owners[0]).is_some());
}

#[test]
fn nobody_is_waited_for_whose_process_is_dead() {
    let mut world = World::new();
    let mut a = world.client(1, 1);
    let (mine, yours) = (world.owner(), world.owner());
    world.acquire(&mut a, "x", &mine).unwrap();
    world.crash();
    let mut b = world.client(2, 2);
    world.send(&b, &acquire(4, "x", &yours, 60_000));
    world.nothing(&mut b);
    world.kill(1);
    let granted = world.receive(&mut b);
    // It has waited, so that its lease begins with its claim.
    assert_eq!(granted["granted"]["queued"], true);
    assert_eq!(world.ask(&mut b, &claim(5, "x", &yours)), held(5, true));
    world.pass(secs(9));
    world.nothing(&mut b);
}

#[test]
fn a_deferred_request_is_answered_at_its_time_and_can_be_taken_back() {
    let mut world = World::new();
    let mut a = world.client(1, 1);
    let owners = [world.owner(), world.owner(), world.owner()];
    world.acquire(&mut a, "x", &owners[0]).unwrap();
    world.crash();
    let mut b = world.client(2, 2);
    world.send(&b, &acquire(4, "x", &owners[1], 500));
    world.send(&b, &acquire(5, "x", &owners[2], 60_000));
    world.pass(secs(1));
    assert_eq!(world.receive(&mut b)["busy"]["id"], 4);
    let release = json!({"release": {"id": 6, "name": "x", "owner": owners[2]}});
    world.send(&b, &release);
    let said = world.all(&mut b);
    assert_eq!(
        (&said[0]["busy"]["id"], &said[1]),
        (&json!(5), &held(6, true))
    );
    world.pass(secs(60));
    world.nothing(&mut b);
}

#[test]
fn nobody_is_waited_for_longer_than_any_lease_can_run() {
    let mut world = World::new();
    let mut a = world.client(1, 1);
    let (mine, yours) = (world.owner(), world.owner());
    let token = world.acquire(&mut a, "x", &mine).unwrap();
    world.crash();
    let mut b = world.client(2, 2);
    world.send(&b, &acquire(4, "x", &yours, 60_000));
    world.pass(secs(9));
    world.nothing(&mut b);
    world.pass(secs(12));
    assert_eq!(world.receive(&mut b)["granted"]["id"], 4);
    let mut a = world.client(1, 1);
    assert!(!world.reclaim(&mut a, "x", &mine, Some(token)), "too late");
}

#[test]
fn nobody_waits_after_a_reboot() {
    let mut world = World::new();
    let mut a = world.client(1, 1);
    let (mine, yours) = (world.owner(), world.owner());
    let token = world.acquire(&mut a, "x", &mine).unwrap();
    world.reboot();
    let mut b = world.client(2, 2);
    assert!(world.acquire(&mut b, "x", &yours).unwrap() > token);
}

#[test]
fn a_name_is_not_reclaimed_by_whoever_can_not_have_held_it() {
    let mut world = World::new();
    let mut a = world.client(1, 1);
    let (mine, yours) = (world.owner(), world.owner());
    let token = world.acquire(&mut a, "x", &mine).unwrap();
    world.crash();
    let mut new = world.client(3, 3);
    assert!(
        !world.reclaim(&mut new, "x", &yours, Some(token)),
        "was not there"
    );
    let mut a = world.client(1, 1);
    assert!(
        !world.reclaim(&mut a, "x", &yours, Some(1 << 52)),
        "no such token"
    );
    assert!(!world.reclaim(&mut a, "x", &yours, None), "has a token");
    assert!(world.reclaim(&mut a, "x", &mine, Some(token)));
    assert!(!world.reclaim(&mut a, "x", &yours, Some(token)), "is taken");
}

#[test]
fn assignments_outlive_their_process_the_daemon_and_the_machine() {
    let mut world = World::new();
    let mut a = world.client(1, 1);
    let attempt = |number: u64| format!("{number:032x}");
    let assign = json!({"assign": {
        "id": 1, "attempt": attempt(1), "name": "turn", "to": "alice", "by": "operator",
    }});
    assert_eq!(world.ask(&mut a, &assign), json!({"done": {"id": 1}}));
    world.kill(1);
    for reboot in [false, true] {
        if reboot {
            world.reboot()
        } else {
            world.crash()
        }
        let mut b = world.client(2, 2);
        let lock = world.ask(&mut b, &json!({"inspect": {"id": 2, "name": "turn"}}));
        assert_eq!(lock["lock"]["lock"]["holder"], "alice");
        // The same attempt again is the same change again, also over a restart.
        world.send(
            &b,
            &json!({"transfer": {
                "id": 3, "attempt": attempt(1), "name": "turn", "to": "bob",
                "by": {"caller": "carol"},
            }}),
        );
        assert_eq!(world.receive(&mut b), json!({"done": {"id": 3}}));
        let lock = world.ask(&mut b, &json!({"inspect": {"id": 2, "name": "turn"}}));
        assert_eq!(lock["lock"]["lock"]["holder"], "alice");
    }
}

#[test]
fn a_slow_disk_costs_nobody_a_lease_that_is_covered() {
    let mut world = World::new();
    let (mut a, mut b) = (world.client(1, 1), world.client(2, 2));
    let owner = world.owner();
    world.acquire(&mut a, "x", &owner).unwrap();
    world.saves = false;
    world.send(&b, &json!({"assign": {
        "id": 1, "attempt": format!("{:032x}", 1), "name": "turn", "to": "alice", "by": "operator",
    }}));
    world.nothing(&mut b);
    let lease = json!({"name": "x", "owner": owner, "ttl_ms": 10_000});
    let renew = json!({"renew": {"id": 2, "leases": [lease]}});
    let renewed = json!({"renewed": {"id": 2, "lost": []}});
    world.pass(secs(5));
    assert_eq!(world.ask(&mut a, &renew), renewed);
    // A restart would not wait for so long: nobody is told that the lease runs until then.
    world.pass(secs(9));
    world.send(&a, &renew);
    world.nothing(&mut a);
    world.saves = true;
    world.save();
    assert_eq!(world.receive(&mut a), renewed);
    assert_eq!(world.receive(&mut b), json!({"done": {"id": 1}}));
}

#[test]
fn an_assignment_is_not_answered_before_it_is_on_disk() {
    let mut world = World::new();
    let mut a = world.client(1, 1);
    world.saves = false;
    world.send(&a, &json!({"assign": {
        "id": 1, "attempt": format!("{:032x}", 1), "name": "turn", "to": "alice", "by": "operator",
    }}));
    world.nothing(&mut a);
    world.saves = true;
    world.save();
    assert_eq!(world.receive(&mut a), json!({"done": {"id": 1}}));
}

#[test]
fn a_name_rests_whatever_becomes_of_its_owner_and_the_daemon() {
    let mut world = World::new();
    let (mut a, mut b) = (world.client(1, 1), world.client(2, 2));
    let (mine, yours) = (world.owner(), world.owner());
    let asked = json!({"acquire": {
        "id": 1, "name": "job", "owner": mine, "ttl_ms": 1_000, "at_least_ms": 60_000,
    }});
    world.ask(&mut a, &asked);
    world.kill(1);
    world.pass(secs(20));
    assert_eq!(world.acquire(&mut b, "job", &yours), None);
    world.crash();
    world.pass(secs(15));
    let mut b = world.client(2, 2);
    let busy = world.ask(&mut b, &acquire(3, "job", &yours, 0));
    assert!(busy["busy"]["in_the_way"]["resting_ms"].is_u64(), "{busy}");
    // Over a reboot as well, by the wall's clock.
    world.reboot();
    let mut b = world.client(2, 2);
    assert_eq!(world.acquire(&mut b, "job", &yours), None);
    world.pass(secs(61));
    assert!(world.acquire(&mut b, "job", &yours).is_some());
}

#[test]
fn an_owner_whose_name_rests_reclaims_it_after_a_restart() {
    let mut world = World::new();
    let mut a = world.client(1, 1);
    let mine = world.owner();
    let asked = json!({"acquire": {
        "id": 1, "name": "job", "owner": mine, "ttl_ms": 10_000, "at_least_ms": 60_000,
    }});
    let token = world.ask(&mut a, &asked)["granted"]["token"].as_u64();
    world.pass(secs(5));
    world.crash();
    let mut a = world.client(1, 1);
    let reclaim = json!({"reclaim": {
        "id": 2, "name": "job", "owner": mine, "ttl_ms": 10_000, "at_least_ms": 60_000,
        "held_ms": 4_999, "token": token,
    }});
    assert_eq!(world.ask(&mut a, &reclaim), held(2, true));
}

#[test]
fn a_state_that_is_none_stops_the_start() {
    let world = World::new();
    for text in ["", "{}", "{\"lockd\":1}", "nonsense"] {
        let saved = Saved::Text(text.as_bytes().to_vec());
        let wall = std::time::SystemTime::now();
        let new = super::super::Engine::new(world.limits, &saved, "boot-1", world.now, wall);
        assert!(new.is_err(), "{text}");
    }
}

#[test]
fn a_shutdown_with_nothing_held_leaves_nobody_to_wait_for() {
    let mut world = World::new();
    let mut a = world.client(1, 1);
    let owner = world.owner();
    world.acquire(&mut a, "x", &owner).unwrap();
    assert!(world.release(&mut a, "x", &owner));
    world.engine.shut_down(world.now);
    world.save();
    assert!(world.receive(&mut a)["bye"].is_object());
    world.pass(secs(1));
    world.crash();
    let mut b = world.client(2, 2);
    assert!(world.acquire(&mut b, "x", &owner).is_some());
}

#[test]
fn what_was_not_claimed_leaves_no_rest() {
    let mut world = World::new();
    let (mut a, b) = (world.client(1, 1), world.client(2, 2));
    let owners = [world.owner(), world.owner(), world.owner()];
    let asked = |owner: &str| {
        let mut message = acquire(2, "x", owner, 60_000);
        message["acquire"]["at_least_ms"] = json!(86_400_000);
        message
    };
    world.acquire(&mut a, "x", &owners[0]).unwrap();
    world.send(&b, &asked(&owners[1]));
    world.release(&mut a, "x", &owners[0]);
    world.pass(secs(2));
    assert!(world.acquire(&mut a, "x", &owners[2]).is_some());
    // Nor over a restart, nor does what had to wait for one.
    world.crash();
    let mut c = world.client(3, 3);
    world.send(&c, &asked(&owners[1]));
    world.kill(1);
    world.kill(2);
    assert_eq!(world.receive(&mut c)["granted"]["queued"], true);
    world.pass(secs(2));
    let mut d = world.client(4, 4);
    assert!(world.acquire(&mut d, "x", &owners[2]).is_some());
}

#[test]
fn an_attempt_stays_the_same_attempt_over_a_restart() {
    let mut world = World::new();
    let transfer = |attempt: u64, to: &str, by: &str| {
        let attempt = super::world::session(attempt);
        let by = json!({ "caller": by });
        json!({"transfer": {"id": 1, "attempt": attempt, "name": "turn", "to": to, "by": by}})
    };
    let mut a = world.client(1, 1);
    world.ask(&mut a, &transfer(1, "bob", "alice"));
    world.crash();
    let mut b = world.client(2, 2);
    world.ask(&mut b, &transfer(2, "alice", "bob"));
    world.crash();
    // The answer to the first was lost, and it is sent again.
    let mut a = world.client(1, 1);
    assert_eq!(
        world.ask(&mut a, &transfer(1, "bob", "alice")),
        json!({"done": {"id": 1}})
    );
    let lock = world.ask(&mut a, &json!({"inspect": {"id": 3, "name": "turn"}}));
    assert_eq!(lock["lock"]["lock"]["holder"], "alice");
}

#[test]
fn whoever_was_forced_out_stays_out_however_long_others_hold() {
    let mut world = World::new();
    let (mut a, mut b) = (world.client(1, 1), world.client(2, 2));
    let (mine, yours) = (world.owner(), world.owner());
    let token = world.acquire(&mut a, "x", &mine).unwrap();
    world.acquire(&mut b, "y", &yours).unwrap();
    world.ask(&mut b, &json!({"force_release": {"id": 3, "name": "x"}}));
    for _ in 0..10 {
        world.pass(secs(3));
        let lease = json!({"name": "y", "owner": yours, "ttl_ms": 10_000});
        world.ask(&mut b, &json!({"renew": {"id": 4, "leases": [lease]}}));
    }
    world.crash();
    let mut a = world.client(1, 1);
    assert!(!world.reclaim(&mut a, "x", &mine, Some(token)));
}

#[test]
fn an_operator_ends_also_what_has_not_come_back_yet() {
    let mut world = World::new();
    let mut a = world.client(1, 1);
    let mine = world.owner();
    let token = world.acquire(&mut a, "x", &mine).unwrap();
    world.crash();
    let mut operator = world.client(2, 2);
    world.ask(
        &mut operator,
        &json!({"force_release": {"id": 3, "name": "x"}}),
    );
    let mut a = world.client(1, 1);
    assert!(!world.reclaim(&mut a, "x", &mine, Some(token)));
}

#[test]
fn a_long_lease_that_is_over_holds_nobody_up_after_a_restart() {
    let mut world = World::new();
    let mut a = world.connect(1);
    world.ask(&mut a, &json!({"hello": {"version": 1}}));
    let (mine, yours) = (world.owner(), world.owner());
    let day = json!({"id": 1, "name": "x", "owner": mine, "ttl_ms": 86_400_000});
    world.ask(&mut a, &json!({ "acquire": day }));
    world.release(&mut a, "x", &mine);
    for _ in 0..20 {
        world.pass(secs(10));
    }
    let mut b = world.client(2, 2);
    world.acquire(&mut b, "y", &yours).unwrap();
    world.crash();
    let mut b = world.client(2, 2);
    world.settle(&mut b);
    assert!(
        world.acquire(&mut b, "z", &mine).is_some(),
        "the first session is not named any more"
    );
}

#[test]
fn whoever_waits_is_written_down_meanwhile() {
    let mut world = World::new();
    let (mut a, mut b) = (world.client(1, 1), world.client(2, 2));
    let (mine, yours) = (world.owner(), world.owner());
    world.acquire(&mut a, "x", &mine).unwrap();
    world.send(&b, &acquire(2, "x", &yours, 60_000));
    world.saves = false;
    world.release(&mut a, "x", &mine);
    assert_eq!(world.receive(&mut b)["granted"]["queued"], true);
}

#[test]
fn a_slow_disk_costs_nobody_its_place_in_the_queue() {
    let mut world = World::new();
    let (mut a, mut b, mut c) = (world.client(1, 1), world.client(2, 2), world.client(3, 3));
    let owners = [world.owner(), world.owner(), world.owner()];
    world.acquire(&mut a, "x", &owners[0]).unwrap();
    for (client, owner) in [(&b, &owners[1]), (&c, &owners[2])] {
        let mut asked = acquire(2, "x", owner, 60_000);
        // What a restart has to know of its grant is not written in advance.
        asked["acquire"]["at_least_ms"] = json!(1);
        world.send(client, &asked);
    }
    world.saves = false;
    let release = json!({"id": 1, "name": "x", "owner": owners[0], "body_ran": true});
    world.send(&a, &json!({ "release": release }));
    world.pass(secs(5));
    world.nothing(&mut b);
    world.saves = true;
    world.save();
    assert_eq!(world.receive(&mut b)["granted"]["queued"], true);
    assert_eq!(world.ask(&mut b, &claim(3, "x", &owners[1])), held(3, true));
    world.nothing(&mut c);
    // From being told on it has its second, and no more.
    world.pass(Duration::from_millis(1));
    world.release(&mut b, "x", &owners[1]);
    assert_eq!(world.receive(&mut c)["granted"]["queued"], true);
    world.pass(secs(1));
    assert!(world.acquire(&mut b, "x", &owners[1]).is_some());
}

#[test]
fn a_state_with_impossible_tokens_stops_the_start() {
    let mut world = World::new();
    let mut a = world.client(1, 1);
    let owner = world.owner();
    world.acquire(&mut a, "x", &owner).unwrap();
    let Saved::Text(text) = &world.disk else {
        panic!("nothing was saved");
    };
    let mut state: serde_json::Value = serde_json::from_slice(text).unwrap();
    state["tokens"] = json!(u64::MAX);
    let saved = Saved::Text(state.to_string().into_bytes());
    let wall = std::time::SystemTime::now();
    let new = super::super::Engine::new(world.limits, &saved, "boot-1", world.now, wall);
    assert!(new.is_err());
}
