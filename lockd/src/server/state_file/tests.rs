use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn what_is_written_is_read_and_is_ours_alone() {
    let base = folder();
    let path = base.path().join("s.state");
    let file = StateFile::open(&path).expect("free");
    assert_eq!(file.read().expect("read"), None);
    file.write(b"one").expect("written");
    file.write(b"two").expect("written");
    assert_eq!(file.read().expect("read").as_deref(), Some(&b"two"[..]));
    let mode = fs::metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert!(!base.path().join("s.state.new").exists());
}

#[test]
fn two_daemons_never_share_a_state() {
    let base = folder();
    let path = base.path().join("s.state");
    let _first = StateFile::open(&path).expect("free");
    let error = StateFile::open(&path).expect_err("taken").to_string();
    assert!(error.contains("the state file"), "{error}");
    assert!(error.contains("in use by process"), "{error}");
}

#[test]
fn what_a_killed_process_left_does_no_harm() {
    let base = folder();
    let file = StateFile::open(&base.path().join("s.state")).expect("free");
    file.write(b"good").expect("written");
    // Killed in the middle of writing; and somebody's link is not followed.
    fs::write(base.path().join("s.state.new"), "ha").expect("written");
    assert_eq!(file.read().expect("read").as_deref(), Some(&b"good"[..]));
    file.write(b"better").expect("written");

    let elsewhere = base.path().join("elsewhere");
    fs::write(&elsewhere, "precious").expect("written");
    std::os::unix::fs::symlink(&elsewhere, base.path().join("s.state.new")).expect("linked");
    file.write(b"best").expect("written");
    assert_eq!(fs::read_to_string(&elsewhere).expect("there"), "precious");
    assert_eq!(file.read().expect("read").as_deref(), Some(&b"best"[..]));
}

#[test]
fn a_write_that_fails_leaves_what_was_there() {
    let base = folder();
    let file = StateFile::open(&base.path().join("s.state")).expect("free");
    file.write(b"good").expect("written");
    // Works for root too: a folder that is not empty cannot be unlinked.
    fs::create_dir_all(base.path().join("s.state.new/x")).expect("made");
    file.write(b"bad").expect_err("in the way");
    assert_eq!(file.read().expect("read").as_deref(), Some(&b"good"[..]));
}

#[test]
fn what_is_no_file_is_not_read_as_nothing() {
    let base = folder();
    let path = base.path().join("s.state");
    fs::create_dir(&path).expect("made");
    let file = StateFile::open(&path).expect("free");
    assert!(matches!(
        file.read(),
        Err(ServerError::StateUnreadable { .. })
    ));
    fs::remove_dir(&path).expect("removed");
    std::os::unix::fs::symlink("/dev/null", &path).expect("linked");
    assert!(matches!(
        file.read(),
        Err(ServerError::StateUnreadable { .. })
    ));
}

#[test]
fn what_is_set_aside_is_not_lost() {
    let base = folder();
    let file = StateFile::open(&base.path().join("s.state")).expect("free");
    assert_eq!(file.set_aside().expect("nothing there"), None);
    file.write(b"good").expect("written");
    let aside = file.set_aside().expect("moved").expect("something");
    assert_eq!(fs::read(aside).expect("there"), b"good");
    assert_eq!(file.read().expect("read"), None);
}

#[test]
fn different_sockets_have_different_names_of_states() {
    let sockets = [
        "/a/b",
        "/a-b",
        "/a/-b",
        "/a-/b",
        "/a~db",
        "/a~b",
        "/a~tdb",
        "/a-d/b",
        "/a/b.state",
    ];
    let names: std::collections::BTreeSet<_> = sockets
        .iter()
        .map(|socket| name_for(Path::new(socket)))
        .collect();
    assert_eq!(names.len(), sockets.len());
    assert_eq!(
        name_for(Path::new("/run/lockd/lockd.sock")),
        Path::new("run-lockd-lockd.sock.state")
    );
    let longest = format!("/{}", "-".repeat(106));
    assert!(name_for(Path::new(&longest)).as_os_str().len() + 5 <= 255);
}
