//! What the daemon costs, beside a server that sends back what it gets: the same kind of socket,
//! the same runtime, the same run. On a noisy machine the ratios alone are worth something.
//!
//! Everything is measured several times, in turns; medians are printed, with the targets.

mod ends;
mod handing_over;
mod link;
mod managed;
mod program;
mod report;
mod sizes;
mod throughput;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        // The other processes that are needed are this program too.
        (Some("--echo"), Some(socket)) => program::echo(socket.as_ref()),
        (Some("--hold"), Some(socket)) => ends::hold(socket.as_ref()),
        _ => measure(),
    }
    ExitCode::SUCCESS
}

fn measure() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let round_trip = throughput::round_trips().await;
        throughput::pairs().await;
        managed::pairs().await;
        handing_over::measure(round_trip).await;
        ends::deaths().await;
        ends::expiries().await;
        sizes::connections().await;
        sizes::locks().await;
    });
}
