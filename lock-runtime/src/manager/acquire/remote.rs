//! An acquisition from a backend elsewhere: driven to its end on the manager's own thread, and
//! undone when nobody waits for it any more.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;

use super::Acquiring;
use super::handover::handover;
use crate::backend::{Answer, Busy, Patience, Release, Reply, Request};
use crate::clock::Moment;
use crate::error::{BackendError, LockError};
use crate::manager::{Hold, ManagerRef};
use crate::observe;
use crate::owner::Owner;
use crate::race::{First, first};

/// The first pause between two looks of a backend that cannot push, and the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

pub(super) fn acquire(manager: ManagerRef, request: Request) -> Acquiring {
    Acquiring::UnderWay(Box::pin(async move {
        let _waiting = observe::waiting(&request.lease);
        let mut request = request;
        if let Some(deadline) = request.patience.deadline(manager.clock.now()) {
            request.patience = Patience::Until(deadline);
        }
        let driver = manager.driver()?;
        loop {
            let asked = request.clone();
            let otherwise = thread_ended().about(asked.name()).maybe_held();
            let (taker, giver, given_up) = handover(otherwise);
            let on_driver = manager.clone();
            drop(driver.run(async move {
                let result = drive(on_driver.clone(), asked, given_up).await;
                giver.give(&on_driver, result);
            }));
            match taker.take().await {
                Some(result) => return result,
                // Came too late for a grant: asks again, behind those who wait now.
                None => request.lease = request.lease.of_another(Owner::random()),
            }
        }
    }))
}

pub(super) async fn adopt(
    manager: ManagerRef,
    giver: Owner,
    request: Request,
) -> Result<Hold, LockError> {
    let name = request.name().clone();
    let on_driver = manager.clone();
    let answer = manager.driver()?.run(async move {
        let sent = on_driver.clock.now();
        let answer = on_driver.backend.adopt(giver, &request).await;
        let unknown = match &answer {
            Ok(_) => false,
            Err(error) => {
                undo(&on_driver, request.clone(), None);
                error.is_effect_unknown()
            }
        };
        let taken = on_driver.take_over(request, sent, answer);
        taken.map_err(|error| if unknown { error.maybe_held() } else { error })
    });
    let limit = manager.defaults.request_timeout;
    match first(answer, manager.clock.sleep(limit)).await {
        First::Left(Ok(result)) => result,
        First::Left(Err(_)) => Err(thread_ended().about(&name).maybe_held()),
        // What is taken over later is given back: nobody waits for it any more.
        First::Right(()) => {
            let error = LockError::unavailable(BackendError::timed_out(limit));
            Err(error.about(&name).maybe_held())
        }
    }
}

fn thread_ended() -> LockError {
    LockError::unavailable(
        BackendError::new("the lock manager's thread has ended").effect_unknown(),
    )
}

/// Asks until the name is granted, refused, given up, or its time is up.
async fn drive(
    manager: ManagerRef,
    request: Request,
    given_up: oneshot::Receiver<()>,
) -> Result<Hold, LockError> {
    let mut given_up = pin!(given_up);
    let mut closing = pin!(manager.closing.notified());
    manager
        .check_open()
        .map_err(|error| error.about(request.name()))?;
    let started = manager.clock.now();
    let deadline = request.patience.deadline(started).unwrap_or(started);
    let mut pause = FIRST_PAUSE;
    loop {
        let sent = manager.clock.now();
        let is_last_look = sent >= deadline;
        let asking = ask(&manager, &request, deadline);
        let answer = match first(asking, first(given_up.as_mut(), closing.as_mut())).await {
            First::Left(Asked::Answered(answer)) => answer,
            First::Left(Asked::Silent) => {
                let limit = manager.defaults.request_timeout;
                let error = LockError::unavailable(BackendError::timed_out(limit));
                return Err(error.about(request.name()).maybe_held());
            }
            // `Pending` drives the request to its end, and undoes it.
            First::Right(_) => return Err(LockError::closed().about(request.name())),
        };
        match answer {
            Ok(Answer::Granted(grant)) => {
                let end = manager.deadline(&request, sent, grant);
                if manager.clock.now() >= end {
                    undo(&manager, request.clone(), None);
                    let error = BackendError::new("the grant came after its own lease had ended");
                    return Err(LockError::unavailable(error).about(request.name()));
                }
                return manager.take_up(&request, sent, Some(started), Ok(Answer::Granted(grant)));
            }
            Ok(Answer::Busy(busy)) if !manager.capabilities.queue && !is_last_look => {
                let until = next_look(&manager, busy, pause).min(deadline);
                pause = (pause * 2).min(LONGEST_PAUSE);
                let stop = first(given_up.as_mut(), closing.as_mut());
                if let First::Right(_) = first(manager.clock.sleep_until(until), stop).await {
                    return Err(LockError::closed().about(request.name()));
                }
            }
            Ok(answer) => {
                // A try takes as long as its answer, and has not waited.
                let queued = request.patience.deadline(started).map(|_| started);
                return Err(manager.refusal(&request, queued, answer));
            }
            Err(error) => {
                let unknown = error.is_effect_unknown();
                undo(&manager, request.clone(), None);
                let error = LockError::unavailable(error).about(request.name());
                return Err(if unknown { error.maybe_held() } else { error });
            }
        }
    }
}

enum Asked {
    Answered(Result<Answer, BackendError>),
    /// No answer in time; it may still come, and is undone then.
    Silent,
}

/// Sends one request. A backend that queues may take until the deadline for its answer.
async fn ask(manager: &ManagerRef, request: &Request, deadline: Moment) -> Asked {
    let queues = manager.capabilities.queue;
    let mut reply = Pending {
        manager,
        request,
        reply: Some(if queues {
            manager.backend.acquire(request)
        } else {
            manager.backend.try_acquire(request)
        }),
    };
    let asked_until = if queues {
        deadline.max(manager.clock.now())
    } else {
        manager.clock.now()
    };
    let silent_at = asked_until + manager.defaults.request_timeout;
    let answer = first(&mut reply, manager.clock.sleep_until(silent_at)).await;
    match answer {
        First::Left(answer) => {
            reply.reply = None;
            Asked::Answered(answer)
        }
        // `Pending` goes on waiting for it.
        First::Right(()) => Asked::Silent,
    }
}

/// A request that was sent. When it is dropped before its answer came, the answer is still
/// awaited, and undone.
struct Pending<'a> {
    manager: &'a ManagerRef,
    request: &'a Request,
    reply: Option<Reply<Result<Answer, BackendError>>>,
}

impl Future for Pending<'_> {
    type Output = Result<Answer, BackendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.reply {
            Some(reply) => Pin::new(reply).poll(cx),
            None => Poll::Pending,
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(reply) = self.reply.take() {
            undo(self.manager, self.request.clone(), Some(reply));
        }
    }
}

/// Takes a request back. A request that queues in the backend leaves the queue by a release at
/// once; every other is released after its answer, so that nothing overtakes anything. When the
/// backend does not answer, the lease is the limit.
fn undo(
    manager: &ManagerRef,
    request: Request,
    reply: Option<Reply<Result<Answer, BackendError>>>,
) {
    let Ok(driver) = manager.driver() else {
        return;
    };
    // The manager stays until it is undone, or its thread would end with the request.
    let on_driver = manager.clone();
    drop(driver.run(async move {
        let (backend, clock) = (&on_driver.backend, &on_driver.clock);
        let queues = on_driver.capabilities.queue;
        let lease = &request.lease;
        let limit = lease.ttl() + Duration::from_secs(1);
        if let Some(reply) = reply {
            if queues {
                let leave = backend.release(lease, Release::Abandoned);
                drop(first(leave, clock.sleep(limit)).await);
            }
            if let First::Left(Ok(Answer::Busy(_))) = first(reply, clock.sleep(limit)).await {
                return;
            }
        }
        let release = backend.release(lease, Release::Abandoned);
        if let First::Left(Err(error)) = first(release, clock.sleep(limit)).await {
            observe::release_failed(lease, &error);
        }
    }));
}

/// When to look again: after the pause, a little sooner or later than others, or when the
/// holder's lease ends.
fn next_look(manager: &ManagerRef, busy: Busy, pause: Duration) -> Moment {
    let jittered = pause.mul_f64(rand::random_range(0.5..1.0));
    let lease_ends = busy.details().look_again.unwrap_or(Duration::MAX);
    manager.clock.now() + jittered.min(lease_ends.max(Duration::from_millis(1)))
}
