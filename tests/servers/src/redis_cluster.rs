//! Redis Cluster.

use std::iter;

use crate::binary::REDIS_CLI;
use crate::folder::Folder;
use crate::port::{Port, PortTaken, on_free_ports};
use crate::redis::{Redis, RedisOptions};
use crate::tls::Certificates;
use crate::wait::eventually;

/// Six servers of Redis: three masters, and a replica of each, which takes its master's place one
/// to two seconds after that is gone.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
    /// At which the servers talk to each other.
    _buses: Vec<Port>,
    certificates: Option<(Certificates, Folder)>,
}

impl RedisCluster {
    /// Starts them. Comes back when all agree that all is well, and the replicas have what their
    /// masters have.
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// Starts them, all speaking TLS, also to each other. Clients have to have a certificate of
    /// their authority.
    pub fn start_encrypted() -> Self {
        let folder = Folder::create();
        Self::start_with(Some((Certificates::create(&folder, "client"), folder)))
    }

    fn start_with(certificates: Option<(Certificates, Folder)>) -> Self {
        let options = match &certificates {
            Some((known, _)) => Redis::options()
                .certificates(known, known.authority())
                .client_certificates()
                .arguments(["--tls-cluster", "yes"]),
            None => Redis::options(),
        };
        let (nodes, buses) = on_free_ports(|| {
            let buses: Vec<_> = iter::repeat_with(Port::free).take(6).collect();
            let nodes = buses.iter().map(|bus| node(options.clone(), bus.number()));
            let mut nodes: Vec<_> = nodes.collect();
            for node in &mut nodes {
                node.becomes_ready()?;
            }
            Ok::<_, PortTaken>((nodes, buses))
        });
        let cluster = Self {
            nodes,
            _buses: buses,
            certificates,
        };
        cluster.join();
        cluster
    }

    /// The certificates of all servers.
    ///
    /// # Panics
    ///
    /// When they were started without.
    pub fn certificates(&self) -> &Certificates {
        let (certificates, _) = self.certificates.as_ref().expect("started with TLS");
        certificates
    }

    /// The URL, with the addresses of all servers.
    pub fn url(&self) -> String {
        format!("redis+cluster://{}", self.addresses().join(","))
    }

    /// The servers, to be disturbed one by one.
    pub fn nodes(&mut self) -> &mut [Redis] {
        &mut self.nodes
    }

    /// The master of a key, as soon as there is one.
    ///
    /// # Panics
    ///
    /// When there is none in good time.
    pub fn master_of(&mut self, key: &str) -> &mut Redis {
        let mut master = 0;
        eventually("the key has a master", || {
            // All others say where it is.
            let found = self.nodes.iter().position(|node| node.takes(key));
            master = found.unwrap_or_default();
            found.is_some()
        });
        &mut self.nodes[master]
    }

    fn addresses(&self) -> Vec<String> {
        let address = |node: &Redis| format!("127.0.0.1:{}", node.port());
        self.nodes.iter().map(address).collect()
    }

    fn join(&self) {
        let mut create = REDIS_CLI.command();
        create
            .args(["--cluster", "create"])
            .args(self.addresses())
            .args(["--cluster-replicas", "1", "--cluster-yes"]);
        if let Some((certificates, _)) = &self.certificates {
            let (certificate, key) = certificates.client();
            create
                .arg("--tls")
                .arg("--cacert")
                .arg(certificates.authority())
                .arg("--cert")
                .arg(certificate)
                .arg("--key")
                .arg(key);
        }
        let output = create.output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{create:?}: {said}");
        for node in &self.nodes {
            eventually("a node says that all is well", || {
                let info = node.command(&["CLUSTER", "INFO"]);
                let is_ok = info.contains("cluster_state:ok");
                is_ok && info.contains("cluster_known_nodes:6") && is_in_its_place(node)
            });
        }
    }
}

/// Whether it is a master with its replica, or a replica that has what its master has.
fn is_in_its_place(node: &Redis) -> bool {
    let replication = node.command(&["INFO", "replication"]);
    let signs = ["state=online", "master_link_status:up"];
    signs.iter().any(|sign| replication.contains(sign))
}

fn node(options: RedisOptions, bus: u16) -> Redis {
    options
        .arguments(["--cluster-enabled", "yes"])
        .arguments(["--cluster-port", &bus.to_string()])
        .arguments(["--cluster-node-timeout", "1000"])
        .arguments(["--cluster-require-full-coverage", "no"])
        .arguments(["--cluster-replica-validity-factor", "0"])
        // Otherwise no replica has anything in the first five seconds, and none takes over.
        .arguments(["--repl-diskless-sync-delay", "0"])
        .spawn_on(Port::free())
}
