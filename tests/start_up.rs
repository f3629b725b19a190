//! What is refused when a service starts. A process has one global manager: one test a binary.

use lock_runtime::{LockError, LockErrorKind, LockManager, locked, set_lock_manager};

struct Cache;

impl Cache {
    /// Without `self` it looks like a free function, and would be named like one.
    #[locked]
    #[expect(dead_code, reason = "its site is in the registry, called or not")]
    async fn refresh() -> Result<(), LockError> {
        Ok(())
    }
}

#[test]
fn a_bare_annotation_in_a_type_is_refused_and_named() {
    let _type = Cache;
    let error = set_lock_manager(LockManager::memory()).unwrap_err();
    assert_eq!(error.kind(), LockErrorKind::InvalidOption);
    let text = error.to_string();
    assert!(
        text.contains("Cache::refresh") && text.contains("start_up.rs"),
        "{text}"
    );
    assert!(text.contains("give it a template"), "{text}");
}
