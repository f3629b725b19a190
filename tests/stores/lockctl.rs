//! `lockctl` on the locks of a service, while that holds them and when it is gone.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use lock_runtime::AuthPolicy;
use serde_json::Value;

use crate::built::{COMMAND_LINE, build};
use crate::harness::{LONG, PATIENCE, is_free, ms, soon, until, until_waiting};
use crate::store::{Room, Store};

/// A `lockctl` that is told of the locks of a room, and of nothing else.
fn lockctl(room: &Room, arguments: &[&str]) -> Command {
    let mut command = Command::new(&build()[COMMAND_LINE]);
    for variable in ["TTL", "WAIT", "NAME", "TOKEN"] {
        command.env_remove(format!("LOCK_{variable}"));
    }
    command
        .env("LOCK_URL", room.server.url())
        .env("LOCK_NAMESPACE", &room.namespace)
        .args(arguments)
        .stdin(Stdio::null());
    command
}

/// How it ended, and what it said.
fn ends(room: &Room, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = lockctl(room, arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// What it answers in JSON, when all is well.
fn json(room: &Room, arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--json"]].concat();
    let (code, output, errors) = ends(room, &arguments);
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{arguments:?}");
    serde_json::from_str(&output).unwrap()
}

/// The names that it lists, with the state of each.
fn listed(room: &Room) -> Vec<(String, String)> {
    let list = json(room, &["list"]);
    let text = |lock: &Value, field: &str| lock[field].as_str().unwrap().to_owned();
    let locks = list.as_array().unwrap().iter();
    locks
        .map(|lock| (text(lock, "name"), text(lock, "state")))
        .collect()
}

fn is(name: &str, state: &str) -> (String, String) {
    (name.to_owned(), state.to_owned())
}

pub(crate) async fn a_lock_that_a_service_holds_is_shown_and_taken_away(store: Store) {
    let room = store.room();
    let (manager, other) = (room.manager().await, room.manager().await);
    assert_eq!(listed(&room), []);
    let guard = manager.lock("task:1").ttl(LONG).acquire().await.unwrap();
    let waiting = tokio::spawn(other.lock("task:1").wait(PATIENCE).acquire());
    until_waiting(&manager, "task:1", 1).await;

    assert_eq!(listed(&room), [is("task:1", "held")]);
    assert_eq!(json(&room, &["list", "task:2"]), Value::Array(Vec::new()));
    let shown = json(&room, &["show", "task:1"]);
    assert_eq!(shown["namespace"], room.namespace.as_str());
    assert_eq!(
        (&shown["locked"], &shown["waiting"]),
        (&true.into(), &1.into())
    );
    let (section, token) = (&shown["sections"][0], guard.fencing_token().unwrap().get());
    assert_eq!(
        (&section["token"], &section["mode"]),
        (&token.into(), &"exclusive".into())
    );
    assert_eq!(section["pid"], std::process::id());
    assert_eq!(shown["queue"][0]["pid"], std::process::id());
    let quiet = |name| ends(&room, &["show", "--quiet", name]).0;
    assert_eq!((quiet("task:1"), quiet("task:2")), (Some(1), Some(0)));

    let (code, output, errors) = ends(&room, &["run", "task:1", "--try", "--", "echo", "ran"]);
    assert_eq!((code, output.as_str()), (Some(1), ""), "{errors}");
    let telling = "lockctl: Could not acquire lock: task:1";
    assert!(errors.starts_with(telling), "{errors}");
    let (code, _, errors) = ends(&room, &["release", "task:1"]);
    assert!(code == Some(1) && errors.contains("--force"), "{errors}");
    assert!(guard.is_held());

    let released = json(&room, &["release", "task:1", "--force"]);
    assert_eq!(released["ended"], 1);
    // Who waits follows, and who was inside is told.
    let next = soon("the next one enters", waiting).await.unwrap().unwrap();
    assert!(next.fencing_token() > guard.fencing_token());
    until("the holder is told", async || !guard.is_held()).await;
    assert!(guard.release().await.unwrap_err().is_lost());
    next.release().await.unwrap();
    assert_eq!(listed(&room), []);
}

pub(crate) async fn a_lock_of_a_service_that_is_gone_is_taken_away(store: Store) {
    let room = store.room();
    let (proxy, url) = room.server.way();
    let manager = room.manager_at(&url).await;
    let request = manager.lock("task:1").ttl(LONG);
    let guard = request.acquire().await.unwrap();
    // It is as good as dead from now on.
    proxy.cut();
    assert_eq!(listed(&room), [is("task:1", "held")]);
    let released = json(&room, &["release", "task:1", "--force"]);
    assert_eq!(released["ended"], 1);
    assert_eq!(listed(&room), []);
    let script = [
        "run",
        "task:1",
        "--try",
        "--",
        "sh",
        "-c",
        "echo $LOCK_TOKEN",
    ];
    let (code, output, errors) = ends(&room, &script);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let token: u64 = output.trim_end().parse().unwrap();
    assert!(token > guard.fencing_token().unwrap().get());
    let again = json(&room, &["release", "task:1", "--force"]);
    assert_eq!(again["ended"], 0);
}

pub(crate) async fn assignments_are_made_and_taken_back(store: Store) {
    let room = store.room();
    let manager = room.manager().await;
    let holder = async || manager.get_lock("turn").await.unwrap().holder;
    let assigned = json(&room, &["assign", "turn", "alice"]);
    assert_eq!(assigned["holder"], "alice");
    assert_eq!(holder().await.unwrap().as_str(), "alice");
    assert_eq!(listed(&room), [is("turn", "assigned")]);
    let request = |caller: &str| manager.lock("turn").auth_as(AuthPolicy::Required, caller);
    let refused = request("bob").acquire().await.unwrap_err();
    assert!(refused.is_not_your_turn(), "{refused}");

    let moved = json(&room, &["transfer", "turn", "bob", "--from", "alice"]);
    assert_eq!(moved["holder"], "bob");
    request("bob").run(async || ()).await.unwrap();
    let (code, _, errors) = ends(&room, &["transfer", "turn", "eve", "--from", "alice"]);
    assert_eq!(code, Some(1));
    let telling = "lockctl: Not your turn: turn";
    assert!(errors.starts_with(telling), "{errors}");
    assert_eq!(holder().await.unwrap().as_str(), "bob");

    // Those without an end outlive the service.
    json(&room, &["assign", "passing", "ann", "--ttl", "500ms"]);
    manager.shutdown(PATIENCE).await;
    drop(manager);
    until("one has ended", async || {
        listed(&room) == [is("turn", "assigned")]
    })
    .await;
    let released = json(&room, &["release", "turn"]);
    assert_eq!(released["taken_from"], "bob");
    assert_eq!(listed(&room), []);
}

pub(crate) async fn commands_and_services_exclude_each_other(store: Store) {
    let room = store.room();
    let manager = room.manager().await;
    let script = "echo $LOCK_NAME $LOCK_TOKEN; read line; exit 7";
    let arguments = ["run", "task:1", "--ttl", "2s", "--", "sh", "-c", script];
    let mut command = lockctl(&room, &arguments);
    let mut running = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(running.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    let token = line.trim_end().strip_prefix("task:1 ").expect(&line);

    let info = manager.lock("task:1").info().await.unwrap();
    let section = info.section().unwrap();
    assert_eq!(section.token.unwrap().to_string(), token);
    assert_eq!(section.owner.application, "lockctl run sh");
    assert!(!is_free(&manager, "task:1").await);
    let waiting = tokio::spawn(manager.lock("task:1").wait(PATIENCE).acquire());
    until_waiting(&manager, "task:1", 1).await;
    // For longer than its lease.
    tokio::time::sleep(ms(3_000)).await;
    assert!(!waiting.is_finished());

    drop(running.stdin.take());
    let guard = soon("its turn", waiting).await.unwrap().unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(7));
    assert!(guard.fencing_token().unwrap().get() > token.parse().unwrap());
    guard.release().await.unwrap();
    assert_eq!(listed(&room), []);
}

pub(crate) async fn a_command_waits_for_a_service(store: Store) {
    let room = store.room();
    let manager = room.manager().await;
    let guard = manager.lock("task:1").acquire().await.unwrap();
    let script = "sleep 3; echo $LOCK_TOKEN";
    let arguments = ["run", "task:1", "--wait", "30s", "--", "sh", "-c", script];
    let mut command = lockctl(&room, &arguments);
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = command.spawn().unwrap();
    until_waiting(&manager, "task:1", 1).await;
    let before = guard.fencing_token().unwrap().get();
    guard.release().await.unwrap();
    let output = running.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let token: u64 = str::from_utf8(&output.stdout)
        .unwrap()
        .trim_end()
        .parse()
        .unwrap();
    assert!(token > before);
    assert_eq!(listed(&room), []);
}
