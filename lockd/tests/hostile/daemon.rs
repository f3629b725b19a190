//! The program `lockd` in a process of its own, and what the system says of it.

#[path = "../common/environment.rs"]
mod environment;
#[path = "../common/patience.rs"]
mod patience;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::honest::Honest;
use environment::without_environment;
pub(crate) use patience::{LONG, eventually};

/// How slowly the slowest hundredth of an honest client's requests may be answered. It is
/// generous, for debug builds on busy machines; what was measured is printed.
const SLOWEST: Duration = Duration::from_secs(2);

/// One daemon at a time: latencies are measured.
static TURN: Mutex<()> = Mutex::new(());

/// The program, killed at the latest when the test ends.
pub(crate) struct Daemon {
    child: Child,
    /// Kills the daemon should this process be killed itself: its input ends then.
    warden: Child,
    base: TempDir,
    socket: PathBuf,
    /// What it had when it was quiet.
    descriptors: usize,
    quiet_kib: u64,
    quiet: Honest,
    _turn: MutexGuard<'static, ()>,
}

impl Daemon {
    pub(crate) fn start(options: &[&str]) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let base = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockd"));
        command
            .arg("--socket")
            .arg(base.path().join("run").join("l.sock"))
            .arg("--state")
            .arg(base.path().join("state").join("l.state"))
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = without_environment(&mut command)
            .spawn()
            .expect("it starts");
        let warden = Command::new("/bin/sh")
            .args(["-c", "read _; kill -9 \"$0\"", &child.id().to_string()])
            .stdin(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("piped");
        BufReader::new(out)
            .read_line(&mut line)
            .expect("it says something");
        let socket = line.strip_prefix("lockd listens on unix:");
        let socket = socket.unwrap_or_else(|| panic!("it said `{line}`"));
        let mut daemon = Self {
            socket: PathBuf::from(socket.trim_end()),
            child,
            warden,
            base,
            descriptors: 0,
            quiet_kib: 0,
            quiet: Honest::default(),
            _turn: turn,
        };
        daemon.quiet = Honest::while_doing(&daemon.socket, || {
            std::thread::sleep(Duration::from_millis(300));
        });
        daemon.quiet_kib = daemon.resident_kib();
        // The process of the tests is watched from now on; its connections have gone.
        let is_known = |daemon: &Self| fs::read_dir(daemon.proc("fd")).is_ok();
        assert!(is_known(&daemon), "it has ended");
        daemon.descriptors = daemon.settled_descriptors();
        daemon
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn state_bytes(&self) -> u64 {
        let path = self.base.path().join("state").join("l.state");
        fs::metadata(path).map_or(0, |file| file.len())
    }

    /// Lets an honest client be served during an attack, then judges: the daemon lives, has
    /// answered everything, has grown by no more than this, and gives back what it took.
    #[track_caller]
    pub(crate) fn endures<R>(&self, attack: &str, grows_kib: u64, run: impl FnOnce() -> R) -> R {
        let mut result = None;
        let honest = Honest::while_doing(&self.socket, || result = Some(run()));
        let peak = self.peak_kib();
        println!(
            "{attack:<44} quiet {}   attacked {}   grew by {} KiB",
            self.quiet,
            honest,
            peak.saturating_sub(self.quiet_kib),
        );
        assert!(honest.worst_percent() < SLOWEST, "{attack}: {honest}");
        assert!(
            peak < self.quiet_kib + grows_kib,
            "{attack}: from {} to {peak} KiB",
            self.quiet_kib
        );
        result.expect("it was run")
    }

    /// Waits until it has no more descriptors than when it was quiet.
    #[track_caller]
    pub(crate) fn gives_back_its_descriptors(&self) {
        eventually("descriptors were given back", || {
            self.descriptors_now() <= self.descriptors
        });
    }

    pub(crate) fn resident_kib(&self) -> u64 {
        self.kib("VmRSS:")
    }

    fn peak_kib(&self) -> u64 {
        self.kib("VmHWM:")
    }

    fn kib(&self, field: &str) -> u64 {
        let status = fs::read_to_string(self.proc("status")).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|line| line.split_whitespace().next());
        let number = number.unwrap_or_else(|| panic!("it has ended: {status}"));
        number.parse().expect("a number")
    }

    fn descriptors_now(&self) -> usize {
        fs::read_dir(self.proc("fd")).expect("it lives").count()
    }

    /// Its descriptors once the connections that were closed are noticed to be.
    fn settled_descriptors(&self) -> usize {
        let mut least = self.descriptors_now();
        let end = Instant::now() + Duration::from_millis(200);
        while Instant::now() < end {
            least = least.min(self.descriptors_now());
            std::thread::sleep(Duration::from_millis(5));
        }
        least
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.child.id()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // The warden first: afterwards the number may be another process's.
        for child in [&mut self.warden, &mut self.child] {
            drop(child.kill());
            drop(child.wait());
        }
    }
}
