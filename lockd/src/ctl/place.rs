//! Where the locks live: the store that a command is about.

use std::fmt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use lock_runtime::{__daemon, LockError, LockManager, LockManagerBuilder};
use serde::{Deserialize, Serialize};

use super::args::Store;
use super::exit;
use super::failure::Failure;
use super::text::redacted;

/// Where lockd's socket is when nothing else is said, for all users of a host.
const SYSTEM_SOCKET: &str = "/run/lockd/lockd.sock";

/// The store that a command is about. Its URL may hold a password.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Place {
    url: String,
    namespace: Option<String>,
}

impl Place {
    /// What was named, or else the lockd that is at one of its usual places.
    pub(super) fn find(store: &Store) -> Result<Self, Failure> {
        // An empty variable is as none.
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let namespace = given(&store.namespace);
        if let Some(url) = given(&store.url) {
            check(&url)?;
            return Ok(Self { url, namespace });
        }
        let usual = usual_sockets();
        match usual.iter().find(|path| is_socket(path)) {
            Some(path) => Ok(Self {
                url: format!("unix:{}", path.display()),
                namespace,
            }),
            None => Err(Failure::new(
                exit::UNAVAILABLE,
                format!(
                    "no lock store is named: give --url URL or set LOCK_URL, for example \
                     LOCK_URL=unix:{SYSTEM_SOCKET}; no lockd listens at its usual places either: {}",
                    usual
                        .iter()
                        .map(|path| path.display().to_string())
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
            )),
        }
    }

    /// A manager for it, still to be connected.
    pub(super) fn builder(&self) -> LockManagerBuilder {
        let builder = LockManager::builder().url(&self.url).application("lockctl");
        match &self.namespace {
            Some(namespace) => builder.namespace(namespace),
            None => builder,
        }
    }

    /// Connects.
    pub(super) async fn connect(&self) -> Result<LockManager, LockError> {
        self.builder().connect().await
    }

    /// The URL without a password.
    pub(super) fn shown(&self) -> String {
        redacted(&self.url)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({})", self.shown())
    }
}

/// Refuses what this lockctl cannot reach, with the way out of a command line. The rest is for
/// the runtime to say.
fn check(url: &str) -> Result<(), Failure> {
    if !url.contains(':') {
        return Err(Failure::new(
            exit::USAGE,
            format!(
                "the lock URL has no scheme: give --url URL or set LOCK_URL, for example \
                 LOCK_URL=unix:{SYSTEM_SOCKET} or LOCK_URL=redis://localhost:6379"
            ),
        ));
    }
    let Some(feature) = __daemon::missing_feature(url) else {
        return Ok(());
    };
    let (scheme, _) = url.split_once(':').unwrap_or_default();
    Err(Failure::new(
        exit::USAGE,
        format!(
            "this lockctl was built without `{scheme}:`; install one that knows it with `cargo \
             install --path lockd --features {feature}`"
        ),
    ))
}

/// Where lockd listens when nothing else is said: the user's own one first.
fn usual_sockets() -> Vec<PathBuf> {
    let own = std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty());
    let own = own.map(|directory| Path::new(&directory).join("lockd/lockd.sock"));
    own.into_iter()
        .chain([PathBuf::from(SYSTEM_SOCKET)])
        .collect()
}

fn is_socket(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|metadata| metadata.file_type().is_socket())
}
