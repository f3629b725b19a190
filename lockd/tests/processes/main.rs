//! The daemon with clients that are real processes: this test program again, started anew.
//!
//! * `counting`: increments of a file by many processes are neither lost nor overwritten, with a
//!   daemon that stays and with one that is killed again and again.
//! * `clients_end`, `clients_freeze`, `clients_cut`: a client that speaks the protocol ends, stands
//!   still, or loses its connection, in every phase of a request.
//! * `services`: the same happens to a service with its runtime. `children`: its child keeps its
//!   connection.
//! * `daemon_ends`: the daemon ends, stands still, or comes back.
//! * `photon`, `photon_turns`: what was seen of another lock daemon, in its order. Some of that is
//!   in the files above: an annotation that never locks (1) is `counting`; what a process that
//!   ends, a connection that is cut and a restart leave behind (7) is `clients_*`, `services` and
//!   `daemon_ends`.

mod children;
#[path = "../server/client.rs"]
#[allow(dead_code, reason = "the daemon is always a process here")]
mod client;
mod clients_cut;
mod clients_end;
mod clients_freeze;
mod counting;
mod daemon_ends;
mod eye;
mod phases;
mod photon;
mod photon_turns;
mod process;
mod program;
mod proxy;
mod puppet;
mod services;
mod worker;
mod workers;
