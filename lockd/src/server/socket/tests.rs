use std::fs::Permissions;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;

use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn at(path: &Path) -> SocketSource {
    with_mode(path, 0o600)
}

fn with_mode(path: &Path, mode: u32) -> SocketSource {
    SocketSource::Path {
        path: path.to_path_buf(),
        mode,
        group: None,
    }
}

fn take(path: &Path) -> Result<ListeningSocket, ServerError> {
    ListeningSocket::take(at(path))
}

#[track_caller]
fn refused(path: &Path) -> String {
    take(path).expect_err("it should be refused").to_string()
}

#[test]
fn a_socket_is_made_used_and_removed() {
    let base = folder();
    let path = base.path().join("run").join("l.sock");
    let socket = take(&path).expect("free");
    UnixStream::connect(&path).expect_err("it does not listen yet");
    let (listener, place, lock) = socket.listen().expect("it listens");
    UnixStream::connect(&path).expect("it listens");
    drop(listener);
    drop(place);
    assert!(!path.exists(), "the socket is gone");
    assert!(lock.path().exists(), "its lock is not");
    drop(lock);
    take(&path).expect("it can be taken again");
}

#[test]
fn the_mode_is_exact_whatever_the_umask_is() {
    let base = folder();
    for mode in [0o600, 0o660, 0o666, 0o620] {
        let path = base.path().join("l.sock");
        let (_listener, _place, _lock) = ListeningSocket::take(with_mode(&path, mode))
            .expect("free")
            .listen()
            .expect("it listens");
        let found = path.symlink_metadata().expect("there");
        assert_eq!(found.mode() & 0o7777, mode);
    }
}

#[test]
fn the_group_is_changed() {
    let base = folder();
    let path = base.path().join("l.sock");
    // Root can give it to any group, others to their own.
    let group = if rustix::process::geteuid().is_root() {
        4242
    } else {
        rustix::process::getegid().as_raw()
    };
    let source = SocketSource::Path {
        path: path.clone(),
        mode: 0o660,
        group: Some(group),
    };
    let _socket = ListeningSocket::take(source).expect("free");
    let found = path.symlink_metadata().expect("there");
    assert_eq!((found.gid(), found.mode() & 0o7777), (group, 0o660));
}

#[test]
fn a_second_daemon_learns_who_has_it() {
    let base = folder();
    let path = base.path().join("l.sock");
    let first = take(&path).expect("free").listen().expect("it listens");
    let error = refused(&path);
    let expected = format!("in use by process {}", std::process::id());
    assert!(error.contains(&expected), "{error}");
    UnixStream::connect(&path).expect("the first one still listens");
    drop(first);
}

#[test]
fn a_stale_socket_is_replaced() {
    let base = folder();
    let path = base.path().join("l.sock");
    drop(UnixListener::bind(&path).expect("free"));
    assert!(path.exists(), "as a killed daemon leaves it");
    let socket = take(&path).expect("it is stale");
    let _listens = socket.listen().expect("it listens");
    UnixStream::connect(&path).expect("it listens");
}

#[test]
fn a_socket_that_somebody_listens_on_is_not_taken_over() {
    let base = folder();
    let path = base.path().join("l.sock");
    let _theirs = UnixListener::bind(&path).expect("free");
    let error = refused(&path);
    assert!(error.contains("in use by another process"), "{error}");
    UnixStream::connect(&path).expect("they still listen");
}

#[test]
fn what_is_no_socket_stays() {
    let base = folder();
    let file = base.path().join("file");
    fs::write(&file, "precious").expect("written");
    assert!(refused(&file).contains("not a socket"));
    assert_eq!(fs::read_to_string(&file).expect("there"), "precious");

    let link = base.path().join("link");
    symlink(&file, &link).expect("linked");
    assert!(refused(&link).contains("a symbolic link"));
    assert_eq!(fs::read_to_string(&file).expect("there"), "precious");

    let inner = base.path().join("inner");
    fs::create_dir(&inner).expect("made");
    assert!(refused(&inner).contains("a folder"));
}

#[test]
fn a_folder_that_is_not_safe_is_refused() {
    let base = folder();
    fs::set_permissions(base.path(), Permissions::from_mode(0o777)).expect("changed");
    assert!(refused(&base.path().join("l.sock")).contains("may be written by others"));
    assert!(!base.path().join("l.sock.lock").exists());
}

#[test]
fn paths_have_a_longest_length() {
    let base = folder();
    let room = LONGEST_PATH - base.path().as_os_str().len() - 1;
    let longest = base.path().join("s".repeat(room));
    let _socket = take(&longest).expect("it just fits");
    let error = refused(&base.path().join("s".repeat(room + 1)));
    assert!(error.contains("has 108 bytes"), "{error}");
    assert!(refused(Path::new("l.sock")).contains("not absolute"));
}

#[test]
fn a_socket_of_somebody_else_is_not_removed_at_the_end() {
    let base = folder();
    let path = base.path().join("l.sock");
    let (_listener, place, _lock) = take(&path).expect("free").listen().expect("it listens");
    fs::remove_file(&path).expect("removed by hand");
    let _theirs = UnixListener::bind(&path).expect("free");
    drop(place);
    UnixStream::connect(&path).expect("theirs is still there");
}

#[test]
fn a_lock_that_was_removed_by_hand_does_not_let_a_second_one_in() {
    let base = folder();
    let path = base.path().join("l.sock");
    let first = take(&path).expect("free").listen().expect("it listens");
    fs::remove_file(first.2.path()).expect("removed by hand");
    assert!(refused(&path).contains("in use"), "somebody listens there");
}

#[test]
fn a_passed_socket_is_neither_bound_nor_removed() {
    let base = folder();
    let path = base.path().join("l.sock");
    let theirs = UnixListener::bind(&path).expect("free");
    let passed = theirs.as_fd().try_clone_to_owned().expect("a duplicate");
    let socket = ListeningSocket::take(SocketSource::Passed(passed)).expect("it is fine");
    assert_eq!(socket.path(), path);
    let (listener, place, lock) = socket.listen().expect("it listens");
    let _client = UnixStream::connect(&path).expect("it listens");
    listener.accept().expect("somebody is there");
    let another = theirs.as_fd().try_clone_to_owned().expect("a duplicate");
    ListeningSocket::take(SocketSource::Passed(another)).expect_err("one at a time");
    drop((listener, place, lock));
    UnixStream::connect(&path).expect("the service manager still listens");
}

#[test]
fn what_is_passed_has_to_listen_at_a_path() {
    let base = folder();
    let refused = |socket: OwnedFd| {
        ListeningSocket::take(SocketSource::Passed(socket))
            .expect_err("it should be refused")
            .to_string()
    };
    let (one, _other) = UnixStream::pair().expect("a pair");
    assert!(refused(one.into()).contains("a connection"));
    let datagram = UnixDatagram::bind(base.path().join("d")).expect("free");
    assert!(refused(datagram.into()).contains("no stream"));
    let network = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    assert!(refused(network.into()).contains("something else than a Unix socket"));
    let file = File::open("/dev/null").expect("there");
    assert!(refused(file.into()).contains("something else than a Unix socket"));

    use std::os::linux::net::SocketAddrExt;
    let name = format!("lockd-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name).expect("a name");
    let abstract_one = UnixListener::bind_addr(&address).expect("free");
    assert!(refused(abstract_one.into()).contains("without an absolute path"));
}
