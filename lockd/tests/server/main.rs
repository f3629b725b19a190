//! The daemon as its clients and its operator see it: over streams in simulated time, over a
//! real socket, and as a program.

mod client;
mod deaths;
mod program;
mod pump;
mod python;
mod saving;
mod serving;
