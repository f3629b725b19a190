//! Folders for servers, and who cleans up after the process that made them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

/// Kills what runs in a folder, and removes it: each one that it is told, and in the end, when
/// nobody is left to tell it anything, all of them.
///
/// `PR_SET_PDEATHSIG` would have to be set by unsafe code, goes off when a thread ends, is not
/// inherited by the children of a server, and leaves the folders behind.
///
/// A server that is stopped does not hear that it is to end, so all are killed. A killed
/// PostgreSQL leaves a piece of shared memory, whose number is in its file. In a container not
/// even root sees in which folder somebody else's process is, so the owner of the folder looks.
const SWEEPER: &str = r#"
sweep() {
    owner=$(stat -c "--reuid=%u --regid=%g" "$1") || return
    # The second time for what was being started. A third one has no folder to be started in.
    for _ in 1 2; do
        setpriv $owner --keep-groups find /proc/[0-9]* -maxdepth 1 -name cwd -lname "$1*" |
        while IFS=/ read -r _ _ pid _; do
            kill -KILL "$pid"
        done
        find "$1" -name postmaster.pid -exec sed -n '7s/.* //p' {} + | while read -r memory; do
            ipcrm --shmem-id "$memory"
        done
        rm -rf -- "$1"
    done
}
while read -r folder; do sweep "$folder"; done
for folder in "$1"/*; do sweep "$folder"; done
rmdir "$1"
"#;

/// The folder of all servers of this process.
static BASE: LazyLock<Base> = LazyLock::new(Base::create);

struct Base {
    path: PathBuf,
    /// It ends when the process does, which is how the sweeper learns of it.
    sweeper: Mutex<ChildStdin>,
    _process: Child,
}

impl Base {
    fn create() -> Self {
        let folder = tempfile::Builder::new().prefix("servers-").tempdir();
        let path = folder.expect("a folder").keep();
        // A server may run as another user.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o711)).expect("ours");
        let path = path.canonicalize().expect("it is there");
        let mut process = Command::new("/bin/sh")
            .args(["-c", SWEEPER, "sweeper"])
            .arg(&path)
            .current_dir("/")
            // A test may be without one.
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What ends this process by a signal to its group does not end its sweeper.
            .process_group(0)
            .spawn()
            .expect("a shell");
        Self {
            path,
            sweeper: Mutex::new(process.stdin.take().expect("piped")),
            _process: process,
        }
    }
}

/// A folder of its own. When it is dropped, it is gone a little later.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn create() -> Self {
        // Of one length, so that no name is the beginning of another.
        let folder = tempfile::Builder::new().prefix("").tempdir_in(&BASE.path);
        Self(folder.expect("a folder").keep())
    }

    /// A folder that belongs to somebody, if that is not who runs this.
    pub(crate) fn create_for(user: Option<(u32, u32)>) -> Self {
        let folder = Self::create();
        if let Some((user, group)) = user {
            chown(folder.path(), Some(user), Some(group)).expect("root may");
        }
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file that only its owner may read, who is the owner of the folder.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("ours");
        let of = fs::metadata(&self.0).expect("a folder");
        chown(&path, Some(of.uid()), Some(of.gid())).expect("as the folder");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let mut sweeper = BASE.sweeper.lock().unwrap_or_else(PoisonError::into_inner);
        // Should it be gone, the folder stays.
        drop(writeln!(sweeper, "{}", self.0.display()));
    }
}
