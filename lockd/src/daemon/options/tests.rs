use clap::CommandFactory;

use super::*;

fn parse(arguments: &[&str]) -> Result<Options, clap::Error> {
    Options::try_parse_from(["lockd"].iter().chain(arguments))
}

#[track_caller]
fn refused(arguments: &[&str]) -> String {
    let error = parse(arguments).expect_err("it should be refused");
    assert_eq!(error.exit_code(), i32::from(crate::daemon::EXIT_USAGE));
    error.to_string()
}

/// An environment with these variables alone.
fn environment(set: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<OsString> {
    move |name| {
        set.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| OsString::from(*value))
    }
}

#[test]
fn the_command_is_consistent() {
    Options::command().debug_assert();
}

#[test]
fn the_defaults_are_the_engine_s() {
    let options = parse(&["--socket", "/run/x/l.sock", "--state", "/x"]).expect("parsed");
    let settings = options
        .settings(None, &environment(&[]))
        .expect("enough is said");
    assert_eq!(settings.limits, Limits::default());
    assert_eq!(settings.allowed, Allowed::default());
    assert_eq!(settings.state, StatePlace::File("/x".into()));
    assert!(!settings.reset_state);
    match settings.socket {
        SocketSource::Path { path, mode, group } => {
            assert_eq!(path, PathBuf::from("/run/x/l.sock"));
            assert_eq!((mode, group), (0o600, None));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_option_has_its_effect() {
    let options = parse(&[
        "--socket",
        "/run/x/l.sock",
        "--state",
        "/x",
        "--reset-state",
        "--mode",
        "0660",
        "--group",
        "7",
        "--allow-uid",
        "8",
        "--allow-uid",
        "root",
        "--allow-group",
        "9",
        "--allow-group",
        "root",
        "--max-connections",
        "1",
        "--max-connections-per-process",
        "2",
        "--max-locks",
        "3",
        "--max-waiting",
        "4",
        "--max-assignments",
        "9",
        "--max-output",
        "5",
        "--greeting-timeout",
        "6ms",
        "--message-timeout",
        "7m",
        "--log",
        "debug",
    ])
    .expect("parsed");
    assert_eq!(options.log, "debug");
    let settings = options
        .settings(None, &environment(&[]))
        .expect("enough is said");
    assert_eq!(
        settings.limits,
        Limits {
            connections: 1,
            connections_per_process: 2,
            locks_per_session: 3,
            waiting_per_session: 4,
            assignments: 9,
            output: 5,
            greeting: Duration::from_millis(6),
            unfinished: Duration::from_secs(420),
        }
    );
    assert_eq!(
        (settings.allowed.uids, settings.allowed.gids),
        (vec![8, 0], vec![9, 0])
    );
    assert!(settings.reset_state);
    assert!(matches!(
        settings.socket,
        SocketSource::Path {
            mode: 0o660,
            group: Some(7),
            ..
        }
    ));
}

#[test]
fn what_means_nothing_is_refused() {
    assert!(refused(&["--mode", "0777"]).contains("0660"));
    assert!(refused(&["--mode", "0400"]).contains("owner needs both"));
    assert!(refused(&["--mode", "9"]).contains("octal"));
    assert!(refused(&["--max-connections", "0"]).contains("at least 1"));
    assert!(refused(&["--greeting-timeout", "5"]).contains("with its unit"));
    assert!(refused(&["--greeting-timeout", "0s"]).contains("more than nothing"));
    assert!(refused(&["--greeting-timeout", "2h"]).contains("one hour at most"));
    assert!(refused(&["--message-timeout", "61m"]).contains("one hour at most"));
    assert!(refused(&["--allow-uid", "no such user"]).contains("no user of this name"));
    assert!(refused(&["--allow-group", "no such group"]).contains("no group of this name"));
    assert!(refused(&["extra"]).contains("unexpected argument"));
}

#[test]
fn a_relative_socket_is_made_absolute() {
    let options = parse(&["--socket", "l.sock", "--state", "/x"]).expect("parsed");
    let settings = options
        .settings(None, &environment(&[]))
        .expect("enough is said");
    let expected = std::env::current_dir().expect("a folder").join("l.sock");
    assert!(matches!(settings.socket, SocketSource::Path { path, .. } if path == expected));
}

#[test]
fn a_passed_socket_leaves_nothing_to_say_about_it() {
    let socket = || {
        Some(OwnedFd::from(
            std::fs::File::open("/dev/null").expect("there"),
        ))
    };
    let nothing = environment(&[]);
    for (arguments, unit) in [
        (["--socket", "/x/l.sock"], "ListenStream="),
        (["--mode", "0600"], "SocketMode="),
        (["--group", "0"], "SocketGroup="),
    ] {
        let options = parse(&[&arguments[..], &["--state", "/x"]].concat()).expect("parsed");
        let fault = options
            .settings(socket(), &nothing)
            .expect_err("it contradicts");
        assert!(fault.contains(unit), "{fault}");
    }
    let settings = parse(&["--state", "/x"])
        .expect("parsed")
        .settings(socket(), &nothing)
        .expect("enough is said");
    assert!(matches!(settings.socket, SocketSource::Passed(_)));
}

#[test]
fn places_depend_on_the_user_and_the_environment() {
    let user = environment(&[("XDG_RUNTIME_DIR", "/run/user/7"), ("HOME", "/home/u")]);
    let path = |path: &str| Ok(PathBuf::from(path));
    assert_eq!(default_socket(true, &user), path("/run/lockd/lockd.sock"));
    assert_eq!(
        default_socket(false, &user),
        path("/run/user/7/lockd/lockd.sock")
    );
    assert_eq!(default_state(true, &user), path("/var/lib/lockd"));
    assert_eq!(
        default_state(false, &user),
        path("/home/u/.local/state/lockd")
    );

    let own = environment(&[("XDG_STATE_HOME", "/s"), ("HOME", "/home/u")]);
    assert_eq!(default_state(false, &own), path("/s/lockd"));
    let relative = environment(&[("XDG_STATE_HOME", "s"), ("HOME", "/home/u")]);
    assert_eq!(
        default_state(false, &relative),
        path("/home/u/.local/state/lockd")
    );
    let unit = environment(&[("STATE_DIRECTORY", "/var/lib/lockd:/var/lib/other")]);
    assert_eq!(default_state(false, &unit), path("/var/lib/lockd"));

    let nothing = environment(&[]);
    assert!(
        default_socket(false, &nothing)
            .expect_err("nowhere")
            .contains("--socket")
    );
    assert!(
        default_state(false, &nothing)
            .expect_err("nowhere")
            .contains("--state")
    );
}

#[test]
fn the_help_says_what_is_needed_to_run_it() {
    let help = Options::command().render_long_help().to_string();
    for word in [
        "--socket",
        "LOCKD_SOCKET",
        "/run/lockd/lockd.sock",
        "--state",
        "--reset-state",
        "SIGTERM",
        "SIGHUP",
        "Exit codes:",
        "LOCK_URL=unix:",
        "[default: 10000]",
        "LOCKD_LOG",
    ] {
        assert!(help.contains(word), "{word} is missing in:\n{help}");
    }
}
