//! One connection: what has come in and is not whole yet, and what is to go out.

use std::collections::VecDeque;

use lock_runtime::Moment;
use lock_runtime::wire::{Encoding, ToClient};

use super::Peer;
use super::session::SessionId;

/// A buffer that is empty gives back more room than this: most connections are idle.
const KEPT_ROOM: usize = 4096;

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: Peer,
    /// `None` before the greeting.
    pub(super) session: Option<SessionId>,
    pub(super) encoding: Encoding,
    /// The beginning of a message whose end has not come yet.
    pub(super) received: Vec<u8>,
    /// Since when that has been waited for.
    pub(super) unfinished_since: Option<Moment>,
    /// Whether somebody looks after the unfinished.
    pub(super) is_timed: bool,
    pub(super) is_closing: bool,
    /// Whether whole messages wait in `received`.
    pub(super) is_behind: bool,
    /// Whether it is among those that have news.
    pub(super) is_woken: bool,
    /// How many messages could not be understood.
    pub(super) malformed: u32,
    out: Vec<u8>,
    /// How much of `out` was sent.
    sent: usize,
    /// What may be said only when a snapshot is on disk, in order, and which.
    held_back: VecDeque<(u64, Vec<u8>)>,
}

impl Connection {
    pub(super) fn new(peer: Peer) -> Self {
        Self {
            peer,
            session: None,
            encoding: Encoding::Json,
            received: Vec::new(),
            unfinished_since: None,
            is_timed: false,
            is_closing: false,
            is_behind: false,
            is_woken: false,
            malformed: 0,
            out: Vec::new(),
            sent: 0,
            held_back: VecDeque::new(),
        }
    }

    /// Says something now, whatever is held back.
    pub(super) fn say_now(&mut self, message: &ToClient<'_>) {
        self.encoding.write(message, &mut self.out);
    }

    /// Says something after everything that is held back, and not before this snapshot is on
    /// disk.
    pub(super) fn say_in_turn(&mut self, message: &ToClient<'_>, awaited: Option<u64>) {
        let last = self.held_back.back().map(|(number, _)| *number);
        match awaited.max(last) {
            None => self.encoding.write(message, &mut self.out),
            Some(number) => {
                if last != Some(number) {
                    self.held_back.push_back((number, Vec::new()));
                }
                if let Some((_, later)) = self.held_back.back_mut() {
                    self.encoding.write(message, later);
                }
            }
        }
    }

    /// How many bytes wait to be sent.
    pub(super) fn waiting(&self) -> usize {
        let later: usize = self.held_back.iter().map(|(_, bytes)| bytes.len()).sum();
        self.out.len() - self.sent + later
    }

    pub(super) fn is_held_back(&self) -> bool {
        !self.held_back.is_empty()
    }

    /// Every snapshot up to this one is on disk.
    pub(super) fn let_go(&mut self, saved: u64) {
        while let Some((_, bytes)) = self.held_back.pop_front_if(|(number, _)| *number <= saved) {
            self.out.extend(bytes);
        }
    }

    pub(super) fn output(&self) -> &[u8] {
        &self.out[self.sent..]
    }

    pub(super) fn written(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
            if self.out.capacity() > KEPT_ROOM {
                self.out = Vec::new();
            }
        } else if self.sent > 64 * 1024 {
            self.out.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Forgets what was not sent: the peer does not read it.
    pub(super) fn throw_away(&mut self) {
        self.out = Vec::new();
        self.sent = 0;
        self.held_back.clear();
    }
}
