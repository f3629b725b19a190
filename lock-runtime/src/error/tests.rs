use super::*;
use crate::info::SectionInfo;
use crate::options::Mode;
use crate::owner::OwnerInfo;

fn owner() -> OwnerInfo {
    serde_json::from_value(serde_json::json!({
        "id": "0000000000000007", "application": "kanban", "host": "web-3", "pid": 812,
        "function": "Board::move_task", "file": "src/board.rs", "line": 41,
    }))
    .unwrap()
}

#[test]
fn busy_says_who_is_in_the_way() {
    let name = LockName::new("task:42").unwrap();
    let section = SectionInfo::new(owner(), Mode::Exclusive, None, Duration::from_millis(3_240));
    let error = LockError::busy(
        &name,
        Duration::from_secs(5),
        Some(InTheWay::Section(Box::new(section))),
        2,
    );
    assert_eq!(
        error.to_string(),
        "Could not acquire lock: task:42 (waited 5 s; held for 3.2 s by kanban@web-3 pid 812 in \
         Board::move_task src/board.rs:41; 2 ahead)"
    );
    assert!(error.is_busy() && error.is_transient() && !error.may_be_held());
}

#[test]
fn a_queue_that_is_full_says_so() {
    let name = LockName::new("task:42").unwrap();
    let text = |ahead| LockError::busy(&name, Duration::ZERO, None, ahead).to_string();
    assert!(text(65_535).contains("65535 ahead"), "{}", text(65_535));
    let full = "65536 wait for this lock already, which is as many as may";
    assert!(text(65_536).contains(full), "{}", text(65_536));
    assert!(!text(65_536).contains("ahead"), "{}", text(65_536));
}

#[test]
fn the_first_words_are_the_documented_ones() {
    let name = LockName::new("turn").unwrap();
    let text = |error: LockError| error.to_string();
    assert!(
        text(LockError::busy(&name, Duration::ZERO, None, 0))
            .starts_with("Could not acquire lock: turn")
    );
    assert!(
        text(LockError::not_your_turn(
            &name,
            Some("bob".into()),
            Some("alice".into())
        ))
        .starts_with("Not your turn")
    );
    let unknown = text(LockError::unauthenticated());
    assert!(unknown.starts_with("Unauthenticated"), "{unknown}");
    assert!(
        unknown.contains("`lock_runtime::LockFutureExt`"),
        "{unknown}"
    );
    assert!(
        text(LockError::lost(&name, crate::error::make::Lost::Expired))
            .starts_with("Lock lost: turn")
    );
}

#[test]
fn a_backend_that_failed_for_no_lock_is_told_as_that() {
    let failed = || LockError::unavailable(BackendError::new("nobody listens at `localhost:1`"));
    let text = failed().to_string();
    assert_eq!(
        text,
        "the lock backend failed: nobody listens at `localhost:1`"
    );
    let name = LockName::new("turn").unwrap();
    assert_eq!(
        failed().about(&name).to_string(),
        format!("Could not acquire lock: turn ({text})")
    );
}

#[test]
fn an_error_is_one_pointer_wide() {
    assert_eq!(size_of::<LockError>(), size_of::<usize>());
    assert_eq!(size_of::<Result<(), LockError>>(), size_of::<usize>());
}

#[test]
fn a_name_in_an_error_cannot_steer_a_terminal() {
    let error: LockError = LockName::new("\x1b[2Jx\n").unwrap_err().into();
    assert!(
        error
            .to_string()
            .chars()
            .all(|character| !character.is_control())
    );
}

#[cfg(feature = "axum")]
#[test]
fn a_web_service_says_what_it_is_and_not_who_is_in_the_way() {
    use axum_core::response::IntoResponse;

    let name = LockName::new("task:42").unwrap();
    let section = SectionInfo::new(owner(), Mode::Exclusive, None, Duration::from_secs(3));
    let in_the_way = InTheWay::Section(Box::new(section));
    let busy = LockError::busy(&name, Duration::ZERO, Some(in_the_way), 0);
    let (status, text) = <(http::StatusCode, String)>::from(busy.clone());
    assert_eq!(status, http::StatusCode::LOCKED);
    assert!(!text.contains("web-3") && !text.contains("812"), "{text}");
    assert_eq!(busy.into_response().status(), http::StatusCode::LOCKED);
    let unknown = LockError::unauthenticated();
    assert_eq!(
        http::StatusCode::from(unknown),
        http::StatusCode::UNAUTHORIZED
    );
}

#[cfg(feature = "tonic")]
#[test]
fn a_grpc_service_says_what_it_is() {
    let name = LockName::new("turn").unwrap();
    let refused = LockError::not_your_turn(&name, Some("bob".into()), Some("alice".into()));
    let status = tonic::Status::from(refused);
    assert_eq!(status.code(), tonic::Code::PermissionDenied);
    assert!(!status.message().contains("bob"), "{}", status.message());
}
