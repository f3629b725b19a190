//! What is no message, what is too much, and what takes too long.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::{Client, World, acquire, secs};
use crate::engine::Limits;

#[track_caller]
fn error(said: &Value) -> (&str, &str) {
    let error = &said["error"];
    let text = |field: &str| error[field].as_str().unwrap_or_else(|| panic!("{said}"));
    (text("code"), text("message"))
}

#[test]
fn a_bad_message_is_named_and_harms_nobody() {
    let mut world = World::new();
    let (mut a, mut b) = (world.client(1, 1), world.client(2, 2));
    let owner = world.owner();
    for (line, id, part) in [
        ("nonsense", json!(null), "line 1 column"),
        ("[]", json!(null), "not a message"),
        (r#"{"aquire":{"id":3}}"#, json!(3), "`aquire`"),
        (r#"{"ping":{"id":4,"di":5}}"#, json!(4), "`di`"),
        (r#"{"ping":{"id":-1}}"#, json!(null), "-1"),
        (r#"{"ping":{"id":1}} {"#, json!(null), "trailing"),
        ("{\"ping\":\u{1b}[2J}", json!(null), "\\u{1b}"),
    ] {
        world.send_raw(&a, format!("{line}\n").as_bytes());
        let said = world.receive(&mut a);
        let (code, message) = error(&said);
        assert_eq!(code, "malformed", "{line}");
        assert!(message.contains(part), "{line}: {message}");
        assert_eq!(said["error"]["id"], id, "{line}");
    }
    assert!(world.acquire(&mut a, "x", &owner).is_some(), "it goes on");
    assert!(world.acquire(&mut b, "y", &owner).is_some());
}

#[test]
fn who_sends_nothing_else_is_sent_away() {
    let mut world = World::new();
    let mut a = world.client(1, 1);
    for _ in 0..64 {
        world.send_raw(&a, b"nonsense\n");
    }
    assert_eq!(world.all(&mut a).len(), 64);
    assert!(world.engine.is_closing(a.id));
}

#[test]
fn out_of_limits_is_said_with_the_limit() {
    let mut world = World::new();
    let mut a = world.client(1, 1);
    let owner = world.owner();
    let asked = |field: &str, value: Value| {
        let mut message = acquire(2, "x", &owner, 0);
        message["acquire"][field] = value;
        message
    };
    for (message, part) in [
        (asked("ttl_ms", json!(0)), "24 h"),
        (asked("ttl_ms", json!(u64::MAX)), "24 h"),
        (asked("wait_ms", json!(u64::MAX)), "24 h"),
        (asked("at_least_ms", json!(u64::MAX)), "366 days"),
        (asked("name", json!("two words")), "white space"),
        (asked("name", json!("")), "empty"),
        (asked("name", json!("x".repeat(513))), "512"),
        (asked("namespace", json!("a/b")), "namespace"),
        (asked("auth", json!({"caller": ""})), "1024"),
    ] {
        let said = world.ask(&mut a, &message);
        let (code, text) = error(&said);
        assert_eq!(
            (code, &said["error"]["id"]),
            ("invalid", &json!(2)),
            "{message}"
        );
        assert!(text.contains(part), "{message}: {text}");
    }
    assert!(
        world
            .ask(&mut a, &asked("name", json!("x".repeat(512))))
            .get("granted")
            .is_some()
    );
}

#[test]
fn a_character_split_over_packets_stays_itself() {
    let mut world = World::new();
    let (mut a, mut b) = (world.client(1, 1), world.client(2, 2));
    let (mine, yours) = (world.owner(), world.owner());
    let line = format!("{}\n", acquire(2, "täsk:€", &mine, 0));
    for byte in line.as_bytes() {
        world.send_raw(&a, &[*byte]);
    }
    assert!(world.receive(&mut a).get("granted").is_some());
    assert_eq!(world.acquire(&mut b, "täsk:€", &yours), None);
}

#[test]
fn an_endless_line_ends_the_connection() {
    let mut world = World::new();
    let mut a = world.client(1, 1);
    for _ in 0..64 {
        world.send_raw(&a, &[b' '; 1024]);
    }
    let said = world.receive(&mut a);
    assert!(error(&said).1.contains("65536 bytes"));
    assert!(world.engine.is_closing(a.id));
    let mut stranger = world.connect(2);
    world.send_raw(&stranger, &[b' '; 8 * 1024]);
    let said = world.receive(&mut stranger);
    assert!(error(&said).1.contains("8192 bytes"));
}

#[test]
fn the_greeting_comes_first_and_soon() {
    let mut world = World::new();
    let mut rude = world.connect(1);
    let said = world.ask(&mut rude, &json!({"ping": {"id": 1}}));
    assert!(error(&said).1.contains("{\"hello\":{\"version\":1}}"));
    assert!(world.engine.is_closing(rude.id));
    let mut old = world.connect(1);
    let said = world.ask(&mut old, &json!({"hello": {"version": 2}}));
    assert_eq!(error(&said).0, "version");
    let mut silent = world.connect(2);
    world.pass(secs(5));
    assert!(world.receive(&mut silent)["bye"]["reason"].is_string());
    assert!(world.engine.is_closing(silent.id));
}

#[test]
fn a_message_that_is_not_finished_ends_the_connection() {
    let mut world = World::new();
    let mut slow = world.client(1, 1);
    let mut steady = world.client(2, 2);
    world.send_raw(&slow, b"{\"ping\"");
    for round in 0..12 {
        world.send_raw(&slow, b" ");
        world.send_raw(
            &steady,
            b":{\"id\":1}}\n{\"ping\""
                .get(if round == 0 { 11.. } else { 0.. })
                .unwrap(),
        );
        world.pass(secs(1));
    }
    let bye = world.all(&mut slow);
    assert!(
        bye[0]["bye"]["reason"]
            .as_str()
            .unwrap()
            .contains("not finished")
    );
    assert!(world.engine.is_closing(slow.id));
    assert!(
        !world.engine.is_closing(steady.id),
        "it finishes what it begins"
    );
    assert_eq!(world.all(&mut steady).len(), 11);
}

#[test]
fn who_does_not_read_is_disconnected_and_nothing_is_kept_for_it() {
    let mut world = World::with_limits(Limits {
        output: 10_000,
        ..Limits::default()
    });
    let (a, mut b) = (world.client(1, 1), world.client(2, 2));
    for id in 0..10_000 {
        world.send(&a, &json!({"ping": {"id": id}}));
    }
    assert!(world.engine.is_closing(a.id));
    assert!(world.engine.output(a.id).is_empty());
    assert_eq!(
        world.ask(&mut b, &json!({"ping": {"id": 1}})),
        json!({"pong": {"id": 1}})
    );
}

#[test]
fn a_list_comes_in_pages() {
    let mut world = World::new();
    let mut a = world.client(1, 1);
    for number in 0..1203 {
        let owner = world.owner();
        world
            .acquire(&mut a, &format!("task:{number:04}"), &owner)
            .unwrap();
    }
    let owner = world.owner();
    world.acquire(&mut a, "other", &owner).unwrap();
    let (mut names, mut after) = (Vec::new(), Value::Null);
    for _ in 0..4 {
        let page = list(&mut world, &mut a, &after);
        names.extend(page["locks"].as_array().unwrap().clone());
        after = page["next"].clone();
    }
    assert_eq!(after, Value::Null);
    let names: Vec<_> = names
        .iter()
        .map(|lock| lock["name"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 1203);
    assert!(names.is_sorted());
}

fn list(world: &mut World, client: &mut Client, after: &Value) -> Value {
    let list = json!({"list": {"id": 1, "prefix": "task:", "after": after}});
    world.ask(client, &list)["locks"].clone()
}

#[test]
fn a_list_does_not_show_what_has_ended() {
    let mut world = World::new();
    let mut a = world.client(1, 1);
    let owner = world.owner();
    world.acquire(&mut a, "task:1", &owner).unwrap();
    // Nobody has let time pass in the table yet.
    world.now = world.now + secs(10) + Duration::from_nanos(1);
    world.send(&a, &json!({"list": {"id": 1}}));
    let said = world.all(&mut a);
    assert_eq!(said[0]["lost"]["cause"], "expired");
    assert_eq!(said[1]["locks"]["locks"], json!([]));
}

#[test]
fn a_page_is_not_too_long_for_whoever_asked() {
    let mut world = World::new();
    let mut a = world.connect(1);
    let long = "a".repeat(512);
    world.ask(
        &mut a,
        &json!({"hello": {"version": 1, "application": long, "host": long}}),
    );
    for number in 0..500 {
        let owner = world.owner();
        world
            .acquire(&mut a, &format!("task:{number:03}"), &owner)
            .unwrap();
    }
    for _ in 0..500 {
        let owner = world.owner();
        let mut shared = acquire(1, "doc", &owner, 0);
        shared["acquire"]["mode"] = json!("shared");
        world.ask(&mut a, &shared);
    }
    let mut b = world.client(2, 2);
    let (mut count, mut after, mut pages) = (0, Value::Null, 0);
    loop {
        let page = world.ask(&mut b, &json!({"list": {"id": 1, "after": after}}));
        count += page["locks"]["locks"].as_array().unwrap().len();
        pages += 1;
        after = page["locks"]["next"].clone();
        if after.is_null() {
            break;
        }
    }
    assert_eq!(count, 501);
    assert!(pages > 2, "{pages}");
    assert!(!world.engine.is_closing(b.id));
}

#[test]
fn one_who_asks_much_at_once_lets_others_in_between() {
    let mut world = World::new();
    let (mut a, mut b) = (world.client(1, 1), world.client(2, 2));
    let list = json!({"list": {"id": 1}}).to_string() + "\n";
    world.send_raw(&a, list.repeat(5).as_bytes());
    let mut answers = world.all(&mut a).len();
    assert_eq!(answers, 1, "the others come first");
    while world.engine.is_behind(a.id) {
        assert_eq!(
            world.ask(&mut b, &json!({"ping": {"id": 1}})),
            json!({"pong": {"id": 1}})
        );
        world.send_raw(&a, &[]);
        answers += world.all(&mut a).len();
    }
    assert_eq!(answers, 5);
    world.pass(secs(20));
    assert!(
        !world.engine.is_closing(a.id),
        "nothing of it is unfinished"
    );
}
