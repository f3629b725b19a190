//! From the release of a lock to the grant of the next.

use std::time::{Duration, Instant};

use lock_runtime::wire::Encoding;

use crate::link::{IN_TURN, Link, Request};
use crate::program::Program;
use crate::report::{RUNS, at, line, median, micros, title};
use crate::throughput::RUN;

/// Two clients hand one lock to each other. The round trip of an acquire is given, in
/// microseconds.
pub(crate) async fn measure(round_trip: f64) {
    title("hand-over between two clients that wait for one name");
    let daemon = Program::daemon(&[]);
    let encoding = Encoding::Postcard;
    let mut holder = Link::to_daemon(&daemon.socket(), encoding).await;
    let mut next = Link::to_daemon(&daemon.socket(), encoding).await;
    let mut of_holder = Request::new(encoding, 1, "turn", IN_TURN);
    let mut of_next = Request::new(encoding, 2, "turn", IN_TURN);
    holder.acquire(&of_holder).await;
    let (mut medians, mut worst, mut turns) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let (mut grants, mut claims) = (Vec::new(), Vec::new());
        let begun = Instant::now();
        while begun.elapsed() < RUN {
            next.send(&of_next.acquire).await;
            settle(&mut next).await;
            let begun = Instant::now();
            holder.send(&of_holder.release).await;
            next.is_granted().await;
            grants.push(micros(begun.elapsed()));
            next.send(&of_next.claim).await;
            next.hear(|_| ()).await;
            claims.push(micros(begun.elapsed()));
            holder.hear(|_| ()).await;
            std::mem::swap(&mut holder, &mut next);
            std::mem::swap(&mut of_holder, &mut of_next);
        }
        medians.push(median(&grants));
        worst.push(at(&grants, 99));
        turns.push(median(&claims));
    }
    let (middle, worst) = (median(&medians), median(&worst));
    let figure = format!(
        "{middle:.1} µs, p99 {worst:.1} µs; {:.2} round trips",
        middle / round_trip
    );
    line(
        "release sent to grant heard",
        &figure,
        "target ≤ 2 round trips",
    );
    let turn = median(&turns);
    let figure = format!("{turn:.1} µs; {:.2} round trips", turn / round_trip);
    line("release sent to claim answered", &figure, "");
}

/// Waits until the daemon has heard everything that was sent before.
pub(crate) async fn settle(link: &mut Link) {
    let mut ping = Vec::new();
    let message = lock_runtime::wire::ToDaemon::Ping { id: u64::MAX };
    Encoding::Postcard.write(&message, &mut ping);
    link.send(&ping).await;
    let heard = tokio::time::timeout(Duration::from_secs(10), link.hear(|_| ()));
    heard.await.expect("it answers");
}
