//! What connections and locks take of the daemon's memory.

use lock_runtime::wire::{Encoding, ToClient};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::link::{AT_ONCE, Link, Request};
use crate::program::Program;
use crate::report::{line, title};

const CONNECTIONS: u64 = 10_000;
const LOCKS: u64 = 1_000_000;
const ENCODING: Encoding = Encoding::Postcard;

pub(crate) async fn connections() {
    title("memory of the daemon");
    let most = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: most,
        maximum: most,
    };
    setrlimit(Resource::Nofile, limit).expect("up to the hard limit");
    let number = most.map_or(CONNECTIONS, |most| {
        CONNECTIONS.min(most.saturating_sub(200))
    });
    let daemon = Program::daemon(&[
        "--max-connections",
        "20000",
        "--max-connections-per-process",
        "20000",
    ]);
    let before = daemon.resident();
    let mut links = Vec::new();
    for _ in 0..number {
        links.push(Link::to_daemon(&daemon.socket(), ENCODING).await);
    }
    let each = (daemon.resident() - before) / number;
    let figure = format!("{each} bytes each");
    line(
        &format!("{number} idle connections"),
        &figure,
        "target ≤ 20,000",
    );
}

pub(crate) async fn locks() {
    let daemon = Program::daemon(&["--max-locks", "2000000"]);
    let mut link = Link::to_daemon(&daemon.socket(), ENCODING).await;
    let before = daemon.resident();
    let mut number = 0;
    while number < LOCKS {
        let mut out = Vec::new();
        for _ in 0..1_000 {
            let name = format!("task:{number}");
            out.extend(Request::new(ENCODING, number, &name, AT_ONCE).acquire);
            number += 1;
        }
        link.send(&out).await;
        let mut granted = 0;
        while granted < 1_000 {
            link.hear(|frame| match ENCODING.read(frame).expect("a message") {
                ToClient::Granted { .. } => granted += 1,
                other => panic!("something else was said: {other:?}"),
            })
            .await;
        }
    }
    let each = (daemon.resident() - before) / LOCKS;
    let figure = format!("{each} bytes each");
    line(&format!("{LOCKS} held locks"), &figure, "target ≤ 300");
}
