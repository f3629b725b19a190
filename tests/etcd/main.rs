//! etcd, disturbed in every way: servers that die, stand still and forget, connections that are
//! cut and swallow, and what each of them is told.

mod cluster;
mod cut;
mod errors;
mod fence;
mod handing;
mod leftovers;
mod restarts;
mod support;
mod taken_away;
mod turns;
