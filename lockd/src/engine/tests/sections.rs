//! Sections: granted, queued, claimed, renewed, released, lost.

use serde_json::json;

use super::world::{World, acquire, claim, held, secs};

#[test]
fn the_next_in_the_queue_is_pushed_a_grant_and_claims_it() {
    let mut world = World::new();
    let (mut a, mut b, mut c) = (world.client(1, 1), world.client(2, 2), world.client(3, 3));
    let owners = [world.owner(), world.owner(), world.owner()];
    let first = world.acquire(&mut a, "task:42", &owners[0]).unwrap();
    world.send(&b, &acquire(5, "task:42", &owners[1], 60_000));
    world.send(&c, &acquire(6, "task:42", &owners[2], 60_000));
    world.nothing(&mut b);
    assert!(world.release(&mut a, "task:42", &owners[0]));
    let granted = world.receive(&mut b)["granted"].clone();
    assert_eq!(
        (&granted["id"], &granted["queued"]),
        (&json!(5), &json!(true))
    );
    assert!(granted["token"].as_u64().unwrap() > first);
    world.nothing(&mut c);
    assert_eq!(
        world.ask(&mut b, &claim(7, "task:42", &owners[1])),
        held(7, true)
    );
    // The lease runs from the claim on: no claim window ends it.
    world.pass(secs(9));
    world.nothing(&mut c);
    world.pass(secs(1));
    let lost = json!({"lost": {"owner": owners[1], "cause": "expired"}});
    assert_eq!(world.receive(&mut b), lost);
    assert_eq!(world.receive(&mut c)["granted"]["id"], 6);
}

#[test]
fn a_grant_that_nobody_claims_goes_to_the_next_after_the_window() {
    let mut world = World::new();
    let (mut a, mut b, mut c) = (world.client(1, 1), world.client(2, 2), world.client(3, 3));
    let owners = [world.owner(), world.owner(), world.owner()];
    world.acquire(&mut a, "x", &owners[0]).unwrap();
    world.send(&b, &acquire(5, "x", &owners[1], 60_000));
    world.send(&c, &acquire(6, "x", &owners[2], 60_000));
    world.release(&mut a, "x", &owners[0]);
    assert_eq!(world.receive(&mut b)["granted"]["queued"], true);
    world.pass(secs(1));
    assert_eq!(world.receive(&mut c)["granted"]["queued"], true);
    assert_eq!(
        world.ask(&mut b, &claim(7, "x", &owners[1])),
        held(7, false)
    );
    assert_eq!(world.ask(&mut c, &claim(8, "x", &owners[2])), held(8, true));
}

#[test]
fn a_busy_name_says_who_has_it_and_where() {
    let mut world = World::new();
    let (mut a, mut b) = (world.client(1, 1), world.client(2, 2));
    let (mine, yours) = (world.owner(), world.owner());
    let site = json!({"number": 0, "function": "Board::move_task", "file": "src/b.rs", "line": 4});
    world.send(&a, &json!({ "site": site }));
    let asked = json!({"id": 1, "name": "x", "owner": mine, "ttl_ms": 500, "site": 0});
    world.ask(&mut a, &json!({ "acquire": asked }));
    world.pass(secs(0));
    let busy = world.ask(&mut b, &acquire(2, "x", &yours, 0))["busy"].clone();
    let owner = &busy["in_the_way"]["section"]["owner"];
    assert_eq!(owner["function"], "Board::move_task");
    assert_eq!(
        (&owner["pid"], &owner["application"]),
        (&json!(1), &json!("test"))
    );
    assert_eq!(busy["in_the_way"]["section"]["expires_ms"], 500);
}

#[test]
fn a_wait_ends_at_its_time_and_not_before() {
    let mut world = World::new();
    let (mut a, mut b) = (world.client(1, 1), world.client(2, 2));
    let (mine, yours) = (world.owner(), world.owner());
    world.acquire(&mut a, "x", &mine).unwrap();
    world.send(&b, &acquire(2, "x", &yours, 1_000));
    world.pass(secs(1) - std::time::Duration::from_nanos(1));
    world.nothing(&mut b);
    world.pass(std::time::Duration::from_nanos(1));
    assert_eq!(world.receive(&mut b)["busy"]["id"], 2);
    assert!(world.release(&mut a, "x", &mine));
    world.nothing(&mut b);
}

#[test]
fn renewals_come_many_at_a_time_and_name_those_that_were_lost() {
    let mut world = World::new();
    let mut a = world.client(1, 1);
    let owners = [world.owner(), world.owner(), world.owner()];
    world.acquire(&mut a, "x", &owners[0]).unwrap();
    world.acquire(&mut a, "y", &owners[1]).unwrap();
    world.pass(secs(9));
    let lease = |name: &str, owner: &str| json!({"name": name, "owner": owner, "ttl_ms": 10_000});
    let leases = [
        lease("x", &owners[0]),
        lease("y", &owners[1]),
        lease("z", &owners[2]),
        lease("x", &owners[1]),
    ];
    let renewed = world.ask(&mut a, &json!({"renew": {"id": 4, "leases": leases}}));
    assert_eq!(
        renewed,
        json!({"renewed": {"id": 4, "lost": [owners[2], owners[1]]}})
    );
    world.pass(secs(9));
    world.nothing(&mut a);
    assert!(world.release(&mut a, "x", &owners[0]));
}

#[test]
fn a_lease_ends_at_its_time_by_the_daemons_clock_and_not_before() {
    let mut world = World::new();
    let (mut a, mut b) = (world.client(1, 1), world.client(2, 2));
    let (mine, yours) = (world.owner(), world.owner());
    world.acquire(&mut a, "x", &mine).unwrap();
    world.pass(secs(10) - std::time::Duration::from_nanos(1));
    assert_eq!(world.acquire(&mut b, "x", &yours), None);
    world.pass(std::time::Duration::from_nanos(1));
    assert!(world.acquire(&mut b, "x", &yours).is_some());
    assert_eq!(world.receive(&mut a)["lost"]["cause"], "expired");
    assert!(
        !world.release(&mut a, "x", &mine),
        "a late release frees nobody"
    );
    assert_eq!(world.acquire(&mut a, "x", &mine), None);
}

#[test]
fn a_request_that_is_taken_back_leaves_the_queue_and_is_answered() {
    let mut world = World::new();
    let (mut a, mut b) = (world.client(1, 1), world.client(2, 2));
    let (mine, yours) = (world.owner(), world.owner());
    world.acquire(&mut a, "x", &mine).unwrap();
    world.send(&b, &acquire(2, "x", &yours, 60_000));
    let release = json!({"id": 3, "name": "x", "owner": yours});
    world.send(&b, &json!({ "release": release }));
    let said = world.all(&mut b);
    assert_eq!(said[0]["busy"]["id"], 2);
    assert_eq!(said[1], held(3, true));
    world.release(&mut a, "x", &mine);
    world.nothing(&mut b);
    assert!(world.acquire(&mut a, "x", &mine).is_some());
}

#[test]
fn a_section_goes_on_under_another_owner_and_keeps_its_token() {
    let mut world = World::new();
    let (mut a, mut b) = (world.client(1, 1), world.client(2, 2));
    let (mine, yours) = (world.owner(), world.owner());
    let token = world.acquire(&mut a, "x", &mine).unwrap();
    world.send(
        &a,
        &json!({"detach": {"id": 2, "name": "x", "owner": mine}}),
    );
    assert_eq!(world.receive(&mut a), held(2, true));
    world.kill(1);
    let adopt = json!({"adopt": {
        "id": 3, "name": "x", "giver": mine, "owner": yours, "ttl_ms": 10_000,
    }});
    let granted = json!({"granted": {
        "id": 3, "token": token, "mode": "exclusive", "queued": false,
    }});
    assert_eq!(world.ask(&mut b, &adopt), granted);
    assert_eq!(world.ask(&mut b, &adopt), granted, "its answer was lost");
    world.kill(2);
    let mut c = world.client(3, 3);
    let another = world.owner();
    assert!(world.acquire(&mut c, "x", &another).unwrap() > token);
}

#[test]
fn whoever_is_forced_out_is_told_and_stays_out() {
    let mut world = World::new();
    let (mut a, mut operator) = (world.client(1, 1), world.client(2, 2));
    let (mine, yours) = (world.owner(), world.owner());
    let token = world.acquire(&mut a, "x", &mine).unwrap();
    let ended = world.ask(
        &mut operator,
        &json!({"force_release": {"id": 4, "name": "x"}}),
    );
    assert_eq!(ended, json!({"ended": {"id": 4, "sections": 1}}));
    let lost = json!({"lost": {"owner": mine, "cause": "forced_out"}});
    assert_eq!(world.receive(&mut a), lost);
    assert!(!world.reclaim(&mut a, "x", &mine, Some(token)));
    // Neither does it come back over a restart, although its name is not taken.
    world.crash();
    let mut a = world.client(1, 1);
    assert!(!world.reclaim(&mut a, "x", &mine, Some(token)));
    world.settle(&mut a);
    assert!(world.acquire(&mut a, "x", &yours).is_some());
}
