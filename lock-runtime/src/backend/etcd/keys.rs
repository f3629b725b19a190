//! Where things are kept: one range of keys for each name, which ends with the last key in it.
//!
//! ```text
//! locks/kanban/task:42 exclusive/a        the section that runs alone, or `exclusive/b`: one that is
//!                                         handed over takes the other key
//! locks/kanban/task:42 shared/<owner>     a reader
//! locks/kanban/task:42 permit/<owner>     one of several
//! locks/kanban/task:42 rest/<owner>       keeps the name busy for `at_least`
//! locks/kanban/task:42 queue/<owner>      somebody who waits; the order is that of creation
//! locks/kanban/task:42 withdrawn/<owner>  refuses what a request that was given up may still do,
//!                                         and `withdrawn/change-<number>` a change of the holder
//! locks/kanban/task:42 assigned           the caller whom the lock belongs to
//! ```
//!
//! A name has no white space, so that no key of one name lies in the range of another, and names
//! are listed in their own order.

use crate::name::LockName;
use crate::options::Mode;
use crate::owner::OwnerId;

pub(super) const EXCLUSIVE: &str = "exclusive/";
pub(super) const SHARED: &str = "shared/";
pub(super) const PERMIT: &str = "permit/";
pub(super) const REST: &str = "rest/";
pub(super) const QUEUE: &str = "queue/";
pub(super) const WITHDRAWN: &str = "withdrawn/";
pub(super) const ASSIGNED: &str = "assigned";

/// Which of its two keys a section has that runs alone. No transaction can delete a key and make it
/// anew, so that a section that is handed over has the other one, and a creation revision of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Slot {
    #[default]
    A,
    B,
}

impl Slot {
    pub(super) const ALL: [Self; 2] = [Self::A, Self::B];

    pub(super) fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// What a key says, after [`EXCLUSIVE`].
    pub(super) fn of_key(end: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|slot| slot.end() == end)
    }

    fn end(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }
}

/// All keys of one name.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Keys(String);

impl Keys {
    pub(super) fn new(prefix: &str, name: &LockName) -> Self {
        Self(format!("{prefix}{} ", name.key()))
    }

    /// A key that nobody writes, to ask a server something.
    pub(super) fn probe(prefix: &str) -> String {
        format!("{prefix} ")
    }

    /// The first key that may be in the range of the name.
    pub(super) fn all(&self) -> &str {
        &self.0
    }

    /// One key, or the beginning of several.
    pub(super) fn of(&self, part: &str) -> String {
        format!("{}{part}", self.0)
    }

    /// The key of what an owner has: `part` ends with a slash.
    pub(super) fn of_owner(&self, part: &str, owner: OwnerId) -> String {
        format!("{}{part}{owner}", self.0)
    }

    /// The key of a section; `slot` is of no account for one that does not run alone.
    pub(super) fn of_section(&self, mode: Mode, owner: OwnerId, slot: Slot) -> String {
        match mode {
            Mode::Exclusive => format!("{}{EXCLUSIVE}{}", self.0, slot.end()),
            Mode::Shared => self.of_owner(SHARED, owner),
            Mode::Permits(_) => self.of_owner(PERMIT, owner),
        }
    }

    /// What comes after the name.
    pub(super) fn part<'a>(&self, key: &'a [u8]) -> Option<&'a str> {
        let part = key.strip_prefix(self.0.as_bytes())?;
        std::str::from_utf8(part).ok()
    }
}

/// The name that a key belongs to, and what comes after it.
pub(super) fn split<'a>(prefix: &str, key: &'a [u8]) -> Option<(LockName, &'a str)> {
    let key = std::str::from_utf8(key).ok()?;
    let (name, part) = key.strip_prefix(prefix)?.split_once(' ')?;
    Some((LockName::from_key(name).ok()?, part))
}

/// The first key after all that begin like this.
pub(super) fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // There is no such key: up to the end of all.
    vec![0]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> LockName {
        LockName::new(name).unwrap().in_namespace("kanban")
    }

    #[test]
    fn a_name_has_a_range_of_its_own() {
        let keys = Keys::new("locks/", &name("task:4"));
        let end = end_of(keys.all());
        let is_inside = |key: &[u8]| key >= keys.all().as_bytes() && key < end.as_slice();
        assert!(is_inside(keys.of(EXCLUSIVE).as_bytes()));
        for other in ["task:42", "task:4/1", "task:4!", "task:", "task:5"] {
            let other = Keys::new("locks/", &name(other));
            assert!(!is_inside(other.of(EXCLUSIVE).as_bytes()), "{other:?}");
        }
    }

    #[test]
    fn a_key_is_read_back() {
        let keys = Keys::new("locks/", &name("a/b:c"));
        let owner = crate::owner::Owner::random().id();
        let key = keys.of_owner(QUEUE, owner);
        let (found, part) = split("locks/", key.as_bytes()).unwrap();
        assert_eq!(
            (found, part),
            (name("a/b:c"), format!("queue/{owner}").as_str())
        );
        assert_eq!(keys.part(key.as_bytes()), Some(part));
        assert_eq!(split("locks/", b"locks/no-namespace exclusive/a"), None);
        assert_eq!(split("locks/", b"other"), None);
    }

    #[test]
    fn a_section_that_runs_alone_has_one_of_two_keys() {
        let keys = Keys::new("locks/", &name("task:4"));
        let owner = crate::owner::Owner::random().id();
        let parts = Slot::ALL.map(|slot| keys.of_section(Mode::Exclusive, owner, slot));
        assert_ne!(parts[0], parts[1]);
        for (slot, key) in Slot::ALL.into_iter().zip(&parts) {
            let end = key.strip_prefix(&keys.of(EXCLUSIVE));
            assert_eq!(end.and_then(Slot::of_key), Some(slot));
            assert_eq!(slot.other().other(), slot);
        }
        assert_eq!(Slot::of_key(""), None);
    }

    #[test]
    fn the_end_of_a_prefix_is_the_next_key() {
        assert_eq!(end_of("a "), b"a!");
        assert_eq!(end_of(""), [0]);
    }
}
