//! `lockctl` and the real daemon: looking, the operator's acts, and what is said when it is not
//! there.

mod ctl_support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use ctl_support::daemon::Daemon;
use ctl_support::patience::eventually;
use ctl_support::{Running, code, stderr, stdout, without_store};
use serde_json::{Value, json};

/// Holds a lock until its input ends, and says its token.
const HOLD: &str = "echo $LOCK_TOKEN; read line; exit 0";

fn let_go(mut holder: Running) -> Option<i32> {
    drop(holder.child.stdin.take());
    holder.end().0
}

#[test]
fn what_others_hold_is_listed_and_shown() {
    let daemon = Daemon::start();
    assert_eq!(daemon.json(&["list"]), json!([]));
    let mut holder = daemon.run(&[], "task:1", HOLD);
    let token = holder.token();
    let waiter = daemon.run(&["--wait", "forever"], "task:1", "exit 9");
    eventually("it waits", || daemon.waiting("task:1") == 1);
    daemon.says(&["assign", "turn", "white"]);
    let mut reader = daemon.run(&["--shared"], "doc", HOLD);
    assert_eq!(reader.line(), "", "a shared lock has no token");

    let listed = daemon.json(&["list"]);
    let names = |listed: &Value| -> Vec<String> {
        let locks = listed.as_array().unwrap().iter();
        locks
            .map(|lock| lock["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&listed), ["doc", "task:1", "turn"]);
    assert_eq!(names(&daemon.json(&["list", "t"])), ["task:1", "turn"]);
    assert_eq!(daemon.json(&["--namespace", "shop", "list"]), json!([]));

    let task = &listed[1];
    assert_eq!(*task, {
        let mut expected = daemon.json(&["show", "task:1"]);
        for running in ["held_ms", "lease_left_ms"] {
            let time = task["sections"][0][running].as_u64().unwrap();
            assert!(time <= 30_000, "{running}: {time}");
            expected["sections"][0][running] = time.into();
        }
        // Who waits is shown of one lock alone.
        let queue = expected["queue"].take();
        assert_eq!(queue.as_array().unwrap().len(), 1);
        assert_eq!(queue[0]["application"], "lockctl run sh");
        assert!(queue[0]["waited_ms"].is_u64());
        expected["queue"] = json!([]);
        expected
    });
    assert_eq!(
        (
            &task["state"],
            &task["locked"],
            &task["waiting"],
            &task["holder"]
        ),
        (&json!("held"), &json!(true), &json!(1), &Value::Null)
    );
    let section = &task["sections"][0];
    let fields: Vec<&String> = section.as_object().unwrap().keys().collect();
    let mut expected = [
        "owner",
        "application",
        "host",
        "pid",
        "function",
        "file",
        "line",
        "mode",
        "permits",
        "token",
        "held_ms",
        "lease_left_ms",
    ];
    expected.sort_unstable();
    assert_eq!(fields, expected);
    assert_eq!(section["pid"], holder.pid());
    assert_eq!(section["application"], "lockctl run sh");
    assert_eq!(section["mode"], "exclusive");
    assert_eq!(section["token"], token);
    assert_eq!(listed[0]["state"], "shared");
    assert_eq!(listed[0]["sections"][0]["token"], Value::Null);
    assert_eq!(listed[2]["state"], "assigned");
    assert_eq!(listed[2]["holder"], "white");

    let who = format!("pid {}", holder.pid());
    let table = daemon.says(&["list"]);
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows.len(), 4, "{table}");
    assert!(rows[0].starts_with("NAME"), "{table}");
    assert!(
        rows[2].contains("held") && rows[2].contains(&who),
        "{table}"
    );
    assert!(rows[3].contains("assigned to white"), "{table}");
    let text = daemon.says(&["show", "task:1"]);
    assert!(
        text.contains(&who) && text.contains(&format!("token       {token}\n")),
        "{text}"
    );

    let quiet = |name: &str| {
        let output = daemon.lockctl(&["show", "--quiet", name]).output().unwrap();
        assert_eq!((stdout(&output), stderr(&output)), ("", ""));
        code(&output)
    };
    assert_eq!(
        (quiet("task:1"), quiet("doc"), quiet("turn"), quiet("b")),
        (1, 1, 0, 0)
    );

    assert_eq!(let_go(reader), Some(0));
    assert_eq!(let_go(holder), Some(0));
    assert_eq!(waiter.end().0, Some(9), "it was its turn");
    assert_eq!(names(&daemon.json(&["list"])), ["turn"]);
}

#[test]
fn a_watch_tells_changes_and_survives_an_outage() {
    let mut daemon = Daemon::start();
    let watch = daemon.lockctl(&["watch", "--json", "--interval", "100ms"]);
    let mut watch = Running::start(watch);
    let mut next = || serde_json::from_str::<Value>(&watch.line()).unwrap();
    assert_eq!(next(), json!({"locks": []}));

    let mut holder = daemon.run(&[], "task:1", HOLD);
    let token = holder.token();
    let lock = next();
    assert_eq!(lock["locks"][0]["name"], "task:1");
    assert_eq!(lock["locks"][0]["sections"][0]["token"], token);

    daemon.kill();
    let away = next();
    assert!(away["error"].is_string(), "{away}");
    daemon.start_again();
    // Just after its start it may not have heard of the holder yet.
    while next()["locks"][0]["sections"][0]["token"] != token {}

    assert_eq!(let_go(holder), Some(0), "it did not notice");
    assert_eq!(next(), json!({"locks": []}));
    watch.signal("TERM");
    assert_eq!(watch.end(), (Some(143), String::new(), String::new()));
}

#[test]
fn a_lock_is_assigned_transferred_and_taken_back() {
    let mut daemon = Daemon::start();
    let holder = |daemon: &Daemon| daemon.json(&["show", "turn"])["holder"].clone();
    assert_eq!(
        daemon.json(&["assign", "turn", "white"]),
        json!({"name": "turn", "holder": "white"})
    );
    assert_eq!(holder(&daemon), "white");
    // On the operator's word, whoever holds it.
    assert_eq!(
        daemon.says(&["assign", "turn", "red"]),
        "turn is assigned to red\n"
    );
    let refused = daemon.lockctl(&["transfer", "turn", "black", "--from", "white"]);
    assert_refused(&{ refused }.output().unwrap(), "Not your turn: turn");
    daemon.says(&["transfer", "turn", "black", "--from", "red"]);
    assert_eq!(holder(&daemon), "black");
    daemon.says(&["transfer", "turn", "white"]);

    // An assignment outlasts the daemon.
    daemon.kill();
    daemon.start_again();
    assert_eq!(holder(&daemon), "white");
    assert_eq!(
        daemon.json(&["release", "turn"]),
        json!({"name": "turn", "ended": 0, "taken_from": "white"})
    );
    assert_eq!(holder(&daemon), Value::Null);
    assert_eq!(daemon.says(&["release", "turn"]), "turn was free\n");

    daemon.says(&["assign", "turn", "white", "--ttl", "200ms"]);
    eventually("it ends by itself", || holder(&daemon) == Value::Null);
}

#[track_caller]
fn assert_refused(output: &Output, why: &str) {
    assert_eq!(
        (code(output), stdout(output)),
        (1, ""),
        "{}",
        stderr(output)
    );
    assert!(stderr(output).contains(why), "{}", stderr(output));
}

#[test]
fn what_runs_is_ended_by_force_alone() {
    let daemon = Daemon::start();
    let mut holder = daemon.run(&[], "task:1", HOLD);
    let token = holder.token();
    let refused = daemon.lockctl(&["release", "task:1"]).output().unwrap();
    assert_refused(&refused, &format!("pid {}", holder.pid()));
    assert!(stderr(&refused).contains("--force"), "{}", stderr(&refused));

    assert_eq!(
        daemon.json(&["release", "task:1", "--force"]),
        json!({"name": "task:1", "ended": 1, "taken_from": null})
    );
    let (code, _, errors) = holder.end();
    assert_eq!(code, Some(75), "{errors}");
    assert!(errors.contains("task:1"), "{errors}");
    let mut next = daemon.run(&["--try"], "task:1", HOLD);
    assert!(next.token() > token);
    assert_eq!(let_go(next), Some(0));
}

#[test]
fn a_ping_is_answered() {
    let daemon = Daemon::start();
    let pong = daemon.json(&["ping"]);
    assert_eq!(pong["url"], daemon.url());
    for time in ["connect_ms", "round_trip_ms"] {
        assert!(pong[time].as_f64().unwrap() > 0.0, "{pong}");
    }
    assert_eq!(pong.as_object().unwrap().len(), 3, "{pong}");
    let text = daemon.says(&["ping"]);
    assert!(
        text.starts_with(&format!("{} answers: ", daemon.url())),
        "{text}"
    );
}

#[test]
fn without_a_daemon_it_is_said_what_to_do() {
    let mut daemon = Daemon::start();
    daemon.kill();
    let missing = format!("unix:{}", daemon.file("no.sock").display());
    for url in [&missing, &daemon.url()] {
        for arguments in [
            &["ping"][..],
            &["list"],
            &["watch"],
            &["show", "a"],
            &["run", "a", "--", "true"],
            &["release", "a", "--force"],
            &["assign", "a", "bob"],
        ] {
            let output = without_store(arguments).env("LOCK_URL", url).output();
            let output = output.unwrap();
            let text = stderr(&output);
            assert_eq!(code(&output), 69, "{arguments:?}: {text}");
            assert!(text.contains("start lockd"), "{arguments:?}: {text}");
            assert_eq!(stdout(&output), "");
        }
    }
    let nowhere = without_store(&["list"])
        .env("XDG_RUNTIME_DIR", daemon.file(""))
        .output()
        .unwrap();
    let text = stderr(&nowhere);
    assert_eq!(code(&nowhere), 69, "{text}");
    assert!(
        text.contains("--url") && text.contains("LOCK_URL"),
        "{text}"
    );
}

#[test]
fn the_usual_place_needs_no_url() {
    let daemon = Daemon::start();
    let runtime = daemon.file("xdg");
    fs::create_dir(&runtime).unwrap();
    std::os::unix::fs::symlink(daemon.file("run"), runtime.join("lockd")).unwrap();
    let output = without_store(&["ping", "--json"])
        .env("XDG_RUNTIME_DIR", &runtime)
        .output()
        .unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(
        stdout(&output).contains("xdg/lockd/lockd.sock"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn a_wrong_url_is_a_mistake() {
    for url in [
        "unix:lockd.sock",
        "unix:",
        "lockd",
        "nonsense:/run/lockd.sock",
    ] {
        let output = without_store(&["--url", url, "ping"]).output().unwrap();
        assert_eq!(code(&output), 64, "{url}: {}", stderr(&output));
        assert!(
            stderr(&output).starts_with("lockctl: "),
            "{}",
            stderr(&output)
        );
    }
}

/// The user who is nobody.
const NOBODY: &str = "65534";

#[test]
fn who_is_not_allowed_is_told_so() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not checked: only root can run lockctl as another user");
        return;
    }
    let ping = |daemon: &Daemon| {
        // Where the other user can run it.
        let program = daemon.file("lockctl");
        fs::copy(env!("CARGO_BIN_EXE_lockctl"), &program).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
        command.arg(program).args(["--url", &daemon.url(), "ping"]);
        command.env_remove("LOCK_NAMESPACE").output().unwrap()
    };
    let assert_told = |output: &Output, what: &str| {
        assert_eq!(code(output), 69, "{}", stderr(output));
        assert!(stderr(output).contains(what), "{}", stderr(output));
    };
    let private = Daemon::start();
    assert_told(&ping(&private), "no permission to connect");
    let closed = fs::Permissions::from_mode(0o700);
    fs::set_permissions(private.file("run"), closed).unwrap();
    assert_told(&ping(&private), "no permission to connect");

    // The socket lets it in, and the daemon does not.
    let open = Daemon::with(&["--mode", "0666"]);
    assert_told(&ping(&open), "--allow-uid");

    let allowed = Daemon::with(&["--mode", "0666", "--allow-uid", NOBODY]);
    let output = ping(&allowed);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
}
