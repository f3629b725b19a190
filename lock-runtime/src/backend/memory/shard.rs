//! One shard: a table under a lock, and the alarm that lets time pass in it.

use smallvec::SmallVec;

use super::tokens::Tokens;
use super::wait::{Call, Holding};
use crate::clock::{Alarm, AlarmHandle, Moment};
use crate::sync::{Mutex, lock};
use crate::table::{Effect, Effects, Table};

type LockTable = Table<Holding, Tokens>;

/// The alignment keeps two shards off one cache line.
#[repr(align(128))]
pub(super) struct Shard {
    table: Mutex<State>,
    alarm: AlarmHandle,
    /// Whether a lost section is told so. Owners elsewhere cannot be.
    tells_losses: bool,
}

struct State {
    table: LockTable,
    /// What the alarm is set to.
    alarm_at: Moment,
}

impl Shard {
    pub(super) fn new(alarm: AlarmHandle, tokens: Tokens, tells_losses: bool) -> Self {
        Self {
            table: Mutex::new(State {
                table: Table::new(tokens),
                alarm_at: Moment::NEVER,
            }),
            alarm,
            tells_losses,
        }
    }

    /// Does something with the table, and tells those whom it concerns.
    ///
    /// They are told under the lock, so that nobody learns of a grant before the one who lost it
    /// can know; they are woken after it.
    #[inline]
    pub(super) fn with<R>(
        &self,
        act: impl FnOnce(&mut LockTable, &mut Effects<Holding>) -> R,
    ) -> R {
        let mut effects = Effects::new();
        let mut state = lock(&self.table);
        let result = act(&mut state.table, &mut effects);
        if let Some(at) = state.table.next_look().filter(|at| *at < state.alarm_at) {
            state.alarm_at = at;
            self.alarm.set(at);
        }
        if effects.is_empty() {
            return result;
        }
        let told = effects.into_iter().filter_map(|effect| self.tell(effect));
        let calls: SmallVec<[Call; 2]> = told.collect();
        drop(state);
        calls.into_iter().for_each(Call::wake);
        result
    }

    /// Does something with the table that concerns nobody else, now or later.
    #[inline]
    pub(super) fn with_untold<R>(&self, act: impl FnOnce(&mut LockTable) -> R) -> R {
        act(&mut lock(&self.table).table)
    }

    fn tell(&self, effect: Effect<Holding>) -> Option<Call> {
        match effect {
            Effect::Granted(holding) => holding.granted(),
            Effect::Refused(holding, refusal) => holding.refused(refusal),
            Effect::Lost(holding, _) if !self.tells_losses && holding.is_claimed() => None,
            Effect::Lost(holding, cause) => holding.lost(cause),
        }
    }
}

impl Alarm for Shard {
    fn ring(&self, now: Moment) {
        lock(&self.table).alarm_at = Moment::NEVER;
        self.with(|table, effects| table.advance(now, effects));
    }
}
