//! Changes of the caller that a lock is assigned to.

use serde_json::{Value, json};

use super::world::{Client, World, acquire};

fn change(world: &mut World, client: &mut Client, what: &str, mut fields: Value) -> Value {
    let attempt = world.owner()[16..].to_owned();
    fields["id"] = json!(1);
    fields["name"] = json!("turn");
    fields["attempt"] = json!(attempt);
    world.ask(client, &json!({ what: fields }))
}

fn done() -> Value {
    json!({"done": {"id": 1}})
}

#[test]
fn a_turn_goes_from_one_to_the_other() {
    let mut world = World::new();
    let mut a = world.client(1, 1);
    let by = |caller: &str| json!({"caller": caller});
    let assigned = change(
        &mut world,
        &mut a,
        "assign",
        json!({"to": "alice", "by": by("alice")}),
    );
    assert_eq!(assigned, done());
    let refused = change(
        &mut world,
        &mut a,
        "assign",
        json!({"to": "bob", "by": by("bob")}),
    );
    assert_eq!(
        refused,
        json!({"not_your_turn": {"id": 1, "holder": "alice"}})
    );
    let given = change(
        &mut world,
        &mut a,
        "transfer",
        json!({"to": "bob", "by": by("alice")}),
    );
    assert_eq!(given, done());
    let late = change(&mut world, &mut a, "unassign", json!({"by": by("alice")}));
    assert_eq!(late["not_your_turn"]["holder"], "bob");
    let not_held = json!({"to": "carol", "by": {"holder": "alice"}});
    let late = change(&mut world, &mut a, "transfer", not_held);
    assert_eq!(late["not_your_turn"]["holder"], "bob");
    assert_eq!(
        change(&mut world, &mut a, "unassign", json!({"by": "operator"})),
        done()
    );
}

#[test]
fn only_the_holder_enters_and_those_who_wait_are_sent_away() {
    let mut world = World::new();
    let (mut a, mut b) = (world.client(1, 1), world.client(2, 2));
    let owners = [world.owner(), world.owner(), world.owner()];
    let as_caller = |id: u64, owner: &str, caller: &str| {
        let mut message = acquire(id, "turn", owner, 60_000);
        message["acquire"]["auth"] = json!({ "caller": caller });
        message
    };
    let assigned = json!({"to": "alice", "by": "operator"});
    change(&mut world, &mut a, "assign", assigned);
    assert!(
        world
            .ask(&mut a, &as_caller(2, &owners[0], "alice"))
            .get("granted")
            .is_some()
    );
    let refused = world.ask(&mut b, &as_caller(3, &owners[1], "bob"));
    assert_eq!(
        refused,
        json!({"not_your_turn": {"id": 3, "holder": "alice"}})
    );
    world.send(&b, &as_caller(4, &owners[2], "alice"));
    world.nothing(&mut b);
    let given = json!({"to": "bob", "by": {"caller": "alice"}, "within": owners[0]});
    assert_eq!(change(&mut world, &mut a, "transfer", given), done());
    assert_eq!(
        world.receive(&mut b),
        json!({"not_your_turn": {"id": 4, "holder": "bob"}})
    );
    // From a section that is over nothing changes any more.
    assert!(world.release(&mut a, "turn", &owners[0]));
    let given = json!({"to": "alice", "by": {"caller": "bob"}, "within": owners[0]});
    let late = change(&mut world, &mut a, "transfer", given);
    assert_eq!(late, json!({"section_lost": {"id": 1}}));
}

#[test]
fn a_caller_has_to_be_somebody() {
    let mut world = World::new();
    let mut a = world.client(1, 1);
    for to in [String::new(), "x".repeat(1025)] {
        let refused = change(
            &mut world,
            &mut a,
            "assign",
            json!({"to": to, "by": "operator"}),
        );
        assert_eq!(refused["error"]["code"], "invalid");
    }
    let zero = json!({"to": "alice", "by": "operator", "ttl_ms": 0});
    let refused = change(&mut world, &mut a, "assign", zero);
    assert!(
        refused["error"]["message"]
            .as_str()
            .unwrap()
            .contains("leave it out")
    );
}

#[test]
fn so_many_locks_are_assigned_and_no_more() {
    let mut world = World::with_limits(crate::engine::Limits {
        assignments: 1,
        ..crate::engine::Limits::default()
    });
    let mut a = world.client(1, 1);
    let to = |to: &str| json!({"to": to, "by": "operator"});
    assert_eq!(change(&mut world, &mut a, "assign", to("alice")), done());
    let other = json!({"assign": {
        "id": 2, "attempt": super::world::session(9), "name": "other", "to": "bob", "by": "operator",
    }});
    assert_eq!(world.ask(&mut a, &other)["error"]["code"], "limit");
    assert_eq!(change(&mut world, &mut a, "transfer", to("bob")), done());
    assert_eq!(
        change(&mut world, &mut a, "unassign", json!({"by": "operator"})),
        done()
    );
    assert_eq!(world.ask(&mut a, &other), json!({"done": {"id": 2}}));
}
