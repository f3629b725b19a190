//! Random sequences of steps, done to the table and to its model.

use super::steps::{Step, sequence};
use super::world::World;

const SEQUENCES: u64 = 100_000;

#[test]
fn the_table_does_what_its_model_does() {
    let seed = std::env::var("TABLE_SEED").ok();
    if let Some(seed) = seed.and_then(|seed| seed.parse().ok()) {
        check(seed);
        return;
    }
    let threads = std::thread::available_parallelism().map_or(1, |number| number.get() as u64);
    let run = rand::random::<u32>();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                for number in (thread..SEQUENCES).step_by(threads as usize) {
                    check((u64::from(run) << 32) | number);
                }
            });
        }
    });
}

fn check(seed: u64) {
    let steps = sequence(seed);
    if let Err(fault) = World::run(&steps) {
        let (steps, fault) = shrink(steps, fault);
        panic!("with TABLE_SEED={seed}, at the end of {steps:#?}\n{fault}");
    }
}

/// Leaves out what the fault does not need.
fn shrink(mut steps: Vec<Step>, mut fault: String) -> (Vec<Step>, String) {
    let mut at = steps.len();
    while at > 0 {
        at -= 1;
        let mut fewer = steps.clone();
        fewer.remove(at);
        if let Err(same) = World::run(&fewer) {
            (steps, fault) = (fewer, same);
            at = at.min(steps.len());
        }
    }
    (steps, fault)
}
