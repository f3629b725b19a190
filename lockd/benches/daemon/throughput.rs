//! Round trips and pairs at the level of the protocol, and how much of the floor that is.

use std::time::{Duration, Instant};

use lock_runtime::wire::{Encoding, ToClient};

use crate::link::{AT_ONCE, Link, Request};
use crate::program::Program;
use crate::report::{RUNS, line, median, micros, title};

const ENCODINGS: [(Encoding, &str); 2] =
    [(Encoding::Postcard, "compact"), (Encoding::Json, "JSON")];

/// How long one run takes.
pub(crate) const RUN: Duration = Duration::from_millis(80);

/// One acquire, and one pair, with nothing else under way. Returns how long the compact one takes,
/// in microseconds.
pub(crate) async fn round_trips() -> f64 {
    title("round trip, one request under way (median of runs; floor: the same bytes echoed)");
    let (echo, daemon) = (Program::echo(), Program::daemon(&[]));
    let mut compact = f64::NAN;
    for (encoding, name) in ENCODINGS {
        let request = Request::new(encoding, 0, "task:4711", AT_ONCE);
        let mut floor = Link::to_echo(&echo.socket(), encoding).await;
        let mut link = Link::to_daemon(&daemon.socket(), encoding).await;
        let (mut floors, mut acquires, mut pairs) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let (acquire, release) = alternate(&mut floor, &request).await;
            let floor_pair = acquire + release;
            floors.push(acquire);
            let (acquire, release) = alternate(&mut link, &request).await;
            acquires.push((acquire, acquire / floors[floors.len() - 1]));
            pairs.push((acquire + release, (acquire + release) / floor_pair));
        }
        let both = |values: &[(f64, f64)]| {
            let (times, ratios): (Vec<f64>, Vec<f64>) = values.iter().copied().unzip();
            (median(&times), median(&ratios))
        };
        let (acquire, ratio) = both(&acquires);
        if encoding == Encoding::Postcard {
            compact = acquire;
        }
        let floor = median(&floors);
        let figure = format!("{acquire:.1} µs; floor {floor:.1} µs; × {ratio:.2}");
        line(&format!("acquire, {name}"), &figure, "target ≤ 1.30 ×");
        let (pair, ratio) = both(&pairs);
        let figure = format!("{pair:.1} µs; × {ratio:.2}");
        line(&format!("acquire and release, {name}"), &figure, "");
    }
    compact
}

/// The mean of either leg of a pair, in microseconds.
async fn alternate(link: &mut Link, request: &Request) -> (f64, f64) {
    let mut took = [Duration::ZERO; 2];
    let mut rounds = 0;
    let begun = Instant::now();
    while begun.elapsed() < RUN {
        for (leg, bytes) in [&request.acquire, &request.release].into_iter().enumerate() {
            let begun = Instant::now();
            link.send(bytes).await;
            link.hear(|_| ()).await;
            took[leg] += begun.elapsed();
        }
        rounds += 1;
    }
    let [acquire, release] = took.map(|took| micros(took) / f64::from(rounds));
    (acquire, release)
}

/// Pairs per second on one connection, with some of them under way at a time.
pub(crate) async fn pairs() {
    title(
        "pairs per second on one connection, release awaited (floor: half the frames echoed), and \
         the server's time on a processor",
    );
    let (echo, daemon) = (Program::echo(), Program::daemon(&[]));
    for (under_way, target) in [(1, "target ≥ 0.85"), (16, "target ≥ 0.50"), (256, "")] {
        let mut by_encoding = Vec::new();
        for (encoding, name) in ENCODINGS {
            let lanes: Vec<Request> = (0..under_way)
                .map(|lane| Request::new(encoding, lane, &format!("task:{lane}"), AT_ONCE))
                .collect();
            let mut floor = Link::to_echo(&echo.socket(), encoding).await;
            let mut link = Link::to_daemon(&daemon.socket(), encoding).await;
            let (mut rates, mut shares) = (Vec::new(), Vec::new());
            let (mut busy, mut busy_floor) = (Vec::new(), Vec::new());
            for _ in 0..RUNS {
                let before = echo.busy();
                let frames = echoed(&mut floor, &lanes).await;
                busy_floor.push(2.0 * micros(echo.busy() - before) / frames.number);
                let before = daemon.busy();
                let pairs = paired(&mut link, encoding, &lanes).await;
                busy.push(micros(daemon.busy() - before) / pairs.number);
                rates.push(pairs.rate());
                shares.push(pairs.rate() / (frames.rate() / 2.0));
            }
            let (rate, share) = (median(&rates), median(&shares));
            by_encoding.push(rate);
            let figure = format!(
                "{:.0} k/s; {share:.2} of the floor; {:.2} µs, floor {:.2} µs",
                rate / 1e3,
                median(&busy),
                median(&busy_floor),
            );
            line(&format!("{under_way} under way, {name}"), &figure, target);
        }
        let cost = 100.0 * (1.0 - by_encoding[1] / by_encoding[0]);
        line("", &format!("JSON costs {cost:.0} % of the throughput"), "");
    }
}

/// Frames per second that are sent back, as many under way as there are lanes.
pub(crate) async fn echoed(link: &mut Link, lanes: &[Request]) -> Done {
    let mut out: Vec<u8> = lanes.iter().flat_map(|lane| lane.acquire.clone()).collect();
    let (mut sent, mut heard) = (lanes.len(), 0);
    let begun = Instant::now();
    link.send(&out).await;
    while heard < sent {
        let is_over = begun.elapsed() > RUN;
        out.clear();
        let mut again = 0;
        link.hear(|_| {
            heard += 1;
            if !is_over {
                out.extend_from_slice(&lanes[again % lanes.len()].acquire);
                again += 1;
            }
        })
        .await;
        sent += again;
        link.send(&out).await;
    }
    Done::since(begun, heard)
}

/// Pairs per second, as many under way as there are lanes; each releases what it was granted
/// before it acquires again.
async fn paired(link: &mut Link, encoding: Encoding, lanes: &[Request]) -> Done {
    let mut out: Vec<u8> = lanes.iter().flat_map(|lane| lane.acquire.clone()).collect();
    let (mut under_way, mut pairs) = (lanes.len(), 0);
    let begun = Instant::now();
    link.send(&out).await;
    while under_way > 0 {
        let is_over = begun.elapsed() > RUN;
        out.clear();
        link.hear(|frame| match encoding.read(frame).expect("a message") {
            ToClient::Granted { id, .. } => out.extend_from_slice(&lane(lanes, id).release),
            ToClient::Held { id, held: true } => {
                pairs += 1;
                if is_over {
                    under_way -= 1;
                } else {
                    out.extend_from_slice(&lane(lanes, id).acquire);
                }
            }
            other => panic!("something else was said: {other:?}"),
        })
        .await;
        link.send(&out).await;
    }
    Done::since(begun, pairs)
}

fn lane(lanes: &[Request], id: u64) -> &Request {
    &lanes[usize::try_from(id).expect("few")]
}

/// How much was done in how long.
pub(crate) struct Done {
    number: f64,
    took: Duration,
}

impl Done {
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^52 in a run")]
    pub(crate) fn since(begun: Instant, number: usize) -> Self {
        Self {
            number: number as f64,
            took: begun.elapsed(),
        }
    }

    /// How many a second that is.
    pub(crate) fn rate(&self) -> f64 {
        self.number / self.took.as_secs_f64()
    }
}
