use std::os::unix::net::UnixStream;
use std::process::Command;

use super::*;

#[test]
fn the_start_time_is_found_behind_any_name() {
    let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 987654 20 21\n";
    for name in ["sh", "a b", "a) S 1 (b", ")", "((", "", "\u{fffd}) R 9"] {
        let stat = format!("42 ({name}) {rest}");
        assert_eq!(parse_start_time(stat.as_bytes()), Some(987_654), "{name}");
    }
    let mut broken = b"42 (\xff\xfe) ".to_vec();
    broken.extend_from_slice(rest.as_bytes());
    assert_eq!(parse_start_time(&broken), Some(987_654));
    for stat in [
        "",
        "42",
        "42 (sh",
        "42 (sh) S 1 2",
        "42 (sh) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 x 20",
    ] {
        assert_eq!(parse_start_time(stat.as_bytes()), None, "{stat}");
    }
}

#[test]
fn our_own_process_is_at_the_other_end_of_a_pair() {
    let (one, _other) = UnixStream::pair().expect("a pair");
    let pid = std::process::id();
    let (process, descriptor) = of_connection(&one, pid).expect("it is known");
    assert_eq!(process.pid, pid);
    assert_eq!(process.started, start_time(pid).expect("shown"));
    assert!(!has_ended(&descriptor));
    assert!(of_connection(&one, 0).is_none(), "another pid namespace");
}

#[test]
fn the_ways_to_find_a_process_agree() {
    let (one, _other) = UnixStream::pair().expect("a pair");
    let pid = std::process::id();
    let by_socket = of_connection(&one, pid).expect("it is known").0;
    let by_number = find(pid).expect("it can be told").expect("it lives").0;
    assert_eq!(by_socket, by_number);
}

#[test]
fn a_process_is_found_again_while_it_lives_and_not_afterwards() {
    let mut child = Command::new("sleep").arg("1000").spawn().expect("a child");
    let (process, descriptor) = find(child.id()).expect("it can be told").expect("it lives");
    assert!(!has_ended(&descriptor));
    assert!(find_again(process).expect("it can be told").is_some());
    let earlier = Process {
        started: process.started - 1,
        ..process
    };
    assert!(
        find_again(earlier).expect("it can be told").is_none(),
        "another one had its number before"
    );
    child.kill().expect("killed");
    // It is not waited for: what is left of it still has its number.
    let mut polled = [PollFd::new(&descriptor, PollFlags::IN)];
    poll(&mut polled, None).expect("it ends");
    assert!(find_again(process).expect("it can be told").is_none());
    child.wait().expect("waited for");
    assert!(find_again(process).expect("it can be told").is_none());
}
