//! Every server starts, answers, is disturbed, and comes back.

mod clusters;
mod etcd;
mod orphans;
mod postgres;
mod proxy;
mod redis;
