//! What can be seen from outside: spans, warnings, and metrics by template.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lock_runtime::{LockError, LockManager, ManualClock, locked};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

#[locked("task:{id}", manager = manager)]
async fn section(manager: &LockManager, id: u64) -> Result<(), LockError> {
    tracing::info!("inside");
    Ok(())
}

#[locked("task:{id}", try, manager = manager)]
async fn impatient(manager: &LockManager, id: u64) -> Result<(), LockError> {
    Ok(())
}

/// A place in the code is seen by those who looked when it was first run: tests that run it with
/// and without somebody who looks must not do so at once.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

/// Writes everything down, a line for each thing.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    spans: AtomicU64,
}

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Log {
    fn write(&self, mut line: String, fields: impl FnOnce(&mut Line<'_>)) {
        fields(&mut Line(&mut line));
        self.lines.lock().unwrap().push(line);
    }

    fn lines(&self, with: &str) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        lines
            .iter()
            .filter(|line| line.contains(with))
            .cloned()
            .collect()
    }
}

impl Subscriber for &'static Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let id = self.spans.fetch_add(1, Ordering::Relaxed) + 1;
        self.write(format!("span {}", span.metadata().name()), |line| {
            span.record(line)
        });
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.write(format!("record {}", span.into_u64()), |line| {
            values.record(line)
        });
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let level = event.metadata().level();
        self.write(format!("event {level}"), |line| event.record(line));
    }

    fn enter(&self, span: &Id) {
        self.write(format!("enter {}", span.into_u64()), |_| {});
    }

    fn exit(&self, span: &Id) {
        self.write(format!("exit {}", span.into_u64()), |_| {});
    }
}

fn logged(run: impl FnOnce()) -> &'static Log {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let log: &'static Log = Box::leak(Box::default());
    tracing::subscriber::with_default(log, run);
    log
}

#[test]
fn a_body_runs_in_a_span_that_says_what_is_locked() {
    let manager = LockManager::memory();
    let log = logged(|| block_on(section(&manager, 42)).unwrap());
    let span = &log.lines("span lock")[0];
    assert!(
        span.contains("name=task:42") && span.contains("template=\"task:{id}\""),
        "{span}"
    );
    assert!(span.contains("seeing::section"), "{span}");
    assert_eq!(log.lines("token=1").len(), 1, "{:?}", log.lines(""));
    assert_eq!(log.lines("owner=").len(), 1);
    let inside: Vec<_> = log
        .lines("")
        .into_iter()
        .skip_while(|line| line != "enter 1")
        .collect();
    assert!(
        inside[1].contains("inside") && inside[2] == "exit 1",
        "{inside:?}"
    );
}

#[test]
fn a_loss_is_warned_of_once() {
    let time = ManualClock::new();
    let manager = LockManager::builder()
        .clock(time.clock())
        .memory()
        .build()
        .unwrap();
    let log = logged(|| {
        block_on(async {
            let guard = manager
                .lock("a")
                .ttl(Duration::from_secs(1))
                .renew(false)
                .acquire()
                .await;
            let guard = guard.unwrap();
            time.advance(Duration::from_secs(2));
            assert!(guard.release().await.unwrap_err().is_lost());
        });
    });
    let warnings = log.lines("event WARN");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("Lock lost: a"), "{warnings:?}");
}

#[test]
fn metrics_are_labelled_by_template_and_never_by_name() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let manager = LockManager::memory();
    metrics::with_local_recorder(&recorder, || {
        block_on(async {
            for id in 0..3 {
                section(&manager, id).await.unwrap();
            }
            let _held = manager.lock("task:7").acquire().await.unwrap();
            assert!(impatient(&manager, 7).await.unwrap_err().is_busy());
        });
    });
    let mut acquired = 0;
    let mut busy = 0;
    let mut held = 0;
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let labels: Vec<_> = key
            .key()
            .labels()
            .map(|label| label.value().to_owned())
            .collect();
        assert!(
            !labels.iter().any(|label| label.contains('7')),
            "{labels:?}"
        );
        let is_site = labels == ["task:{id}"];
        match (key.key().name(), value) {
            ("lock_acquired_total", DebugValue::Counter(count)) if is_site => acquired = count,
            ("lock_busy_total", DebugValue::Counter(count)) => busy = count,
            ("lock_hold_seconds", DebugValue::Histogram(times)) if is_site => held = times.len(),
            _ => {}
        }
    }
    assert_eq!((acquired, busy, held), (3, 1, 3));
}
