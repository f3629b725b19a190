//! A small store that stands for a remote one: the five methods that a backend needs, time of its
//! own, and switches to break it with.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lock_runtime::backend::{Answer, Backend, Busy, Grant, Release, Reply, Request, token};
use lock_runtime::{
    BackendError, Capabilities, Clock, Lease, LockInfo, LockManager, LockName, ManualClock, Moment,
    Owner, SectionInfo,
};
use tokio::sync::Notify;

/// A request as the store saw it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    Asked,
    Renewed,
    Released,
}

/// Clones are connections to the same store.
#[derive(Clone)]
pub(crate) struct Store(Arc<Inner>);

struct Inner {
    clock: Clock,
    locks: Mutex<HashMap<String, Entry>>,
    seen: Mutex<Vec<(Seen, Moment)>>,
    tokens: AtomicU64,
    is_down: AtomicBool,
    is_silent: AtomicBool,
    is_slow: AtomicBool,
    renewals_stand: AtomicBool,
    renewals_go_on: Notify,
}

struct Entry {
    owner: Owner,
    ends: Moment,
    section: SectionInfo,
}

impl Store {
    /// An empty store, and the clock that it lives by.
    pub(crate) fn new(clock: Clock) -> Self {
        Self(Arc::new(Inner {
            clock,
            locks: Mutex::default(),
            seen: Mutex::default(),
            tokens: AtomicU64::new(0),
            is_down: AtomicBool::new(false),
            is_silent: AtomicBool::new(false),
            is_slow: AtomicBool::new(false),
            renewals_stand: AtomicBool::new(false),
            renewals_go_on: Notify::new(),
        }))
    }

    /// A store, a manager that is connected to it, and the clock of both.
    pub(crate) async fn connected() -> (ManualClock, Self, LockManager) {
        let time = ManualClock::new();
        let store = Self::new(time.clock());
        let manager = store.connect(time.clock()).await;
        (time, store, manager)
    }

    /// One more manager, with a clock that may differ from the store's.
    pub(crate) async fn connect(&self, clock: Clock) -> LockManager {
        let builder = LockManager::builder().clock(clock).backend(self.clone());
        builder.connect().await.unwrap()
    }

    /// Every request fails from now on, or no longer.
    pub(crate) fn set_down(&self, is_down: bool) {
        self.0.is_down.store(is_down, Ordering::SeqCst);
    }

    /// No request is answered from now on.
    pub(crate) fn fall_silent(&self) {
        self.0.is_silent.store(true, Ordering::SeqCst);
    }

    /// Requests take effect at once from now on, and their answers take a while.
    pub(crate) fn slow_down(&self) {
        self.0.is_slow.store(true, Ordering::SeqCst);
    }

    /// Renewals are under way for as long as this says so.
    pub(crate) fn hold_renewals(&self, stand: bool) {
        self.0.renewals_stand.store(stand, Ordering::SeqCst);
        self.0.renewals_go_on.notify_waiters();
    }

    /// The moments of the requests of one kind.
    pub(crate) fn seen(&self, kind: Seen) -> Vec<Moment> {
        let seen = self.0.seen.lock().unwrap();
        let of_kind = seen.iter().filter(|(seen, _)| *seen == kind);
        of_kind.map(|(_, at)| *at).collect()
    }

    /// Everything that was seen, in order.
    pub(crate) fn history(&self) -> Vec<Seen> {
        let seen = self.0.seen.lock().unwrap();
        seen.iter().map(|(seen, _)| *seen).collect()
    }

    /// Answers, as far as the store is in a state to.
    fn answer<T: Send + Unpin + 'static>(
        &self,
        seen: Seen,
        act: impl FnOnce(&Inner, Moment) -> T,
    ) -> Reply<Result<T, BackendError>> {
        let store = &*self.0;
        let now = store.clock.now();
        store.seen.lock().unwrap().push((seen, now));
        if store.is_silent.load(Ordering::SeqCst) {
            return Reply::later(std::future::pending());
        }
        if store.is_down.load(Ordering::SeqCst) {
            return Reply::now(Err(BackendError::new("connection refused")));
        }
        let answer = Ok(act(store, now));
        if store.is_slow.load(Ordering::SeqCst) {
            return Reply::later(async {
                tokio::time::sleep(Duration::from_micros(300)).await;
                answer
            });
        }
        Reply::now(answer)
    }
}

impl Inner {
    fn with_entry<T>(&self, lease: &Lease, act: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let mut locks = self.locks.lock().unwrap();
        let entry = locks.get_mut(lease.name().key())?;
        let is_owner = entry.owner == lease.owner() && entry.ends > self.clock.now();
        is_owner.then(|| act(entry))
    }
}

impl Backend for Store {
    fn name(&self) -> &str {
        "store"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::fenced()
    }

    fn connect(&self) -> Reply<Result<(), BackendError>> {
        Reply::now(Ok(()))
    }

    fn try_acquire(&self, request: &Request) -> Reply<Result<Answer, BackendError>> {
        let lease = Arc::clone(request.lease());
        self.answer(Seen::Asked, |store, now| {
            let mut locks = store.locks.lock().unwrap();
            let key = lease.name().key();
            if let Some(entry) = locks.get(key).filter(|entry| entry.ends > now)
                && entry.owner != lease.owner()
            {
                let in_the_way = lock_runtime::InTheWay::Section(Box::new(entry.section.clone()));
                return Answer::Busy(Busy::new().because_of(in_the_way));
            }
            let number = store.tokens.fetch_add(1, Ordering::SeqCst) + 1;
            let token = token(number).ok();
            let owner = lease.describe();
            let section = SectionInfo::new(owner, lease.mode(), token, Duration::ZERO);
            let entry = Entry {
                owner: lease.owner(),
                ends: now + lease.ttl(),
                section,
            };
            locks.insert(key.to_owned(), entry);
            Answer::Granted(Grant::new(token))
        })
    }

    fn renew(&self, lease: &Lease, ttl: Duration) -> Reply<Result<bool, BackendError>> {
        let prolong = |store: &Inner, now| {
            store
                .with_entry(lease, |entry| entry.ends = now + ttl)
                .is_some()
        };
        if !self.0.renewals_stand.load(Ordering::SeqCst) {
            return self.answer(Seen::Renewed, prolong);
        }
        // It has taken effect, and the answer is on its way for a long time.
        let answer = self.answer(Seen::Renewed, prolong);
        let store = Arc::clone(&self.0);
        Reply::later(async move {
            while store.renewals_stand.load(Ordering::SeqCst) {
                let go_on = store.renewals_go_on.notified();
                if store.renewals_stand.load(Ordering::SeqCst) {
                    go_on.await;
                }
            }
            answer.await
        })
    }

    fn release(&self, lease: &Lease, _: Release) -> Reply<Result<bool, BackendError>> {
        self.answer(Seen::Released, |store, _| {
            let had_it = store.with_entry(lease, |_| ()).is_some();
            if had_it {
                store.locks.lock().unwrap().remove(lease.name().key());
            }
            had_it
        })
    }

    fn inspect(&self, name: &LockName) -> Reply<Result<LockInfo, BackendError>> {
        let mut info = LockInfo::free(name.clone());
        let locks = self.0.locks.lock().unwrap();
        let now = self.0.clock.now();
        if let Some(entry) = locks.get(name.key()).filter(|entry| entry.ends > now) {
            info.sections.push(entry.section.clone());
        }
        Reply::now(Ok(info))
    }
}
