//! A module (see `hygiene` for its test) without a prelude, in which everything that code likes to name is something else.

#![no_implicit_prelude]
#![expect(
    dead_code,
    non_camel_case_types,
    unused_macros,
    reason = "these names only have to be in the way"
)]

struct Some;
struct None;
struct Ok;
struct Err;
struct Option;
struct String;
struct Box;
struct str;
struct u64;
mod core {}
mod std {}
mod lock_runtime {}
trait Into {}
trait From {}

macro_rules! format_args {
    ($($any:tt)*) => {
        compile_error!("not this one")
    };
}
macro_rules! concat {
    ($($any:tt)*) => {
        compile_error!("not this one")
    };
}
type Outcome = ::std::result::Result<::core::primitive::u8, ::lock_runtime::LockError>;

#[::lock_runtime::locked("{id}:{kind}", kind = id, wait = "1s", guard = held)]
pub(crate) async fn asynchronous(id: ::core::primitive::u8) -> Outcome {
    let _ = held;
    Outcome::Ok(id)
}

#[::lock_runtime::locked("{id}", on_busy = |_| Outcome::Ok(0))]
pub(crate) fn blocking(id: ::core::primitive::u8) -> Outcome {
    Outcome::Ok(id)
}

#[::lock_runtime::locked]
pub(crate) async fn own_path() -> Outcome {
    Outcome::Ok(1)
}

#[::lock_runtime::auth]
pub(crate) fn with_caller() -> Outcome {
    Outcome::Ok(1)
}

pub(crate) fn name() -> ::std::result::Result<::lock_runtime::LockName, ::lock_runtime::LockError> {
    ::lock_runtime::lock_name!("{n}", n = 1)
}
