//! How a result gets from the manager's thread to the one who asked, and what becomes of a grant
//! that nobody comes for: the next one is served after a short claim window.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use tokio::sync::{Notify, oneshot};

use crate::error::LockError;
use crate::manager::{Hold, ManagerRef};
use crate::options::CLAIM_WINDOW;
use crate::race::{First, first};
use crate::sync::{Mutex, lock};

type Result = std::result::Result<Hold, LockError>;

/// The place where the result lies until it is taken.
#[derive(Default)]
struct Place {
    state: Mutex<State>,
    taken: Notify,
}

#[derive(Default)]
struct State {
    result: Lying,
    waker: Option<Waker>,
}

#[derive(Default)]
enum Lying {
    /// It has not come yet.
    #[default]
    NotYet,
    Here(Result),
    /// It came, lay there for the claim window, and was given back.
    Missed,
    /// It was taken, or nobody wants it any more.
    Over,
}

/// The end of the one who asked. Dropping it says that nobody wants the result any more.
pub(super) struct Taker {
    place: Arc<Place>,
    _still_wanted: oneshot::Sender<()>,
}

/// The end of the manager's thread.
pub(super) struct Giver {
    place: Arc<Place>,
    /// What is given when the thread ends, or a backend panics, before there was a result.
    otherwise: Option<LockError>,
}

/// The two ends, and how the manager's thread learns that nobody wants the result any more.
pub(super) fn handover(otherwise: LockError) -> (Taker, Giver, oneshot::Receiver<()>) {
    let place = Arc::new(Place::default());
    let (still_wanted, given_up) = oneshot::channel();
    let taker = Taker {
        place: Arc::clone(&place),
        _still_wanted: still_wanted,
    };
    let giver = Giver {
        place,
        otherwise: Some(otherwise),
    };
    (taker, giver, given_up)
}

impl Taker {
    /// Waits for the result. `None` when it came, and nobody was there in time to take it.
    pub(super) async fn take(&self) -> Option<Result> {
        poll_fn(|cx| {
            let mut state = lock(&self.place.state);
            match std::mem::replace(&mut state.result, Lying::Over) {
                Lying::NotYet => {
                    state.result = Lying::NotYet;
                    state.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
                Lying::Here(result) => {
                    self.place.taken.notify_one();
                    Poll::Ready(Some(result))
                }
                Lying::Missed | Lying::Over => Poll::Ready(None),
            }
        })
        .await
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        let left = std::mem::replace(&mut lock(&self.place.state).result, Lying::Over);
        self.place.taken.notify_one();
        // A grant that still lay there gives itself back.
        drop(left);
    }
}

impl Giver {
    /// Lays the result down; a grant that is not taken within the claim window is given back.
    pub(super) async fn give(mut self, manager: &ManagerRef, result: Result) {
        self.otherwise = None;
        let is_grant = result.is_ok();
        self.lay_down(result);
        if !is_grant {
            return;
        }
        let window = manager.clock.sleep(CLAIM_WINDOW);
        if let First::Right(()) = first(self.place.taken.notified(), window).await {
            let mut state = lock(&self.place.state);
            if matches!(state.result, Lying::Here(_)) {
                let missed = std::mem::replace(&mut state.result, Lying::Missed);
                drop(state);
                drop(missed);
            }
        }
    }

    fn lay_down(&self, result: Result) {
        let mut state = lock(&self.place.state);
        if matches!(state.result, Lying::Over) {
            drop(state);
            // Nobody wants it: a grant gives itself back.
            return drop(result);
        }
        state.result = Lying::Here(result);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Giver {
    fn drop(&mut self) {
        if let Some(error) = self.otherwise.take() {
            self.lay_down(Err(error));
        }
    }
}
