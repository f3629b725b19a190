//! What Redis says by itself: who may enter now, and who has lost its section.
//!
//! A message is a letter and the public number of an owner, `w0123456789abcdef`: `w` wakes a
//! waiter, `f` says that a section was ended by force, `a` that it was adopted. `h` says that the
//! name was handed to a waiter; the fencing token follows, which is 0 where there is none, and the
//! moment of the last question that Redis had seen of this waiter, by the waiter's own clock:
//! `h0123456789abcdef 1763712000000000 93784000000000`.

use std::collections::HashMap;
use std::sync::Arc;

use crate::backend::waiting::Waiters;
use crate::clock::Moment;
use crate::error::Lost;
use crate::fencing::FencingToken;
use crate::lease::Lease;
use crate::owner::OwnerId;
use crate::sync::{Mutex, lock};

/// Who is listened for.
pub(super) struct Ears {
    /// The name of this backend among all that use the store.
    process: String,
    channel: String,
    pub(super) waiters: Arc<Waiters>,
    pub(super) sections: Arc<Sections>,
}

/// The sections that this backend has asked for, until they are given back.
#[derive(Default)]
pub(super) struct Sections(Mutex<HashMap<OwnerId, Section>>);

pub(super) struct Section {
    lease: Arc<Lease>,
    /// The connection that it was first asked for over; none while no question was sent.
    pub(super) asked_over: Option<u64>,
    /// A question for it is under way.
    pub(super) is_asking: bool,
    /// Redis said that it may enter now.
    is_woken: bool,
}

impl Ears {
    pub(super) fn new() -> Self {
        let process = format!("{:016x}", rand::random::<u64>());
        Self {
            channel: format!("lock:process:{process}"),
            process,
            waiters: Arc::default(),
            sections: Arc::default(),
        }
    }

    pub(super) fn process(&self) -> &str {
        &self.process
    }

    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    /// What makes no sense is not for this version.
    pub(super) fn hear(&self, message: &[u8]) {
        let Ok(message) = std::str::from_utf8(message) else {
            return;
        };
        let (message, more) = message.split_once(' ').unwrap_or((message, ""));
        let Some((what, owner)) = message.split_at_checked(1) else {
            return;
        };
        let Some(owner) = OwnerId::read(owner) else {
            return;
        };
        match what {
            "h" => {
                let Some((token, asked)) = handed(more) else {
                    return;
                };
                self.sections.wake(owner);
                self.waiters.hand(owner, token, asked);
            }
            "w" => {
                self.sections.wake(owner);
                self.waiters.wake(owner);
            }
            "a" => self.sections.lose(owner, Lost::Adopted),
            "f" => self.sections.lose(owner, Lost::ForcedOut),
            _ => {}
        }
    }
}

/// The token of what was handed over, if such a grant has one, and when it was asked for.
fn handed(text: &str) -> Option<(Option<FencingToken>, Moment)> {
    let (token, asked) = text.split_once(' ')?;
    let token = match token.parse().ok()? {
        0 => None,
        token => Some(FencingToken::new(token)?),
    };
    Some((token, Moment::from_nanos(asked.parse().ok()?)))
}

impl Sections {
    /// To be called before it is asked for: what is said of it may come before the answer.
    pub(super) fn ask(&self, lease: &Arc<Lease>) {
        let section = Section {
            lease: Arc::clone(lease),
            asked_over: None,
            is_asking: false,
            is_woken: false,
        };
        lock(&self.0).entry(lease.owner().id()).or_insert(section);
    }

    /// It was given back, given away or refused.
    pub(super) fn forget(&self, owner: OwnerId) -> Option<Section> {
        lock(&self.0).remove(&owner)
    }

    fn wake(&self, owner: OwnerId) {
        if let Some(section) = lock(&self.0).get_mut(&owner) {
            section.is_woken = true;
        }
    }

    /// A question for it is sent over this connection, or a later one. Whether Redis has said
    /// since the one before that it may enter.
    pub(super) fn question_begins(&self, owner: OwnerId, over: u64) -> bool {
        let mut sections = lock(&self.0);
        sections.get_mut(&owner).is_some_and(|section| {
            section.is_asking = true;
            section.asked_over.get_or_insert(over);
            std::mem::take(&mut section.is_woken)
        })
    }

    /// The question was answered, or will not be.
    pub(super) fn question_ends(&self, owner: OwnerId) {
        if let Some(section) = lock(&self.0).get_mut(&owner) {
            section.is_asking = false;
        }
    }

    /// Those that run.
    pub(super) fn running(&self) -> Vec<Arc<Lease>> {
        let sections = lock(&self.0);
        let leases = sections.values().map(|section| &section.lease);
        leases.filter(|lease| lease.is_running()).cloned().collect()
    }

    pub(super) fn lose(&self, owner: OwnerId, cause: Lost) {
        let section = lock(&self.0).remove(&owner);
        if let Some(section) = section {
            section.lease.report_lost(cause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_make_no_sense_are_not_heard() {
        let ears = Ears::new();
        for message in [
            "",
            "w",
            "w12",
            "x0123456789abcdef",
            "h0123456789abcdef",
            "h0123456789abcdef 7",
            "h0123456789abcdef 7 x",
            "h0123456789abcdef x 7",
            "h0123456789abcdef 9007199254740992 7",
            "w0123456789abcdeg",
            "wü",
        ] {
            ears.hear(message.as_bytes());
        }
        ears.hear(&[0xff; 17]);
    }

    #[test]
    fn an_owner_is_read_as_it_is_shown() {
        let owner = crate::Owner::random().id();
        assert_eq!(OwnerId::read(&owner.to_string()), Some(owner));
    }
}
