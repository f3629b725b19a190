//! The manual: which store to take, how to name locks, what a token is for, how to run it.
//!
//! * [`choosing`]: which store, what it costs, and what its URL can say.
//! * [`names_ttls_waits`]: how to name a lock, and how to choose its lease and its wait.
//! * [`fencing`]: what the token is for, and how resources check it.
//! * [`production`]: settings and rights of each store, what to watch, and what to do at night.
//! * [`words`]: what section, owner, holder and the other words mean.
//!
//! There is nothing to call in here. The attribute itself is described at
//! [`locked`](macro@crate::locked).
//!
//! # In the sources
//!
//! `README.md` has, under *What it promises*, the table of limits: what holds in each store when
//! something fails. `lockd/README.md` says how to run the daemon. `RedisBackend`, `PostgresBackend`
//! and `EtcdBackend` say of themselves, under *What holds*, what the table says of them.

// A page links to its neighbours and to sources, for those who read it where the sources are. Of
// two definitions of a link the first counts: those before a page are for `rustdoc`.

/// [`Backend`]: crate::backend::Backend
/// [`Guard::into_ticket`]: crate::Guard::into_ticket
/// [`LockError`]: crate::LockError
/// [`LockManager::memory`]: crate::LockManager::memory
/// [fencing]: crate::manual::fencing
/// [limits]: crate::manual#in-the-sources
/// [production]: crate::manual::production
/// [words]: crate::manual::words
#[doc = include_str!("manual/choosing.md")]
pub mod choosing {}

/// [`LockFutureExt`]: crate::LockFutureExt
/// [`body_may_have_run`]: crate::LockError::body_may_have_run
/// [`held.is_held()`]: crate::Held::is_held
/// [`held.watch()`]: crate::Held::watch
/// [`is_lost`]: crate::LockError::is_lost
/// [`lock_name!`]: crate::lock_name!
/// [`namespace`]: crate::LockManagerBuilder::namespace
/// [fencing]: crate::manual::fencing
#[doc = include_str!("manual/names_ttls_waits.md")]
pub mod names_ttls_waits {}

/// [`FencingToken`]: crate::FencingToken
/// [`fencing_token`]: crate::Held::fencing_token
/// [`is_held`]: crate::Held::is_held
/// [into_ticket]: crate::Guard::into_ticket
/// [limits]: crate::manual#in-the-sources
#[doc = include_str!("manual/fencing.md")]
pub mod fencing {}

/// [`is_unavailable`]: crate::LockError::is_unavailable
/// [`shutdown`]: crate::LockManager::shutdown
/// [`slow_hold`]: crate::LockManagerBuilder::slow_hold
/// [fencing]: crate::manual::fencing
/// [limits]: crate::manual#in-the-sources
/// [lockd]: crate::manual#in-the-sources
#[doc = include_str!("manual/production.md")]
pub mod production {}

#[doc = include_str!("manual/words.md")]
pub mod words {}

#[cfg(test)]
mod tests {
    const PRODUCTION: &str = include_str!("manual/production.md");

    /// Where the sources are, the links of a page lead to files; in `rustdoc` to what is documented.
    #[test]
    fn the_links_of_the_pages_lead_somewhere() {
        let pages = concat!(env!("CARGO_MANIFEST_DIR"), "/src/manual");
        let mut links = 0;
        for page in std::fs::read_dir(pages).expect("the pages") {
            let page = std::fs::read_to_string(page.expect("a page").path()).expect("a page");
            let definitions = page.lines().filter(|line| line.starts_with('['));
            for (name, target) in definitions.filter_map(|line| line.split_once("]: ")) {
                let (file, _) = target.split_once('#').unwrap_or((target, ""));
                let there = std::path::Path::new(pages).join(file).exists();
                assert!(there, "no page or source for `{name}]: {target}`");
                let documented = format!("/// {name}]: crate::");
                let has_both = include_str!("manual.rs").contains(&documented);
                assert!(has_both, "nothing for `rustdoc` says where `{name}]` leads");
                links += 1;
            }
        }
        assert!(links > 20, "the pages have lost their links");
    }

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
