//! What may stand where a lock name is asked for.

use super::{LockName, NameError};
use crate::error::LockError;
use crate::observe;

mod sealed {
    #[expect(unnameable_types, reason = "that is what seals the trait")]
    pub trait Sealed {}
}

/// What may stand where a lock name is asked for: a string, a [`LockName`], or what
/// [`lock_name!`](crate::lock_name!) gives.
///
/// A string that is no valid name is reported by the call that it was given to.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a lock name",
    label = "this must be text, a `LockName`, or what `lock_name!` gives",
    note = "`lock_name!(\"task:{{id}}\")` makes the very name that `#[locked(\"task:{{id}}\")]` makes"
)]
pub trait IntoLockName: sealed::Sealed {
    /// The name, or why it is none.
    ///
    /// # Errors
    ///
    /// When the text is no valid name.
    fn into_lock_name(self) -> Result<LockName, LockError>;
}

macro_rules! from_text {
    ($($text:ty),*) => {$(
        impl sealed::Sealed for $text {}
        impl IntoLockName for $text {
            fn into_lock_name(self) -> Result<LockName, LockError> {
                let name = LockName::new(self)?;
                if name.as_str().contains('{') {
                    observe::unfilled(&name);
                }
                Ok(name)
            }
        }
    )*};
}

from_text!(&str, String, &String);

impl sealed::Sealed for LockName {}
impl IntoLockName for LockName {
    fn into_lock_name(self) -> Result<LockName, LockError> {
        Ok(self)
    }
}

impl sealed::Sealed for &LockName {}
impl IntoLockName for &LockName {
    fn into_lock_name(self) -> Result<LockName, LockError> {
        Ok(self.clone())
    }
}

impl sealed::Sealed for Result<LockName, LockError> {}
impl IntoLockName for Result<LockName, LockError> {
    fn into_lock_name(self) -> Result<LockName, LockError> {
        self
    }
}

impl sealed::Sealed for Result<LockName, NameError> {}
impl IntoLockName for Result<LockName, NameError> {
    fn into_lock_name(self) -> Result<LockName, LockError> {
        Ok(self?)
    }
}
