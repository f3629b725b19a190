//! PgBouncer in transaction mode, in front of a PostgreSQL.

use std::ops::{Deref, DerefMut};

use rustix::process::Signal;

use crate::binary::PGBOUNCER;
use crate::folder::Folder;
use crate::port::{Port, PortTaken, on_free_ports};
use crate::postgres::{self, Postgres, as_user, user};
use crate::program::{Launch, Program};

/// How many connections to the server there are at most.
const POOL: u16 = 10;

/// A PgBouncer that gives a client a connection for a transaction, and then to somebody else. It
/// lets in the user `postgres`, to any database.
#[derive(Debug)]
pub struct PgBouncer {
    program: Program,
    port: Port,
}

impl PgBouncer {
    /// Starts one before a server without TLS. Comes back when it answers.
    pub fn before(server: &Postgres) -> Self {
        on_free_ports(|| Self::start_on(Port::free(), server))
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The URL of the database `postgres`, for the superuser.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port())
    }

    pub(crate) fn start_on(port: Port, server: &Postgres) -> Result<Self, PortTaken> {
        let mut command = PGBOUNCER.command();
        let folder = Folder::create_for(user());
        let users = folder.write("users", "\"postgres\" \"\"\n");
        let (number, server) = (port.number(), server.port());
        let configuration = format!(
            "[databases]\n\
             * = host=127.0.0.1 port={server}\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {number}\n\
             unix_socket_dir =\n\
             auth_type = trust\n\
             auth_file = {}\n\
             pool_mode = transaction\n\
             default_pool_size = {POOL}\n\
             server_login_retry = 1\n\
             max_client_conn = 200\n",
            users.display(),
        );
        as_user(&mut command);
        command.arg(folder.write("configuration", &configuration));
        let launch = Launch {
            what: "pgbouncer",
            command,
            is_ready: Box::new(move || postgres::is_ready("127.0.0.1".as_ref(), number)),
            // Its clients are hung up on, and not waited for.
            stop: Signal::TERM,
        };
        Ok(Self {
            program: Program::start(folder, launch)?,
            port,
        })
    }
}

impl Deref for PgBouncer {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

impl DerefMut for PgBouncer {
    fn deref_mut(&mut self) -> &mut Program {
        &mut self.program
    }
}
