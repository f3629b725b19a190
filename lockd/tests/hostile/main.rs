//! The daemon against clients that mean it ill, or were written badly: it lives, stays within its
//! bounds, and goes on serving an honest client, whose latencies are printed beside those of a
//! quiet daemon.

mod crowd;
mod daemon;
mod floods;
mod greed;
mod honest;
mod nonsense;
mod peer;
