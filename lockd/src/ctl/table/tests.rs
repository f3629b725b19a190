use std::num::NonZeroU32;
use std::time::Duration;

use lock_runtime::{LockInfo, LockManager, LockName, Mode};

use super::*;

async fn views(manager: &LockManager) -> Vec<LockView> {
    let locks = manager.list("").await.unwrap();
    locks.iter().map(LockView::from).collect()
}

#[tokio::test]
async fn every_state_is_told() {
    let locks = LockManager::builder()
        .memory()
        .application("web\u{1b}[2J")
        .build()
        .unwrap();
    let _held = locks.lock("held").acquire().await.unwrap();
    let _one = locks.lock("shared").shared().acquire().await.unwrap();
    let _two = locks.lock("shared").shared().acquire().await.unwrap();
    let _permit = locks.lock("permits").permits(4).acquire().await.unwrap();
    locks.acquire_lock("turn\u{202e}", "white\n").await.unwrap();
    let resting = locks.lock("resting").at_least(Duration::from_secs(600));
    resting.acquire().await.unwrap().release().await.unwrap();

    let views = views(&locks).await;
    let state_of = |name: &str| state(views.iter().find(|lock| lock.name == name).unwrap());
    assert_eq!(state_of("held"), "held");
    assert_eq!(state_of("shared"), "shared by 2");
    assert_eq!(state_of("permits"), "1 of 4 permits");
    assert_eq!(state_of("turn\u{202e}"), "assigned to white\\n");
    assert!(state_of("resting").starts_with("resting "));

    let lines = lines(&views, None);
    let text = lines.join("\n");
    assert!(
        lines
            .iter()
            .flat_map(|line| line.chars())
            .all(super::super::text::is_visible),
        "{text}"
    );
    assert!(
        text.contains("turn\\u{202e}") && text.contains("web\\u{1b}[2J@"),
        "{text}"
    );
}

#[test]
fn a_lock_that_is_waited_for() {
    let mut info = LockInfo::free(LockName::new("a").unwrap());
    assert_eq!(state(&LockView::from(&info)), "free");
    info.waiting = 3;
    let view = LockView::from(&info);
    assert_eq!(state(&view), "free but waited for");
    assert_eq!(row(&view)[5], "3");
}

#[tokio::test]
async fn a_table_fits_a_narrow_terminal() {
    let locks = LockManager::memory();
    let name = format!("task:{}", "x".repeat(300));
    let _held = locks.lock(name.as_str()).acquire().await.unwrap();
    let views = views(&locks).await;
    for width in [80, 120, 200] {
        let lines = lines(&views, Some(width));
        assert!(
            lines.iter().all(|line| line.chars().count() <= width),
            "{lines:?}"
        );
        assert!(lines[1].contains('…'), "{lines:?}");
    }
    assert!(
        lines(&views, None)[1].contains(&name),
        "a pipe has room for everything"
    );
}

#[tokio::test]
async fn time_alone_is_no_change() {
    let locks = LockManager::memory();
    let _permit = locks.lock("a").permits(2).acquire().await.unwrap();
    let before = views(&locks).await;
    let mut later = before.clone();
    later[0].sections[0].held_ms += 5_000;
    assert_eq!(before[0].at_rest(), later[0].at_rest());
    later[0].waiting += 1;
    assert_ne!(before[0].at_rest(), later[0].at_rest());
    let two = Mode::Permits(NonZeroU32::new(2).unwrap());
    assert_eq!(locks.lock("a").info().await.unwrap().sections[0].mode, two);
}
