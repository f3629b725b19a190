//! The watch: one stream for all names, over whatever connection there is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{
    Error, EventType, WatchOptions, WatchRequestSender, WatchResponse, WatchResponseStream,
};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use super::Shared;
use super::keys::{Keys, end_of};
use super::link::{ANSWERED_WITHIN, Connected, stored};
use super::names::{Command, Happened};
use crate::name::LockName;
use crate::race::{First, first};

/// The pause before the next try when there is no connection, or the stream broke.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A stream, and what is watched on it.
struct Watch {
    requests: WatchRequestSender,
    names: HashMap<i64, LockName>,
    numbers: HashMap<LockName, i64>,
    next: i64,
}

/// Keeps the stream up for as long as the backend is there.
pub(super) async fn keep(shared: Arc<Shared>, mut commands: UnboundedReceiver<Command>) {
    let mut pause = PAUSE;
    loop {
        if let Ok(connected) = shared.link.connected().await {
            let begun = shared.clock.now();
            follow(&shared, &connected, &mut commands).await;
            // Nobody knows what was missed. What is followed is read again.
            shared.waiters.wake_all();
            // A server that refuses what it is to watch is asked less and less often.
            let has_lasted = shared.clock.now() - begun > LONGEST_PAUSE;
            let longer = (pause * 2).min(LONGEST_PAUSE);
            pause = if has_lasted { PAUSE } else { longer };
        }
        // Names are taken up again from what is followed by then.
        shared.clock.sleep(pause).await;
        if commands.is_closed() {
            return;
        }
    }
}

/// Watches over one connection until it breaks, or is replaced.
async fn follow(
    shared: &Arc<Shared>,
    connected: &Arc<Connected>,
    commands: &mut UnboundedReceiver<Command>,
) {
    let mut changes = shared.link.changes();
    if *changes.borrow_and_update() != connected.number() {
        return;
    }
    let opening = open(shared, connected);
    let Ok(Ok((mut watch, mut answers))) = timeout(ANSWERED_WITHIN, opening).await else {
        return shared.link.give_up(connected);
    };
    // What was commanded for an earlier stream is followed below.
    while commands.try_recv().is_ok() {}
    for name in shared.names.forget_records() {
        read_anew(shared, name, Duration::ZERO);
    }
    loop {
        let replaced_or_told = first(changes.changed(), commands.recv());
        let goes_on = match first(answers.message(), replaced_or_told).await {
            First::Left(Ok(Some(answer))) => watch.hear(shared, &answer),
            First::Left(Ok(None) | Err(_)) => false,
            First::Right(First::Left(changed)) => {
                changed.is_ok() && *changes.borrow() == connected.number()
            }
            First::Right(First::Right(Some(command))) => {
                // A stream that takes nothing any more is dead.
                let obeying = timeout(ANSWERED_WITHIN, watch.obey(shared, command));
                matches!(obeying.await, Ok(Ok(())))
            }
            First::Right(First::Right(None)) => return,
        };
        if !goes_on {
            // It is replaced already, or of no use.
            return shared.link.give_up(connected);
        }
    }
}

/// Opens a stream with a watch of a key that nobody writes.
async fn open(
    shared: &Shared,
    connected: &Connected,
) -> Result<(Watch, WatchResponseStream), Error> {
    let key = Keys::probe(&shared.link.settings.prefix);
    let stream = connected.watch().watch(key, None).await?;
    let (requests, answers) = stream.split();
    let watch = Watch {
        requests,
        names: HashMap::new(),
        numbers: HashMap::new(),
        next: 1,
    };
    Ok((watch, answers))
}

/// Reads a name that is followed, after a pause; the watch goes on from there.
fn read_anew(shared: &Arc<Shared>, name: LockName, mut pause: Duration) {
    let shared = Arc::clone(shared);
    drop(tokio::spawn(async move {
        let keys = shared.keys(&name);
        loop {
            shared.clock.sleep(pause).await;
            if !shared.names.is_followed(&name) {
                return;
            }
            let turn = shared.reading.acquire().await;
            let read = shared.link.read(&keys).await;
            drop(turn);
            if let Ok(record) = read {
                shared.names.follow_from(&name, record.revision + 1);
                return shared.learn(&name, record);
            }
            pause = (pause * 2).clamp(PAUSE, LONGEST_PAUSE);
        }
    }));
}

impl Watch {
    async fn obey(&mut self, shared: &Shared, command: Command) -> Result<(), Error> {
        match command {
            Command::Follow(name, revision) => {
                if let Some(number) = self.numbers.remove(&name) {
                    self.names.remove(&number);
                    self.requests.cancel(number).await?;
                }
                self.next += 1;
                let keys = shared.keys(&name);
                let options = WatchOptions::new()
                    .with_range(end_of(keys.all()))
                    .with_start_revision(revision)
                    .with_watch_id(self.next);
                self.requests.watch(keys.all(), Some(options)).await?;
                self.names.insert(self.next, name.clone());
                self.numbers.insert(name, self.next);
            }
            Command::Forget(name) => {
                if let Some(number) = self.numbers.remove(&name) {
                    self.names.remove(&number);
                    self.requests.cancel(number).await?;
                }
            }
        }
        Ok(())
    }

    /// Hands on what an answer tells. `false` when the stream is of no use any more.
    fn hear(&mut self, shared: &Arc<Shared>, answer: &WatchResponse) -> bool {
        let known = self.names.get(&answer.watch_id()).cloned();
        let ended = Ended::of(answer);
        if ended.is_some_and(|ended| !ended.is_alone(known.is_some())) {
            return false;
        }
        let Some(name) = known else {
            // Of the key that nobody writes, or of a watch that is not wanted any more.
            return true;
        };
        if ended.is_some() {
            // What it should have begun with is compacted away.
            self.names.remove(&answer.watch_id());
            self.numbers.remove(&name);
            if shared.names.forget_record(&name) {
                read_anew(shared, name, PAUSE);
            }
            return true;
        }
        let keys = shared.keys(&name);
        let events = answer.events().iter().filter_map(|event| {
            let pair = event.kv()?;
            let part = keys.part(pair.key())?;
            Some(match event.event_type() {
                EventType::Put => Happened::Put(part, stored(pair)),
                EventType::Delete => Happened::Deleted(part, pair.mod_revision()),
            })
        });
        shared.tell(shared.names.happened(&name, events));
        true
    }
}

/// How a watch has ended.
#[derive(Clone, Copy, Debug)]
struct Ended {
    number: i64,
    /// Whether it was refused, and not ended later.
    is_refused: bool,
    /// Whether what it was to begin with is not there any more.
    is_compacted: bool,
}

impl Ended {
    fn of(answer: &WatchResponse) -> Option<Self> {
        answer.canceled().then(|| Self {
            number: answer.watch_id(),
            is_refused: answer.created(),
            is_compacted: answer.compact_revision() > 0,
        })
    }

    /// Whether the stream goes on without it. A watch that is refused has no number of its own, and
    /// one that ends for no reason known here may have been refused, too: this user is not let in
    /// any more, or has to give its password anew, which takes another connection.
    fn is_alone(self, is_wanted: bool) -> bool {
        if is_wanted {
            self.is_compacted
        } else {
            self.number > 0 && !self.is_refused
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_that_was_refused_ends_the_stream() {
        let ended = |number, is_refused, is_compacted| Ended {
            number,
            is_refused,
            is_compacted,
        };
        // Nobody wants to know of it any more.
        assert!(ended(7, false, false).is_alone(false));
        // It has to begin anew.
        assert!(ended(7, false, true).is_alone(true));
        for refused in [-1, 0, 7] {
            assert!(!ended(refused, true, false).is_alone(false), "{refused}");
        }
        assert!(!ended(7, true, false).is_alone(true));
        assert!(!ended(7, false, false).is_alone(true));
    }
}
