//! Lists the cases, runs them, and says what came of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use super::case::Case;
use super::stage::Stage;
use super::subject::Subject;

/// Cases wait far more than they compute.
const AT_A_TIME: usize = 8;

/// No case may take longer than so many times the subject's patience, whatever hangs.
const LONGEST_CASE: u32 = 12;

const FAMILIES: &[&[Case]] = &[
    super::exclusion::CASES,
    super::fencing::CASES,
    super::unlocked::CASES,
    super::ownership::CASES,
    super::lost::CASES,
    super::names::CASES,
    super::results::CASES,
    super::release::CASES,
    super::cancellation::CASES,
    super::connection::CASES,
    super::restart::CASES,
    super::clocks::CASES,
    super::waiting::CASES,
    super::bounds::CASES,
    super::shared::CASES,
    super::permits::CASES,
    super::several::CASES,
    super::at_least::CASES,
    super::adopt::CASES,
    super::force_release::CASES,
    super::looking::CASES,
    super::identity::CALLS,
    super::identity::SECTIONS,
    super::identity::QUEUES,
    super::identity::TIME,
];

/// The suite, to be run against one store or several.
#[derive(Debug, Default)]
pub struct Suite {
    trials: Vec<Trial>,
}

/// What came of one case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The promise was broken, in this way.
    Failed(String),
    /// The promise was kept.
    Passed,
    /// The store does not have what the case is about, for this reason.
    Skipped(String),
}

impl Suite {
    /// A suite without a store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds every case for one store. `make` is called once for each of them.
    #[must_use]
    pub fn subject(
        mut self,
        name: &str,
        make: impl Fn() -> Subject + Send + Sync + 'static,
    ) -> Self {
        self.add(name, |_| true, make);
        self
    }

    /// Adds the cases whose names contain a text, for one store: those of the family `restart`,
    /// say, for a server that a case has to itself.
    #[must_use]
    pub fn cases_of(
        mut self,
        name: &str,
        text: &str,
        make: impl Fn() -> Subject + Send + Sync + 'static,
    ) -> Self {
        self.add(name, |case| full_name(case).contains(text), make);
        self
    }

    fn add(
        &mut self,
        name: &str,
        is_meant: impl Fn(&Case) -> bool,
        make: impl Fn() -> Subject + Send + Sync + 'static,
    ) {
        let make = Arc::new(make);
        for case in cases().filter(|case| is_meant(case)) {
            let make = Arc::clone(&make);
            let trial = Trial::ignorable_test(format!("{name}::{}", full_name(case)), move || {
                match run(&*make, case) {
                    Verdict::Passed => Ok(Completion::Completed),
                    Verdict::Skipped(why) => Ok(Completion::ignored_with(why)),
                    Verdict::Failed(why) => Err(Failed::from(why)),
                }
            });
            self.trials.push(trial);
        }
    }

    /// Adds a test of another kind to the run.
    #[must_use]
    pub fn check(
        mut self,
        name: &str,
        check: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) -> Self {
        let trial = Trial::test(name, move || check().map_err(Failed::from));
        self.trials.push(trial);
        self
    }

    /// Runs what the command line asks for, and prints it as `cargo test` does.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let mut arguments = Arguments::from_args();
        arguments.test_threads.get_or_insert(AT_A_TIME);
        libtest_mimic::run(&arguments, self.trials).exit_code()
    }
}

/// The names of all cases, without the store's: `S1::no_increment_is_lost`.
#[must_use]
pub fn case_names() -> Vec<String> {
    cases().map(full_name).collect()
}

/// Runs one case against a store, for tests of the suite itself: a case that passes whatever the
/// store does is worth nothing.
///
/// # Panics
///
/// When there is no case of this name.
#[must_use]
pub fn verdict(make: impl Fn() -> Subject, case: &str) -> Verdict {
    match cases().find(|known| full_name(known) == case) {
        Some(case) => run(&make, case),
        None => panic!("there is no case `{case}`"),
    }
}

fn cases() -> impl Iterator<Item = &'static Case> {
    FAMILIES.iter().copied().flatten()
}

fn full_name(case: &Case) -> String {
    format!("{}::{}", case.promise, case.name)
}

fn run(make: &dyn Fn() -> Subject, case: &'static Case) -> Verdict {
    let tried = catch_unwind(AssertUnwindSafe(|| try_case(make, case)));
    tried.unwrap_or_else(|_| Verdict::Failed("the case panicked".to_owned()))
}

fn try_case(make: &dyn Fn() -> Subject, case: &'static Case) -> Verdict {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return Verdict::Failed(format!("no runtime: {error}")),
    };
    let verdict = runtime.block_on(async {
        let stage = match Stage::set(make()).await {
            Ok(stage) => stage,
            Err(failure) => return Verdict::Failed(format!("not connected: {failure}")),
        };
        if let Some(why) = case.needs.iter().find_map(|need| stage.lacking(*need)) {
            return Verdict::Skipped(why.to_owned());
        }
        let limit = LONGEST_CASE * stage.patience();
        match tokio::time::timeout(limit, (case.run)(stage)).await {
            Ok(Ok(())) => Verdict::Passed,
            Ok(Err(failure)) => Verdict::Failed(failure.to_string()),
            Err(_) => Verdict::Failed(format!("still not over after {limit:?}")),
        }
    });
    // What a broken store left hanging must not hang the suite.
    runtime.shutdown_background();
    verdict
}
