//! etcd: three servers that agree.

use crate::etcd::{Etcd, Ports};
use crate::port::{PortTaken, on_free_ports};
use crate::wait::eventually;

/// Three servers of etcd. Two of them are enough to go on.
///
/// They elect another leader half a second to a second after theirs is gone.
#[derive(Debug)]
pub struct EtcdCluster {
    members: Vec<Etcd>,
}

impl EtcdCluster {
    /// Starts them. Comes back when all answer.
    pub fn start() -> Self {
        on_free_ports(|| {
            let ports = [
                ("n0", Ports::free()),
                ("n1", Ports::free()),
                ("n2", Ports::free()),
            ];
            let cluster = ports.each_ref().map(|(name, ports)| ports.member(name));
            let cluster = cluster.join(",");
            let spawn = |(name, ports)| {
                let options = Etcd::options().elects_after(500);
                options.spawn_member(name, ports, &cluster)
            };
            let mut members = ports.map(spawn);
            for member in &mut members {
                member.becomes_ready()?;
            }
            let members = members.into();
            Ok::<_, PortTaken>(Self { members })
        })
    }

    /// The URL, with the addresses of all members.
    pub fn url(&self) -> String {
        let addresses: Vec<_> = self.members.iter().map(Etcd::address).collect();
        format!("etcd://{}", addresses.join(","))
    }

    /// Kills all members.
    pub fn kill(&mut self) {
        for member in &mut self.members {
            member.kill();
        }
    }

    /// Starts all members after they were killed. Comes back when all answer.
    pub fn start_again(&mut self) {
        for member in &mut self.members {
            // It does not answer before there is another.
            member.spawn_again();
        }
        for member in &mut self.members {
            let started = member.becomes_ready();
            started.expect("ports that are claimed");
        }
    }

    /// The members, to be disturbed one by one. One that is started again has to find another.
    pub fn members(&mut self) -> &mut [Etcd] {
        &mut self.members
    }

    /// The member that leads, as soon as one says of itself that it does.
    ///
    /// # Panics
    ///
    /// When no member that runs leads.
    pub fn leader(&mut self) -> &mut Etcd {
        let mut leader = 0;
        eventually("a member leads", || {
            let found = self.members.iter().position(Etcd::leads);
            leader = found.unwrap_or_default();
            found.is_some()
        });
        &mut self.members[leader]
    }
}
