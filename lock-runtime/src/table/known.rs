//! What the table keeps of a name: all that may be known of a lock, or the little that there is
//! to know of one that a single owner has and nobody else asks for.

use super::record::Record;
use super::request::Party;
use super::spare::Spare;
use crate::clock::Moment;
use crate::fencing::FencingToken;
use crate::name::LockName;

/// A name that is known. Most locks that are held are nobody else's wish: they stay `Alone`, and
/// become a record when somebody asks for more.
pub(super) enum Known<H> {
    Alone(Alone<H>),
    Record(Box<Record<H>>),
}

/// An exclusive section without an end, a rest, a queue or an assignment.
pub(super) struct Alone<H> {
    pub(super) name: LockName,
    pub(super) party: H,
    pub(super) token: FencingToken,
    pub(super) since: Moment,
}

impl<H> Known<H> {
    #[inline]
    pub(super) fn name(&self) -> &LockName {
        match self {
            Self::Alone(alone) => &alone.name,
            Self::Record(record) => &record.name,
        }
    }

    /// The record, if it has become one.
    pub(super) fn as_record(&self) -> Option<&Record<H>> {
        match self {
            Self::Alone(_) => None,
            Self::Record(record) => Some(record),
        }
    }

    /// Everybody who has a section, and since when.
    pub(super) fn sections(&self) -> impl Iterator<Item = (&H, Moment)> {
        let (alone, record) = match self {
            Self::Alone(alone) => (Some((&alone.party, alone.since)), None),
            Self::Record(record) => (None, Some(record)),
        };
        let grants = record.into_iter().flat_map(|record| &record.grants);
        let parties = grants.filter_map(|grant| Some((grant.party.as_ref()?, grant.since)));
        alone.into_iter().chain(parties)
    }
}

impl<H: Party> Known<H> {
    /// Makes a record of it, if it is none yet.
    pub(super) fn grow(&mut self, spare: &mut Spare<H>) -> &mut Record<H> {
        if let Self::Alone(alone) = self {
            // Drawing an owner may panic: the section must still be known then.
            let owner = alone.party.owner();
            let record = spare.take(&alone.name);
            if let Self::Alone(alone) = std::mem::replace(self, Self::Record(record))
                && let Self::Record(record) = self
            {
                record.go_on_with(alone, owner);
            }
        }
        match self {
            Self::Record(record) => record,
            Self::Alone(_) => unreachable!("it has just become a record"),
        }
    }
}
