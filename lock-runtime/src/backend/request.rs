//! What a backend is asked, and what it answers.

use std::sync::Arc;
use std::time::Duration;

use crate::caller::CallerId;
use crate::clock::Moment;
use crate::fencing::FencingToken;
use crate::info::InTheWay;
use crate::lease::Lease;
use crate::name::LockName;
use crate::options::{AuthPolicy, Mode, Wait};
use crate::owner::Owner;

/// A request for a section.
#[derive(Clone, Debug)]
pub struct Request {
    pub(crate) lease: Arc<Lease>,
    pub(crate) patience: Patience,
}

/// How long a request queues: as it was said, or already counted from when it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Patience {
    Wait(Wait),
    Until(Moment),
}

impl Patience {
    /// Until when a request of this moment queues; `None` when it does not.
    #[inline]
    pub(crate) fn deadline(self, now: Moment) -> Option<Moment> {
        match self {
            Self::Wait(Wait::NONE) => None,
            Self::Wait(Wait::For(wait)) => Some(now + wait),
            Self::Wait(Wait::Forever) => Some(Moment::NEVER),
            Self::Until(deadline) => Some(deadline),
        }
    }
}

impl Request {
    pub(crate) fn new(lease: Arc<Lease>, patience: Patience) -> Self {
        Self { lease, patience }
    }

    /// The lock.
    #[must_use]
    pub fn name(&self) -> &LockName {
        self.lease.name()
    }

    /// The owner to grant it to.
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.lease.owner()
    }

    /// Who may be in at the same time. Anything but exclusive needs a capability.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.lease.mode()
    }

    /// How long the grant lasts unless it is renewed.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.lease.ttl()
    }

    /// Until when a request that was made at this moment of the manager's clock queues; `None`
    /// when it does not.
    #[must_use]
    pub fn wait_until(&self, now: Moment) -> Option<Moment> {
        self.patience.deadline(now)
    }

    /// Whether it queues at all.
    pub(crate) fn waits(&self) -> bool {
        self.patience != Patience::Wait(Wait::NONE)
    }

    /// Which callers may enter; `None` for a request without regard to callers, which may enter
    /// only while the lock is assigned to nobody.
    #[must_use]
    pub fn auth(&self) -> Option<AuthPolicy> {
        self.lease.terms().auth
    }

    /// Who calls, where somebody is known to.
    #[must_use]
    pub fn caller(&self) -> Option<&CallerId> {
        self.lease.caller()
    }

    /// The acquisition itself, for a backend that reports losses to it.
    #[must_use]
    pub fn lease(&self) -> &Arc<Lease> {
        &self.lease
    }
}

/// The answer to a request for a section.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Answer {
    /// The name is busy.
    Busy(Busy),
    /// The name is in use with this other number of permits.
    Conflict {
        /// The number that it is in use with.
        in_use: u32,
    },
    /// The owner has it.
    Granted(Grant),
    /// The lock belongs to another caller, or to nobody where somebody is needed.
    NotYourTurn {
        /// The caller that it belongs to.
        holder: Option<CallerId>,
    },
}

/// A grant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Grant {
    /// The fencing token, for an exclusive grant of a backend that has tokens.
    pub token: Option<FencingToken>,
    /// The last moment at which the backend had surely seen the waiter, for a grant that came out
    /// of a queue: the lease is counted from there. `None` counts from the sending of the request.
    pub counted_from: Option<Moment>,
    /// How long the backend keeps it unless it is renewed, where that is shorter than the request
    /// said: for a grant that was pushed to a waiter, of which the backend does not know whether it
    /// was heard. It is renewed soon.
    pub lasting: Option<Duration>,
}

impl Grant {
    /// A grant that was given at once.
    #[must_use]
    pub fn new(token: Option<FencingToken>) -> Self {
        Self {
            token,
            counted_from: None,
            lasting: None,
        }
    }

    /// A grant that came out of a queue: the lease is counted from this moment.
    #[must_use]
    pub fn counted_from(mut self, moment: Moment) -> Self {
        self.counted_from = Some(moment);
        self
    }

    /// A grant that the backend keeps only for so long, unless it is renewed.
    #[must_use]
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.lasting = Some(duration);
        self
    }
}

/// A name that is busy.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Busy(Option<Box<BusyDetails>>);

/// What is known of a busy name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct BusyDetails {
    pub(crate) in_the_way: Option<InTheWay>,
    pub(crate) ahead: usize,
    pub(crate) look_again: Option<Duration>,
}

impl Busy {
    /// A name that is busy, and nothing more is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with who is in the way.
    #[must_use]
    pub fn because_of(self, in_the_way: InTheWay) -> Self {
        self.with(|details| details.in_the_way = Some(in_the_way))
    }

    /// The same with how many came first.
    #[must_use]
    pub fn ahead(self, ahead: usize) -> Self {
        self.with(|details| details.ahead = ahead)
    }

    /// The same with the time after which the owner's lease ends: asking again may help then.
    #[must_use]
    pub fn look_again(self, after: Duration) -> Self {
        self.with(|details| details.look_again = Some(after))
    }

    fn with(mut self, change: impl FnOnce(&mut BusyDetails)) -> Self {
        change(self.0.get_or_insert_default());
        self
    }

    pub(crate) fn details(self) -> BusyDetails {
        self.0.map_or_else(BusyDetails::default, |details| *details)
    }
}

/// How a section ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Release {
    /// It was never entered: the request is taken back, whether it waits or was granted.
    Abandoned,
    /// Its body has run, so that the name rests where `at_least` says so.
    Finished,
}

/// A change of the caller that a lock is assigned to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Change {
    /// Assigns it; refused when somebody else holds it.
    Assign {
        /// The lock.
        name: LockName,
        /// The new holder.
        to: CallerId,
        /// After which time it ends by itself; `None` for never.
        ttl: Option<Duration>,
        /// On whose word.
        giver: OnWhoseWord,
        /// The section of this lock that the change is made from: refused once it is lost.
        within: Option<Owner>,
    },
    /// Moves it from one caller to another, in one step.
    Transfer {
        /// The lock.
        name: LockName,
        /// The new holder.
        to: CallerId,
        /// On whose word.
        giver: OnWhoseWord,
        /// The section of this lock that the change is made from: refused once it is lost.
        within: Option<Owner>,
    },
    /// Takes it back.
    Unassign {
        /// The lock.
        name: LockName,
        /// On whose word.
        giver: OnWhoseWord,
        /// The section of this lock that the change is made from: refused once it is lost.
        within: Option<Owner>,
    },
}

impl Change {
    /// The lock that changes.
    #[must_use]
    pub fn name(&self) -> &LockName {
        match self {
            Self::Assign { name, .. }
            | Self::Transfer { name, .. }
            | Self::Unassign { name, .. } => name,
        }
    }

    /// Every caller that it names.
    #[cfg(any(all(unix, feature = "lockd"), feature = "postgres"))]
    pub(crate) fn callers(&self) -> impl Iterator<Item = &CallerId> {
        let to = match self {
            Self::Assign { to, .. } | Self::Transfer { to, .. } => Some(to),
            Self::Unassign { .. } => None,
        };
        to.into_iter().chain(self.giver())
    }

    /// The caller on whose word it changes; `None` for an operator.
    pub(crate) fn giver(&self) -> Option<&CallerId> {
        match self {
            Self::Assign { giver, .. }
            | Self::Transfer { giver, .. }
            | Self::Unassign { giver, .. } => match giver {
                OnWhoseWord::Caller(caller) | OnWhoseWord::Holder(caller) => Some(caller),
                OnWhoseWord::Operator => None,
            },
        }
    }
}

/// On whose word a lock changes hands.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum OnWhoseWord {
    /// A caller: refused when somebody else holds the lock; fine when nobody does.
    Caller(CallerId),
    /// A caller who must hold the lock.
    Holder(CallerId),
    /// An operator: never refused.
    Operator,
}

/// The answer to a change.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ChangeAnswer {
    /// It is done.
    Done,
    /// The lock belongs to another caller.
    NotYourTurn {
        /// The caller that it belongs to.
        holder: Option<CallerId>,
    },
    /// The section that the change was made from is lost.
    SectionLost,
}
