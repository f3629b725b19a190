use std::fs;

use super::*;

fn take(folder: &Path) -> Result<LockFile, ServerError> {
    let opened = super::super::folder::prepare(folder)?;
    LockFile::take(
        &opened,
        &folder.join("x.lock"),
        ("the thing", &folder.join("x")),
    )
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// A child that another test starts has every descriptor until it begins: a lock that was given
/// back is free a moment later.
fn take_when_free(folder: &std::path::Path) -> LockFile {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        match take(folder) {
            Ok(file) => return file,
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
        std::thread::yield_now();
    }
}

#[test]
fn one_at_a_time_has_it_and_the_second_learns_who() {
    let base = folder();
    let first = take(base.path()).expect("it is free");
    let error = take(base.path()).expect_err("it is not");
    let expected = format!("is in use by process {}", std::process::id());
    assert!(error.to_string().contains(&expected), "{error}");
    drop(first);
    take_when_free(base.path());
    assert!(base.path().join("x.lock").exists(), "it is never removed");
}

#[test]
fn what_is_noted_is_known_to_the_next_also_when_it_is_shorter() {
    let base = folder();
    let ran = |state: &str| Ran {
        boot: "b".to_owned(),
        state: state.to_owned(),
        pid_namespace: String::new(),
    };
    for state in ["a", "longer than before", "b"] {
        let mut file = take_when_free(base.path());
        file.note_run(ran(state)).expect("noted");
        drop(file);
        let file = take_when_free(base.path());
        assert_eq!(file.ran(), Some(&ran(state)));
    }
}

#[test]
fn a_link_and_a_foreign_text_are_refused() {
    let base = folder();
    let elsewhere = base.path().join("elsewhere");
    fs::write(&elsewhere, "precious").expect("written");
    std::os::unix::fs::symlink(&elsewhere, base.path().join("x.lock")).expect("linked");
    take(base.path()).expect_err("a link");
    assert_eq!(fs::read_to_string(&elsewhere).expect("there"), "precious");

    fs::remove_file(base.path().join("x.lock")).expect("removed");
    fs::write(base.path().join("x.lock"), "something else").expect("written");
    let error = take(base.path()).expect_err("a foreign text");
    assert!(
        error.to_string().contains("could not lock the file"),
        "{error}"
    );
    let text = fs::read_to_string(base.path().join("x.lock")).expect("there");
    assert_eq!(text, "something else", "it stays as it is");
}
