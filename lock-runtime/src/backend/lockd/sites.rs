//! The places in the code that requests refer to by number.

use std::borrow::Cow;
use std::collections::HashMap;

use super::convert::cut;
use crate::site::Origin;
use crate::wire::{MAX_TEXT, SiteInfo};

/// More places than this have no number: requests from there do not say where they come from.
const MAX_SITES: usize = 10_000;

/// What tells one place from another, without a look at texts.
type Key = (usize, usize, u32);

/// The places that have a number: the same on every connection of a session.
#[derive(Default)]
pub(super) struct Sites {
    numbers: HashMap<Key, u32>,
    known: Vec<Origin>,
}

impl Sites {
    /// The number of a place, and whether it is new.
    pub(super) fn number(&mut self, origin: Origin) -> Option<(u32, bool)> {
        let function = origin.function().map_or(0, |text| text.as_ptr().addr());
        let key = (function, origin.file().as_ptr().addr(), origin.line());
        if let Some(number) = self.numbers.get(&key) {
            return Some((*number, false));
        }
        if self.known.len() >= MAX_SITES {
            return None;
        }
        let number = u32::try_from(self.known.len()).ok()?;
        self.numbers.insert(key, number);
        self.known.push(origin);
        Some((number, true))
    }

    /// Every place in the order of the numbers.
    pub(super) fn all(&self) -> impl Iterator<Item = SiteInfo<'static>> {
        (0..)
            .zip(&self.known)
            .map(|(number, origin)| info(number, *origin))
    }
}

/// A place, as the daemon is told of it.
pub(super) fn info(number: u32, origin: Origin) -> SiteInfo<'static> {
    SiteInfo {
        number,
        function: origin.function().map(|text| Cow::from(cut(text, MAX_TEXT))),
        file: Cow::from(cut(origin.file(), MAX_TEXT)),
        line: origin.line(),
    }
}
