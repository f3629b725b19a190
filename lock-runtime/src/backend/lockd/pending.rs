//! Requests that wait for an answer, and how each of them is said.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::convert::{self, key, ms, wait_ms};
use super::news::News;
use crate::backend::{Answer, Change, ChangeAnswer, Request};
use crate::clock::Moment;
use crate::error::BackendError;
use crate::fencing::FencingToken;
use crate::info::LockInfo;
use crate::lease::Lease;
use crate::name::LockName;
use crate::options::Mode;
use crate::owner::Owner;
use crate::wire::{Acquire, Adopt, Next, Nonce, Renewal, ToDaemon};

/// Where an answer is waited for.
pub(super) type Waiter<T> = oneshot::Sender<Result<T, BackendError>>;

/// A request without an answer.
pub(super) struct Pending {
    pub(super) what: What,
    /// How often it was sent: more than once, after a connection was cut.
    pub(super) times_sent: u32,
    /// A moment before it was sent last.
    pub(super) sent_at: Moment,
}

/// What is asked.
pub(super) enum What {
    Ask(Asking),
    Change {
        change: Change,
        /// Made once, so that it is the same change however often it is sent.
        attempt: Nonce,
        until: Moment,
        waiter: Waiter<ChangeAnswer>,
    },
    /// A claim on which nothing hangs.
    Claim {
        lease: Arc<Lease>,
    },
    Detach {
        name: LockName,
        owner: Owner,
        until: Moment,
        waiter: Waiter<bool>,
    },
    ForceRelease {
        name: LockName,
        until: Moment,
        waiter: Waiter<usize>,
    },
    Inspect {
        name: LockName,
        until: Moment,
        waiter: Waiter<LockInfo>,
    },
    List {
        namespace: String,
        prefix: String,
        after: Option<Next>,
        until: Moment,
        waiter: Waiter<Page>,
    },
    Reclaim {
        owner: Owner,
        ttl: Duration,
    },
    Release {
        name: LockName,
        owner: Owner,
        body_ran: bool,
        until: Moment,
        /// `None` when nobody wants to know.
        waiter: Option<Waiter<bool>>,
    },
    Renew(Vec<Renewing>),
    Settled,
}

/// A page of locks, and where it ended when there is more.
pub(super) type Page = (Vec<LockInfo>, Option<Next>);

/// A request for a section, on its way from the first message to the grant.
pub(super) struct Asking {
    pub(super) lease: Arc<Lease>,
    /// The mode that was asked for, or that an adopted section has.
    pub(super) mode: Mode,
    pub(super) how: How,
    pub(super) site: Option<u32>,
    pub(super) stage: Stage,
    /// Whether somebody wants the section. When not, its release is on its way already.
    pub(super) is_wanted: bool,
    /// `None` when nobody listens any more. An adoption that came too late is told as busy.
    pub(super) waiter: Option<Waiter<Answer>>,
}

pub(super) enum How {
    Acquire {
        request: Request,
        /// `None` does not queue.
        deadline: Option<Moment>,
        /// While the daemon is out of reach it is not given up before this.
        until: Moment,
    },
    Adopt {
        giver: Owner,
        until: Moment,
    },
}

/// How far a request for a section has come.
pub(super) enum Stage {
    Asked,
    /// Granted out of the queue, and taken up: the lease counts from the sending of that.
    Claiming {
        token: Option<FencingToken>,
    },
    /// Granted after it was sent twice, so that nobody knows since when: renewed, and the lease
    /// counts from the sending of that.
    Confirming {
        token: Option<FencingToken>,
    },
}

/// A lease that is to be started anew.
pub(super) struct Renewing {
    pub(super) name: LockName,
    pub(super) owner: Owner,
    pub(super) ttl: Duration,
    pub(super) waiter: Waiter<bool>,
}

impl Pending {
    pub(super) fn new(what: What) -> Self {
        Self {
            what,
            times_sent: 0,
            sent_at: Moment::NEVER,
        }
    }
}

impl What {
    /// After which moment it is not worth sending any more. A renewal is worth it for as long as
    /// its section is held.
    pub(super) fn worth_until(&self) -> Moment {
        match self {
            Self::Change { until, .. }
            | Self::Detach { until, .. }
            | Self::ForceRelease { until, .. }
            | Self::Inspect { until, .. }
            | Self::List { until, .. }
            | Self::Release { until, .. }
            | Self::Ask(Asking {
                how: How::Acquire { until, .. } | How::Adopt { until, .. },
                ..
            }) => *until,
            Self::Claim { .. } | Self::Reclaim { .. } | Self::Renew(_) => Moment::NEVER,
            Self::Settled => Moment::NEVER,
        }
    }

    /// Whether it is of one connection only: on the next it is said anew, or not at all.
    pub(super) fn ends_with_connection(&self) -> bool {
        matches!(
            self,
            Self::Claim { .. } | Self::Reclaim { .. } | Self::Settled
        )
    }

    /// Whether it only looks, and nobody waits for what is seen any more.
    pub(super) fn is_idle_look(&self) -> bool {
        match self {
            Self::Inspect { waiter, .. } => waiter.is_closed(),
            Self::List { waiter, .. } => waiter.is_closed(),
            _ => false,
        }
    }

    /// The message. A reclaim is the section's to say.
    pub(super) fn message(&self, id: u64, now: Moment) -> Option<ToDaemon<'_>> {
        Some(match self {
            Self::Ask(asking) => asking.message(id, now),
            Self::Change {
                change, attempt, ..
            } => convert::change(id, *attempt, change),
            Self::Claim { lease } => claim(id, lease),
            Self::Detach { name, owner, .. } => {
                let (name, namespace) = key(name);
                ToDaemon::Detach {
                    id,
                    name,
                    namespace,
                    owner: *owner,
                }
            }
            Self::ForceRelease { name, .. } => {
                let (name, namespace) = key(name);
                ToDaemon::ForceRelease {
                    id,
                    name,
                    namespace,
                }
            }
            Self::Inspect { name, .. } => {
                let (name, namespace) = key(name);
                ToDaemon::Inspect {
                    id,
                    name,
                    namespace,
                }
            }
            Self::List {
                namespace,
                prefix,
                after,
                ..
            } => ToDaemon::List {
                id,
                namespace: Some(Cow::from(namespace)),
                prefix: Cow::from(prefix),
                after: after.clone(),
            },
            Self::Release {
                name,
                owner,
                body_ran,
                ..
            } => {
                let (name, namespace) = key(name);
                ToDaemon::Release {
                    id,
                    name,
                    namespace,
                    owner: *owner,
                    body_ran: *body_ran,
                }
            }
            Self::Renew(leases) => ToDaemon::Renew {
                id,
                leases: leases
                    .iter()
                    .map(|lease| renewal(&lease.name, lease.owner, lease.ttl))
                    .collect(),
            },
            Self::Settled => ToDaemon::Settled { id },
            Self::Reclaim { .. } => return None,
        })
    }

    /// Tells whoever waits that it failed. What only this side waits for fails in silence.
    pub(super) fn fail(self, error: &BackendError, news: &mut Vec<News>) {
        match self {
            Self::Ask(asking) => asking.end(Err(error.clone()), news),
            Self::Change { waiter, .. } => news.push(News::Changed(waiter, Err(error.clone()))),
            Self::Detach { waiter, .. } => news.push(News::Held(waiter, Err(error.clone()))),
            Self::ForceRelease { waiter, .. } => news.push(News::Ended(waiter, Err(error.clone()))),
            Self::Inspect { waiter, .. } => news.push(News::Lock(waiter, Err(error.clone()))),
            Self::List { waiter, .. } => news.push(News::Locks(waiter, Err(error.clone()))),
            Self::Release { waiter, .. } => {
                news.extend(waiter.map(|waiter| News::Held(waiter, Err(error.clone()))));
            }
            Self::Renew(leases) => news.extend(
                leases
                    .into_iter()
                    .map(|lease| News::Held(lease.waiter, Err(error.clone()))),
            ),
            Self::Claim { .. } | Self::Reclaim { .. } | Self::Settled => {}
        }
    }
}

impl Asking {
    /// Tells whoever waits.
    pub(super) fn end(self, answer: Result<Answer, BackendError>, news: &mut Vec<News>) {
        let lease = self.lease;
        news.extend(self.waiter.map(|waiter| News::Asked {
            lease,
            waiter,
            answer,
        }));
    }

    pub(super) fn is_adoption(&self) -> bool {
        matches!(self.how, How::Adopt { .. })
    }

    /// Whether it may still queue.
    pub(super) fn still_waits(&self, now: Moment) -> bool {
        match &self.how {
            How::Acquire { deadline, .. } => deadline.is_some_and(|deadline| deadline > now),
            How::Adopt { .. } => false,
        }
    }

    fn message(&self, id: u64, now: Moment) -> ToDaemon<'_> {
        let lease = &*self.lease;
        let (name, namespace) = key(lease.name());
        match (&self.stage, &self.how) {
            (
                Stage::Asked,
                How::Acquire {
                    request, deadline, ..
                },
            ) => ToDaemon::Acquire(Acquire {
                id,
                name,
                namespace,
                owner: lease.owner(),
                mode: lease.mode(),
                ttl_ms: ms(lease.ttl()),
                wait_ms: wait_ms(*deadline, now),
                at_least_ms: ms(lease.at_least()),
                auth: convert::auth(request),
                linger: lease.lingers(),
                site: self.site,
            }),
            (Stage::Asked, How::Adopt { giver, .. }) => ToDaemon::Adopt(Adopt {
                id,
                name,
                namespace,
                giver: *giver,
                owner: lease.owner(),
                ttl_ms: ms(lease.ttl()),
                linger: lease.lingers(),
                site: self.site,
            }),
            (Stage::Claiming { .. }, _) => claim(id, lease),
            (Stage::Confirming { .. }, _) => ToDaemon::Renew {
                id,
                leases: vec![renewal(lease.name(), lease.owner(), lease.ttl())],
            },
        }
    }
}

fn claim(id: u64, lease: &Lease) -> ToDaemon<'_> {
    let (name, namespace) = key(lease.name());
    ToDaemon::Claim {
        id,
        name,
        namespace,
        owner: lease.owner(),
    }
}

fn renewal(name: &LockName, owner: Owner, ttl: Duration) -> Renewal<'_> {
    let (name, namespace) = key(name);
    Renewal {
        name,
        namespace,
        owner,
        ttl_ms: ms(ttl),
    }
}
