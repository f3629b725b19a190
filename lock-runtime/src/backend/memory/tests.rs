//! Tests of the memory backend. What its managers make of it is tested with them.

#[cfg(shuttle)]
mod schedules;

#[cfg(not(shuttle))]
mod threads;
