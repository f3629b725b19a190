//! The systems that this project answers: every operation that they offer works here, and what
//! was seen to go wrong in them does not.

mod effect;
mod effect_faults;
mod harness;
mod laravel;
mod lilith;
mod paradoxical;
mod photon;
mod photon_identity;
mod store;
