//! Locks in memory with one deliberate fault each, to see that the suite finds it.

mod fault;

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use lock_runtime::backend::{
    Answer, Backend, Busy, Change, ChangeAnswer, Grant, OnWhoseWord, Release, Reply, Request,
};
use lock_runtime::{
    BackendError, Capabilities, Clock, FencingToken, Lease, LockInfo, LockName, MemoryBackend,
    Mode, Owner,
};

pub(crate) use fault::Fault;

/// A store with a fault.
#[derive(Clone)]
pub(crate) struct Faulty {
    fault: Fault,
    store: MemoryBackend,
    state: Arc<State>,
    /// The clock of the manager that asks.
    clock: Clock,
}

#[derive(Default)]
struct State {
    /// The last grants of each name, with the time of the grant.
    granted: Mutex<HashMap<String, Vec<(Request, Instant)>>>,
    /// The names that were assigned.
    assigned: Mutex<Vec<LockName>>,
    /// Whether it has forgotten everything, and counts its tokens anew.
    is_new: AtomicBool,
    tokens: Mutex<HashMap<String, u64>>,
    last_token: AtomicU64,
    /// Those who wait where the last is served first, in the order in which they came.
    waiting: Mutex<Vec<Owner>>,
}

type Answering = Reply<Result<Answer, BackendError>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Faulty {
    pub(crate) fn new(fault: Fault) -> Self {
        Self {
            fault,
            store: MemoryBackend::leased(Clock::system()),
            state: Arc::default(),
            clock: Clock::system(),
        }
    }

    /// The same store, as a manager with this clock asks it.
    pub(crate) fn seen_with(&self, clock: &Clock) -> Self {
        let clock = clock.clone();
        Self {
            clock,
            ..self.clone()
        }
    }

    /// Its connections are cut, or mended.
    pub(crate) fn cut(&self, is_cut: bool) {
        if is_cut && self.fault == Fault::ForgetsWhenCut {
            self.forget();
        }
    }

    /// It is stopped, or started again.
    pub(crate) fn stop(&self, is_stopped: bool) {
        if is_stopped && self.fault == Fault::ForgetsWhenStarted {
            self.forget();
            self.state.is_new.store(true, Ordering::SeqCst);
        }
    }

    fn forget(&self) {
        for (request, _) in lock(&self.state.granted).drain().flat_map(|(_, all)| all) {
            drop(self.store.release(request.lease(), Release::Abandoned));
        }
        for name in lock(&self.state.assigned).drain(..) {
            drop(self.store.change(&Change::Unassign {
                name,
                giver: OnWhoseWord::Operator,
                within: None,
            }));
        }
    }

    fn granted(&self, name: &LockName) -> Vec<(Request, Instant)> {
        let granted = lock(&self.state.granted);
        granted.get(name.key()).cloned().unwrap_or_default()
    }

    /// The one who really owns the name, for whoever asks.
    fn real_owner(&self, name: &LockName) -> Option<Request> {
        self.granted(name).pop().map(|(request, _)| request)
    }

    fn next_token(&self) -> FencingToken {
        // Above every token of the store itself.
        let number = self.state.last_token.fetch_add(1, Ordering::SeqCst) + 1_000_000;
        FencingToken::new(number).expect("a small number")
    }

    /// Whether a grant of some other name gets in the way of this one.
    fn is_mistaken_for_another(&self, name: &LockName) -> bool {
        let granted = lock(&self.state.granted);
        let mut others = granted
            .values()
            .flatten()
            .map(|(request, _)| request.name())
            .filter(|other| *other != name);
        match self.fault {
            Fault::FoldsCase => others.any(|other| other.key().eq_ignore_ascii_case(name.key())),
            Fault::IgnoresNamespaces => others.any(|other| other.as_str() == name.as_str()),
            Fault::MatchesPrefixes => others.any(|other| name.key().starts_with(other.key())),
            _ => false,
        }
    }

    /// What the store makes of a request, before it is answered.
    fn before(&self, request: &Request) -> Option<Answer> {
        if self.is_mistaken_for_another(request.name()) {
            return Some(Answer::Busy(Busy::new()));
        }
        let granted = self.granted(request.name());
        match self.fault {
            Fault::SharedExcludes if request.mode() == Mode::Shared && !granted.is_empty() => {
                Some(Answer::Busy(Busy::new()))
            }
            Fault::BelievesTheContendersClock => {
                for (earlier, _) in granted {
                    if self.clock.now() >= Clock::system().now() + earlier.ttl() {
                        drop(self.store.release(earlier.lease(), Release::Abandoned));
                    }
                }
                None
            }
            Fault::ContenderDecidesTheLease => {
                for (earlier, since) in granted {
                    if earlier.owner() != request.owner() && since.elapsed() >= request.ttl() {
                        drop(self.store.release(earlier.lease(), Release::Abandoned));
                    }
                }
                None
            }
            _ => None,
        }
    }

    /// What the store makes of an answer.
    fn after(&self, request: &Request, answer: Answer) -> Answer {
        match (self.fault, answer) {
            (_, Answer::Granted(grant)) => Answer::Granted(self.after_grant(request, grant)),
            (Fault::GrantsTwice, Answer::Busy(_))
            | (Fault::LetsAnybodyIn, Answer::NotYourTurn { .. }) => {
                let token = Some(self.next_token()).filter(|_| request.mode() == Mode::Exclusive);
                Answer::Granted(Grant::new(token))
            }
            (Fault::HidesConflicts, Answer::Conflict { .. }) => Answer::Busy(Busy::new()),
            (_, answer) => answer,
        }
    }

    fn after_grant(&self, request: &Request, mut grant: Grant) -> Grant {
        let (lease, ttl) = (request.lease(), request.ttl());
        let others = self.granted(request.name());
        match self.fault {
            Fault::ForgetsToExpire => drop(self.store.renew(lease, Duration::from_secs(3600))),
            Fault::ExpiresEarly => drop(self.store.renew(lease, ttl / 4)),
            Fault::OneLeaseForAllReaders => {
                for (other, _) in others {
                    drop(self.store.renew(other.lease(), ttl));
                    drop(self.store.renew(lease, other.ttl().min(ttl)));
                }
            }
            Fault::ForgetsWhenStarted if self.state.is_new.load(Ordering::SeqCst) => {
                let number = self.state.last_token.fetch_add(1, Ordering::SeqCst) + 1;
                grant.token = FencingToken::new(number);
            }
            Fault::NoTokens => grant.token = None,
            Fault::RepeatsTokens => {
                let halved = grant.token.map(|token| token.get().div_ceil(2));
                grant.token = halved.and_then(FencingToken::new);
            }
            Fault::AnswersAgainAnew if request.mode() == Mode::Exclusive => {
                grant.token = Some(self.next_token());
            }
            Fault::TokensForAll if grant.token.is_none() => grant.token = Some(self.next_token()),
            Fault::TokensOfTheirOwnName => {
                let mut tokens = lock(&self.state.tokens);
                let token = tokens.entry(request.name().key().to_owned()).or_default();
                *token += 1;
                grant.token = FencingToken::new(*token);
            }
            _ => {}
        }
        let mut granted = lock(&self.state.granted);
        granted
            .entry(request.name().key().to_owned())
            .or_default()
            .push((request.clone(), Instant::now()));
        grant
    }

    fn answer(&self, request: &Request, reply: Answering) -> Answering {
        let (this, request) = (self.clone(), request.clone());
        Reply::later(async move {
            let answer = this.after(&request, reply.await?);
            if this.fault == Fault::WantsAHolder
                && request.auth().is_some()
                && this.store.inspect(request.name()).await?.holder.is_none()
            {
                this.store
                    .release(request.lease(), Release::Abandoned)
                    .await?;
                return Ok(Answer::NotYourTurn { holder: None });
            }
            Ok(answer)
        })
    }

    /// Only who came last asks again, and not at once when the name is free.
    fn last_come_first_served(&self, request: &Request) -> Answering {
        let (this, request) = (self.clone(), request.clone());
        Reply::later(async move {
            if let answer @ (Ok(Answer::Granted(_)) | Err(_)) =
                this.store.try_acquire(&request).await
            {
                return answer;
            }
            let now = Clock::system().now();
            let Some(deadline) = request.wait_until(now) else {
                return Ok(Answer::Busy(Busy::new()));
            };
            let owner = request.owner();
            lock(&this.state.waiting).push(owner);
            let answer = loop {
                let info = this.store.inspect(request.name()).await?;
                let is_free = info.sections.is_empty();
                tokio::time::sleep(Duration::from_millis(if is_free { 60 } else { 5 })).await;
                let is_last = lock(&this.state.waiting).last() == Some(&owner);
                let answer = if is_free && is_last {
                    this.store.try_acquire(&request).await
                } else {
                    Ok(Answer::Busy(Busy::new()))
                };
                match answer {
                    Ok(Answer::Busy(_)) if Clock::system().now() < deadline => {}
                    answer => break answer,
                }
            };
            lock(&this.state.waiting).retain(|waiting| *waiting != owner);
            answer
        })
    }

    /// An answer that comes only under some conditions, and else never.
    fn or_never(reply: Answering, comes: fn(&Answer) -> bool) -> Answering {
        Reply::later(async move {
            match reply.await {
                Ok(answer) if !comes(&answer) => std::future::pending().await,
                answer => answer,
            }
        })
    }

    fn change_with_fault(&self, change: &Change) -> Change {
        let mut change = change.clone();
        match (self.fault, &mut change) {
            (Fault::AssignsToAnybody, Change::Assign { giver, .. })
            | (Fault::TransfersForAnybody, Change::Transfer { giver, .. })
            | (Fault::UnassignsForAnybody, Change::Unassign { giver, .. }) => {
                *giver = OnWhoseWord::Operator;
            }
            (
                Fault::RefusesOperators,
                Change::Assign { giver, .. }
                | Change::Transfer { giver, .. }
                | Change::Unassign { giver, .. },
            ) if *giver == OnWhoseWord::Operator => *giver = OnWhoseWord::Caller("nobody".into()),
            (Fault::AssignmentsEnd, Change::Assign { ttl, .. }) => {
                *ttl = Some(Duration::from_millis(100));
            }
            (Fault::AssignmentsNeverEnd, Change::Assign { ttl, .. }) => *ttl = None,
            _ => {}
        }
        change
    }
}

impl Backend for Faulty {
    fn name(&self) -> &str {
        "faulty"
    }

    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    fn connect(&self) -> Reply<Result<(), BackendError>> {
        self.store.connect()
    }

    fn try_acquire(&self, request: &Request) -> Answering {
        match self.before(request) {
            Some(answer) => Reply::now(Ok(answer)),
            None => self.answer(request, self.store.try_acquire(request)),
        }
    }

    fn acquire(&self, request: &Request) -> Answering {
        match self.fault {
            Fault::GrantsTwice => return self.try_acquire(request),
            Fault::LastComeFirstServed => return self.last_come_first_served(request),
            _ => {}
        }
        if let Some(answer) = self.before(request) {
            return Reply::now(Ok(answer));
        }
        let mut reply = self.store.acquire(request);
        match self.fault {
            Fault::LosesWakeUps => Reply::later(async move {
                let first = poll_fn(|cx| Poll::Ready(Pin::new(&mut reply).poll(cx)));
                match first.await {
                    Poll::Ready(answer) => answer,
                    // It stays in the queue, and is not looked at again.
                    Poll::Pending => std::future::pending().await,
                }
            }),
            Fault::HandsOverForLess => {
                let (this, request) = (self.clone(), request.clone());
                Reply::later(async move {
                    let first = poll_fn(|cx| Poll::Ready(Pin::new(&mut reply).poll(cx))).await;
                    if let Poll::Ready(answer) = first {
                        return answer;
                    }
                    let answer = reply.await;
                    drop(this.store.renew(request.lease(), request.ttl() / 4));
                    answer
                })
            }
            Fault::NeverGivesUp => {
                Self::or_never(reply, |answer| !matches!(answer, Answer::Busy(_)))
            }
            Fault::QueuesStrangers => Self::or_never(reply, |answer| {
                !matches!(answer, Answer::NotYourTurn { .. })
            }),
            Fault::GivesUpEarly => {
                let now = Clock::system().now();
                let deadline = request.wait_until(now).unwrap_or(now);
                Reply::later(async move {
                    let limit = (deadline - now).mul_f64(0.75);
                    let answer = tokio::time::timeout(limit, reply).await;
                    answer.unwrap_or(Ok(Answer::Busy(Busy::new())))
                })
            }
            _ => self.answer(request, reply),
        }
    }

    fn renew(&self, lease: &Lease, ttl: Duration) -> Reply<Result<bool, BackendError>> {
        let renewed = match self.fault {
            Fault::RenewalDoesNothing => return Reply::now(Ok(true)),
            _ => self.store.renew(lease, ttl),
        };
        match (self.fault, self.real_owner(lease.name())) {
            (Fault::GrantsTwice, _) => Reply::now(Ok(true)),
            (Fault::ForcedOutComesBack, Some(last)) if last.owner() == lease.owner() => {
                drop(self.store.try_acquire(&last));
                Reply::now(Ok(true))
            }
            (Fault::RenewsForAnybody, Some(owner)) => {
                drop(self.store.renew(owner.lease(), ttl));
                Reply::now(Ok(true))
            }
            _ => renewed,
        }
    }

    fn release(&self, lease: &Lease, how: Release) -> Reply<Result<bool, BackendError>> {
        let real_owner = self.real_owner(lease.name());
        if let Some(granted) = lock(&self.state.granted).get_mut(lease.name().key())
            && self.fault != Fault::ForcedOutComesBack
        {
            granted.retain(|(request, _)| request.owner() != lease.owner());
        }
        match (self.fault, how, real_owner) {
            (Fault::ReleaseDoesNothing, ..) | (Fault::LeaksCancelled, Release::Abandoned, _) => {
                Reply::now(Ok(true))
            }
            (Fault::ReleasesForAnybody, _, Some(owner)) => {
                drop(self.store.release(owner.lease(), how));
                Reply::now(Ok(true))
            }
            (Fault::GrantsTwice, ..) => {
                drop(self.store.release(lease, how));
                Reply::now(Ok(true))
            }
            (Fault::OneReaderReleasesAll, ..) if lease.mode() == Mode::Shared => {
                drop(self.store.force_release(lease.name()));
                Reply::now(Ok(true))
            }
            (Fault::IgnoresAtLeast, ..) => self.store.release(lease, Release::Abandoned),
            (Fault::RestsWithoutABody, ..) => self.store.release(lease, Release::Finished),
            _ => self.store.release(lease, how),
        }
    }

    fn inspect(&self, name: &LockName) -> Reply<Result<LockInfo, BackendError>> {
        let (this, name) = (self.clone(), name.clone());
        Reply::later(async move {
            let mut info = this.store.inspect(&name).await?;
            match this.fault {
                Fault::CountsNobodyWaiting => info.waiting = info.waiting.min(1),
                Fault::LastComeFirstServed => {
                    info.waiting = lock(&this.state.waiting).len();
                }
                Fault::NeverLooksFree => info.waiting += 1,
                Fault::ShowsAnotherOwner => {
                    let sections = info.sections.iter_mut();
                    sections.for_each(|section| section.owner.pid += 1);
                }
                Fault::ShowsNothing => info = LockInfo::free(name),
                _ => {}
            }
            Ok(info)
        })
    }

    fn adopt(&self, giver: Owner, request: &Request) -> Reply<Result<Option<Grant>, BackendError>> {
        let (this, request) = (self.clone(), request.clone());
        Reply::later(async move {
            let giver = match (this.fault, this.real_owner(request.name())) {
                (Fault::AdoptsForAnybody, Some(owner)) => owner.owner(),
                _ => giver,
            };
            let mut adopted = this.store.adopt(giver, &request).await?;
            if let (Fault::NewTokenByAdoption, Some(grant)) = (this.fault, &mut adopted) {
                grant.token = Some(this.next_token());
            }
            Ok(adopted.map(|grant| this.after_grant(&request, grant)))
        })
    }

    fn force_release(&self, name: &LockName) -> Reply<Result<usize, BackendError>> {
        match self.fault {
            Fault::ForceReleaseDoesNothing => Reply::now(Ok(1)),
            _ => self.store.force_release(name),
        }
    }

    fn change(&self, change: &Change) -> Reply<Result<ChangeAnswer, BackendError>> {
        lock(&self.state.assigned).push(change.name().clone());
        match (self.fault, change) {
            (Fault::KeepsAssignments, Change::Unassign { .. }) => {
                Reply::now(Ok(ChangeAnswer::Done))
            }
            (Fault::TransferEndsTheTurn, Change::Transfer { name, to, .. }) => {
                self.store.change(&Change::Assign {
                    name: name.clone(),
                    to: to.clone(),
                    ttl: Some(Duration::from_millis(100)),
                    giver: OnWhoseWord::Operator,
                    within: None,
                })
            }
            _ => self.store.change(&self.change_with_fault(change)),
        }
    }

    fn list(&self, namespace: &str, prefix: &str) -> Reply<Result<Vec<LockInfo>, BackendError>> {
        let fault = self.fault;
        let prefix = if fault == Fault::ListsEverything {
            ""
        } else {
            prefix
        };
        let listed = self.store.list(namespace, prefix);
        Reply::later(async move {
            let mut listed = listed.await?;
            if fault == Fault::ListsInReverse {
                listed.reverse();
            }
            Ok(listed)
        })
    }
}
