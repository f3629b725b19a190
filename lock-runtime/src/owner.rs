//! Who owns a section: a secret for the backend, and a description for people.

mod spelling;

use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use crate::site::Origin;

/// The public number of an owner, for logs and errors. It opens nothing.
///
/// In JSON it is 16 hexadecimal digits, as it is shown, because JSON's numbers are not exact.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerId(u64);

impl fmt::Display for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The owner of one acquisition: 128 secret random bits, and a public number.
///
/// Whoever knows the secret may renew, extend, release and adopt. It is never printed; a backend
/// that keeps it elsewhere takes it with [`Owner::secret`]. In JSON the whole is 48 hexadecimal
/// digits, the public number first.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner {
    id: OwnerId,
    secret: [u64; 2],
}

impl Owner {
    /// No owner: nobody acts with it.
    pub(crate) const NOBODY: Self = Self {
        id: OwnerId(0),
        secret: [0; 2],
    };

    /// A new owner, unlike every other.
    #[must_use]
    pub fn random() -> Self {
        Self {
            id: OwnerId(rand::random()),
            secret: rand::random(),
        }
    }

    /// The public number.
    #[must_use]
    pub fn id(&self) -> OwnerId {
        self.id
    }

    /// Somebody who knows the public number alone.
    #[cfg(feature = "conformance")]
    pub(crate) fn with_another_secret(self) -> Self {
        Self {
            secret: rand::random(),
            ..self
        }
    }

    /// The secret, for a backend to store and compare.
    #[must_use]
    pub fn secret(&self) -> [u64; 2] {
        self.secret
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Owner({})", self.id)
    }
}

/// Who owns a section, for people to read: `kanban@web-3 pid 812 in Board::move_task
/// src/board.rs:41`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OwnerInfo {
    /// The owner's public number.
    pub id: OwnerId,
    /// What the service calls itself; its program's name when it says nothing.
    pub application: String,
    /// The host that it runs on.
    pub host: String,
    /// Its process.
    pub pid: u32,
    /// The annotated function, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// The source file of the annotation or of the call.
    pub file: String,
    /// The line in that file.
    pub line: u32,
}

impl OwnerInfo {
    /// Whether the owner is in this very process.
    #[must_use]
    pub fn is_this_process(&self) -> bool {
        self.pid == std::process::id() && self.host == host_name()
    }
}

impl fmt::Display for OwnerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (application, host) = (self.application.escape_debug(), self.host.escape_debug());
        write!(f, "{application}@{host} pid {}", self.pid)?;
        if let Some(function) = &self.function {
            write!(f, " in {}", function.escape_debug())?;
        } else {
            f.write_str(" at")?;
        }
        write!(f, " {}:{}", self.file.escape_debug(), self.line)
    }
}

/// The part of a description that is the same for every section of a manager.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Process {
    application: String,
}

impl Process {
    pub(crate) fn new(application: Option<String>) -> Arc<Self> {
        let application = application.unwrap_or_else(program_name);
        Arc::new(Self { application })
    }

    /// What the service calls itself.
    #[cfg(any(all(unix, feature = "lockd"), feature = "postgres"))]
    pub(crate) fn application(&self) -> &str {
        &self.application
    }

    pub(crate) fn describe(&self, owner: OwnerId, origin: Origin) -> OwnerInfo {
        OwnerInfo {
            id: owner,
            application: self.application.clone(),
            host: host_name().to_owned(),
            pid: std::process::id(),
            function: origin.function().map(str::to_owned),
            file: origin.file().to_owned(),
            line: origin.line(),
        }
    }
}

fn program_name() -> String {
    let program = std::env::current_exe().ok();
    let name = program.as_deref().and_then(std::path::Path::file_stem);
    name.map_or_else(
        || "unknown".into(),
        |name| name.to_string_lossy().into_owned(),
    )
}

pub(crate) fn host_name() -> &'static str {
    static HOST: OnceLock<String> = OnceLock::new();
    HOST.get_or_init(|| {
        let name = rustix::system::uname();
        name.nodename().to_string_lossy().into_owned()
    })
}
