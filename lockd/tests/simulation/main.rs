//! The daemon's connections in a simulated network, with virtual time.
//!
//! Processes acquire, hold, renew and release; connections are slow, are cut, and overtake each
//! other; processes stand still and die; the daemon dies and comes back, and its disk is slow. All
//! of it follows from a seed, which every failure names: `LOCKD_SEED=7 cargo test --test
//! simulation` runs that one alone, `LOCKD_SEEDS=10000` runs more of them.
//!
//! Judged is what the processes see: two of them never believe at one moment that they hold one
//! name, tokens rise, and when the faults are over everybody is served and nothing is left.

mod network;
mod process;
mod random;
mod world;

use world::World;

/// Enough for each kind of fault to meet each phase of a section some hundred times.
const SEEDS: u64 = 400;

#[test]
fn whatever_breaks_nobody_enters_beside_another_and_nothing_is_left() {
    let chosen = std::env::var("LOCKD_SEED").ok().map(|seed| {
        let seed: u64 = seed.parse().expect("LOCKD_SEED is a number");
        seed..seed + 1
    });
    let mut entered = 0;
    let mut faults = world::Faults::default();
    let seeds = std::env::var("LOCKD_SEEDS").map_or(SEEDS, |seeds| {
        seeds.parse().expect("LOCKD_SEEDS is a number")
    });
    for seed in chosen.clone().unwrap_or(0..seeds) {
        let mut world = World::new(seed);
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run()));
        if let Err(panic) = run {
            eprintln!("the seed is {seed}; the last of what happened:");
            world.log.iter().for_each(|line| eprintln!("  {line}"));
            std::panic::resume_unwind(panic);
        }
        entered += world.entered;
        faults.add(&world.faults);
    }
    eprintln!("{entered} sections; {faults:?}");
    if chosen.is_none() {
        assert!(entered > 20_000, "only {entered} sections");
        faults.check_floor();
    }
}
