//! Connections whose bytes take their time.

use std::collections::VecDeque;

use lockd::engine::ConnectionId;

/// Microseconds of virtual time.
pub(crate) type Micros = u64;

/// One connection, as it is seen from outside: bytes under way, each way in order.
#[derive(Default)]
pub(crate) struct Wire {
    /// How the daemon knows it; `None` before it was accepted, and once it is gone there.
    pub(crate) daemon: Option<ConnectionId>,
    pub(crate) process: usize,
    pub(crate) to_daemon: Lane,
    pub(crate) to_process: Lane,
}

/// What is under way in one direction.
#[derive(Default)]
pub(crate) struct Lane {
    pub(crate) under_way: VecDeque<(Micros, Cargo)>,
    is_ended: bool,
}

pub(crate) enum Cargo {
    Bytes(Vec<u8>),
    End,
}

impl Lane {
    /// Puts something on its way; it does not overtake what was before it. Says when it arrives.
    pub(crate) fn send(&mut self, arrives: Micros, cargo: Cargo) -> Micros {
        if self.is_ended {
            return arrives;
        }
        self.is_ended = matches!(cargo, Cargo::End);
        let before = self.under_way.back().map_or(0, |(at, _)| *at);
        let arrives = arrives.max(before);
        self.under_way.push_back((arrives, cargo));
        arrives
    }

    /// What has arrived by now, one at a time.
    pub(crate) fn arrived(&mut self, now: Micros) -> Option<Cargo> {
        self.under_way
            .pop_front_if(|(at, _)| *at <= now)
            .map(|(_, cargo)| cargo)
    }
}
