//! Redis on real servers: what the conformance suite cannot do to a store.
//!
//! * `handing`: a release hands the name to the next one.
//! * `interruptions`: the connection breaks or falls silent, in each phase of a section.
//! * `late`: a request arrives after those that were made later.
//! * `restarts`: the server dies and comes back, with and without its data.
//! * `failovers`: a replica takes over, with Sentinels and in a cluster.
//! * `spoilt`: somebody else has written into what is kept.
//! * `leftovers`, `load`: what stays in the store, and how much is asked of it.
//! * `agreement`: the scripts have the rules of the lock table.
//! * `tls`: encrypted ways, whose certificates are checked, and which show one of their own.
//! * `refusals`: places that are not fit to keep locks, and what is said of them.

mod agreement;
mod failovers;
mod handing;
mod harness;
mod interruptions;
mod late;
mod leftovers;
mod load;
mod refusals;
mod restarts;
mod spoilt;
mod tls;
