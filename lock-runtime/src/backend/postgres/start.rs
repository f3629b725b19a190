//! Connecting, and what goes on from then until the manager has ended.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time;

use super::asking::POLLED_EVERY;
use super::call::Call;
use super::line::{Line, Waiting};
use super::link::Link;
use super::listening::{self, Heard};
use super::{Shared, fault, schema};
use crate::error::BackendError;
use crate::observe;

/// How often what ended by itself is cleared away.
const SWEPT_EVERY: Duration = Duration::from_secs(10);

impl Shared {
    /// Connects and sees to it that locks can be kept there.
    pub(super) async fn connect(
        self: &Arc<Self>,
        calls: mpsc::Receiver<Waiting>,
    ) -> Result<Vec<JoinHandle<()>>, BackendError> {
        let settings = &self.settings;
        let link = Link::open(&settings.statements, &self.application(), None).await;
        let link = link.map_err(fault::Fault::into_error)?;
        schema::prepare(&link.client, settings).await?;
        let line = Line::new(self, calls, link);
        let mut tasks = vec![tokio::spawn(line.run())];
        match self.start_to_listen().await {
            Ok(listening) => tasks.extend(listening),
            Err(error) => {
                tasks.iter().for_each(JoinHandle::abort);
                return Err(error);
            }
        }
        tasks.push(tokio::spawn(sweep(Arc::downgrade(self))));
        Ok(tasks)
    }

    /// Listens, if messages come through.
    async fn start_to_listen(self: &Arc<Self>) -> Result<Option<JoinHandle<()>>, BackendError> {
        let mut listening = listening::open(self)
            .await
            .map_err(fault::Fault::into_error)?;
        if listening.check(self).await == Heard::Yes {
            self.channel.set_heard(true);
            let shared = Arc::clone(self);
            return Ok(Some(tokio::spawn(listening::keep(shared, listening))));
        }
        listening.leave().await;
        observe::polls_instead(self.place(), POLLED_EVERY);
        Ok(None)
    }
}

/// Clears away what ended by itself, now and then.
async fn sweep(shared: Weak<Shared>) {
    loop {
        time::sleep(SWEPT_EVERY.mul_f64(rand::random_range(0.5..1.5))).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        // The next one does what this one could not.
        let _failed = shared.ask(Call::Sweep, false).await;
    }
}
