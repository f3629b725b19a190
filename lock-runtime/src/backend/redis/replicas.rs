//! Replicas that have to know of a grant before it counts.
//!
//! A server answers nothing else on a connection while it waits for replicas. So there is one such
//! wait at a time, and its answer is that of all grants that were made before it was sent.

use std::collections::HashMap;
use std::time::Duration;

use redis::{Cmd, Value};
use tokio::sync::Mutex as Turn;

use super::asking::ms;
use super::keys::Keys;
use super::{Shared, fault};
use crate::backend::waiting::Failure;
use crate::sync::{Mutex, lock};

/// The waits for replicas.
#[derive(Default)]
pub(super) struct Replicas {
    /// Whoever has it asks.
    turn: Turn<()>,
    of_buckets: Mutex<HashMap<u64, Asked>>,
}

/// What the replicas of a bucket were asked.
#[derive(Default)]
struct Asked {
    /// How many grants there were.
    grants: u64,
    answered: Option<Answered>,
}

/// An answer.
#[derive(Clone, Copy)]
struct Answered {
    /// It is that of so many grants.
    grants: u64,
    /// The connection that was asked over; what was granted over another it says nothing of.
    over: u64,
    /// How many replicas know.
    known: u64,
}

impl Shared {
    /// Waits until as many replicas know of a grant as the URL asks for. It was granted over this
    /// connection or a later one. The runtime gives back what is refused here.
    pub(super) async fn wait_for_replicas(&self, keys: &Keys, over: u64) -> Result<(), Failure> {
        let Some((wanted, within)) = self.place().options.replicas else {
            return Ok(());
        };
        let known = self.known_to_replicas(keys, over, wanted, within).await?;
        if known >= u64::from(wanted) {
            return Ok(());
        }
        let error = fault::too_few_replicas(self.place(), known, wanted, within);
        Err(Failure::Lasting(error))
    }

    async fn known_to_replicas(
        &self,
        keys: &Keys,
        over: u64,
        wanted: u32,
        within: Duration,
    ) -> Result<u64, Failure> {
        let bucket = keys.bucket();
        let number = {
            let mut buckets = lock(&self.replicas.of_buckets);
            let asked = buckets.entry(bucket).or_default();
            asked.grants += 1;
            asked.grants
        };
        let _turn = self.replicas.turn.lock().await;
        let grants = {
            let buckets = lock(&self.replicas.of_buckets);
            let asked = buckets.get(&bucket);
            let answered = asked.and_then(|asked| asked.answered);
            if let Some(answered) = answered.filter(|answered| answered.grants >= number) {
                return self.of_this_connection(answered, over);
            }
            asked.map_or(number, |asked| asked.grants)
        };
        // A server knows only what was written over the connection that asks.
        let asked_over = self.line.up()?;
        let mut wait = Cmd::new();
        wait.arg("WAIT").arg(wanted).arg(ms(within));
        let answer = self.line.send_where(&keys.lock, &wait).await?;
        let known = match answer {
            Value::Int(known) => u64::try_from(known).unwrap_or(0),
            other => return Err(self.nonsense(format_args!("{other:?}"))),
        };
        let answered = Answered {
            grants,
            over: asked_over,
            known,
        };
        if self.line.number() == asked_over {
            if let Some(asked) = lock(&self.replicas.of_buckets).get_mut(&bucket) {
                asked.answered = Some(answered);
            }
            return self.of_this_connection(answered, over);
        }
        Err(Failure::Passing(fault::replicas_unasked(self.place())))
    }

    /// What an answer says of a grant: who asks for it again is granted the same, over the
    /// connection that there is then.
    fn of_this_connection(&self, answered: Answered, over: u64) -> Result<u64, Failure> {
        if answered.over == over {
            return Ok(answered.known);
        }
        Err(Failure::Passing(fault::replicas_unasked(self.place())))
    }
}
