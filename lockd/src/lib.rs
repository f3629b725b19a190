//! The daemon `lockd`, which keeps named locks for the processes of one host, and the command
//! line `lockctl`, which looks after any lock store.

pub mod ctl;
pub mod daemon;
pub mod engine;
pub mod server;
