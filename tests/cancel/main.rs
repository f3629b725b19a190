//! Every public future, dropped at each of its suspension points: no lock, no waiter and no task
//! is left behind.

mod annotated;
mod elsewhere;
mod harness;
mod requests;
mod runtimes;
