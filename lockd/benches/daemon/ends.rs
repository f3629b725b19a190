//! From the end of a holder, or of its lease, to the grant of the next.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use lock_runtime::wire::{Encoding, ToClient};

use crate::handing_over::settle;
use crate::link::{AT_ONCE, IN_TURN, Link, Request, Terms};
use crate::program::{Program, this_program};
use crate::report::{at, line, median, micros, title};

const ENCODING: Encoding = Encoding::Postcard;

/// How many processes are killed.
const DEATHS: usize = 200;

/// How many leases end at a time, and how often.
const LEASES: u64 = 10;
const ROUNDS: usize = 20;

/// Holds a lock until it is killed.
pub(crate) fn hold(socket: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut link = Link::to_daemon(socket, ENCODING).await;
        link.acquire(&Request::new(ENCODING, 1, "held", AT_ONCE))
            .await;
        println!("held");
        std::io::stdout().flush().expect("written");
        // Who killed it does not come back; who forgot it is waited for no longer than this.
        tokio::time::sleep(Duration::from_secs(60)).await;
    });
}

/// How long after the death of its holder a lock is granted to the next.
pub(crate) async fn deaths() {
    title("kill -9 of a holder to the grant of the next");
    let daemon = Program::daemon(&[]);
    let mut next = Link::to_daemon(&daemon.socket(), ENCODING).await;
    let request = Request::new(ENCODING, 2, "held", IN_TURN);
    let mut times = Vec::new();
    for _ in 0..DEATHS {
        let mut command = this_program();
        command.arg("--hold").arg(daemon.socket());
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut said = String::new();
        let out = child.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut said).expect("text");
        next.send(&request.acquire).await;
        settle(&mut next).await;
        let begun = Instant::now();
        child.kill().expect("it lives");
        next.is_granted().await;
        times.push(micros(begun.elapsed()));
        child.wait().expect("it has ended");
        next.send(&request.release).await;
        next.hear(|_| ()).await;
    }
    let figure = format!("{:.0} µs, p99 {:.0} µs", median(&times), at(&times, 99));
    line(
        &format!("{DEATHS} deaths"),
        &figure,
        "target p99 ≤ 1,000 µs; moonshot 150 µs median",
    );
}

/// How long after the end of a lease the next is granted. A lease begins between its request and
/// its answer: half-way, it is assumed.
pub(crate) async fn expiries() {
    title("end of a lease to the grant of the next");
    let daemon = Program::daemon(&[]);
    let terms = Terms {
        ttl_ms: 100,
        wait_ms: 0,
    };
    let mut holder = Link::to_daemon(&daemon.socket(), ENCODING).await;
    let mut next = Link::to_daemon(&daemon.socket(), ENCODING).await;
    let mut late = Vec::new();
    for _ in 0..ROUNDS {
        let mut ends = Vec::new();
        for lease in 0..LEASES {
            let name = format!("lease:{lease}");
            let held = Request::new(ENCODING, lease, &name, terms);
            let wanted = Request::new(ENCODING, lease, &name, IN_TURN);
            let begun = Instant::now();
            holder.acquire(&held).await;
            ends.push(begun + begun.elapsed() / 2 + Duration::from_millis(terms.ttl_ms));
            next.send(&wanted.acquire).await;
            settle(&mut next).await;
            // Not all at one moment.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let mut granted = 0;
        while granted < LEASES {
            let mut ids = Vec::new();
            next.hear(|frame| match ENCODING.read(frame).expect("a message") {
                ToClient::Granted { id, .. } => ids.push(id),
                other => panic!("something else was said: {other:?}"),
            })
            .await;
            let now = Instant::now();
            for id in ids {
                let end = ends[usize::try_from(id).expect("few")];
                late.push(micros(now.saturating_duration_since(end)));
                granted += 1;
            }
        }
        // Everything anew: grants that are not claimed end by themselves, later.
        holder = Link::to_daemon(&daemon.socket(), ENCODING).await;
        next = Link::to_daemon(&daemon.socket(), ENCODING).await;
        let mut operator = Link::to_daemon(&daemon.socket(), ENCODING).await;
        for lease in 0..LEASES {
            force_release(&mut operator, &format!("lease:{lease}")).await;
        }
    }
    let figure = format!(
        "late by {:.0} µs, p99 {:.0} µs",
        median(&late),
        at(&late, 99)
    );
    line(
        &format!("{} leases", late.len()),
        &figure,
        "moonshot p99 ≤ 500 µs",
    );
}

async fn force_release(link: &mut Link, name: &str) {
    let mut bytes = Vec::new();
    let message = lock_runtime::wire::ToDaemon::ForceRelease {
        id: 1,
        name: name.into(),
        namespace: "".into(),
    };
    ENCODING.write(&message, &mut bytes);
    link.send(&bytes).await;
    link.hear(|_| ()).await;
}
