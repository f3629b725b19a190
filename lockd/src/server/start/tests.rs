use std::fs::{self, File};

use super::*;

struct Place {
    base: tempfile::TempDir,
    folder: File,
}

impl Place {
    fn new() -> Self {
        let base = tempfile::tempdir().expect("a folder");
        let folder = File::open(base.path()).expect("it opens");
        Self { base, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.base.path().canonicalize().expect("there").join(name)
    }

    fn socket(&self) -> LockFile {
        let path = self.path("l.sock.lock");
        LockFile::take(&self.folder, &path, ("the socket", &path)).expect("free")
    }

    fn state(&self, name: &str) -> StateFile {
        StateFile::open(&self.path(name)).expect("free")
    }

    fn run(&self, name: &str, boot: &str) -> Ran {
        Ran {
            boot: boot.to_owned(),
            state: text_of(&self.path(name)).expect("text"),
            pid_namespace: "pid:[1]".to_owned(),
        }
    }

    /// As a start decides with this state in this boot.
    fn decide(&self, name: &str, boot: &str, reset: bool) -> Result<Saved, ServerError> {
        let state = self.state(name);
        saved(&self.socket(), &state, &self.run(name, boot), reset)
    }
}

fn refused(decided: Result<Saved, ServerError>) -> String {
    let error = decided.expect_err("it should be refused");
    assert!(matches!(error, ServerError::StateMissing(_)), "{error}");
    assert!(error.to_string().contains("--reset-state"), "{error}");
    error.to_string()
}

#[test]
fn the_first_start_begins_with_nothing() {
    let place = Place::new();
    let decided = place.decide("s", "b", false).expect("nothing is missing");
    assert_eq!(decided, Saved::Nothing);
    // A start that was cut short before anything was given away leaves no trace.
    let decided = place.decide("s", "b", false).expect("nothing is missing");
    assert_eq!(decided, Saved::Nothing);
}

#[test]
fn a_state_is_gone_on_from() {
    let place = Place::new();
    place.state("s").write(b"text").expect("written");
    for boot in ["b", "c"] {
        let decided = place.decide("s", boot, false).expect("it is there");
        assert_eq!(decided, Saved::Text(b"text".to_vec()));
        let run = place.run("s", boot);
        place.socket().note_run(run.clone()).expect("noted");
        place.state("s").note_run(run).expect("noted");
    }
}

#[test]
fn a_state_that_is_missing_after_a_run_in_this_boot_stops_the_start() {
    for by_socket in [true, false] {
        let place = Place::new();
        let run = place.run("s", "b");
        if by_socket {
            place.socket().note_run(run).expect("noted");
        } else {
            place.state("s").note_run(run).expect("noted");
        }
        let error = refused(place.decide("s", "b", false));
        assert!(error.contains("is missing"), "{error}");
        let decided = place
            .decide("s", "c", false)
            .expect("nobody holds anything");
        assert_eq!(decided, Saved::Nothing);
        let decided = place.decide("s", "b", true).expect("the operator says so");
        assert_eq!(decided, Saved::Nothing);
    }
}

#[test]
fn another_state_than_that_of_the_last_run_stops_the_start() {
    let place = Place::new();
    place.socket().note_run(place.run("s", "b")).expect("noted");
    place.state("other").write(b"text").expect("written");
    let error = refused(place.decide("other", "b", false));
    assert!(error.contains("kept its state in"), "{error}");
    place
        .decide("other", "c", false)
        .expect("after a reboot it does not matter");
}

#[test]
fn a_reset_keeps_what_was_there_for_people_to_look_at() {
    let place = Place::new();
    place.state("s").write(b"text").expect("written");
    let decided = place.decide("s", "b", true).expect("the operator says so");
    assert_eq!(decided, Saved::Nothing);
    assert_eq!(fs::read(place.path("s.old")).expect("there"), b"text");
}

#[test]
fn a_folder_of_states_has_one_for_each_socket() {
    let base = tempfile::tempdir().expect("a folder");
    let folder = base.path().join("deep").join("lockd");
    let place = StatePlace::Folder(folder.clone());
    let one = state_path(&place, Path::new("/run/a/l.sock")).expect("made");
    let other = state_path(&place, Path::new("/run/b/l.sock")).expect("made");
    assert_ne!(one, other);
    assert_eq!(one, folder.join("run-a-l.sock.state"));
    StateFile::open(&one).expect("the folder is fine");
}

#[test]
fn this_boot_has_an_id() {
    assert_eq!(boot_id().expect("there").len(), 36);
}
