//! A daemon on a thread of its own, for tests and for programs that bring their own.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::error::ServerError;
use super::{Settings, run};

/// A daemon that runs on a thread of its own.
///
/// Dropping it stops it in order, and waits for that.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), ServerError>>>,
}

impl Server {
    /// Starts a daemon, and waits until it listens.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(settings: Settings) -> Result<Self, ServerError> {
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let no_thread = |error| ServerError::io("start a thread for", Path::new("lockd"), error);
        let thread = std::thread::Builder::new()
            .name("lockd".to_owned())
            .spawn(move || {
                let runtime = runtime().map_err(no_thread)?;
                let ready = |path: &Path| {
                    // Nobody who starts it gives up before that.
                    let _sent = ready.send(path.to_path_buf());
                };
                let stop = async {
                    // Its end is a stop too.
                    let _stopped = stopped.await;
                };
                let ended = runtime.block_on(run(settings, ready, stop));
                runtime.shutdown_background();
                ended
            })
            .map_err(no_thread)?;
        let mut server = Self {
            path: PathBuf::new(),
            stop: Some(stop),
            thread: Some(thread),
        };
        match is_ready.recv() {
            Ok(path) => {
                server.path = path;
                Ok(server)
            }
            // It has ended before it was ready; so there is an error.
            Err(_) => Err(match server.stop() {
                Err(error) => error,
                Ok(()) => no_thread(std::io::Error::other("it has ended at once")),
            }),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Stops it in order, and waits until it has ended.
    ///
    /// # Errors
    ///
    /// When it ended before with an error, or could not save the last changes.
    ///
    /// # Panics
    ///
    /// When its thread has panicked.
    pub fn stop(mut self) -> Result<(), ServerError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), ServerError> {
        drop(self.stop.take());
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // One panic is enough; the daemon ends by itself.
            self.stop = None;
            return;
        }
        if let Err(error) = self.end() {
            tracing::error!(%error, "the daemon did not end well");
        }
    }
}

/// The runtime that a daemon runs on.
///
/// # Errors
///
/// When the operating system does not give what it needs.
pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Look-ups of users alone; they are few, and may hang with their directory service.
        .max_blocking_threads(8)
        .thread_name("lockd-look-up")
        .build()
}
