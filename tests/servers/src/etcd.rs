//! etcd: one server.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::LazyLock;

use rustix::process::Signal;

use crate::binary::{ETCD, ETCDCTL};
use crate::folder::Folder;
use crate::port::{Port, PortTaken, on_free_ports};
use crate::program::{Launch, Program};
use crate::tls::Certificates;
use crate::wait::GLANCE;

/// A server of etcd, alone or a member of a cluster. Nothing is lost when it is killed.
///
/// It gives no lease of less than a second.
#[derive(Debug)]
pub struct Etcd {
    program: Program,
    ports: Ports,
    certificates: Option<Certificates>,
}

/// How a server of etcd is to be.
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is started before `start`"]
pub struct EtcdOptions {
    has_tls: bool,
    arguments: Vec<String>,
}

/// The ports of a server.
#[derive(Debug)]
pub(crate) struct Ports {
    pub(crate) client: Port,
    peer: Port,
    /// Speaks HTTP in all cases, and says whether the server is well.
    health: Port,
}

impl Ports {
    pub(crate) fn free() -> Self {
        Self {
            client: Port::free(),
            peer: Port::free(),
            health: Port::free(),
        }
    }

    /// Where other members find a server, as `--initial-cluster` wants it.
    pub(crate) fn member(&self, name: &str) -> String {
        format!("{name}=http://127.0.0.1:{}", self.peer.number())
    }
}

impl Etcd {
    /// Starts a server.
    pub fn start() -> Self {
        Self::options().start()
    }

    /// The options of a server, to be started with [`EtcdOptions::start`].
    pub fn options() -> EtcdOptions {
        EtcdOptions::default()
    }

    /// A server that all tests of this process have in common.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Etcd> = LazyLock::new(Etcd::start);
        &SHARED
    }

    /// The port for clients.
    pub fn port(&self) -> u16 {
        self.ports.client.number()
    }

    /// The URL. It is the same with and without TLS.
    pub fn url(&self) -> String {
        format!("etcd://{}", self.address())
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// The certificates of a server with TLS.
    ///
    /// # Panics
    ///
    /// When it was started without.
    pub fn certificates(&self) -> &Certificates {
        self.certificates.as_ref().expect("started with TLS")
    }

    /// Whether it says of itself that it leads.
    pub(crate) fn leads(&self) -> bool {
        let metrics = get(self.ports.health.number(), "/metrics").unwrap_or_default();
        metrics.contains("\netcd_server_is_leader 1")
    }

    /// Runs `etcdctl` with these arguments against this server, and answers what it prints.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[track_caller]
    pub fn control(&self, arguments: &[&str]) -> String {
        match self.try_control(arguments) {
            Ok(answer) => answer,
            Err(error) => panic!("{arguments:?}: {error}"),
        }
    }

    /// Runs `etcdctl` with these arguments against this server.
    ///
    /// # Errors
    ///
    /// What it says when it fails.
    pub fn try_control(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = ETCDCTL.command();
        let scheme = scheme(self.certificates.is_some());
        command
            .env_clear()
            .env("ETCDCTL_API", "3")
            .arg(format!("--endpoints={scheme}://{}", self.address()));
        if let Some(certificates) = &self.certificates {
            let (certificate, key) = certificates.client();
            command
                .arg("--cacert")
                .arg(certificates.authority())
                .arg("--cert")
                .arg(certificate)
                .arg("--key")
                .arg(key);
        }
        let output = command.args(arguments).output().expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr))
        }
    }
}

impl EtcdOptions {
    /// Speaks TLS, with [certificates](Etcd::certificates) of an authority of its own, and wants
    /// one of each client. That of the client is in the name of `root`.
    pub fn tls(mut self) -> Self {
        self.has_tls = true;
        self
    }

    /// More words for the command line.
    pub fn arguments(mut self, arguments: impl IntoIterator<Item: Into<String>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Starts it. Comes back when it answers.
    pub fn start(self) -> Etcd {
        on_free_ports(|| self.clone().start_on(Ports::free()))
    }

    pub(crate) fn start_on(self, ports: Ports) -> Result<Etcd, PortTaken> {
        let cluster = ports.member("n0");
        // A server that is alone elects itself, and does not have to be slow about it.
        let mut etcd = self.elects_after(100).spawn_member("n0", ports, &cluster);
        etcd.becomes_ready()?;
        Ok(etcd)
    }

    /// After how many milliseconds without a leader there is an election. The shortest lease is
    /// one and a half times that, in whole seconds.
    pub(crate) fn elects_after(self, milliseconds: u32) -> Self {
        let heartbeat = (milliseconds / 10).to_string();
        let election = milliseconds.to_string();
        self.arguments([
            "--heartbeat-interval",
            &heartbeat,
            "--election-timeout",
            &election,
        ])
    }

    /// Starts a member of a cluster, and does not wait for it.
    pub(crate) fn spawn_member(self, name: &str, ports: Ports, cluster: &str) -> Etcd {
        let folder = Folder::create();
        let certificates = self.has_tls.then(|| Certificates::create(&folder, "root"));
        let scheme = scheme(self.has_tls);
        let client = format!("{scheme}://127.0.0.1:{}", ports.client.number());
        let peer = format!("http://127.0.0.1:{}", ports.peer.number());
        let health = ports.health.number();
        let mut command = ETCD.command();
        command
            // Version 3.4 wants to be told that it may run on such a machine.
            .env("ETCD_UNSUPPORTED_ARCH", "arm64")
            .args(["--name", name, "--initial-cluster", cluster])
            .args(["--data-dir", "data", "--initial-cluster-state", "new"])
            .args([
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args([
                "--listen-metrics-urls",
                &format!("http://127.0.0.1:{health}"),
            ])
            .args([
                "--unsafe-no-fsync",
                "--logger",
                "zap",
                "--log-level",
                "warn",
            ])
            .args(["--log-outputs", "stderr"])
            .args(&self.arguments);
        if let Some(certificates) = &certificates {
            let (certificate, key) = certificates.server();
            let file = |name: &str, path: &Path| format!("--{name}={}", path.display());
            command
                .arg(file("cert-file", certificate))
                .arg(file("key-file", key))
                .arg(file("trusted-ca-file", certificates.authority()))
                .arg("--client-cert-auth");
        }
        let launch = Launch {
            what: "etcd",
            command,
            is_ready: Box::new(move || is_healthy(health)),
            stop: Signal::TERM,
        };
        Etcd {
            program: Program::spawn(folder, launch),
            ports,
            certificates,
        }
    }
}

fn scheme(has_tls: bool) -> &'static str {
    if has_tls { "https" } else { "http" }
}

/// Whether the server has a leader, and can read what was agreed upon.
fn is_healthy(port: u16) -> bool {
    get(port, "/health").is_ok_and(|answer| answer.contains(r#""health":"true""#))
}

fn get(port: u16, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(GLANCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

impl Deref for Etcd {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

impl DerefMut for Etcd {
    fn deref_mut(&mut self) -> &mut Program {
        &mut self.program
    }
}
