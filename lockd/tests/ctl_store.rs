//! `lockctl` on a store: usage, output and its shape, pipes that are closed early.

mod ctl_support;

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixListener;

use ctl_support::{Running, code, lockctl, stderr, stdout, without_store};
use lock_runtime::__daemon;
use serde_json::Value;

#[test]
fn wrong_arguments_are_told_in_one_way() {
    for arguments in [
        &[][..],
        &["nonsense"],
        &["list", "--nonsense"],
        &["show"],
        &["run", "a"],
        &["run", "a", "true"],
        &["run", "a", "--shared", "--permits", "2", "--", "true"],
        &["run", "a", "--permits", "0", "--", "true"],
        &["run", "a", "--wait", "5", "--", "true"],
        &["run", "a", "--try", "--wait", "5s", "--", "true"],
        &["run", "two words", "--", "true"],
        &["show", "two words"],
        &["show", "a", "--quiet", "--json"],
        &["assign", "a", ""],
        &["assign", "a", "bob", "--ttl", "0"],
        &["watch", "--interval", "1ms"],
        &["completions", "nonsense"],
    ] {
        let output = lockctl(arguments).output().unwrap();
        let text = stderr(&output);
        assert_eq!(code(&output), 64, "{arguments:?}: {text}");
        assert!(text.starts_with("lockctl: "), "{arguments:?}: {text}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
    }
}

#[test]
fn what_was_typed_is_harmless_when_it_is_told() {
    let output = lockctl(&["show", "a\u{1b}[2J\u{202e} b"]).output().unwrap();
    let text = stderr(&output);
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    let output = lockctl(&["\u{1b}[2J"]).output().unwrap();
    assert!(!stderr(&output).contains('\u{1b}'), "{:?}", stderr(&output));
}

#[test]
fn help_tells_the_exit_codes() {
    for arguments in [&["--help"][..], &["run", "--help"]] {
        let output = without_store(arguments).output().unwrap();
        assert_eq!(code(&output), 0);
        assert!(stdout(&output).contains("Exit codes:"));
        assert!(stdout(&output).contains("127"));
        assert!(!stdout(&output).contains("__warden"));
    }
    assert_eq!(code(&without_store(&["--version"]).output().unwrap()), 0);
}

#[test]
fn without_a_store_the_way_to_one_is_told() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [&["list"][..], &["run", "a", "--", "true"], &["ping"]] {
        let mut command = without_store(arguments);
        command
            .env("XDG_RUNTIME_DIR", directory.path())
            .env("LOCK_URL", "");
        let output = command.output().unwrap();
        let text = stderr(&output);
        assert_eq!(code(&output), 69, "{text}");
        for part in ["--url", "LOCK_URL", "lockd/lockd.sock"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}

#[test]
fn a_url_that_leads_nowhere_is_told_the_way_to_a_store() {
    let output = without_store(&["--url", "foo", "ping"]).output().unwrap();
    assert_eq!(code(&output), 64);
    for part in ["--url", "LOCK_URL=unix:/", "LOCK_URL=redis://"] {
        assert!(
            stderr(&output).contains(part),
            "{part}: {}",
            stderr(&output)
        );
    }
    for (url, feature) in [
        ("redis://:secret@host", "redis"),
        ("rediss://:secret@host", "redis-tls"),
        ("postgres://me:secret@host", "postgres"),
        ("etcd://:secret@host", "etcd"),
    ] {
        if __daemon::missing_feature(url).is_none() {
            continue;
        }
        let output = without_store(&["--url", url, "ping"]).output().unwrap();
        let text = stderr(&output);
        assert_eq!(code(&output), 64, "{text}");
        let way_out = format!("`cargo install --path lockd --features {feature}`");
        assert!(text.contains(&way_out), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}

#[test]
fn the_usual_socket_is_the_default() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("lockd")).unwrap();
    let _socket = UnixListener::bind(directory.path().join("lockd/lockd.sock")).unwrap();
    let mut command = without_store(&["--namespace", "bad name", "ping"]);
    let output = command
        .env("XDG_RUNTIME_DIR", directory.path())
        .output()
        .unwrap();
    // It goes on to what comes next: the namespace is looked at before the connection.
    assert_eq!(code(&output), 64, "{}", stderr(&output));
    assert!(
        !stderr(&output).contains("no lock store"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_password_is_not_told() {
    let output = without_store(&["--url", "nonsense://me:secret@host/", "ping"])
        .output()
        .unwrap();
    assert_ne!(code(&output), 0);
    assert!(!stderr(&output).contains("secret"), "{}", stderr(&output));
    let help = without_store(&["--help"])
        .env("LOCK_URL", "redis://me:secret@host/")
        .output();
    assert!(!stdout(&help.unwrap()).contains("secret"));
}

#[test]
fn json_has_its_shape() {
    let json = |arguments: &[&str]| -> Value {
        let output = lockctl(arguments).output().unwrap();
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        assert_eq!(stdout(&output).lines().count(), 1, "{}", stdout(&output));
        serde_json::from_str(stdout(&output)).unwrap()
    };
    assert_eq!(json(&["list", "--json"]), Value::Array(Vec::new()));

    let shown = json(&["--namespace", "shop", "show", "a", "--json"]);
    let fields: Vec<&String> = shown.as_object().unwrap().keys().collect();
    let mut expected = [
        "name",
        "namespace",
        "state",
        "locked",
        "holder",
        "assigned_at_ms",
        "assignment_ends_at_ms",
        "resting_ms",
        "waiting",
        "sections",
        "queue",
    ];
    expected.sort_unstable();
    assert_eq!(fields, expected);
    assert_eq!(shown["name"], "a");
    assert_eq!(shown["namespace"], "shop");
    assert_eq!(shown["state"], "free");
    assert_eq!(shown["locked"], false);

    let pong = json(&["ping", "--json"]);
    assert_eq!(pong["url"], "memory:");
    assert!(pong["round_trip_ms"].as_f64().unwrap() >= 0.0);

    let released = json(&["release", "a", "--force", "--json"]);
    assert_eq!(released["ended"], 0);
    assert_eq!(released["taken_from"], Value::Null);
    for assigned in [
        json(&["assign", "a", "bob\u{202e}", "--json"]),
        json(&["transfer", "a", "bob\u{202e}", "--json"]),
    ] {
        assert_eq!(assigned["holder"], "bob\u{202e}");
    }
}

#[test]
fn a_free_lock_is_told_as_one() {
    let output = lockctl(&["show", "a", "--quiet"]).output().unwrap();
    assert_eq!(
        (code(&output), stdout(&output), stderr(&output)),
        (0, "", "")
    );
    let output = lockctl(&["release", "a"]).output().unwrap();
    assert_eq!((code(&output), stdout(&output)), (0, "a was free\n"));
    let output = lockctl(&["assign", "a\u{202e}", "bob\u{1b}", "--ttl", "5s"])
        .output()
        .unwrap();
    assert_eq!(stdout(&output), "a\\u{202e} is assigned to bob\\u{1b}\n");
}

#[test]
fn a_transfer_from_somebody_who_does_not_hold_it_is_refused() {
    let output = lockctl(&["transfer", "a", "bob", "--from", "eve"])
        .output()
        .unwrap();
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    assert!(
        stderr(&output).starts_with("lockctl: Not your turn: a"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_watch_in_a_pipe_tells_changes_and_ends_with_its_reader() {
    for (arguments, first) in [
        (&["watch"][..], "NAME  STATE  WHO  WHERE  FOR  WAITING"),
        (
            &["watch", "--json", "--interval", "100ms"],
            "{\"locks\":[]}",
        ),
    ] {
        let mut running = Running::start(lockctl(arguments));
        assert_eq!(running.line(), first);
        // Nothing changes, so that nothing is written that would show the closed pipe.
        let (mut child, mut errors) = running.read_no_more();
        let mut text = String::new();
        errors.read_to_string(&mut text).unwrap();
        assert_eq!((child.wait().unwrap().code(), text.as_str()), (Some(0), ""));
    }
}

#[test]
fn a_watch_ends_with_a_signal() {
    let mut running = Running::start(lockctl(&["watch", "--json"]));
    assert_eq!(running.line(), "{\"locks\":[]}");
    running.signal("INT");
    assert_eq!(running.end(), (Some(130), String::new(), String::new()));
}

#[test]
fn a_reader_who_has_enough_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    for arguments in [
        &["list"][..],
        &["list", "--json"],
        &["completions", "bash"],
        &["man"],
    ] {
        let mut command = lockctl(arguments);
        command.stdout(writer.try_clone().unwrap());
        let output = command.output().unwrap();
        assert_eq!((code(&output), stderr(&output)), (0, ""), "{arguments:?}");
    }
}

#[test]
fn an_output_that_cannot_be_written_is_a_failure() {
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = lockctl(&["list"]).stdout(full).output().unwrap();
    assert_eq!(code(&output), 74, "{}", stderr(&output));
}

#[test]
fn pages_are_written() {
    for shell in ["bash", "zsh", "fish"] {
        let output = without_store(&["completions", shell]).output().unwrap();
        assert_eq!(code(&output), 0);
        assert!(stdout(&output).contains("lockctl") && stdout(&output).contains("transfer"));
        assert!(!stdout(&output).contains("__warden"));
    }
    let output = without_store(&["man"]).output().unwrap();
    assert!(stdout(&output).contains(".TH lockctl 1"));
    let directory = tempfile::tempdir().unwrap();
    let output = without_store(&["man", directory.path().to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    for page in ["lockctl.1", "lockctl-run.1", "lockctl-watch.1"] {
        assert!(directory.path().join(page).exists(), "{page}");
    }
    // The daemon's is in the section of its kind.
    let page = fs::read_to_string(directory.path().join("lockd.8")).unwrap();
    for part in [
        ".TH lockd 8",
        "\\-\\-socket",
        "LOCKD_SOCKET",
        "Exit codes:",
        "SIGTERM",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    let output = without_store(&["man", "/no/such/directory"])
        .output()
        .unwrap();
    assert_eq!(code(&output), 74);
}
