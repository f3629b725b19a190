//! Real servers for tests, each on ports of 127.0.0.1 and in a folder of its own.
//!
//! A server is there when `start` comes back, is killed at the latest when it is dropped, and
//! does not outlive the process that started it, however that ends. What is missing on the
//! machine fails the test, with the command that installs it.
//!
//! All calls block, and wait for what they did to be so. They need no runtime, and can be made in
//! one.

mod binary;
mod etcd;
mod etcd_cluster;
mod folder;
mod pgbouncer;
mod port;
mod postgres;
mod program;
mod proxy;
mod redis;
mod redis_cluster;
mod resp;
mod sentinels;
mod tls;
mod wait;

pub use etcd::{Etcd, EtcdOptions};
pub use etcd_cluster::EtcdCluster;
pub use pgbouncer::PgBouncer;
pub use postgres::{Postgres, PostgresOptions};
pub use program::Program;
pub use proxy::{Direction, Proxy};
pub use redis::{Redis, RedisOptions};
pub use redis_cluster::RedisCluster;
pub use resp::Connection;
pub use sentinels::Sentinels;
pub use tls::Certificates;
pub use wait::eventually;
