//! Redis with replicas and sentinels.

use std::path::{Path, PathBuf};

use crate::folder::Folder;
use crate::port::{Port, on_free_ports};
use crate::redis::{Redis, RedisOptions};
use crate::tls::{Certificates, authorities};
use crate::wait::eventually;

/// What the sentinels call the master.
const NAME: &str = "mymaster";

/// A master of Redis with two replicas, and three sentinels that make a replica the master when
/// that does not answer for half a second, or for two if they are encrypted.
#[derive(Debug)]
pub struct Sentinels {
    sentinels: Vec<Redis>,
    nodes: Vec<Redis>,
    authorities: Option<Authorities>,
}

/// Who signs the certificates of servers that Sentinels watch, and theirs.
#[derive(Debug)]
struct Authorities {
    nodes: Certificates,
    sentinels: Certificates,
    both: PathBuf,
    _folders: [Folder; 2],
}

impl Sentinels {
    /// Starts them. Comes back when each sentinel knows all others, and the replicas have what
    /// the master has.
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// Starts them, all speaking TLS: servers and sentinels with authorities of their own, who
    /// trust each other, and want clients to have a certificate of either. Sentinels also take
    /// [others](Self::plain_url).
    pub fn start_encrypted() -> Self {
        Self::start_with(Some(Authorities::create()))
    }

    fn start_with(authorities: Option<Authorities>) -> Self {
        let node = || {
            // Otherwise a replica waits for five seconds whether others want the same.
            let node = Redis::options().arguments(["--repl-diskless-sync-delay", "0"]);
            match &authorities {
                Some(known) => known.speak(node, &known.nodes),
                None => node,
            }
        };
        let master = node().start();
        let port = master.port().to_string();
        let mut nodes = vec![master];
        for _ in 0..2 {
            let replica = node().arguments(["--replicaof", "127.0.0.1", &port]);
            nodes.push(replica.start());
        }
        eventually("the replicas follow", || {
            let replication = nodes[0].command(&["INFO", "replication"]);
            replication.matches("state=online").count() == 2
        });
        let sentinels = (0..3).map(|_| sentinel(&port, authorities.as_ref()));
        let started = Self {
            sentinels: sentinels.collect(),
            nodes,
            authorities,
        };
        for sentinel in &started.sentinels {
            eventually("a sentinel knows everybody", || {
                let known = sentinel.command(&["SENTINEL", "MASTER", NAME]);
                known.contains("num-slaves\n2\nnum-other-sentinels\n2\n")
            });
        }
        started
    }

    /// The URL, with the addresses of the sentinels and the name of the master.
    pub fn url(&self) -> String {
        self.url_of(Redis::port)
    }

    /// The URL where encrypted sentinels are spoken to without TLS.
    pub fn plain_url(&self) -> String {
        self.url_of(Redis::plain_port)
    }

    fn url_of(&self, port: impl Fn(&Redis) -> u16) -> String {
        let address = |sentinel: &Redis| format!("127.0.0.1:{}", port(sentinel));
        let addresses: Vec<_> = self.sentinels.iter().map(address).collect();
        format!("redis+sentinel://{}/{NAME}", addresses.join(","))
    }

    /// The certificates of the servers.
    ///
    /// # Panics
    ///
    /// When they were started without.
    pub fn certificates(&self) -> &Certificates {
        &self.authorities().nodes
    }

    /// The certificates of the sentinels.
    ///
    /// # Panics
    ///
    /// When they were started without.
    pub fn certificates_of_sentinels(&self) -> &Certificates {
        &self.authorities().sentinels
    }

    /// The certificates of both authorities, as one file.
    ///
    /// # Panics
    ///
    /// When they were started without.
    pub fn both_authorities(&self) -> &Path {
        &self.authorities().both
    }

    fn authorities(&self) -> &Authorities {
        self.authorities.as_ref().expect("started with TLS")
    }

    /// The sentinels, to be disturbed one by one.
    pub fn sentinels(&mut self) -> &mut [Redis] {
        &mut self.sentinels
    }

    /// The servers of which one is the master, to be disturbed one by one.
    pub fn nodes(&mut self) -> &mut [Redis] {
        &mut self.nodes
    }

    /// The server that the sentinels take for the master: the old one, until a failover is over.
    ///
    /// # Panics
    ///
    /// When they do not agree in good time.
    pub fn master(&mut self) -> &mut Redis {
        let mut master = None;
        eventually("the sentinels agree on a master", || {
            let ask = |sentinel: &Redis| {
                sentinel.try_command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME])
            };
            // One that was killed or is at a loss does not count.
            let mut answers: Vec<_> = self.sentinels.iter().flat_map(ask).collect();
            answers.dedup();
            master = match &answers[..] {
                [answer] => answer.lines().nth(1).and_then(|port| port.parse().ok()),
                _ => None,
            };
            master.is_some()
        });
        let is_master = |node: &&mut Redis| Some(node.port()) == master;
        self.nodes.iter_mut().find(is_master).expect("one of ours")
    }
}

impl Authorities {
    fn create() -> Self {
        let folders = [Folder::create(), Folder::create()];
        let nodes = Certificates::create(&folders[0], "client");
        let sentinels = Certificates::create(&folders[1], "client");
        Self {
            both: authorities(&folders[0], &[&nodes, &sentinels]),
            nodes,
            sentinels,
            _folders: folders,
        }
    }

    fn speak(&self, options: RedisOptions, certificates: &Certificates) -> RedisOptions {
        options
            .certificates(certificates, &self.both)
            .client_certificates()
    }
}

fn sentinel(master: &str, authorities: Option<&Authorities>) -> Redis {
    // A busy machine takes its time for the handshakes, and each of them has a dozen to make.
    let down_after = if authorities.is_some() { 2000 } else { 500 };
    let configuration = format!(
        "sentinel monitor {NAME} 127.0.0.1 {master} 2\n\
         sentinel down-after-milliseconds {NAME} {down_after}\n\
         sentinel failover-timeout {NAME} 1000\n\
         sentinel parallel-syncs {NAME} 1\n"
    );
    let sentinel = on_free_ports(|| {
        let options = RedisOptions::sentinel(&configuration);
        let options = match authorities {
            Some(known) => known.speak(options, &known.sentinels),
            None => options,
        };
        options.start_on(Port::free())
    });
    // Otherwise it looks for replicas once in ten seconds. Asking for more than that with the
    // other periods splits the votes.
    sentinel.command(&["SENTINEL", "DEBUG", "INFO-PERIOD", "100"]);
    sentinel
}
