//! `lockctl release`.

use lock_runtime::{LockInfo, LockManager};
use serde::Serialize;

use super::args::Release;
use super::failure::Failure;
use super::place::Place;
use super::text::{Clean, Shown};
use super::{exit, output};

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Released {
    name: String,
    ended: usize,
    taken_from: Option<String>,
    #[serde(skip)]
    still_assigned_to: Option<String>,
}

/// Takes an assignment back, or ends sections by force.
pub(super) async fn release(place: &Place, options: &Release) -> Result<u8, Failure> {
    let manager = place.connect().await?;
    let released = if options.force {
        end_sections(&manager, &options.name).await?
    } else {
        take_back(&manager, &options.name).await?
    };
    if options.json {
        output::json(&released)?;
    } else {
        output::line(&told(&released))?;
    }
    Ok(exit::OK)
}

async fn end_sections(manager: &LockManager, name: &str) -> Result<Released, Failure> {
    let ended = manager.lock(name).force_release().await?;
    let info = manager.lock(name).info().await?;
    Ok(Released {
        name: name.to_owned(),
        ended,
        taken_from: None,
        still_assigned_to: info.holder.map(String::from),
    })
}

async fn take_back(manager: &LockManager, name: &str) -> Result<Released, Failure> {
    let info = manager.lock(name).info().await?;
    if info.is_locked() {
        return Err(in_use(&info));
    }
    if let Some(holder) = &info.holder {
        // From the one who was seen, and from nobody who got it meanwhile.
        let request = manager.release_lock(name).caller(holder);
        request.as_operator().await?;
    }
    Ok(Released {
        name: name.to_owned(),
        ended: 0,
        taken_from: info.holder.map(String::from),
        still_assigned_to: None,
    })
}

/// A lock with a section is not set free without force.
fn in_use(info: &LockInfo) -> Failure {
    let why = match (info.section(), info.resting) {
        (Some(section), _) => {
            let more = match info.sections.len() - 1 {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let held_for = Shown(section.held_for);
            format!("it is held for {held_for} by {}{more}", section.owner)
        }
        (None, Some(left)) => format!("nobody runs, but it rests for another {}", Shown(left)),
        (None, None) => "it is in use".to_owned(),
    };
    Failure::new(
        exit::BUSY,
        format!(
            "{} was not released: {why}; --force ends what runs, which may still be writing then",
            info.name
        ),
    )
}

fn told(released: &Released) -> String {
    let name = Clean(&released.name);
    let sections = match released.ended {
        1 => "1 section was ended".to_owned(),
        number => format!("{number} sections were ended"),
    };
    match (&released.taken_from, &released.still_assigned_to) {
        (Some(holder), _) => format!("{name} was taken back from {}", Clean(holder)),
        (None, Some(holder)) => format!(
            "{name}: {sections}; it is still assigned to {}, from whom `lockctl release` takes it \
             back",
            Clean(holder)
        ),
        (None, None) if released.ended == 0 => format!("{name} was free"),
        (None, None) => format!("{name}: {sections}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_assignment_is_taken_back() {
        let locks = LockManager::memory();
        locks.acquire_lock("turn", "white").await.unwrap();
        let released = take_back(&locks, "turn").await.unwrap();
        assert_eq!(released.taken_from.as_deref(), Some("white"));
        assert_eq!(told(&released), "turn was taken back from white");
        assert_eq!(locks.get_lock("turn").await.unwrap().holder, None);
        let again = take_back(&locks, "turn").await.unwrap();
        assert_eq!(told(&again), "turn was free");
    }

    #[tokio::test]
    async fn what_runs_is_ended_by_force_alone() {
        let locks = LockManager::memory();
        locks.acquire_lock("turn", "white").await.unwrap();
        let held = locks
            .lock("turn")
            .auth_as(lock_runtime::AuthPolicy::Required, "white");
        let held = held.acquire().await.unwrap();
        let refused = take_back(&locks, "turn").await.unwrap_err();
        assert_eq!(refused.code, exit::BUSY);
        let text = format!("{refused:?}");
        assert!(text.contains("pid ") && text.contains("--force"), "{text}");
        assert!(held.is_held());

        let released = end_sections(&locks, "turn").await.unwrap();
        assert_eq!(released.ended, 1);
        assert!(!held.is_held());
        let text = told(&released);
        assert!(
            text.contains("1 section was ended") && text.contains("white"),
            "{text}"
        );
        assert!(locks.get_lock("turn").await.unwrap().holder.is_some());
    }
}
