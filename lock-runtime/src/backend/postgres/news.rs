//! What a process is told about its owners, and who of them is where.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use super::Shared;
use super::answers::News;
use crate::backend::waiting::Waiters;
use crate::clock::Moment;
use crate::error::Lost;
use crate::fencing::FencingToken;
use crate::lease::Lease;
use crate::options::Mode;
use crate::owner::OwnerId;
use crate::sync::{Mutex, lock};

/// What happened to an owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    /// It may enter, or may not any more: it has to ask.
    Wake,
    /// The name was handed to it.
    Handed(Handed),
    /// Its section was ended by an operator.
    Forced,
    /// Its section goes on elsewhere.
    Adopted,
}

/// What is said of a name that was handed to a waiter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Handed {
    /// When the waiter had asked last, as far as the server had seen it.
    asked: Moment,
    token: Option<FencingToken>,
}

/// The owners of this process that have a section, or ask for one.
#[derive(Debug, Default)]
pub(super) struct Sections(Mutex<HashMap<OwnerId, Section>>);

#[derive(Debug)]
struct Section {
    lease: Weak<Lease>,
    stands: Stands,
    /// The place in the queue that it has, or had last.
    place: Option<u64>,
}

/// Where an owner stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stands {
    /// A question for it is under way, or has failed.
    Asking,
    /// In the queue.
    Queued,
    /// It has the section.
    Inside,
}

/// A section that is asked for, and is forgotten unless it is granted.
pub(super) struct Asked {
    shared: Arc<Shared>,
    owner: OwnerId,
    is_granted: bool,
}

impl Sections {
    fn insert(&self, lease: &Arc<Lease>, stands: Stands) {
        let section = Section {
            lease: Arc::downgrade(lease),
            stands,
            place: None,
        };
        lock(&self.0).insert(lease.owner().id(), section);
    }

    fn stands(&self, owner: OwnerId, stands: Stands) {
        if let Some(section) = lock(&self.0).get_mut(&owner) {
            section.stands = stands;
        }
    }

    /// A question for it begins. The place that it had in the queue.
    pub(super) fn ask_again(&self, owner: OwnerId) -> Option<u64> {
        let mut sections = lock(&self.0);
        let section = sections.get_mut(&owner)?;
        section.stands = Stands::Asking;
        section.place
    }

    /// The answer was a place in the queue.
    pub(super) fn queue(&self, owner: OwnerId, place: u64) {
        if let Some(section) = lock(&self.0).get_mut(&owner) {
            section.stands = Stands::Queued;
            section.place = Some(place);
        }
    }

    /// Passes on that the name was handed to a waiter. It is asked for where that is no grant of
    /// what was asked for.
    ///
    /// Whether a question for it is under way, whose answer says the same.
    fn hand(&self, owner: OwnerId, handed: Handed, waiters: &Waiters) -> bool {
        let mut sections = lock(&self.0);
        let Some(section) = sections.get_mut(&owner) else {
            return false;
        };
        let lease = section.lease.upgrade();
        let is_exclusive = lease.map(|lease| lease.mode() == Mode::Exclusive);
        if section.stands == Stands::Queued && is_exclusive == Some(handed.token.is_some()) {
            section.stands = Stands::Inside;
            waiters.hand(owner, handed.token, handed.asked);
        } else {
            waiters.wake(owner);
        }
        section.stands == Stands::Asking
    }

    /// Wakes a waiter. Whether a question for it is under way.
    fn wake(&self, owner: OwnerId, waiters: &Waiters) -> bool {
        waiters.wake(owner);
        let sections = lock(&self.0);
        let section = sections.get(&owner);
        section.is_some_and(|section| section.stands == Stands::Asking)
    }

    /// The section is gone, and so is who had it. Somebody who has not heard yet that it was
    /// granted is still waiting.
    fn lose(&self, owner: OwnerId) -> Option<Arc<Lease>> {
        let mut sections = lock(&self.0);
        let section = sections.get_mut(&owner)?;
        if section.stands == Stands::Inside {
            sections.remove(&owner)?.lease.upgrade()
        } else {
            section.stands = Stands::Asking;
            None
        }
    }
}

impl Handed {
    /// Reads what follows the owner: when it had asked, and the token, or 0 where there is none.
    fn read(text: &str) -> Option<Self> {
        let (asked, token) = text.split_once(' ')?;
        Some(Self {
            asked: Moment::from_nanos(asked.parse().ok()?),
            token: match token.parse().ok()? {
                0 => None,
                token => Some(FencingToken::new(token)?),
            },
        })
    }
}

/// Reads what is said of a name that was handed over: an owner, when it had asked, and a token. If
/// only the owner can be read, it has to ask.
fn handed(text: &str) -> Option<(What, OwnerId)> {
    let (owner, rest) = text.split_once(' ').unwrap_or((text, ""));
    let what = Handed::read(rest).map_or(What::Wake, What::Handed);
    Some((what, OwnerId::read(owner)?))
}

/// Reads a message: a word, the owner that it is about, and what else there is to say.
fn message(text: &str) -> Option<(What, OwnerId)> {
    let (word, about) = text.split_once(' ')?;
    let what = match word {
        "handed" => return handed(about),
        "wake" => What::Wake,
        "forced" => What::Forced,
        "adopted" => What::Adopted,
        // A newer version may say more.
        _ => return None,
    };
    Some((what, OwnerId::read(about)?))
}

impl Shared {
    /// Tells an owner of this process. Others are nobody here.
    fn tell(&self, what: What, owner: OwnerId) {
        let (sections, waiters) = (&self.sections, &self.waiters);
        let cause = match what {
            What::Wake | What::Handed(_) => {
                let is_asking = match what {
                    What::Handed(handed) => sections.hand(owner, handed, waiters),
                    _ => sections.wake(owner, waiters),
                };
                // Its question may be waiting for company.
                if is_asking {
                    self.hurry.notify_waiters();
                }
                return;
            }
            What::Forced => Lost::ForcedOut,
            What::Adopted => Lost::Adopted,
        };
        match sections.lose(owner) {
            Some(lease) => lease.report_lost(cause),
            None => waiters.wake(owner),
        }
    }

    /// Tells what a message says.
    pub(super) fn hear(&self, text: &str) {
        if let Some((what, owner)) = message(text) {
            self.tell(what, owner);
        }
    }

    /// Tells everybody of this process whom an answer names.
    pub(super) fn tell_all(&self, news: News) {
        for owner in news.wake {
            self.tell(What::Wake, owner);
        }
        for (what, owner) in news.handed.iter().filter_map(|text| handed(text)) {
            self.tell(what, owner);
        }
        for owner in news.forced {
            self.tell(What::Forced, owner);
        }
        if let Some(owner) = news.adopted {
            self.tell(What::Adopted, owner);
        }
    }

    /// To be called before a section is asked for: what is said of it may come before an answer.
    pub(super) fn asks(self: &Arc<Self>, lease: &Arc<Lease>) -> Asked {
        self.sections.insert(lease, Stands::Asking);
        Asked {
            shared: Arc::clone(self),
            owner: lease.owner().id(),
            is_granted: false,
        }
    }

    /// The section of this lease runs here from now on.
    pub(super) fn holds(&self, lease: &Arc<Lease>) {
        self.sections.insert(lease, Stands::Inside);
    }

    /// It does not any more.
    pub(super) fn holds_no_more(&self, owner: OwnerId) {
        lock(&self.sections.0).remove(&owner);
    }
}

impl Asked {
    /// It runs here, until it is given back.
    pub(super) fn keep(mut self) {
        self.is_granted = true;
        self.shared.sections.stands(self.owner, Stands::Inside);
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.is_granted {
            self.shared.holds_no_more(self.owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::{self, SharedTerms, Terms};
    use crate::name::LockName;
    use crate::options::Wait;
    use crate::owner::Process;

    const OWNER: &str = "0123456789abcdef";

    fn lease(mode: Mode) -> Arc<Lease> {
        let mut terms = Terms::plain(Wait::Forever);
        terms.mode = mode;
        let terms = SharedTerms::from(terms);
        let lease = lease::make(None, 1, &Process::new(None), &terms, None, |name| {
            *name = LockName::new("task:42")?;
            Ok(())
        });
        lease.unwrap()
    }

    fn token(number: u64) -> Option<FencingToken> {
        Some(FencingToken::new(number).unwrap())
    }

    #[test]
    fn a_message_is_read_as_it_is_written() {
        let owner = OwnerId::read(OWNER).unwrap();
        let handed = |asked, token| {
            let asked = Moment::from_nanos(asked);
            What::Handed(Handed { asked, token })
        };
        for (rest, what) in [
            ("wake 0123456789abcdef", What::Wake),
            ("forced 0123456789abcdef", What::Forced),
            ("adopted 0123456789abcdef", What::Adopted),
            ("handed 0123456789abcdef 17 42", handed(17, token(42))),
            ("handed 0123456789abcdef 17 0", handed(17, None)),
        ] {
            assert_eq!(message(rest), Some((what, owner)), "{rest}");
        }
    }

    #[test]
    fn a_grant_that_makes_no_sense_is_a_reason_to_ask() {
        let owner = OwnerId::read(OWNER).unwrap();
        for rest in [
            "",
            " ",
            " 17",
            " 17 x",
            " x 42",
            " 17 -1",
            " 17 9007199254740992",
            " 17 42 42",
        ] {
            let text = format!("handed {OWNER}{rest}");
            assert_eq!(message(&text), Some((What::Wake, owner)), "{text}");
        }
        for text in [
            "",
            "echo",
            "wake",
            "wake 12",
            "wake 0123456789abcdeg",
            "hand 0123456789abcdef 17 42",
            "handed 12 17 42",
        ] {
            assert_eq!(message(text), None, "{text}");
        }
    }

    #[test]
    fn a_name_is_handed_to_whom_the_grant_fits() {
        let (sections, waiters) = (Sections::default(), Waiters::default());
        let four = Mode::Permits(std::num::NonZeroU32::new(4).unwrap());
        let asked = Moment::from_nanos(17);
        for (mode, good, bad) in [
            (Mode::Exclusive, token(42), None),
            (Mode::Shared, None, token(42)),
            (four, None, token(42)),
        ] {
            let lease = lease(mode);
            let owner = lease.owner().id();
            let stands = || lock(&sections.0).get(&owner).unwrap().stands;
            let hand = |token| sections.hand(owner, Handed { asked, token }, &waiters);

            // A question is under way, and is in a hurry from now on.
            sections.insert(&lease, Stands::Asking);
            assert!(hand(good));
            assert_eq!(stands(), Stands::Asking);

            sections.queue(owner, 3);
            // That is no such grant.
            assert!(!hand(bad));
            assert_eq!(stands(), Stands::Queued);
            assert!(!hand(good));
            assert_eq!(stands(), Stands::Inside);
            let lost = sections.lose(owner).expect("it has the section");
            assert!(Arc::ptr_eq(&lost, &lease));
            // Nobody is handed anything who is not known.
            assert!(!hand(good));
        }
    }

    #[test]
    fn a_place_that_was_had_is_asked_for_again() {
        let sections = Sections::default();
        let lease = lease(Mode::Exclusive);
        let owner = lease.owner().id();
        assert_eq!(sections.ask_again(owner), None);
        sections.insert(&lease, Stands::Asking);
        assert_eq!(sections.ask_again(owner), None);
        sections.queue(owner, 3);
        assert_eq!(sections.ask_again(owner), Some(3));
    }

    #[test]
    fn what_is_lost_before_it_was_heard_of_is_asked_for() {
        let sections = Sections::default();
        let lease = lease(Mode::Exclusive);
        let owner = lease.owner().id();
        sections.insert(&lease, Stands::Queued);
        assert!(sections.lose(owner).is_none());
        // The grant was before that, and comes too late: it is asked for.
        let handed = Handed {
            asked: Moment::from_nanos(17),
            token: token(42),
        };
        assert!(sections.hand(owner, handed, &Waiters::default()));
        assert_eq!(lease.loss(), None);
    }
}
