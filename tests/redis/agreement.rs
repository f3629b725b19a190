//! Redis and the memory backend, asked the same at random, answer the same: the scripts have the
//! rules of the lock table.

use std::fmt::Write as _;

use lock_runtime::{AuthPolicy, Guard, LockError, LockInfo, LockManager};
use servers::Redis;

use crate::harness::{connected, seconds};

const STEPS: usize = 3_000;
const CALLERS: [&str; 3] = ["alice", "bob", "carol"];

/// Random numbers that are the same for one seed (Marsaglia's xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }

    fn caller(&mut self) -> &'static str {
        CALLERS[self.below(CALLERS.len())]
    }
}

/// One store, and the guards that it has granted.
struct Side {
    manager: LockManager,
    guards: Vec<Guard>,
}

/// What is asked of both.
#[derive(Clone, Copy, Debug)]
enum Step {
    Assign(&'static str, Option<&'static str>),
    Enter(&'static str, Option<(AuthPolicy, &'static str)>),
    ForceRelease,
    Release(usize),
    Transfer(&'static str, Option<&'static str>),
    Unassign(Option<&'static str>),
}

impl Step {
    fn random(dice: &mut Dice, guards: usize) -> Self {
        let word = if dice.below(4) == 0 {
            None
        } else {
            Some(dice.caller())
        };
        match dice.below(24) {
            0..12 => {
                let mode = ["exclusive", "shared", "two", "three"][dice.below(4)];
                let auth = match dice.below(4) {
                    0 => Some((AuthPolicy::Required, dice.caller())),
                    1 => Some((AuthPolicy::Assigned, dice.caller())),
                    _ => None,
                };
                Self::Enter(mode, auth)
            }
            12..19 if guards > 0 => Self::Release(dice.below(guards)),
            19 => Self::ForceRelease,
            20 => Self::Assign(dice.caller(), word),
            21 => Self::Transfer(dice.caller(), word),
            _ => Self::Unassign(word),
        }
    }
}

impl Side {
    fn new(manager: LockManager) -> Self {
        let guards = Vec::new();
        Self { manager, guards }
    }

    /// What came of a step, and what is known of the lock afterwards.
    async fn take(&mut self, step: Step) -> String {
        let manager = &self.manager;
        let came = match step {
            Step::Enter(mode, auth) => {
                let request = manager.lock("name").ttl(seconds(3_600));
                let request = match mode {
                    "shared" => request.shared(),
                    "two" => request.permits(2),
                    "three" => request.permits(3),
                    _ => request,
                };
                let request = match auth {
                    Some((policy, caller)) => request.auth_as(policy, caller),
                    None => request,
                };
                match request.try_acquire().await {
                    Ok(None) => "busy".to_owned(),
                    Ok(Some(guard)) => {
                        let has_token = guard.fencing_token().is_some();
                        self.guards.push(guard);
                        format!("granted, token: {has_token}")
                    }
                    Err(error) => refusal(&error),
                }
            }
            Step::Release(index) => said(self.guards.remove(index).release().await),
            Step::ForceRelease => format!("{:?}", manager.lock("name").force_release().await.ok()),
            Step::Assign(to, None) => said(manager.acquire_lock("name", to).as_operator().await),
            Step::Assign(to, Some(word)) => {
                let caller = lock_runtime::Caller::new(word);
                said(
                    caller
                        .scope(async { manager.acquire_lock("name", to).await })
                        .await,
                )
            }
            Step::Transfer(to, None) => said(manager.transfer_lock("name", to).as_operator().await),
            Step::Transfer(to, Some(word)) => {
                said(manager.transfer_lock("name", to).from(word).await)
            }
            Step::Unassign(None) => said(manager.release_lock("name").as_operator().await),
            Step::Unassign(Some(word)) => said(manager.release_lock("name").caller(word).await),
        };
        // Whoever was forced out does not come back.
        let info = manager.lock("name").info().await.unwrap();
        format!("{came}; {}", shown(&info))
    }
}

fn said(result: Result<(), LockError>) -> String {
    result.map_or_else(|error| refusal(&error), |()| "done".to_owned())
}

/// An error without what differs by its nature: times, processes.
fn refusal(error: &LockError) -> String {
    let holder = match error.in_the_way() {
        Some(lock_runtime::InTheWay::Assigned(holder)) => holder.as_str(),
        _ => "",
    };
    format!("{:?} {holder}", error.kind())
}

fn shown(info: &LockInfo) -> String {
    let mut shown = format!("holder {:?}, sections", info.holder);
    for section in &info.sections {
        write!(
            shown,
            " {} (token: {})",
            section.mode,
            section.token.is_some()
        )
        .unwrap();
    }
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn both_answer_the_same() {
    let server = Redis::start();
    for seed in [1, 20_261_121, 0x5eed] {
        let mut dice = Dice(seed);
        let mut memory = Side::new(LockManager::memory());
        let mut redis = Side::new(connected(&server.url()).await);
        let mut before = Vec::new();
        for step in 0..STEPS {
            let step_taken = Step::random(&mut dice, memory.guards.len());
            let expected = memory.take(step_taken).await;
            let answer = redis.take(step_taken).await;
            before.push(format!("{step_taken:?}: {expected}"));
            let last = before.len().saturating_sub(10);
            assert_eq!(
                answer,
                expected,
                "seed {seed}, step {step}: {:#?}",
                &before[last..]
            );
        }
        server.command(&["FLUSHALL"]);
    }
}
