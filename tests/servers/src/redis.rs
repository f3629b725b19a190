//! Redis: one server.

use std::io;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use rustix::process::Signal;

use crate::binary::REDIS_SERVER;
use crate::folder::Folder;
use crate::port::{Port, PortTaken, on_free_ports};
use crate::program::{Launch, Program};
use crate::resp::{Connection, Reply};
use crate::tls::Certificates;
use crate::wait::{GLANCE, PATIENCE};

/// A server of Redis.
#[derive(Debug)]
pub struct Redis {
    program: Program,
    port: Port,
    tls: Option<(Port, Certificates)>,
    options: RedisOptions,
}

/// How a server of Redis is to be.
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is started before `start`"]
pub struct RedisOptions {
    is_durable: bool,
    tls: Option<Tls>,
    password: Option<String>,
    user: Option<(String, String)>,
    arguments: Vec<String>,
    /// For a sentinel, which writes its configuration anew.
    configuration: Option<String>,
}

/// How a server of Redis encrypts.
#[derive(Clone, Debug, Default)]
struct Tls {
    /// Those of somebody else, with a file of whom it trusts, instead of its own.
    certificates: Option<(Certificates, PathBuf)>,
    wants_certificates: bool,
}

impl Redis {
    /// Starts a server that forgets everything when it ends.
    pub fn start() -> Self {
        Self::options().start()
    }

    /// The options of a server, to be started with [`RedisOptions::start`].
    pub fn options() -> RedisOptions {
        RedisOptions::default()
    }

    /// A server that all tests of this process have in common.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Redis> = LazyLock::new(Redis::start);
        &SHARED
    }

    /// The port; with TLS the one that wants it.
    pub fn port(&self) -> u16 {
        let port = self.tls.as_ref().map_or(&self.port, |(port, _)| port);
        port.number()
    }

    /// The port that wants no TLS.
    pub(crate) fn plain_port(&self) -> u16 {
        self.port.number()
    }

    /// The URL, with the user and the password if there are any.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() {
            "rediss"
        } else {
            "redis"
        };
        let login = match (&self.options.user, &self.options.password) {
            (Some((user, password)), _) => format!("{user}:{password}@"),
            (None, Some(password)) => format!(":{password}@"),
            (None, None) => String::new(),
        };
        format!("{scheme}://{login}127.0.0.1:{}", self.port())
    }

    /// The certificates of a server with TLS.
    ///
    /// # Panics
    ///
    /// When it was started without.
    pub fn certificates(&self) -> &Certificates {
        let (_, certificates) = self.tls.as_ref().expect("started with TLS");
        certificates
    }

    /// Asks the server once, as the default user, through a connection of its own. Of an array it
    /// answers a line for each element, nothing for null.
    ///
    /// # Panics
    ///
    /// When there is no answer, or an error.
    #[track_caller]
    pub fn command(&self, command: &[&str]) -> String {
        match self.try_command(command) {
            Ok(answer) => answer,
            Err(error) => panic!("{command:?}: {error}"),
        }
    }

    /// Asks the server once, as the default user, through a connection of its own.
    ///
    /// # Errors
    ///
    /// What the server answers if it is an error, or why there is no answer.
    pub fn try_command(&self, command: &[&str]) -> Result<String, String> {
        self.options.access(&self.port).ask(command, PATIENCE)
    }

    /// A connection of the default user, for commands that belong together, such as a `WAIT` for
    /// what was written before.
    ///
    /// # Panics
    ///
    /// When the server does not answer.
    #[track_caller]
    pub fn connect(&self) -> Connection {
        let connection = self.options.access(&self.port).connect(PATIENCE);
        connection.expect("it answers")
    }

    /// Whether it takes commands for a key: of a cluster the key's master does.
    pub(crate) fn takes(&self, key: &str) -> bool {
        let access = self.options.access(&self.port);
        access.ask(&["EXISTS", key], GLANCE).is_ok()
    }
}

impl RedisOptions {
    /// How the harness asks it.
    fn access(&self, port: &Port) -> Access {
        Access {
            port: port.number(),
            password: self.password.clone(),
        }
    }

    /// Keeps its data when it ends in whatever way, in a log that is written before each answer.
    pub fn durable(mut self) -> Self {
        self.is_durable = true;
        self
    }

    /// Wants this password of the default user.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Has this user, who may do what the rules say, such as `~* &* +@all`. The URL is the user's.
    pub fn user(mut self, name: &str, password: &str, rules: &str) -> Self {
        self.user = Some((name.to_owned(), password.to_owned()));
        let password = format!(">{password}");
        self.arguments(["--user", name, "on", &password])
            .arguments(rules.split_whitespace())
    }

    /// Speaks TLS, with [certificates](Redis::certificates) of an authority of its own.
    pub fn tls(mut self) -> Self {
        self.tls.get_or_insert_default();
        self
    }

    /// Speaks TLS, and wants a client to have a certificate of its authority too.
    pub fn client_certificates(mut self) -> Self {
        self.tls.get_or_insert_default().wants_certificates = true;
        self
    }

    /// Speaks TLS with these certificates, also to its kind, and trusts who is signed by those in
    /// the file.
    pub(crate) fn certificates(mut self, certificates: &Certificates, trusted: &Path) -> Self {
        let tls = self.tls.get_or_insert_default();
        tls.certificates = Some((certificates.clone(), trusted.to_owned()));
        self.arguments(["--tls-replication", "yes"])
    }

    /// More words for the command line, such as `--maxmemory` and `10mb`.
    pub fn arguments(mut self, arguments: impl IntoIterator<Item: Into<String>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// A sentinel with this configuration.
    pub(crate) fn sentinel(configuration: &str) -> Self {
        Self {
            configuration: Some(configuration.to_owned()),
            ..Self::default()
        }
    }

    /// Starts it. Comes back when it answers.
    pub fn start(self) -> Redis {
        on_free_ports(|| self.clone().start_on(Port::free()))
    }

    pub(crate) fn start_on(self, port: Port) -> Result<Redis, PortTaken> {
        let mut redis = self.spawn_on(port);
        redis.becomes_ready()?;
        Ok(redis)
    }

    /// Starts it, and does not wait for it.
    pub(crate) fn spawn_on(self, port: Port) -> Redis {
        let folder = Folder::create();
        let mut command = REDIS_SERVER.command();
        if let Some(configuration) = &self.configuration {
            command.arg(folder.write("configuration", configuration));
            command.arg("--sentinel");
        } else {
            let append = if self.is_durable { "yes" } else { "no" };
            command.args(["--save", "", "--appendonly", append]);
            command.args(["--appendfsync", "always"]);
        }
        command
            .args(["--bind", "127.0.0.1", "--daemonize", "no"])
            .args(["--port", &port.number().to_string()])
            .arg("--dir")
            .arg(folder.path());
        if let Some(password) = &self.password {
            command.args(["--requirepass", password]);
        }
        let tls = self.tls.as_ref().map(|tls| {
            let port = Port::free();
            let (certificates, trusted) = tls.certificates.clone().unwrap_or_else(|| {
                let own = Certificates::create(&folder, "client");
                let authority = own.authority().to_owned();
                (own, authority)
            });
            let (certificate, key) = certificates.server();
            let wanted = if tls.wants_certificates {
                "yes"
            } else {
                "optional"
            };
            command
                .args(["--tls-port", &port.number().to_string()])
                .args(["--tls-auth-clients", wanted])
                .arg("--tls-cert-file")
                .arg(certificate)
                .arg("--tls-key-file")
                .arg(key)
                .arg("--tls-ca-cert-file")
                .arg(trusted);
            (port, certificates)
        });
        command.args(&self.arguments);
        let access = self.access(&port);
        let launch = Launch {
            what: "redis-server",
            command,
            is_ready: Box::new(move || access.is_ready()),
            stop: Signal::TERM,
        };
        Redis {
            program: Program::spawn(folder, launch),
            port,
            tls,
            options: self,
        }
    }
}

/// Where and how a server is asked by the default user.
#[derive(Debug)]
struct Access {
    port: u16,
    password: Option<String>,
}

impl Access {
    fn ask(&self, command: &[&str], patience: Duration) -> Reply {
        let connection = self.connect(patience);
        let answer = connection.and_then(|mut connection| connection.ask(command));
        answer.unwrap_or_else(|error| Err(error.to_string()))
    }

    fn connect(&self, patience: Duration) -> io::Result<Connection> {
        let mut connection = Connection::to(self.port, patience)?;
        if let Some(password) = &self.password {
            let answer = connection.ask(&["AUTH", password])?;
            answer.map_err(io::Error::other)?;
        }
        Ok(connection)
    }

    /// While a server reads its data it answers with an error.
    fn is_ready(&self) -> bool {
        self.ask(&["PING"], GLANCE).as_deref() == Ok("PONG")
    }
}

impl Deref for Redis {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

impl DerefMut for Redis {
    fn deref_mut(&mut self) -> &mut Program {
        &mut self.program
    }
}
