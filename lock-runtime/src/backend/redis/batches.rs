//! Small requests that go together: those of many leases, or of many waiters, in one script.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::scripts::{Script, Scripts};
use super::{Shared, answers, fault};
use crate::backend::waiting::Failure;
use crate::sync::{Mutex, lock};

/// So many go together at most: the server answers nobody else meanwhile.
const AT_ONCE: usize = 100;

/// How long the first one waits for others, at least and at most.
const WAITS_FOR_OTHERS: RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_millis(100);

/// Requests of one kind that have not been sent yet.
#[derive(Default)]
pub(super) struct Batches(Mutex<Queue>);

/// What is asked, and where it waits.
pub(super) struct Kind {
    script: fn(&Scripts) -> &Script,
    batches: fn(&Shared) -> &Batches,
}

/// Leases begin anew.
pub(super) static RENEWALS: Kind = Kind {
    script: |scripts| &scripts.renew,
    batches: |shared| &shared.renewals,
};

/// Waiters show that they are alive.
pub(super) static REFRESHES: Kind = Kind {
    script: |scripts| &scripts.refresh,
    batches: |shared| &shared.refreshes,
};

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// Somebody is about to send them.
    is_served: bool,
}

/// One of them.
pub(super) struct Small {
    pub(super) bucket: u64,
    pub(super) keys: Vec<String>,
    pub(super) arguments: Vec<String>,
    /// How long it may take: it waits for others for a hundredth of that.
    pub(super) within: Duration,
}

struct Waiting {
    small: Small,
    answer: oneshot::Sender<Result<i64, Failure>>,
}

impl Waiting {
    /// Whoever does not wait any more does not want to know.
    fn hear(self, answer: Result<i64, Failure>) {
        let _unheard = self.answer.send(answer);
    }
}

impl Batches {
    /// Says whether somebody has to serve them now.
    fn push(&self, waiting: Waiting) -> bool {
        let mut queue = lock(&self.0);
        queue.waiting.push(waiting);
        !std::mem::replace(&mut queue.is_served, true)
    }

    fn take(&self) -> Option<Vec<Waiting>> {
        let mut queue = lock(&self.0);
        if queue.waiting.is_empty() {
            queue.is_served = false;
            return None;
        }
        Some(std::mem::take(&mut queue.waiting))
    }
}

impl Shared {
    /// Asks together with others that are asked at nearly the same time.
    pub(super) async fn ask_together(
        self: &Arc<Self>,
        kind: &'static Kind,
        small: Small,
    ) -> Result<i64, Failure> {
        let (sender, answer) = oneshot::channel();
        let (least, most) = WAITS_FOR_OTHERS.into_inner();
        let pause = (small.within / 100).clamp(least, most);
        let waiting = Waiting {
            small,
            answer: sender,
        };
        if (kind.batches)(self).push(waiting) {
            tokio::spawn(serve(Arc::clone(self), kind, pause));
        }
        answer.await.unwrap_or_else(|_| {
            let error = fault::not_connected(self.place()).effect_unknown();
            Err(Failure::Passing(error))
        })
    }
}

/// Sends until nothing is left to be sent.
async fn serve(shared: Arc<Shared>, kind: &'static Kind, pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        let Some(waiting) = (kind.batches)(&shared).take() else {
            return;
        };
        let mut buckets: BTreeMap<u64, Vec<Waiting>> = BTreeMap::new();
        for waiting in waiting {
            let bucket = buckets.entry(waiting.small.bucket).or_default();
            bucket.push(waiting);
        }
        for mut batch in buckets.into_values() {
            while !batch.is_empty() {
                let others = batch.split_off(batch.len().min(AT_ONCE));
                // None waits for the answer to another batch: that may take its time.
                tokio::spawn(send(Arc::clone(&shared), kind, batch));
                batch = others;
            }
        }
    }
}

async fn send(shared: Arc<Shared>, kind: &'static Kind, batch: Vec<Waiting>) {
    match ask(&shared, kind, &batch).await {
        Ok(answers) => {
            for (waiting, answer) in batch.into_iter().zip(answers) {
                waiting.hear(Ok(answer));
            }
        }
        // What is wrong may be so with one of them alone, and costs the others nothing.
        Err(Failure::Lasting(_)) if batch.len() > 1 => {
            for waiting in batch {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let answer = ask(&shared, kind, std::slice::from_ref(&waiting)).await;
                    waiting.hear(answer.map(|answers| answers[0]));
                });
            }
        }
        Err(failure) => {
            for waiting in batch {
                waiting.hear(Err(match &failure {
                    Failure::Passing(error) => Failure::Passing(error.clone()),
                    Failure::Lasting(error) => Failure::Lasting(error.clone()),
                }));
            }
        }
    }
}

/// The answers to some, as many as were asked for.
async fn ask(shared: &Shared, kind: &'static Kind, batch: &[Waiting]) -> Result<Vec<i64>, Failure> {
    let keys: Vec<&str> = texts(batch.iter().map(|waiting| &waiting.small.keys));
    let arguments: Vec<&str> = texts(batch.iter().map(|waiting| &waiting.small.arguments));
    let script = (kind.script)(shared.scripts);
    let answer = shared.run(script, &keys, &arguments).await;
    let answers = answers::integers(answer?).map_err(|what| shared.nonsense(what))?;
    if answers.len() == batch.len() {
        Ok(answers)
    } else {
        Err(shared.nonsense("as many answers as nobody asked for"))
    }
}

fn texts<'a>(parts: impl Iterator<Item = &'a Vec<String>>) -> Vec<&'a str> {
    parts.flatten().map(String::as_str).collect()
}
