//! `lockctl show`.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use super::args::Show;
use super::failure::Failure;
use super::place::Place;
use super::text::{Clean, Shown};
use super::view::LockView;
use super::{exit, output, table};

/// Shows one lock.
pub(super) async fn show(place: &Place, options: &Show) -> Result<u8, Failure> {
    let manager = place.connect().await?;
    let info = manager.lock(options.name.as_str()).info().await?;
    let lock = LockView::from(&info);
    if options.quiet {
        return Ok(if lock.locked { exit::BUSY } else { exit::OK });
    }
    if options.json {
        output::json(&lock)?;
    } else {
        output::write(&described(&lock, SystemTime::now()))?;
    }
    Ok(exit::OK)
}

/// Everything that is known of a lock, one thing a line.
fn described(lock: &LockView, now: SystemTime) -> String {
    let mut text = String::new();
    let mut say = |what: &str, value: &str| {
        // Writing to a string cannot fail.
        let _written = writeln!(text, "{what:<12}{value}");
    };
    say("name", &Clean(&lock.name).to_string());
    if let Some(namespace) = &lock.namespace {
        say("namespace", &Clean(namespace).to_string());
    }
    say("state", &table::state(lock));
    say("locked", if lock.locked { "yes" } else { "no" });
    if let Some(holder) = &lock.holder {
        say("assigned to", &Clean(holder).to_string());
    }
    let now = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    if let Some(since) = lock.assigned_at_ms.map(Duration::from_millis) {
        say(
            "assigned",
            &format!("{} ago", Shown(now.saturating_sub(since))),
        );
    }
    if let Some(end) = lock.assignment_ends_at_ms.map(Duration::from_millis) {
        say("ends", &format!("in {}", Shown(end.saturating_sub(now))));
    }
    if let Some(resting) = lock.resting_ms {
        say("rests for", &table::shown(resting));
    }
    say("waiting", &lock.waiting.to_string());
    for section in &lock.sections {
        say("", "");
        say("section of", &table::who(&section.by));
        say("owner", &section.by.owner);
        say("where", &table::place(&section.by));
        say("mode", &mode(section.mode, section.permits));
        if let Some(token) = section.token {
            say("token", &token.to_string());
        }
        say("held for", &table::shown(section.held_ms));
        if let Some(left) = section.lease_left_ms {
            say("lease left", &table::shown(left));
        }
    }
    for (place, waiter) in lock.queue.iter().enumerate() {
        say("", "");
        say(&format!("{}. waiter", place + 1), &table::who(&waiter.by));
        say("owner", &waiter.by.owner);
        say("where", &table::place(&waiter.by));
        say("mode", &mode(waiter.mode, waiter.permits));
        say("waited for", &table::shown(waiter.waited_ms));
    }
    text.lines()
        .fold(String::new(), |text, line| text + line.trim_end() + "\n")
}

fn mode(mode: &str, permits: Option<u32>) -> String {
    permits.map_or_else(|| mode.to_owned(), |permits| format!("{mode} = {permits}"))
}

#[cfg(test)]
mod tests {
    use lock_runtime::LockManager;

    use super::*;

    #[tokio::test]
    async fn a_lock_is_described() {
        let locks = LockManager::builder()
            .memory()
            .namespace("shop")
            .build()
            .unwrap();
        let _held = locks.lock("a").acquire().await.unwrap();
        let assigned = locks.acquire_lock("a", "white\u{1b}");
        assigned.ttl(Duration::from_secs(600)).await.unwrap();
        let mut waits = Box::pin(locks.lock("a").shared().acquire());
        assert!(
            std::future::poll_fn(|cx| std::task::Poll::Ready(waits.as_mut().poll(cx).is_pending()))
                .await
        );
        let info = locks.lock("a").info().await.unwrap();
        let text = described(&LockView::from(&info), SystemTime::now());
        for part in [
            "name        a\n",
            "namespace   shop\n",
            "state       held, assigned to white\\u{1b}\n",
            "locked      yes\n",
            "ends        in 9 min",
            "mode        exclusive\n",
            "token       ",
            "waiting     1\n",
            "1. waiter   ",
            "mode        shared\n",
            "waited for  ",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
