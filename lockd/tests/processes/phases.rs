//! How far a client has come when something happens to it.

use std::path::Path;
use std::time::Duration;

use crate::eye::{Eye, MINUTE, Next, acquire, then};
use crate::process::{Process, now};
use crate::puppet::{Order, Puppet};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Half of its request is sent. The lock is free.
    Asking,
    /// It has the lock, and has not read that.
    Answered,
    /// It has the lock.
    Holding,
    /// It has the lock, and half of its release is sent.
    Releasing,
    /// It waits for the lock.
    Waiting,
    /// It waits for the lock, and half of what takes that back is sent.
    Leaving,
    /// It has waited for the lock, which was granted, and has not taken it up.
    Called,
}

impl Phase {
    pub(crate) const ALL: [Self; 7] = [
        Self::Asking,
        Self::Answered,
        Self::Holding,
        Self::Releasing,
        Self::Waiting,
        Self::Leaving,
        Self::Called,
    ];

    /// Whether the lock is its own.
    pub(crate) fn has_lock(self) -> bool {
        matches!(self, Self::Answered | Self::Holding | Self::Releasing)
    }

    fn waits(self) -> bool {
        matches!(self, Self::Waiting | Self::Leaving | Self::Called)
    }
}

/// Somebody in a phase, and those around it.
pub(crate) struct Scene {
    pub(crate) phase: Phase,
    pub(crate) name: String,
    pub(crate) puppet: Process<Puppet>,
    /// The puppet's session, and the number of its request.
    pub(crate) number: u64,
    /// The rest of what is half sent.
    pub(crate) rest: String,
    /// A moment before the puppet's request was sent.
    pub(crate) before: Duration,
    /// Whoever has the lock while the puppet waits.
    first: Option<Next>,
    /// Whoever comes after the puppet.
    pub(crate) next: Next,
}

impl Scene {
    /// Brings a puppet into a phase. Its lease is so long, in milliseconds.
    pub(crate) fn set(socket: &Path, phase: Phase, ttl_ms: u64) -> Self {
        let name = format!("{phase:?}");
        let number = 10 * (phase as u64 + 1);
        let mut eye = Eye::on(socket);
        let first = phase.waits().then(|| {
            let mut first = Next::waits(socket, &name, number + 1);
            first.enters();
            first
        });
        let puppet = Process::<Puppet>::greeted(socket, number);
        let before = now();
        let wait = if phase.waits() { MINUTE } else { 0 };
        let request = format!("{}\n", acquire(&name, number, ttl_ms, wait));
        let release = format!("{}\n", then("release", &name, number));
        let (says, hears, half) = match phase {
            Phase::Asking => (None, false, Some(request)),
            Phase::Answered | Phase::Waiting | Phase::Called => (Some(request), false, None),
            Phase::Holding => (Some(request), true, None),
            Phase::Releasing => (Some(request), true, Some(release)),
            Phase::Leaving => (Some(request), false, Some(release)),
        };
        if let Some(says) = says {
            puppet.does(&Order::Write(says));
        }
        if hears {
            let granted = puppet.hears();
            assert!(granted["granted"].is_object(), "{granted}");
        }
        let mut rest = String::new();
        if let Some(half) = half {
            let (sent, unsent) = half.split_at(half.len() / 2);
            puppet.does(&Order::Write(sent.to_owned()));
            rest = unsent.to_owned();
        }
        if phase.has_lock() {
            eye.until_held(&name);
        } else if phase.waits() {
            eye.until_waiting(&name, 1);
        }
        let next = Next::waits(socket, &name, number + 2);
        match phase {
            Phase::Asking => eye.until_held(&name),
            phase => eye.until_waiting(&name, 1 + usize::from(phase.waits())),
        }
        let mut scene = Self {
            phase,
            name,
            puppet,
            number,
            rest,
            before,
            first,
            next,
        };
        if phase == Phase::Called {
            scene.first_leaves();
        }
        scene
    }

    /// Whoever has the lock while the puppet waits gives it back.
    pub(crate) fn first_leaves(&mut self) {
        if let Some(mut first) = self.first.take() {
            first.leaves();
        }
    }
}

/// Does something with a puppet in every phase, all at the same time, and looks whether anything
/// is left behind.
pub(crate) fn in_every_phase(socket: &Path, ttl_ms: u64, act: impl Fn(Scene) + Sync) {
    std::thread::scope(|threads| {
        for phase in Phase::ALL {
            let act = &act;
            threads.spawn(move || act(Scene::set(socket, phase, ttl_ms)));
        }
    });
    Eye::on(socket).until_nothing_is_left();
}
