//! The schema in the database: looked at, and made when it is missing.

use tokio_postgres::{Client, Error, SimpleQueryMessage, SimpleQueryRow};

use super::arguments::quote;
use super::fault::{self, Place};
use super::line::PROLOGUE;
use super::settings::Settings;
use crate::backend::waiting::{HANDED_FOR, MOST_HANDED, SILENT_AFTER};
use crate::error::BackendError;

/// What a database needs to have.
pub(super) const MIGRATION: &str = include_str!("migration.sql");

/// When a waiter is passed over, which `silent_after` in [`MIGRATION`] says too.
const _: () = assert!(SILENT_AFTER.as_millis() == 1_500);

/// How long a name stays handed over, which `handed_for` says too.
const _: () = assert!(HANDED_FOR.as_millis() == 1_500);

/// How many are handed a name at once, which `most_handed` says too.
const _: () = assert!(MOST_HANDED == 16);

/// The version of [`MIGRATION`].
const VERSION: i32 = 1;

/// The oldest PostgreSQL that is known to work, as the server counts.
const OLDEST: i32 = 140_000;

/// What is said before the schema is made: others may be making it just now, and are waited for.
const PATIENTLY: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;\
     SET LOCAL statement_timeout='30s';SET LOCAL lock_timeout='30s';";

/// What was found at the server.
struct Found {
    server: i32,
    encoding: String,
    read_only: Option<&'static str>,
    user: String,
    has_schema: bool,
    may_create: bool,
    may_use: bool,
    /// Whether there is anything of ours in the schema.
    has_version: bool,
}

/// Looks whether locks can be kept here, and makes the schema if it may.
pub(super) async fn prepare(client: &Client, settings: &Settings) -> Result<(), BackendError> {
    let (place, schema) = (&settings.statements.place, &*settings.schema);
    let found = look(client, place, schema).await?;
    if found.server < OLDEST {
        return Err(fault::too_old(place, found.server));
    }
    if found.encoding != "UTF8" {
        return Err(fault::other_encoding(place, &found.encoding));
    }
    if let Some(why) = found.read_only {
        return Err(BackendError::new(fault::read_only(place, why)));
    }
    let version = if found.has_version {
        if !found.may_use {
            return Err(fault::no_rights(place, schema, &found.user));
        }
        version(client, place, schema).await?
    } else {
        0
    };
    if version > VERSION {
        return Err(fault::other_version(place, schema, version, VERSION));
    }
    if version == VERSION {
        return Ok(());
    }
    if !settings.migrate {
        let why = "the lock URL says `migrate=false`";
        return Err(fault::no_schema(place, schema, why));
    }
    if !found.may_create && !found.has_schema {
        let why = format!(
            "the role `{}` may not create one",
            found.user.escape_debug()
        );
        return Err(fault::no_schema(place, schema, &why));
    }
    let sql = format!("{PATIENTLY}{}", in_schema(schema));
    client
        .simple_query(&sql)
        .await
        .map(drop)
        .map_err(|error| failed(settings, &error))
}

/// The SQL for a schema of this name. It is no word that is anywhere in it for another reason.
fn in_schema(schema: &str) -> String {
    MIGRATION.replace("lock_runtime", schema)
}

async fn look(client: &Client, place: &Place, schema: &str) -> Result<Found, BackendError> {
    let mut name = String::new();
    quote(&mut name, schema);
    let sql = format!(
        "{PROLOGUE}SELECT current_setting('server_version_num'), current_setting('server_encoding'),
            pg_is_in_recovery(), current_setting('transaction_read_only') = 'on', current_user,
            n.oid IS NOT NULL, has_database_privilege(current_database(), 'CREATE'),
            coalesce(has_schema_privilege(n.oid, 'USAGE')
                AND has_function_privilege(f.oid, 'EXECUTE'), false),
            f.oid IS NOT NULL
        FROM (SELECT) one
        LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = {name}
        LEFT JOIN pg_catalog.pg_proc f
            ON f.pronamespace = n.oid AND f.proname = 'version' AND f.pronargs = 0"
    );
    let row = one_row(client, &sql)
        .await
        .map_err(|error| fault::statement(place, schema, &error).into_error())?;
    let row = row.ok_or_else(|| fault::nonsense(place, "no row where there is always one"))?;
    let text = |column: usize| row.get(column).unwrap_or_default();
    let flag = |column: usize| text(column) == "t";
    Ok(Found {
        server: text(0).parse().unwrap_or(0),
        encoding: text(1).to_owned(),
        read_only: match (flag(2), flag(3)) {
            (true, _) => Some("it is in recovery"),
            (_, true) => Some("its transactions are read-only by default"),
            _ => None,
        },
        user: text(4).to_owned(),
        has_schema: flag(5),
        may_create: flag(6),
        may_use: flag(7),
        has_version: flag(8),
    })
}

async fn version(client: &Client, place: &Place, schema: &str) -> Result<i32, BackendError> {
    let row = one_row(client, &format!("{PROLOGUE}SELECT {schema}.version()"))
        .await
        .map_err(|error| fault::statement(place, schema, &error).into_error())?;
    let version = row.as_ref().and_then(|row| row.get(0)?.parse().ok());
    version.ok_or_else(|| fault::nonsense(place, "a schema without a version"))
}

async fn one_row(client: &Client, sql: &str) -> Result<Option<SimpleQueryRow>, Error> {
    let messages = client.simple_query(sql).await?;
    Ok(messages.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    }))
}

fn failed(settings: &Settings, error: &Error) -> BackendError {
    let (place, schema) = (&settings.statements.place, &*settings.schema);
    if error.as_db_error().is_none() {
        return fault::statement(place, schema, error).into_error();
    }
    let why = format!("making it failed ({})", fault::said(error));
    fault::no_schema(place, schema, &why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_named_once_for_all() {
        let sql = in_schema("locks");
        assert!(!sql.contains("lock_runtime"));
        assert!(sql.contains("CREATE SCHEMA IF NOT EXISTS locks;"));
        assert!(sql.contains(&format!("'SELECT {VERSION}'")));
    }
}
