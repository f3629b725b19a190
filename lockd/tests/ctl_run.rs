//! `lockctl run`: exit codes, the command's environment, signals, and that the command's whole
//! group ends with the lock, whoever dies.

mod ctl_support;

use std::fs;
use std::process::{Command, Stdio};

use ctl_support::patience::eventually;
use ctl_support::{
    Running, code, is_alive, lockctl, run, signal_to, state, stderr, stdout, undisturbed, warden,
};

#[test]
fn the_commands_own_exit_code_is_passed_on() {
    for (script, expected) in [
        ("true", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -9 $$", 137),
        ("kill -TERM $$", 143),
    ] {
        let output = run(script).output().unwrap();
        assert_eq!(code(&output), expected, "{script}: {}", stderr(&output));
        assert_eq!(stderr(&output), "", "{script}");
    }
}

#[test]
fn a_command_that_cannot_be_run_is_told_as_a_shell_does() {
    let missing = lockctl(&["run", "a", "--", "/no/such/\u{1b}command"])
        .output()
        .unwrap();
    assert_eq!(code(&missing), 127);
    assert!(stderr(&missing).starts_with("lockctl: /no/such/\\u{1b}command: "));

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("plain");
    fs::write(&file, "not a program").unwrap();
    let refused = lockctl(&["run", "a", "--", file.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(code(&refused), 126);
    assert!(
        stderr(&refused).starts_with("lockctl: "),
        "{}",
        stderr(&refused)
    );
}

#[test]
fn the_command_knows_its_lock() {
    let output = run("echo $LOCK_NAME $LOCK_TOKEN").output().unwrap();
    let (name, token) = stdout(&output).trim().split_once(' ').unwrap();
    assert_eq!(name, "task:1");
    assert!(token.parse::<u64>().unwrap() > 0);

    // A shared one has no token, and does not inherit that of somebody else.
    for mode in [&["--shared"][..], &["--permits", "2"]] {
        let mut command = lockctl(&["run", "a", "--try"]);
        command.args(mode).env("LOCK_TOKEN", "17");
        command.args(["--", "sh", "-c", "echo ${LOCK_TOKEN-none}"]);
        let output = command.output().unwrap();
        assert_eq!(stdout(&output), "none\n", "{}", stderr(&output));
    }
}

#[test]
fn arguments_and_input_reach_the_command_as_they_are() {
    let mut command = lockctl(&["run", "a", "--", "printf", "%s|", "a b", "--try", "", "*"]);
    assert_eq!(stdout(&command.output().unwrap()), "a b|--try||*|");
    // What is not UTF-8 too.
    use std::os::unix::ffi::OsStrExt;
    let mut command = lockctl(&["run", "a", "--", "printf", "%s"]);
    command.arg(std::ffi::OsStr::from_bytes(b"\xff\xfe"));
    assert_eq!(command.output().unwrap().stdout, b"\xff\xfe");

    let mut shell = Command::new("sh");
    let lockctl = env!("CARGO_BIN_EXE_lockctl");
    shell.args([
        "-c",
        &format!("echo hello | {lockctl} --url memory: run a -- cat"),
    ]);
    assert_eq!(stdout(&shell.output().unwrap()), "hello\n");
}

#[test]
fn the_command_inherits_nothing_of_lockctls() {
    let list = ["-c", "ls /proc/self/fd"];
    let output = lockctl(&["run", "a", "--", "sh"])
        .args(list)
        .output()
        .unwrap();
    let expected = Command::new("sh")
        .args(list)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(stdout(&output), stdout(&expected));
    let status = lockctl(&["run", "a", "--", "cat", "/proc/self/status"])
        .output()
        .unwrap();
    let expected = undisturbed("cat")
        .arg("/proc/self/status")
        .output()
        .unwrap();
    for field in ["SigBlk:", "SigIgn:"] {
        let line = |text: &str| {
            let line = text.lines().find(|line| line.starts_with(field));
            line.unwrap().to_owned()
        };
        assert_eq!(line(stdout(&status)), line(stdout(&expected)));
    }
}

#[test]
fn settings_come_from_the_environment_too() {
    for (variable, value) in [("LOCK_WAIT", "ever"), ("LOCK_TTL", "5")] {
        let output = run("true").env(variable, value).output().unwrap();
        assert_eq!(code(&output), 64);
        let text = stderr(&output);
        assert!(text.contains(variable) && text.contains(value), "{text}");
        let output = run("true").env(variable, "").output().unwrap();
        assert_eq!(code(&output), 0, "an empty variable is none");
    }
    for (variable, value) in [("LOCK_WAIT", "48h"), ("LOCK_TTL", "1ms")] {
        let output = run("true").env(variable, value).output().unwrap();
        let text = stderr(&output);
        assert_eq!(code(&output), 64, "out of the limits: {text}");
        assert!(text.contains(variable) && text.contains("24"), "{text}");
    }
}

#[test]
fn signals_reach_the_command() {
    for signal in ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2"] {
        let script =
            format!("trap 'echo got; exit 5' {signal}; echo ready; while :; do sleep 0.01; done");
        let mut running = Running::start(run(&script));
        assert_eq!(running.line(), "ready");
        running.signal(signal);
        let (code, rest, errors) = running.end();
        assert_eq!(
            (code, rest.as_str()),
            (Some(5), "got\n"),
            "{signal}: {errors}"
        );
    }
}

#[test]
fn a_signal_ends_a_command_that_has_no_handler() {
    let mut running = Running::start(run("echo ready; exec sleep 1000"));
    assert_eq!(running.line(), "ready");
    running.signal("TERM");
    assert_eq!(running.end().0, Some(143));
}

#[test]
fn what_was_ignored_stays_ignored() {
    let lockctl = env!("CARGO_BIN_EXE_lockctl");
    let mut command = Command::new("sh");
    command.args([
        "-c",
        &format!(
            "trap '' HUP; exec {lockctl} --url memory: run a -- sh -c 'echo ready; exec sleep 1000'"
        ),
    ]);
    let mut running = Running::start(command);
    assert_eq!(running.line(), "ready");
    running.signal("HUP");
    running.signal("TERM");
    assert_eq!(running.end().0, Some(143), "the first one did nothing");
}

#[test]
fn a_command_that_is_stopped_is_continued_through_lockctl() {
    let mut command = run("echo $$; read line; echo on");
    command.stdin(Stdio::piped());
    let mut running = Running::start(command);
    let command = running.number();
    running.signal("TSTP");
    // It has no terminal, so that lockctl itself goes on, and keeps the lock.
    eventually("it stops", || state(command) == Some('T'));
    assert_ne!(state(running.pid()), Some('T'));
    running.signal("CONT");
    drop(running.child.stdin.take());
    assert_eq!(running.line(), "on");
    assert_eq!(running.end().0, Some(0));
}

/// A script whose background process takes no notice of SIGTERM. It tells its own process first,
/// and the other when that is deaf.
const STUBBORN: &str = "\
    echo $$; \
    sh -c 'trap \"\" TERM HUP INT; echo $$; while :; do sleep 0.01; done' & \
    exec sleep 1000";

#[test]
fn what_the_command_leaves_running_is_ended() {
    let mut running = Running::start(run("sleep 1000 & echo $!; exit 3"));
    let left = running.number();
    let (code, _, errors) = running.end();
    assert_eq!(code, Some(3), "that of the command: {errors}");
    assert!(!is_alive(left));
    assert!(errors.contains("left running"), "{errors}");
}

#[test]
fn a_group_that_ignores_sigterm_is_killed() {
    let mut running = Running::start(run(STUBBORN));
    let (one, other) = (running.number(), running.number());
    assert!(is_alive(one) && is_alive(other));
    running.signal("TERM");
    let (code, ..) = running.end();
    assert_eq!(code, Some(143));
    assert!(!is_alive(one) && !is_alive(other));
}

#[test]
fn the_group_ends_when_lockctl_is_killed() {
    let mut running = Running::start(run(STUBBORN));
    let (one, other) = (running.number(), running.number());
    let mut warden_of = warden(running.pid());
    let warden = warden_of.take().expect("a warden watches");
    running.signal("KILL");
    running.child.wait().unwrap();
    eventually("the group ends", || !is_alive(one) && !is_alive(other));
    eventually("the warden leaves", || !is_alive(warden));
}

#[test]
fn a_stopped_group_ends_when_lockctl_is_killed() {
    let mut running = Running::start(run(
        "sh -c 'echo $$; kill -STOP $$' & echo $$; kill -STOP $$",
    ));
    let (one, other) = (running.number(), running.number());
    eventually("both stop", || {
        state(one) == Some('T') && state(other) == Some('T')
    });
    running.signal("KILL");
    running.child.wait().unwrap();
    eventually("the group ends", || !is_alive(one) && !is_alive(other));
}

#[test]
fn the_command_dies_with_lockctl_even_without_a_warden() {
    let mut running = Running::start(run("echo $$; exec sleep 1000"));
    let command = running.number();
    // Both at the same time, as far as they can see.
    running.signal("STOP");
    signal_to(warden(running.pid()).unwrap(), "KILL");
    running.signal("KILL");
    running.child.wait().unwrap();
    eventually("it dies", || !is_alive(command));
}

#[test]
fn a_warden_that_dies_is_replaced() {
    let mut running = Running::start(run("echo $$; exec sleep 1000"));
    let command = running.number();
    let first = warden(running.pid()).unwrap();
    signal_to(first, "KILL");
    let mut second = None;
    eventually("another watches", || {
        second = warden(running.pid()).filter(|next| *next != first && is_deaf(*next));
        second.is_some()
    });
    assert!(is_alive(command));
    // Whoever kills them one after the other means it: then nothing runs unwatched.
    eventually("lockctl gives up", || {
        if let Some(next) = warden(running.pid()).filter(|next| is_deaf(*next)) {
            signal_to(next, "KILL");
        }
        !is_alive(running.pid())
    });
    let (code, _, errors) = running.end();
    assert_eq!(code, Some(71), "{errors}");
    assert!(errors.contains("wardens are killed"), "{errors}");
    assert!(!is_alive(command));
}

#[test]
fn the_warden_is_deaf_and_in_a_session_of_its_own() {
    let mut command = run("echo $$; read line");
    command.stdin(Stdio::piped());
    let mut running = Running::start(command);
    let _command = running.number();
    let warden = warden(running.pid()).unwrap();
    assert!(is_deaf(warden));
    let stat = fs::read_to_string(format!("/proc/{warden}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    assert_eq!(fields[3], warden.to_string(), "it leads its session");
    let line = fs::read(format!("/proc/{warden}/cmdline")).unwrap();
    assert_eq!(line, b"lockctl\0__warden\0", "no URL for all to see");
    drop(running.child.stdin.take());
    running.end();
    assert!(!is_alive(warden), "and it leaves with lockctl");
}

/// Whether a process blocks SIGTERM.
fn is_deaf(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << 14) != 0)
}
