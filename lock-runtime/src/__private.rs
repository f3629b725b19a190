//! The only names that expanded code may use. Nothing here is for people.

pub use core;
pub use std;

pub use linkme;

pub use crate::caller::IntoCaller;
pub use crate::entry::{
    Entry, enter, enter_blocking, enter_blocking_with, enter_with, name, out_of_line,
    require_caller, require_caller_from,
};
pub use crate::error::LockError;
pub use crate::global::passes_through;
pub use crate::name::{LockName, NameWriter};
pub use crate::options::AuthPolicy;
pub use crate::section::{Ended, Entering, Held, LockedOutput, Run, Section, run, run_blocking};
pub use crate::site::{SITES, Site};
