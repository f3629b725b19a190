//! What goes wrong with PostgreSQL, and what to do about it, in words.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use tokio_postgres::error::{Error, Severity, SqlState};

use crate::backend::address::Host;
use crate::backend::waiting::Failure;
use crate::error::BackendError;
use crate::info::Shown;

/// Where the database is, as it is shown: without user and password.
#[derive(Clone, Debug)]
pub(super) struct Place(String);

impl Place {
    pub(super) fn new(hosts: &[Host], database: Option<String>) -> Self {
        let hosts: Vec<_> = hosts.iter().map(Host::to_string).collect();
        let mut place = format!("PostgreSQL at {}", hosts.join(","));
        if let Some(database) = database {
            place.push_str(&format!(" (database `{}`)", database.escape_debug()));
        }
        Self(place)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What became of statements that failed.
pub(super) struct Fault {
    what: String,
    /// The same statement may succeed later.
    is_passing: bool,
    /// Nobody knows whether it took effect.
    is_effect_unknown: bool,
    /// The connection is of no use any more.
    pub(super) is_disconnected: bool,
}

impl Fault {
    /// It, told once more to somebody else.
    pub(super) fn tell(&self) -> Failure {
        let error = BackendError::new(self.what.clone());
        let error = if self.is_effect_unknown {
            error.effect_unknown()
        } else {
            error
        };
        if self.is_passing {
            Failure::Passing(error)
        } else {
            Failure::Lasting(error)
        }
    }

    pub(super) fn into_error(self) -> BackendError {
        match self.tell() {
            Failure::Passing(error) | Failure::Lasting(error) => error,
        }
    }

    fn passing(what: String) -> Self {
        Self {
            what,
            is_passing: true,
            is_effect_unknown: false,
            is_disconnected: true,
        }
    }

    fn lasting(what: String) -> Self {
        Self {
            is_passing: false,
            ..Self::passing(what)
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// No connection could be made.
pub(super) fn no_connection(place: &Place, error: &Error) -> Fault {
    let said = said(error);
    let Some(state) = error.code() else {
        let fault = if said.contains("does not support TLS") {
            Fault::lasting(format!(
                "{place} speaks no TLS: switch `ssl` on there, or write `sslmode=disable` to send \
                 the password and everything else unencrypted"
            ))
        } else if let Some((what, check)) = about_certificates(error) {
            Fault::lasting(format!("{place} {what}: {said}; check {check}"))
        } else if said.contains("password missing") {
            Fault::lasting(format!(
                "{place} asks for a password, and the lock URL has none: write \
                 `postgres://user:password@host/database`"
            ))
        } else if said.starts_with("error connecting to server") {
            Fault::passing(format!(
                "{place} cannot be reached: {said}; start it, or check host and port of the lock \
                 URL"
            ))
        } else {
            Fault::passing(format!("{place} cannot be reached: {said}"))
        };
        return fault;
    };
    match *state {
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            Fault::lasting(format!(
                "{place} does not let this user in: {said}; check user and password of the lock \
                 URL, its `sslcert` where a certificate is asked for, and `pg_hba.conf`"
            ))
        }
        SqlState::INVALID_CATALOG_NAME => Fault::lasting(format!(
            "{place} cannot be used: {said}; create it, or name another in the path of the lock URL"
        )),
        SqlState::INSUFFICIENT_PRIVILEGE => Fault::lasting(format!(
            "{place} cannot be used: {said}; GRANT CONNECT ON DATABASE is missing"
        )),
        SqlState::TOO_MANY_CONNECTIONS => Fault::passing(format!(
            "{place} has no connection left: {said}; every lock manager needs two: raise \
             `max_connections`, or put pgbouncer in between"
        )),
        SqlState::CANNOT_CONNECT_NOW => {
            Fault::passing(format!("{place} is starting or going down: {said}"))
        }
        _ => Fault::passing(format!("{place} refused the connection: {said}")),
    }
}

/// What every host of a URL had to say; one that may let somebody in later makes all of it pass.
pub(super) fn of_all_hosts(mut faults: Vec<Fault>) -> Fault {
    if faults.len() == 1 {
        return faults.remove(0);
    }
    let what: Vec<_> = faults.iter().map(|fault| &*fault.what).collect();
    let what = what.join("; and ");
    if faults.iter().any(|fault| fault.is_passing) {
        Fault::passing(what)
    } else {
        Fault::lasting(what)
    }
}

pub(super) fn connecting_took_too_long(place: &Place, limit: Duration) -> Fault {
    Fault::passing(format!(
        "{place} cannot be reached: no answer within {}",
        Shown(limit)
    ))
}

/// A statement failed that was sent.
pub(super) fn statement(place: &Place, schema: &str, error: &Error) -> Fault {
    let said = said(error);
    let Some(problem) = error.as_db_error() else {
        return Fault {
            is_effect_unknown: true,
            ..Fault::passing(format!("the connection to {place} broke: {said}"))
        };
    };
    // Anything worse than an ERROR ends the session.
    // `severity` is a word of the server's language.
    if problem.parsed_severity() != Some(Severity::Error) {
        return Fault {
            is_effect_unknown: true,
            ..Fault::passing(format!("{place} closed the connection: {said}"))
        };
    }
    let fault = match *problem.code() {
        SqlState::READ_ONLY_SQL_TRANSACTION => Fault::passing(read_only(place, &said)),
        SqlState::INSUFFICIENT_PRIVILEGE => Fault::lasting(format!(
            "{place} refused it: {said}; have the owner of the schema run {}",
            grants(schema)
        )),
        SqlState::UNDEFINED_FUNCTION
        | SqlState::UNDEFINED_TABLE
        | SqlState::INVALID_SCHEMA_NAME => Fault::lasting(format!(
            "{place} has lost the schema `{schema}` or a part of it: {said}; start the service \
             anew, or run the SQL of `PostgresBackend::migration()`"
        )),
        SqlState::DISK_FULL | SqlState::OUT_OF_MEMORY | SqlState::INSUFFICIENT_RESOURCES => {
            Fault::passing(format!("{place} is full: {said}"))
        }
        SqlState::LOCK_NOT_AVAILABLE => Fault::passing(format!(
            "{place} cannot do it yet: {said}; a transaction that verifies this lock is still \
             committing, or is prepared and forgotten"
        )),
        SqlState::QUERY_CANCELED => Fault::passing(format!("{place} did not finish: {said}")),
        // Of a function here: it was asked too long ago.
        ref code if code.code() == "LR003" => {
            Fault::passing(format!("{place} did not finish: {said}"))
        }
        SqlState::T_R_DEADLOCK_DETECTED | SqlState::T_R_SERIALIZATION_FAILURE => {
            Fault::passing(format!("{place} gave up: {said}"))
        }
        _ => Fault::lasting(format!("{place} refused it: {said}")),
    };
    Fault {
        // Others find the server that takes writes by connecting anew.
        is_disconnected: *problem.code() == SqlState::READ_ONLY_SQL_TRANSACTION,
        ..fault
    }
}

pub(super) fn silent(place: &Place, limit: Duration) -> Fault {
    Fault {
        is_effect_unknown: true,
        ..Fault::passing(format!("{place} has not answered within {}", Shown(limit)))
    }
}

/// What came back is not what the functions of this version answer.
pub(super) fn nonsense(place: &Place, what: &str) -> BackendError {
    BackendError::new(format!("{place} said what makes no sense: {what}"))
}

pub(super) fn too_old(place: &Place, version: i32) -> BackendError {
    BackendError::new(format!(
        "{place} is version {}; locks need PostgreSQL 14 or newer",
        version / 10_000
    ))
}

pub(super) fn other_encoding(place: &Place, encoding: &str) -> BackendError {
    BackendError::new(format!(
        "{place} stores texts as {}; locks need a database with the encoding UTF8",
        encoding.escape_debug()
    ))
}

pub(super) fn read_only(place: &Place, said: &str) -> String {
    format!(
        "{place} takes no writes: {said}; it is a standby, or `default_transaction_read_only` is \
         set; the lock URL has to lead to the primary, and may name several hosts"
    )
}

pub(super) fn other_version(place: &Place, schema: &str, found: i32, known: i32) -> BackendError {
    BackendError::new(format!(
        "the schema `{schema}` of {place} has version {found}, and this program knows version \
         {known}: update the program"
    ))
}

/// There is no schema, and it is not made here.
pub(super) fn no_schema(place: &Place, schema: &str, why: &str) -> BackendError {
    let other = if schema == "lock_runtime" {
        ""
    } else {
        ", with this name in the place of `lock_runtime`"
    };
    BackendError::new(format!(
        "{place} has no schema `{schema}` for locks, and {why}: have a role that may create it run \
         the SQL of `PostgresBackend::migration()`{other}, and then {}",
        grants(schema)
    ))
}

pub(super) fn no_rights(place: &Place, schema: &str, user: &str) -> BackendError {
    BackendError::new(format!(
        "{place} does not let the role `{}` use the schema `{schema}`: have its owner run {}",
        user.escape_debug(),
        grants(schema)
    ))
}

fn grants(schema: &str) -> String {
    format!(
        "`GRANT USAGE ON SCHEMA {schema} TO <role>; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA \
         {schema} TO <role>;`"
    )
}

pub(super) fn connected_already(place: &Place) -> BackendError {
    BackendError::new(format!("{place} is connected already"))
}

pub(super) fn no_runtime(place: &Place) -> BackendError {
    BackendError::new(format!("{place} has to be connected on a tokio runtime"))
}

/// Nobody is left who could answer.
pub(super) fn ended(place: &Place) -> BackendError {
    BackendError::new(format!(
        "the connection to {place} has ended, with the lock manager that it belonged to"
    ))
    .effect_unknown()
}

pub(super) fn not_connected(place: &Place) -> BackendError {
    BackendError::new(format!(
        "{place} has not been connected to: call `connect` first"
    ))
}

pub(super) fn too_many(place: &Place, limit: usize) -> BackendError {
    BackendError::new(format!(
        "{limit} requests wait for {place} already, which does not answer them fast enough"
    ))
}

pub(super) fn queue_full(place: &Place, waiting: u64) -> BackendError {
    BackendError::new(format!(
        "{waiting} wait for this lock in {place} already, which is as many as may"
    ))
}

pub(super) fn zero_byte(what: &str) -> BackendError {
    BackendError::new(format!(
        "{what} has a zero byte in it, which PostgreSQL does not store"
    ))
}

/// What the server or the client library says, in full and for people.
pub(super) fn said(error: &Error) -> String {
    if let Some(problem) = error.as_db_error() {
        return problem.message().escape_debug().to_string();
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_says = cause.to_string();
        if !text.contains(&cause_says) {
            text = format!("{text}: {cause_says}");
        }
        source = cause.source();
    }
    text.escape_debug().to_string()
}

/// Whose certificate a connection failed because of, which the next one would too: what is said of
/// the server, and what to check.
#[cfg(feature = "postgres-tls")]
fn about_certificates(error: &Error) -> Option<(&'static str, &'static str)> {
    use rustls::AlertDescription as Alert;

    let mut source = error.source();
    while let Some(cause) = source {
        // An I/O error does not say that what it wraps is behind it.
        let wrapped = cause.downcast_ref::<std::io::Error>();
        let wrapped = wrapped.and_then(|error| error.get_ref()?.downcast_ref());
        let tls: Option<&rustls::Error> = wrapped.or_else(|| cause.downcast_ref());
        match tls {
            Some(rustls::Error::InvalidCertificate(_)) => {
                return Some((
                    "is not trusted",
                    "`sslrootcert`, and that the certificate is for this host name",
                ));
            }
            Some(rustls::Error::AlertReceived(
                Alert::BadCertificate
                | Alert::CertificateExpired
                | Alert::CertificateRequired
                | Alert::CertificateRevoked
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::UnsupportedCertificate,
            )) => {
                return Some((
                    "does not trust this program",
                    "`sslcert` and `sslkey`, and the server's `ssl_ca_file`",
                ));
            }
            _ => source = cause.source(),
        }
    }
    None
}

#[cfg(not(feature = "postgres-tls"))]
fn about_certificates(_: &Error) -> Option<(&'static str, &'static str)> {
    None
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio_postgres::NoTls;

    use super::*;

    /// What a server says that answers whatever it is asked with this error.
    async fn error_of(severity: &str, said_in: &str, code: &str) -> Error {
        let (near, mut far) = duplex(4_096);
        let fields = format!("S{said_in}\0V{severity}\0C{code}\0Mabgebrochen\0\0").into_bytes();
        tokio::spawn(async move {
            let mut asked = [0; 1_024];
            let _start = far.read(&mut asked).await;
            // It lets everybody in, and is ready.
            let welcome = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";
            let _written = far.write_all(welcome).await;
            let _statement = far.read(&mut asked).await;
            let size = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
            let error = [&b"E"[..], &size, &fields, b"Z\0\0\0\x05I"].concat();
            let _written = far.write_all(&error).await;
            let _end = far.read(&mut asked).await;
        });
        let config = tokio_postgres::Config::new().user("me").clone();
        let (client, connection) = config.connect_raw(near, NoTls).await.unwrap();
        tokio::spawn(connection);
        client.simple_query("SELECT").await.unwrap_err()
    }

    #[tokio::test]
    async fn a_server_may_speak_any_language() {
        let place = Place::new(&[], None);
        let error = error_of("ERROR", "FEHLER", "55P03").await;
        let fault = statement(&place, "locks", &error);
        assert!(
            !fault.is_disconnected && !fault.is_effect_unknown,
            "{fault}"
        );
        let error = error_of("FATAL", "FATAL", "57P01").await;
        let fault = statement(&place, "locks", &error);
        assert!(fault.is_disconnected && fault.is_effect_unknown, "{fault}");
    }
}
