//! Who is there, and who is not.

use std::io;

use super::daemon::{Peer, folder, leave_behind};
use super::*;
use crate::backend::lockd::fault::{self, Place};
use crate::wire::{Encoding, ErrorCode, VERSION, Welcome};

/// What connecting to a daemon that greets like this comes to.
fn refusal(greet: impl FnOnce(&mut Peer)) -> String {
    let (runtime, daemon) = (runtime(), Daemon::start());
    let url = format!("unix:{}", daemon.path().display());
    let connecting = runtime.spawn(async move { LockManager::connect(&url).await });
    let mut peer = daemon.accept_silently();
    peer.hear_greeting();
    greet(&mut peer);
    let connected = runtime.block_on(connecting).unwrap();
    connected.unwrap_err().to_string()
}

/// What connecting to a path comes to.
fn failure(path: &std::path::Path) -> String {
    let url = format!("unix:{}", path.display());
    let connected = runtime().block_on(LockManager::connect(&url));
    connected.unwrap_err().to_string()
}

#[test]
fn a_path_without_a_daemon_says_what_to_do() {
    let folder = folder();
    let text = failure(&folder.join("lockd.sock"));
    assert!(
        text.contains("no socket") && text.contains("start lockd"),
        "{text}"
    );

    let file = folder.join("file");
    std::fs::write(&file, "").unwrap();
    let text = failure(&file);
    assert!(text.contains("not a socket"), "{text}");

    let stale = folder.join("stale");
    leave_behind(&stale);
    let text = failure(&stale);
    assert!(
        text.contains("nobody listens") && text.contains("start lockd"),
        "{text}"
    );

    let text = failure(&folder.join("x".repeat(108)));
    assert!(text.contains("107 bytes"), "{text}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_socket_that_may_not_be_used_says_so() {
    let place = Place::new("/run/lo\u{1b}ckd.sock".into());
    let denied = io::Error::from(io::ErrorKind::PermissionDenied);
    let text = fault::no_connection(&place, denied).to_string();
    assert!(text.contains("no permission"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn a_greeting_that_is_refused_is_an_error() {
    let text = refusal(|peer| {
        peer.say(&ToClient::Error {
            id: None,
            code: ErrorCode::Forbidden,
            message: "only users of the group \x1b[31mlocks".into(),
        });
    });
    assert!(text.contains("does not serve this process"), "{text}");
    assert!(text.contains("group") && !text.contains('\x1b'), "{text:?}");

    let text = refusal(|peer| {
        peer.say(&ToClient::Hello(Welcome {
            version: VERSION + 1,
            server: "lockd of tomorrow".into(),
            encoding: Encoding::Json,
            resumed: false,
            recovering_ms: None,
        }));
    });
    assert!(text.contains("update the older"), "{text}");

    let text = refusal(|peer| peer.say_bytes(b"HTTP/1.1 400 Bad Request\r\n"));
    assert!(text.contains("does not speak lockd's protocol"), "{text}");
    let text = refusal(|peer| peer.say(&ToClient::Pong { id: 1 }));
    assert!(text.contains("instead of a greeting"), "{text}");
    let text = refusal(|peer| peer.say_bytes(&[b'x'; crate::wire::MAX_HELLO]));
    assert!(text.contains("does not speak lockd's protocol"), "{text}");
}

#[test]
fn who_hangs_up_without_a_greeting_is_no_daemon() {
    let (runtime, daemon) = (runtime(), Daemon::start());
    let url = format!("unix:{}", daemon.path().display());
    let connecting = runtime.spawn(async move { LockManager::connect(&url).await });
    let mut peer = daemon.accept_silently();
    peer.hear_greeting();
    drop(peer);
    let text = runtime
        .block_on(connecting)
        .unwrap()
        .unwrap_err()
        .to_string();
    assert!(text.contains("without a word"), "{text}");
}

#[test]
fn who_says_nothing_is_told_apart() {
    let (runtime, daemon) = (runtime(), Daemon::start());
    let url = format!("unix:{}", daemon.path().display());
    let connecting = runtime.spawn(async move { LockManager::connect(&url).await });
    let _silent = daemon.accept_silently();
    let text = runtime
        .block_on(connecting)
        .unwrap()
        .unwrap_err()
        .to_string();
    assert!(text.contains("has not answered the greeting"), "{text}");
}

#[test]
fn the_greeting_says_who_it_is() {
    let (stage, peer) = Stage::set();
    let greeting = peer.greeting.unwrap();
    assert_eq!(greeting.version, VERSION);
    assert_eq!(greeting.application, "kanban");
    assert_eq!(greeting.host, crate::owner::host_name());
    assert_eq!(greeting.encoding, Encoding::Postcard);
    assert!(greeting.session.is_some());
    drop(stage);
}

#[test]
fn a_manager_by_url_hands_its_application_on() {
    let (runtime, daemon) = (runtime(), Daemon::start());
    let builder = LockManager::builder()
        .application("chess")
        .url(format!("unix:{}", daemon.path().display()));
    let connecting = runtime.spawn(builder.connect());
    let peer = daemon.accept(false);
    let manager = runtime.block_on(connecting).unwrap().unwrap();
    assert_eq!(peer.greeting.unwrap().application, "chess");
    assert!(manager.capabilities().queue && !manager.capabilities().embedded);
}

#[test]
fn the_daemon_chooses_the_encoding() {
    let (runtime, daemon) = (runtime(), Daemon::start());
    let url = format!("unix:{}", daemon.path().display());
    let connecting = runtime.spawn(async move { LockManager::connect(&url).await });
    let mut peer = daemon.accept_silently();
    peer.hear_greeting();
    peer.welcome(Encoding::Json, false);
    let manager = runtime.block_on(connecting).unwrap().unwrap();
    let looking = runtime.spawn(async move { manager.lock("a").is_locked().await });
    let id = id_of!(peer, Inspect);
    peer.say(&ToClient::Lock {
        id,
        lock: requests::free("a"),
    });
    assert!(!runtime.block_on(looking).unwrap().unwrap());
}
