//! `lockctl ping`.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::args::Ping;
use super::failure::Failure;
use super::place::Place;
use super::text::Clean;
use super::{exit, output};

/// The lock that is asked about. It need not exist: every store answers for every name.
const ASKED: &str = "lockctl:ping";

#[derive(Serialize)]
struct Pong {
    url: String,
    connect_ms: f64,
    round_trip_ms: f64,
}

/// Connects, asks something, and says how long that took.
pub(super) async fn ping(place: &Place, options: &Ping) -> Result<u8, Failure> {
    let start = Instant::now();
    let manager = place.connect().await?;
    let connected = Instant::now();
    manager.lock(ASKED).info().await?;
    let pong = Pong {
        url: place.shown(),
        connect_ms: milliseconds(connected - start),
        round_trip_ms: milliseconds(connected.elapsed()),
    };
    if options.json {
        output::json(&pong)?;
    } else {
        output::line(&format!(
            "{} answers: connected in {:.3} ms, round trip {:.3} ms",
            Clean(&pong.url),
            pong.connect_ms,
            pong.round_trip_ms
        ))?;
    }
    Ok(exit::OK)
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
