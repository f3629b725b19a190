//! The public suite, run against the daemon: in this process, and as a program of its own. Both
//! are reached through a socket that the suite can cut.

#[path = "../server/client.rs"]
#[allow(dead_code, reason = "the suite brings its own client")]
mod client;
#[path = "../processes/program.rs"]
#[allow(dead_code, reason = "nobody kills or stops this daemon")]
mod program;
#[path = "../processes/proxy.rs"]
mod proxy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use lock_runtime::conformance::{Subject, Suite};
use program::Daemon;
use proxy::Proxy;

/// Every case has its own way to the one daemon, so that it cuts nobody else's.
fn over(daemon: &Path) -> impl Fn() -> Subject + Send + Sync + 'static {
    let daemon: PathBuf = daemon.to_path_buf();
    move || {
        let proxy = Arc::new(Proxy::to(&daemon));
        let url = format!("unix:{}", proxy.path().display());
        Subject::new(move |manager| manager.url(url.as_str()).connect())
            .breakable(move |is_cut| proxy.cut(is_cut))
    }
}

/// A daemon that a case has to itself, to be killed and started again.
fn its_own() -> Subject {
    let daemon = Daemon::start();
    let url = daemon.url();
    let daemon = Mutex::new(daemon);
    Subject::new(move |manager| manager.url(url.as_str()).connect()).restartable(
        move |is_stopped| {
            let mut daemon = daemon.lock().unwrap_or_else(PoisonError::into_inner);
            if is_stopped {
                daemon.kill();
            } else {
                daemon.start_again();
            }
        },
    )
}

fn main() -> ExitCode {
    let (_base, server) = client::daemon();
    let program = Daemon::start();
    let result = Suite::new()
        .subject("server", over(server.path()))
        .subject("program", over(program.socket()))
        .cases_of("its_own", "restart::", its_own)
        .run();
    // Both have to be in their senses after all that.
    drop(client::Client::greeted(program.socket()));
    server.stop().expect("it ends well");
    result
}
