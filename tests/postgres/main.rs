//! The backend on real PostgreSQL servers: faults, errors, rights, poolers, and transactions that
//! are tied to a lock. The public suite is in `conformance.rs`.

#[path = "../built.rs"]
mod built;
mod errors;
mod faults;
mod handing;
mod hostile;
mod late;
mod leaving;
#[path = "../listening.rs"]
mod listening;
mod plans;
mod pooler;
mod rights;
mod stage;
mod tls;
mod transactional;
mod verify;
mod verifying;
