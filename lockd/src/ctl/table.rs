//! The table of locks, for people.

use std::time::Duration;

use super::text::{Clean, Shown};
use super::view::{LockView, OwnerView, State};

const HEAD: [&str; 6] = ["NAME", "STATE", "WHO", "WHERE", "FOR", "WAITING"];

/// What a column is at least worth when the terminal is narrow.
const NARROW: usize = 12;

/// The lines of a table, at most so many characters wide.
pub(super) fn lines(locks: &[LockView], width: Option<usize>) -> Vec<String> {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(locks.iter().map(row));
    let mut widths = [0; HEAD.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    if let Some(width) = width {
        narrow(&mut widths, width);
    }
    rows.iter()
        .map(|row| {
            let cells = row.iter().zip(widths);
            let cells: Vec<String> = cells.map(|(cell, width)| fit(cell, width)).collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect()
}

/// Takes from the widest columns until all fit, but leaves each a little.
fn narrow(widths: &mut [usize; HEAD.len()], limit: usize) {
    let gaps = 2 * (HEAD.len() - 1);
    while widths.iter().sum::<usize>() + gaps > limit {
        match widths.iter_mut().max() {
            Some(widest) if *widest > NARROW => *widest -= 1,
            _ => return,
        }
    }
}

fn fit(cell: &str, width: usize) -> String {
    let length = cell.chars().count();
    if length <= width {
        format!("{cell}{:1$}", "", width - length)
    } else {
        let kept: String = cell.chars().take(width - 1).collect();
        format!("{kept}…")
    }
}

fn row(lock: &LockView) -> [String; HEAD.len()] {
    let first = lock.sections.first();
    [
        Clean(&lock.name).to_string(),
        state(lock),
        first.map_or_else(String::new, |section| who(&section.by)),
        first.map_or_else(String::new, |section| place(&section.by)),
        first.map_or_else(String::new, |section| shown(section.held_ms)),
        match lock.waiting {
            0 => String::new(),
            waiting => waiting.to_string(),
        },
    ]
}

/// What a lock is in.
pub(super) fn state(lock: &LockView) -> String {
    let running = lock.sections.len();
    let state = match lock.state {
        State::Held => "held".to_owned(),
        State::Shared => format!("shared by {running}"),
        State::Permits => {
            let permits = lock.sections.first().and_then(|section| section.permits);
            format!("{running} of {} permits", permits.unwrap_or_default())
        }
        State::Resting => format!("resting {}", shown(lock.resting_ms.unwrap_or_default())),
        State::Assigned => String::new(),
        State::WaitedFor => "free but waited for".to_owned(),
        State::Free => "free".to_owned(),
    };
    match &lock.holder {
        None => state,
        Some(holder) if state.is_empty() => format!("assigned to {}", Clean(holder)),
        Some(holder) => format!("{state}, assigned to {}", Clean(holder)),
    }
}

/// Who it is.
pub(super) fn who(owner: &OwnerView) -> String {
    let (application, host) = (Clean(&owner.application), Clean(&owner.host));
    format!("{application}@{host} pid {}", owner.pid)
}

/// Where in the code it asked.
pub(super) fn place(owner: &OwnerView) -> String {
    let place = format!("{}:{}", Clean(&owner.file), owner.line);
    match &owner.function {
        Some(function) => format!("{} {place}", Clean(function)),
        None => place,
    }
}

/// Milliseconds as people say them.
pub(super) fn shown(milliseconds: u64) -> String {
    Shown(Duration::from_millis(milliseconds)).to_string()
}

#[cfg(test)]
mod tests;
