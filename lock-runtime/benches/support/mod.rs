//! Ratios: what a figure is worth on a noisy machine.

use std::path::PathBuf;

/// Prints the medians of one group, and each as a ratio to the first.
pub(crate) fn print_ratios(group: &str, names: &[&str]) {
    let Some(floor) = names.first().and_then(|name| median(group, name)) else {
        return;
    };
    println!("\n{group}: medians, and ratios to `{}`", names[0]);
    for name in names {
        if let Some(nanoseconds) = median(group, name) {
            println!(
                "  {name:<28} {nanoseconds:>12.1} ns   {:>6.2} ×",
                nanoseconds / floor
            );
        }
    }
    println!();
}

/// The median of the last run, as criterion wrote it.
fn median(group: &str, name: &str) -> Option<f64> {
    let mut path = target();
    path.extend(["criterion", group, name, "new", "estimates.json"]);
    let text = std::fs::read_to_string(path).ok()?;
    let estimates: serde_json::Value = serde_json::from_str(&text).ok()?;
    estimates["median"]["point_estimate"].as_f64()
}

/// The target folder: this program runs from `target/release/deps`.
fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    program
        .ancestors()
        .nth(3)
        .map(PathBuf::from)
        .unwrap_or_default()
}
