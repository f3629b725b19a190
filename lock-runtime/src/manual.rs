//! The manual: which store to take, how to name locks, what a token is for, how to run it.
//!
//! * [`choosing`]: which store, what it costs, and what its URL can say.
//! * [`names_ttls_waits`]: how to name a lock, and how to choose its lease and its wait.
//! * [`fencing`]: what the token is for, and how resources check it.
//! * [`production`]: settings and rights of each store, what to watch, and what to do at night.
//!
//! There is nothing to call in here. The attribute itself is described at
//! [`locked`](macro@crate::locked).

#[doc = include_str!("manual/choosing.md")]
pub mod choosing {}

#[doc = include_str!("manual/names_ttls_waits.md")]
pub mod names_ttls_waits {}

#[doc = include_str!("manual/fencing.md")]
pub mod fencing {}

#[doc = include_str!("manual/production.md")]
pub mod production {}

#[cfg(test)]
mod tests {
    const PRODUCTION: &str = include_str!("manual/production.md");

    /// What `observe.rs` says, with texts that go on in the next line put together.
    fn observed() -> String {
        let source = include_str!("observe.rs");
        let mut lines = source.split("\\\n");
        let first = lines.next().unwrap_or_default().to_owned();
        lines.fold(first, |text, line| text + line.trim_start())
    }

    /// The first column of the table below a heading, without its code marks.
    fn first_column(heading: &str) -> Vec<&'static str> {
        let (_, below) = PRODUCTION.split_once(heading).expect("the heading");
        let lines = below.lines().skip_while(|line| !line.starts_with("|---"));
        let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
        let cells = rows.filter_map(|row| row.split('|').nth(1));
        let cells: Vec<_> = cells.map(|cell| cell.trim().trim_matches('`')).collect();
        assert!(!cells.is_empty(), "no table below `{heading}`");
        cells
    }

    #[test]
    fn what_the_manual_says_to_watch_is_there() {
        let observed = observed();
        for line in first_column("### Lines in the log") {
            // `…` stands for what differs from line to line.
            for part in line
                .split('…')
                .map(str::trim)
                .filter(|part| !part.is_empty())
            {
                assert!(
                    observed.contains(part),
                    "nothing in `observe.rs` says `{part}`"
                );
            }
        }
        for metric in first_column("### Metrics") {
            let metric = format!("\"{metric}\"");
            assert!(observed.contains(&metric), "there is no metric {metric}");
        }
    }
}
