//! Sessions, which outlive connections, and the acquisitions that belong to them.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use lock_runtime::__daemon::{Code, LockName, Party, Place, owner_info};
use lock_runtime::wire::Nonce;
use lock_runtime::{Mode, Moment, Owner, OwnerInfo};

use super::{ConnectionId, Process};

/// A session of this run of the daemon.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct SessionId(pub(super) u64);

/// What a process has here, over all its connections under one number.
#[derive(Debug)]
pub(super) struct Session {
    /// How the state file names it.
    pub(super) key: Nonce,
    /// Whether the client knows the number, so that it can come back.
    pub(super) can_return: bool,
    pub(super) process: Option<Process>,
    pub(super) who: Rc<Who>,
    pub(super) connection: Option<ConnectionId>,
    /// Which of the client's connections that is, as the client counts.
    pub(super) generation: u64,
    pub(super) sites: Vec<Rc<Code>>,
    /// What it has and waits for, in no order.
    pub(super) acquisitions: Vec<Holder>,
    /// How many of those wait.
    pub(super) waiting: usize,
    /// Which snapshot of the state names it, if one does or will, and whether as one that may leave
    /// something behind.
    pub(super) remembered: Option<u64>,
    pub(super) lingers: bool,
    /// When it was last granted something.
    pub(super) last_grant: Moment,
}

/// Who a process says it is, and what the socket says.
#[derive(Debug, Default)]
pub(super) struct Who {
    pub(super) application: String,
    pub(super) host: String,
    pub(super) pid: u32,
}

/// One acquisition, shared by the table and its session.
#[derive(Clone, Debug)]
pub(super) struct Holder(pub(super) Rc<Acquisition>);

#[derive(Debug)]
pub(super) struct Acquisition {
    pub(super) name: LockName,
    pub(super) owner: Owner,
    pub(super) mode: Mode,
    pub(super) at_least: Duration,
    /// Whether it outlives its process.
    pub(super) lingers: bool,
    pub(super) who: Rc<Who>,
    pub(super) code: Rc<Code>,
    pub(super) ttl: Cell<Duration>,
    pub(super) belongs: Cell<Belongs>,
    /// Where it is among its session's.
    pub(super) place: Cell<usize>,
    /// The request that is to be answered.
    pub(super) request: Cell<u64>,
    pub(super) stage: Cell<Stage>,
    /// Where it stands in a queue, or among those who wait for a recovery.
    pub(super) queued: Cell<Queued>,
    /// The connection on which it was last spoken of.
    pub(super) affirmed: Cell<Option<ConnectionId>>,
}

/// Whose an acquisition is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Belongs {
    /// It stands alone until its lease ends, or somebody adopts it.
    Alone,
    Nobody,
    Session(SessionId),
}

/// Where an acquisition waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Queued {
    Deferred(u64),
    Nowhere,
    Place(Place),
}

/// How far an acquisition has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    Waiting,
    /// Out of the queue, and not taken up yet.
    Granted,
    Held,
    Over,
}

impl Stage {
    /// Whether a lease runs for it.
    pub(super) fn is_running(self) -> bool {
        matches!(self, Self::Granted | Self::Held)
    }
}

impl Acquisition {
    pub(super) fn session(&self) -> Option<SessionId> {
        match self.belongs.get() {
            Belongs::Session(session) => Some(session),
            Belongs::Alone | Belongs::Nobody => None,
        }
    }
}

impl Party for Holder {
    fn describe(&self) -> OwnerInfo {
        let Acquisition {
            owner, who, code, ..
        } = &*self.0;
        owner_info(owner.id(), (&who.application, &who.host, who.pid), code)
    }

    fn owner(&self) -> Owner {
        self.0.owner
    }
}

impl Session {
    /// Takes an acquisition in.
    pub(super) fn add(&mut self, id: SessionId, holder: &Holder) {
        let acquisition = &*holder.0;
        acquisition.belongs.set(Belongs::Session(id));
        acquisition.place.set(self.acquisitions.len());
        if acquisition.stage.get() == Stage::Waiting {
            self.waiting += 1;
        }
        self.acquisitions.push(holder.clone());
    }

    /// Lets an acquisition go.
    pub(super) fn remove(&mut self, acquisition: &Acquisition) {
        let place = acquisition.place.get();
        let is_there = self
            .acquisitions
            .get(place)
            .is_some_and(|holder| std::ptr::eq(&*holder.0, acquisition));
        if !is_there {
            return;
        }
        self.acquisitions.swap_remove(place);
        if let Some(moved) = self.acquisitions.get(place) {
            moved.0.place.set(place);
        }
        if acquisition.stage.get() == Stage::Waiting {
            self.waiting -= 1;
        }
        acquisition.belongs.set(Belongs::Nobody);
        if self.acquisitions.is_empty() && self.acquisitions.capacity() > 16 {
            self.acquisitions = Vec::new();
        }
    }

    /// Changes how far one of its acquisitions has come.
    pub(super) fn set_stage(&mut self, acquisition: &Acquisition, stage: Stage) {
        let before = acquisition.stage.replace(stage);
        self.waiting -= usize::from(before == Stage::Waiting);
        self.waiting += usize::from(stage == Stage::Waiting);
    }

    pub(super) fn held(&self) -> usize {
        self.acquisitions.len() - self.waiting
    }
}
