//! Where the programs are, and what to do when they are not.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program of a Debian package.
#[derive(Clone, Copy)]
pub(crate) struct Binary {
    name: &'static str,
    package: &'static str,
}

pub(crate) const REDIS_SERVER: Binary = Binary::of("redis-server", "redis-server");
pub(crate) const REDIS_CLI: Binary = Binary::of("redis-cli", "redis-tools");
pub(crate) const ETCD: Binary = Binary::of("etcd", "etcd-server");
pub(crate) const ETCDCTL: Binary = Binary::of("etcdctl", "etcd-client");
pub(crate) const PGBOUNCER: Binary = Binary::of("pgbouncer", "pgbouncer");
pub(crate) const INITDB: Binary = Binary::of("initdb", "postgresql");
pub(crate) const POSTGRES: Binary = Binary::of("postgres", "postgresql");
pub(crate) const PG_ISREADY: Binary = Binary::of("pg_isready", "postgresql");
pub(crate) const PSQL: Binary = Binary::of("psql", "postgresql");

/// Debian keeps the programs of PostgreSQL here, one folder for each version.
const POSTGRESQL: &str = "/usr/lib/postgresql";

impl Binary {
    const fn of(name: &'static str, package: &'static str) -> Self {
        Self { name, package }
    }

    /// The command that runs it.
    pub(crate) fn command(self) -> Command {
        Command::new(self.path())
    }

    #[track_caller]
    fn path(self) -> PathBuf {
        match find(self.name) {
            Some(path) => path,
            None => panic!("{}", self.missing()),
        }
    }

    fn missing(self) -> String {
        let Self { name, package } = self;
        format!(
            "`{name}` is not installed. It is in the Debian package {package}: run \
             `apt-get install {package}`, or `tests/run`, which installs all that the tests need"
        )
    }
}

/// The program in the newest PostgreSQL, whose programs are scripts elsewhere, in the search path,
/// or in `/usr/sbin`, which only root has there.
fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = newest_postgresql()
        .into_iter()
        .chain(env::split_paths(&path))
        .chain([PathBuf::from("/usr/sbin")]);
    let mut paths = folders.map(|folder| folder.join(name));
    paths.find(|path| path.is_file())
}

fn newest_postgresql() -> Option<PathBuf> {
    let versions = Path::new(POSTGRESQL).read_dir().ok()?;
    let versions = versions.flatten().filter_map(|version| {
        let number: u32 = version.file_name().to_str()?.parse().ok()?;
        Some((number, version.path().join("bin")))
    });
    versions.max().map(|(_, folder)| folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic = "run `apt-get install no-package`, or `tests/run`"]
    fn a_missing_program_says_what_to_install() {
        Binary::of("no-such-program", "no-package").command();
    }
}
