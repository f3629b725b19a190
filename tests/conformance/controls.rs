//! The suite is worth what it finds: stores with one fault each, and the cases that must find it.
//!
//! Every case is here, as one that has to fail for a broken store, or in the list of those that
//! the runtime keeps alone. All of them pass for the same store without a fault.

mod faulty;
mod listed;
mod remote;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use faulty::{Fault, Faulty};
use listed::{CONTROLS, KEPT_BY_THE_RUNTIME};
use lock_runtime::LockManagerBuilder;
use lock_runtime::conformance::{Subject, Suite, Verdict, case_names, verdict};
use remote::{Line, Remote};

fn store(fault: Fault) -> Subject {
    let (store, line) = (Faulty::new(fault), Line::default());
    let (cut, stopped) = ((store.clone(), line.clone()), (store.clone(), line.clone()));
    let connect = move |manager: LockManagerBuilder| {
        let seen = store.seen_with(manager.chosen_clock());
        manager.backend(Remote::over(seen, &line, true)).connect()
    };
    Subject::new(connect)
        .breakable(move |is_cut| {
            cut.1.cut(is_cut);
            cut.0.cut(is_cut);
        })
        .restartable(move |is_stopped| {
            stopped.1.cut(is_stopped);
            stopped.0.stop(is_stopped);
        })
        .short_ttl(Duration::from_millis(300))
}

/// A store whose faults are found soon: what has to happen there happens at once, or never.
fn broken(fault: Fault) -> Subject {
    store(fault).patience(Duration::from_millis(700))
}

fn whole() -> Subject {
    store(Fault::None)
}

fn has_to_fail(fault: Fault, case: &str) -> Result<(), String> {
    match verdict(|| broken(fault), case) {
        Verdict::Failed(_) => Ok(()),
        other => Err(format!("{case} did not find the fault: {other:?}")),
    }
}

/// A case that is in neither list has never been seen to fail.
fn every_case_is_listed() -> Result<(), String> {
    let controlled = CONTROLS.iter().flat_map(|(_, cases)| *cases);
    let listed: BTreeSet<&str> = controlled.chain(KEPT_BY_THE_RUNTIME).copied().collect();
    let cases = case_names();
    let cases: BTreeSet<&str> = cases.iter().map(String::as_str).collect();
    if cases == listed {
        return Ok(());
    }
    Err(format!(
        "in one of the lists only: {:?}",
        cases.symmetric_difference(&listed)
    ))
}

fn main() -> ExitCode {
    let mut suite = Suite::new()
        .subject("whole", whole)
        .check("every_case_is_listed", every_case_is_listed);
    for (fault, cases) in CONTROLS {
        for case in *cases {
            let name = format!("broken::{fault:?}::{case}");
            suite = suite.check(&name, move || has_to_fail(*fault, case));
        }
    }
    suite.run()
}
