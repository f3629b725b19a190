//! Medians, and how they are printed.

use std::time::Duration;

/// How often everything is measured. Runs are short and many, in turns with those of the floor:
/// what else the machine does then meets both alike.
pub(crate) const RUNS: usize = 15;

pub(crate) fn median(values: &[f64]) -> f64 {
    at(values, 50)
}

/// The value that so many of a hundred do not exceed.
pub(crate) fn at(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted
        .get(last * percent / 100)
        .copied()
        .unwrap_or(f64::NAN)
}

pub(crate) fn title(text: &str) {
    println!("\n{text}");
}

pub(crate) fn line(what: &str, figure: &str, target: &str) {
    println!("  {what:<44} {figure:<44} {target}");
}

pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
