//! Ports that nobody else has.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

/// The lowest port that is given to a server.
const FIRST: u16 = 10_000;

/// How often something is started on other ports before that fails.
const ATTEMPTS: usize = 5;

/// A port of 127.0.0.1, for as long as this value lives.
///
/// It is below the range of which the kernel takes ports for outgoing connections. In that range
/// somebody else's connection could have it while its server is down, and a client that knocks
/// there again and again could be connected to itself.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    /// A name that only one process has at a time. Other tests that look for a port pass over
    /// this one, also while its server is down.
    _claim: UnixListener,
}

/// A program did not start, because somebody has a port that it wants.
#[derive(Debug)]
pub(crate) struct PortTaken;

impl Port {
    pub(crate) fn free() -> Self {
        let random = RandomState::new();
        let count = u64::from(end_of_range() - FIRST);
        (0..1000)
            .map(|attempt: u64| FIRST + (random.hash_one(attempt) % count) as u16)
            .find_map(Self::claim)
            .expect("a free port")
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    fn claim(number: u16) -> Option<Self> {
        let name = SocketAddr::from_abstract_name(format!("test-server-{number}")).expect("short");
        let claim = UnixListener::bind_addr(&name).ok()?;
        drop(TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?);
        Some(Self {
            number,
            _claim: claim,
        })
    }
}

/// Starts something that takes free ports, and again if somebody took one of them meanwhile.
pub(crate) fn on_free_ports<T>(mut start: impl FnMut() -> Result<T, PortTaken>) -> T {
    (0..ATTEMPTS)
        .find_map(|_| start().ok())
        .expect("ports that stay free")
}

/// Where the ports of outgoing connections begin.
fn end_of_range() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = range.split_whitespace().next();
    let first = first.and_then(|first| first.parse().ok()).unwrap_or(32_768);
    if first > FIRST + 1000 {
        first
    } else {
        // The range is nearly everything. The claims still keep the tests apart.
        u16::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::Ports;
    use crate::{Etcd, PgBouncer, Postgres, Redis, eventually};

    /// A port that was free, and at which somebody listens now.
    fn taken() -> (Port, TcpListener) {
        let port = Port::free();
        let stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, port.number()));
        (port, stranger.expect("free"))
    }

    #[test]
    fn a_port_is_claimed_until_it_is_dropped() {
        let port = Port::free();
        let number = port.number();
        assert!(Port::claim(number).is_none());
        drop(port);
        // A process that is being started has a copy of the claim for a moment.
        eventually("it is free", || Port::claim(number).is_some());
    }

    #[test]
    fn a_port_at_which_somebody_listens_is_not_free() {
        let (port, _stranger) = taken();
        let number = port.number();
        drop(port);
        assert!(Port::claim(number).is_none());
    }

    #[test]
    fn a_server_whose_port_is_taken_is_started_on_another() {
        let mut first = Some(taken());
        let redis = on_free_ports(|| {
            let (port, _stranger) = first.take().unzip();
            let port = port.unwrap_or_else(Port::free);
            Redis::options().start_on(port)
        });
        assert_eq!(redis.command(&["PING"]), "PONG");
        assert!(first.is_none());
    }

    #[test]
    fn every_server_says_when_its_port_is_taken() {
        let (port, _stranger) = taken();
        Redis::options().start_on(port).expect_err("taken");
        let (port, _stranger) = taken();
        Postgres::options().start_on(port).expect_err("taken");
        let (port, _stranger) = taken();
        PgBouncer::start_on(port, Postgres::shared()).expect_err("taken");
        let (port, _stranger) = taken();
        let mut ports = Ports::free();
        ports.client = port;
        Etcd::options().start_on(ports).expect_err("taken");
    }
}
