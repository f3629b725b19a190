//! What the tests say to workers, and hear of them.

use std::time::Duration;

use crate::process::Process;
use crate::worker::{Order, Said, Settings, Trouble, Worker};

impl Process<Worker> {
    /// A worker that is connected.
    #[track_caller]
    pub(crate) fn ready(settings: &Settings) -> Self {
        let worker = Self::start(settings);
        worker.is_ready();
        worker
    }

    #[track_caller]
    pub(crate) fn is_ready(&self) {
        self.hear(|said| matches!(said, Said::Ready).then_some(()));
    }

    /// Calls `hold` for a task; the number is the call's.
    pub(crate) fn calls(&self, call: u32, task: &str) {
        let task = task.to_owned();
        self.order(&Order::Hold { call, task });
    }

    /// Waits until the body of a call runs. Returns its token, and when it began.
    #[track_caller]
    pub(crate) fn holds(&self, number: u32) -> (u64, Duration) {
        self.hear(|said| match said {
            Said::Holds { call, token, since } if *call == number => {
                Some((token.expect("an exclusive lock has one"), *since))
            }
            Said::Ended { call, error } if *call == number => panic!("it has ended: {error:?}"),
            _ => None,
        })
    }

    /// Lets the body of a call end, which is then to have ended well.
    #[track_caller]
    pub(crate) fn finishes(&self, call: u32) {
        self.order(&Order::Finish { call });
        if let Some(error) = self.ended(call) {
            panic!("it did not end well: {error:?}");
        }
    }

    /// Waits for the end of a call.
    #[track_caller]
    pub(crate) fn ended(&self, number: u32) -> Option<Trouble> {
        self.hear(|said| match said {
            Said::Ended { call, error } if *call == number => Some(error.clone()),
            _ => None,
        })
    }

    /// Waits for a call to fail.
    #[track_caller]
    pub(crate) fn failed(&self, call: u32) -> Trouble {
        let error = self.ended(call);
        error.expect("it should have failed")
    }

    /// Waits until a body is dropped before its end, and its call says that the lock was lost.
    /// Returns when it ran for the last time.
    #[track_caller]
    pub(crate) fn loses(&self, number: u32) -> Duration {
        let last_ran = self.hear(|said| match said {
            Said::Dropped { call, last_ran } if *call == number => Some(*last_ran),
            _ => None,
        });
        let trouble = self.failed(number);
        assert_eq!(trouble.kind, "Lost", "{trouble:?}");
        last_ran
    }

    /// Whether the body of a call has begun, or ended in any way.
    pub(crate) fn has_news_of(&self, number: u32) -> bool {
        self.has_said(|said| match said {
            Said::Holds { call, .. } | Said::Dropped { call, .. } | Said::Ended { call, .. } => {
                *call == number
            }
            _ => false,
        })
    }

    /// Does something that has a result.
    #[track_caller]
    pub(crate) fn tries(&self, order: &Order) -> Result<(), Trouble> {
        self.order(order);
        self.hear(|said| match said {
            Said::Result(trouble) => Some(trouble.clone().map_or(Ok(()), Err)),
            _ => None,
        })
    }

    /// Of whom a lock is, and whether that ends by itself.
    #[track_caller]
    pub(crate) fn sees(&self, name: &str) -> (Option<String>, bool) {
        let name = name.to_owned();
        self.order(&Order::LookAt { name });
        self.hear(|said| match said {
            Said::Of { holder, has_end } => Some((holder.clone(), *has_end)),
            Said::Result(trouble) => panic!("{trouble:?}"),
            _ => None,
        })
    }
}
