//! What the log says of a store.

use std::fmt;
use std::sync::{Mutex, Once, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::harness::until;
use crate::store::Store;

/// The lines of this process.
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Writes down what is said at the level of people who run a service.
struct Log;

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO && metadata.target() == "lock_runtime"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, _: &Field, value: &dyn fmt::Debug) {
                self.0.push_str(&format!("{value:?}"));
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        LINES
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(text.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// How many lines say this of the server at this port.
fn said(port: u16, what: &str) -> usize {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let place = format!(":{port}");
    let is_it = |line: &&String| {
        let after = line.split_once(&place).map(|(_, after)| after);
        after.is_some_and(|after| !after.starts_with(|c: char| c.is_ascii_digit()))
            && line.contains(what)
    };
    lines.iter().filter(is_it).count()
}

pub(crate) async fn a_store_that_goes_away_and_comes_back_is_told_of_once(store: Store) {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        tracing::subscriber::set_global_default(Log).expect("nobody else listens");
    });
    let mut server = store.start();
    let (manager, port) = (server.manager().await, server.port());
    manager.lock("name").info().await.unwrap();
    assert_eq!(said(port, "reach"), 0);
    server.kill();
    for _ in 0..2 {
        manager.lock("name").info().await.unwrap_err();
    }
    assert_eq!(said(port, "is out of reach"), 1);
    server.start_again();
    until("it answers again", async || {
        manager.lock("name").info().await.is_ok()
    })
    .await;
    until("the log says so", async || {
        said(port, "is in reach again") == 1
    })
    .await;
    assert_eq!(said(port, "is out of reach"), 1);
}
