//! The daemon without its I/O, driven by hand.

mod changes;
mod messages;
mod restarts;
mod sections;
mod sessions;
mod world;
