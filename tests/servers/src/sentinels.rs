//! Redis with replicas and sentinels.

use crate::port::{Port, on_free_ports};
use crate::redis::{Redis, RedisOptions};
use crate::wait::eventually;

/// What the sentinels call the master.
const NAME: &str = "mymaster";

/// A master of Redis with two replicas, and three sentinels that make a replica the master when
/// that does not answer for half a second.
#[derive(Debug)]
pub struct Sentinels {
    sentinels: Vec<Redis>,
    nodes: Vec<Redis>,
}

impl Sentinels {
    /// Starts them. Comes back when each sentinel knows all others, and the replicas have what
    /// the master has.
    pub fn start() -> Self {
        let node = || {
            // Otherwise a replica waits for five seconds whether others want the same.
            Redis::options().arguments(["--repl-diskless-sync-delay", "0"])
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
        let sentinels = (0..3).map(|_| sentinel(&port)).collect();
        let started = Self { sentinels, nodes };
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
        let address = |sentinel: &Redis| format!("127.0.0.1:{}", sentinel.port());
        let addresses: Vec<_> = self.sentinels.iter().map(address).collect();
        format!("redis+sentinel://{}/{NAME}", addresses.join(","))
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

fn sentinel(master: &str) -> Redis {
    let configuration = format!(
        "sentinel monitor {NAME} 127.0.0.1 {master} 2\n\
         sentinel down-after-milliseconds {NAME} 500\n\
         sentinel failover-timeout {NAME} 1000\n\
         sentinel parallel-syncs {NAME} 1\n"
    );
    let sentinel = on_free_ports(|| {
        let options = RedisOptions::sentinel(&configuration);
        options.start_on(Port::free())
    });
    // Otherwise it looks for replicas once in ten seconds. Asking for more than that with the
    // other periods splits the votes.
    sentinel.command(&["SENTINEL", "DEBUG", "INFO-PERIOD", "100"]);
    sentinel
}
