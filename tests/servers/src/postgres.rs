//! PostgreSQL: one server.

use std::fs;
use std::ops::{Deref, DerefMut};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use rustix::process::{Signal, geteuid};

use crate::binary::{Binary, INITDB, PG_ISREADY, POSTGRES, PSQL};
use crate::folder::Folder;
use crate::port::{Port, PortTaken, on_free_ports};
use crate::program::{Launch, Program};
use crate::tls::Certificates;

/// A server of PostgreSQL, with a superuser `postgres` who needs no password. All others need
/// one. Nothing is lost when it is killed.
#[derive(Debug)]
pub struct Postgres {
    program: Program,
    port: Port,
    certificates: Option<Certificates>,
}

/// How a server of PostgreSQL is to be.
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is started before `start`"]
pub struct PostgresOptions {
    has_tls: bool,
    wants_certificates: bool,
    settings: Vec<String>,
}

impl Postgres {
    /// Starts a server.
    pub fn start() -> Self {
        Self::options().start()
    }

    /// The options of a server, to be started with [`PostgresOptions::start`].
    pub fn options() -> PostgresOptions {
        PostgresOptions::default()
    }

    /// A server that all tests of this process have in common.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Postgres> = LazyLock::new(Postgres::start);
        &SHARED
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The URL of the database `postgres`, for the superuser.
    pub fn url(&self) -> String {
        self.url_of("postgres", "postgres")
    }

    /// The URL of a database for a user, who may come with a password: `name:password`.
    pub fn url_of(&self, user: &str, database: &str) -> String {
        let mode = self
            .certificates
            .as_ref()
            .map_or("", |_| "?sslmode=require");
        format!(
            "postgres://{user}@127.0.0.1:{}/{database}{mode}",
            self.port()
        )
    }

    /// The certificates of a server with TLS.
    ///
    /// # Panics
    ///
    /// When it was started without.
    pub fn certificates(&self) -> &Certificates {
        self.certificates.as_ref().expect("started with TLS")
    }

    /// Runs statements as the superuser in the database `postgres`, and answers the rows: a line
    /// for each, its fields separated by `|`.
    ///
    /// # Panics
    ///
    /// When a statement fails.
    #[track_caller]
    pub fn query(&self, statements: &str) -> String {
        match self.try_query(statements) {
            Ok(rows) => rows,
            Err(error) => panic!("{statements}: {error}"),
        }
    }

    /// Runs statements as the superuser in the database `postgres`.
    ///
    /// # Errors
    ///
    /// What `psql` says.
    pub fn try_query(&self, statements: &str) -> Result<String, String> {
        // Through the socket, which wants no TLS.
        let mut command = client(PSQL, self.program.folder().path(), self.port());
        let output = command
            .args(["-U", "postgres", "-d", "postgres", "-X", "-A", "-t", "-q"])
            .args(["-v", "ON_ERROR_STOP=1", "-c", statements])
            .output()
            .expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr))
        }
    }
}

impl PostgresOptions {
    /// Speaks TLS, with [certificates](Postgres::certificates) of an authority of its own, and
    /// refuses connections without.
    pub fn tls(mut self) -> Self {
        self.has_tls = true;
        self
    }

    /// Speaks TLS, and wants whoever comes over the network to have a certificate of its
    /// authority for the user's name.
    pub fn client_certificates(mut self) -> Self {
        self.wants_certificates = true;
        self.tls()
    }

    /// How many connections there can be.
    pub fn max_connections(self, count: u16) -> Self {
        self.setting("max_connections", &count.to_string())
    }

    /// Any setting of `postgresql.conf`.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push(format!("{name}={value}"));
        self
    }

    /// Starts it. Comes back when it answers.
    pub fn start(self) -> Postgres {
        on_free_ports(|| self.start_on(Port::free()))
    }

    pub(crate) fn start_on(&self, port: Port) -> Result<Postgres, PortTaken> {
        let template = TEMPLATE.data();
        let folder = Folder::create_for(user());
        let data = folder.path().join("data");
        let mut copy = Command::new("cp");
        copy.args(["-a", "--reflink=auto"]).arg(template).arg(&data);
        run(&mut copy);
        let kind = if self.has_tls { "hostssl" } else { "host" };
        let beside = if self.wants_certificates {
            "clientcert=verify-full"
        } else {
            ""
        };
        let access = format!(
            "local all all trust\n\
             {kind} all postgres 127.0.0.1/32 trust {beside}\n\
             {kind} all all 127.0.0.1/32 scram-sha-256 {beside}\n"
        );
        folder.write("access", &access);

        let mut command = POSTGRES.command();
        as_user(&mut command);
        command
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.number().to_string()]);
        let mut set = |name: &str, value: &dyn std::fmt::Display| {
            command.args(["-c", &format!("{name}={value}")]);
        };
        set("listen_addresses", &"127.0.0.1");
        set("unix_socket_directories", &folder.path().display());
        set("hba_file", &folder.path().join("access").display());
        set("shared_buffers", &"32MB");
        set("max_connections", &200);
        // A server that is killed loses nothing by these: the machine goes on.
        set("fsync", &"off");
        set("full_page_writes", &"off");
        // What a killed server leaves is in its folder.
        set("dynamic_shared_memory_type", &"mmap");
        let certify = || Certificates::create(&folder, "postgres");
        let certificates = self.has_tls.then(certify);
        if let Some(certificates) = &certificates {
            let (certificate, key) = certificates.server();
            set("ssl", &"on");
            set("ssl_cert_file", &certificate.display());
            set("ssl_key_file", &key.display());
            set("ssl_ca_file", &certificates.authority().display());
        }
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        let (sockets, number) = (folder.path().to_owned(), port.number());
        let launch = Launch {
            what: "postgres",
            command,
            // It opens its socket after its port, at which somebody else could be.
            is_ready: Box::new(move || is_ready(&sockets, number)),
            // "Fast": sessions are ended, and not waited for.
            stop: Signal::INT,
        };
        Ok(Postgres {
            program: Program::start(folder, launch)?,
            port,
            certificates,
        })
    }
}

/// Whether a server, or what stands before it, takes connections.
pub(crate) fn is_ready(folder: &Path, port: u16) -> bool {
    let mut command = client(PG_ISREADY, folder, port);
    command.args(["-q", "-U", "postgres", "-d", "postgres"]);
    command.status().expect("it runs").success()
}

/// A program that talks to a server, whatever the environment says.
fn client(program: Binary, host: &Path, port: u16) -> Command {
    let mut command = program.command();
    command
        .env_clear()
        .arg("-h")
        .arg(host)
        .args(["-p", &port.to_string()]);
    command
}

/// The user and the group that a server runs as, if not as whoever runs this: it does not run as
/// root.
pub(crate) fn user() -> Option<(u32, u32)> {
    if !geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("readable");
    let numbers = users.lines().find_map(|user| {
        let mut fields = user.strip_prefix("postgres:")?.split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    Some(numbers.expect("the package postgresql makes the user `postgres`"))
}

pub(crate) fn as_user(command: &mut Command) {
    if let Some((user, group)) = user() {
        command.uid(user).gid(group);
    }
}

fn run(command: &mut Command) {
    as_user(command);
    let output = command.current_dir("/").output().expect("it runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
}

/// An empty cluster, which is copied for each server: that is much faster than a new one.
static TEMPLATE: LazyLock<Template> = LazyLock::new(Template::create);

struct Template(Folder);

impl Template {
    fn create() -> Self {
        let mut initdb = INITDB.command();
        let template = Self(Folder::create_for(user()));
        initdb
            .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C"])
            .args(["--no-sync", "--no-instructions", "-D"])
            .arg(template.data());
        run(&mut initdb);
        template
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }
}

impl Deref for Postgres {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

impl DerefMut for Postgres {
    fn deref_mut(&mut self) -> &mut Program {
        &mut self.program
    }
}
