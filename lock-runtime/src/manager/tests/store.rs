//! A backend with little more than the five required methods, that answers when a test wants.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use crate::backend::{self, Answer, Backend, Busy, Capabilities, Grant, Release, Reply, Request};
use crate::clock::{Clock, Moment};
use crate::error::BackendError;
use crate::info::LockInfo;
use crate::lease::Lease;
use crate::name::LockName;
use crate::owner::Owner;

/// What a request of one kind comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wire {
    /// It takes effect, and is answered.
    Up,
    /// It takes effect when the wire is up again.
    HoldsRequests,
    /// It takes effect, and is answered when the wire is up again.
    HoldsAnswers,
    /// It fails without effect.
    Fails,
}

/// The kinds of requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Acquire,
    Adopt,
    Renew,
    Release,
}

#[derive(Clone)]
pub(super) struct Store(Arc<Inner>);

struct Inner {
    clock: Clock,
    wires: [watch::Sender<Wire>; 4],
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tokens: u64,
    /// For how long it keeps what it grants, where that is shorter than it was asked for.
    keeps_for: Option<Duration>,
    held: HashMap<LockName, Section>,
    log: Vec<Entry>,
    asked: Vec<Kind>,
}

struct Section {
    owner: Owner,
    ends: Moment,
    token: u64,
}

/// A request that took effect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) at: Moment,
    pub(super) did: bool,
}

impl Store {
    pub(super) fn new(clock: Clock) -> Self {
        Self(Arc::new(Inner {
            clock,
            wires: std::array::from_fn(|_| watch::Sender::new(Wire::Up)),
            state: Mutex::default(),
        }))
    }

    pub(super) fn set(&self, kind: Kind, wire: Wire) {
        self.0.wires[kind as usize].send_replace(wire);
    }

    /// From now on it keeps what it grants for so long only, unless it is renewed.
    pub(super) fn keep_for(&self, duration: Duration) {
        self.0.state.lock().unwrap().keeps_for = Some(duration);
    }

    /// Whether somebody has the name by the store's clock.
    pub(super) fn is_held(&self, name: &str) -> bool {
        let state = self.0.state.lock().unwrap();
        let now = self.0.clock.now();
        let mut held = state.held.iter();
        held.any(|(held, section)| held.as_str() == name && section.ends > now)
    }

    pub(super) fn log(&self, kind: Kind) -> Vec<Entry> {
        let state = self.0.state.lock().unwrap();
        let log = state.log.iter().copied();
        log.filter(|entry| entry.kind == kind).collect()
    }

    /// How many requests were sent, whether they arrived or not.
    pub(super) fn asked(&self, kind: Kind) -> usize {
        let state = self.0.state.lock().unwrap();
        state.asked.iter().filter(|asked| **asked == kind).count()
    }

    fn reply<T: Send + 'static>(
        &self,
        kind: Kind,
        act: impl FnOnce(&mut State, Moment) -> (bool, T) + Send + 'static,
    ) -> Reply<Result<T, BackendError>> {
        let store = self.clone();
        let mut wire = self.0.wires[kind as usize].subscribe();
        self.0.state.lock().unwrap().asked.push(kind);
        Reply::later(async move {
            let gone = |_| BackendError::new("the test is over");
            let arrived = wire.wait_for(|wire| *wire != Wire::HoldsRequests).await;
            if *arrived.map_err(gone)? == Wire::Fails {
                return Err(BackendError::new("the wire is cut"));
            }
            let answer = {
                let mut state = store.0.state.lock().unwrap();
                let at = store.0.clock.now();
                let (did, answer) = act(&mut state, at);
                state.log.push(Entry { kind, at, did });
                answer
            };
            let answered = wire.wait_for(|wire| *wire != Wire::HoldsAnswers).await;
            answered.map_err(gone)?;
            Ok(answer)
        })
    }
}

impl Backend for Store {
    fn name(&self) -> &str {
        "store"
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::fenced();
        capabilities.adopt = true;
        capabilities
    }

    fn connect(&self) -> Reply<Result<(), BackendError>> {
        Reply::later(async { Ok(()) })
    }

    fn try_acquire(&self, request: &Request) -> Reply<Result<Answer, BackendError>> {
        let (name, owner, ttl) = (request.name().clone(), request.owner(), request.ttl());
        let asked = self.reply(Kind::Acquire, move |state, now| {
            let (tokens, keeps_for) = (&mut state.tokens, state.keeps_for);
            let mut new = || {
                *tokens += 1;
                Section {
                    owner,
                    ends: now + keeps_for.unwrap_or(ttl),
                    token: *tokens,
                }
            };
            let section = state.held.entry(name).or_insert_with(&mut new);
            if section.ends <= now {
                *section = new();
            }
            if section.owner == owner {
                (true, Ok((section.token, keeps_for)))
            } else {
                (false, Err(section.ends - now))
            }
        });
        Reply::later(async move {
            Ok(match asked.await? {
                Ok((token, keeps_for)) => {
                    let mut grant = Grant::new(Some(backend::token(token)?));
                    grant.lasting = keeps_for;
                    Answer::Granted(grant)
                }
                Err(left) => Answer::Busy(Busy::new().look_again(left)),
            })
        })
    }

    fn adopt(&self, giver: Owner, request: &Request) -> Reply<Result<Option<Grant>, BackendError>> {
        let (name, owner, ttl) = (request.name().clone(), request.owner(), request.ttl());
        let adopted = self.reply(Kind::Adopt, move |state, now| {
            let section = state.held.get_mut(&name);
            let given = section.filter(|section| section.owner == giver && section.ends > now);
            let token = given.map(|section| {
                (section.owner, section.ends) = (owner, now + ttl);
                section.token
            });
            (token.is_some(), token)
        });
        Reply::later(async move {
            let token = adopted.await?.map(backend::token).transpose()?;
            Ok(token.map(|token| Grant::new(Some(token))))
        })
    }

    fn renew(&self, lease: &Lease, ttl: Duration) -> Reply<Result<bool, BackendError>> {
        let (name, owner) = (lease.name().clone(), lease.owner());
        self.reply(Kind::Renew, move |state, now| {
            let section = state.held.get_mut(&name);
            let own = section.filter(|section| section.owner == owner && section.ends > now);
            let is_own = own.is_some();
            if let Some(section) = own {
                section.ends = now + ttl;
            }
            (is_own, is_own)
        })
    }

    fn release(&self, lease: &Lease, _: Release) -> Reply<Result<bool, BackendError>> {
        let (name, owner) = (lease.name().clone(), lease.owner());
        self.reply(Kind::Release, move |state, now| {
            let section = state.held.get(&name);
            let is_own = section.is_some_and(|it| it.owner == owner && it.ends > now);
            if is_own {
                state.held.remove(&name);
            }
            (is_own, is_own)
        })
    }

    fn inspect(&self, name: &LockName) -> Reply<Result<LockInfo, BackendError>> {
        let name = name.clone();
        Reply::later(async move { Ok(LockInfo::free(name)) })
    }
}
