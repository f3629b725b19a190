use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn refused(path: &Path) -> String {
    prepare(path)
        .expect_err("a folder that is not safe")
        .to_string()
}

#[test]
fn a_missing_folder_is_made_for_us_alone_but_not_those_above() {
    let base = tempfile::tempdir().expect("a folder");
    let folder = base.path().join("new");
    prepare(&folder).expect("made");
    let mode = fs::metadata(&folder).expect("there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
    prepare(&folder).expect("it is there already");

    let deep = base.path().join("a").join("b");
    assert!(refused(&deep).contains("the one above it does not exist"));
    assert!(!base.path().join("a").exists());
}

#[test]
fn a_folder_that_others_may_write_is_refused_also_when_it_is_sticky() {
    let base = tempfile::tempdir().expect("a folder");
    let folder = base.path().join("open");
    fs::create_dir(&folder).expect("made");
    for mode in [0o720, 0o702, 0o777, 0o1777] {
        fs::set_permissions(&folder, Permissions::from_mode(mode)).expect("changed");
        let error = refused(&folder);
        assert!(error.contains(&format!("mode {mode:04o}")), "{error}");
    }
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).expect("changed");
    prepare(&folder).expect("others may look");
}

#[test]
fn a_link_and_a_file_are_refused() {
    let base = tempfile::tempdir().expect("a folder");
    let folder = base.path().join("real");
    fs::create_dir(&folder).expect("made");
    let link = base.path().join("link");
    symlink(&folder, &link).expect("linked");
    assert!(refused(&link).contains("symbolic link"));

    let file = base.path().join("file");
    fs::write(&file, "").expect("written");
    assert!(refused(&file).contains("not a folder"));
}

#[test]
fn a_folder_of_another_user_is_refused() {
    // Only root can give a folder away; for others, root's own folders are fine, and every
    // other user's is not ours to make.
    if !rustix::process::geteuid().is_root() {
        prepare(Path::new("/usr")).expect("root's is fine");
        return;
    }
    let base = tempfile::tempdir().expect("a folder");
    let folder = base.path().join("theirs");
    fs::create_dir(&folder).expect("made");
    std::os::unix::fs::chown(&folder, Some(4242), None).expect("given away");
    assert!(refused(&folder).contains("belongs to user 4242"));
}
