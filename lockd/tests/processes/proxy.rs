//! A socket between a client and the daemon, which can be cut and mended.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tempfile::TempDir;

/// A socket whose connections go on to another socket, until they are cut.
pub(crate) struct Proxy {
    line: Arc<Line>,
    folder: TempDir,
}

#[derive(Default)]
struct Line(Mutex<State>);

#[derive(Default)]
struct State {
    is_cut: bool,
    is_over: bool,
    /// Both ends of every connection.
    streams: Vec<UnixStream>,
}

impl Proxy {
    /// A way to this socket.
    pub(crate) fn to(daemon: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join("p.sock")).expect("free");
        let line = Arc::new(Line::default());
        let (accepting, daemon) = (Arc::clone(&line), daemon.to_path_buf());
        thread::spawn(move || accepting.serve(&listener, &daemon));
        Self { line, folder }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("p.sock")
    }

    /// Cuts all connections, and hangs up on every new one; or lets new ones through.
    pub(crate) fn cut(&self, is_cut: bool) {
        let mut state = self.line.state();
        state.is_cut = is_cut;
        if is_cut {
            state.hang_up();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.line.state();
        state.is_over = true;
        state.hang_up();
        drop(state);
        // Whoever accepts looks whether it is over.
        drop(UnixStream::connect(self.path()));
    }
}

impl State {
    fn hang_up(&mut self) {
        for stream in self.streams.drain(..) {
            // It may have ended by itself.
            let _ended = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, listener: &UnixListener, daemon: &Path) {
        for client in listener.incoming() {
            // Connecting is done with the lock held: nothing gets through once `cut` is back.
            let mut state = self.state();
            if state.is_over {
                return;
            }
            let (Ok(client), false) = (client, state.is_cut) else {
                continue;
            };
            // Without a daemon the client is hung up on.
            let Ok(server) = UnixStream::connect(daemon) else {
                continue;
            };
            for (from, to) in [(&client, &server), (&server, &client)] {
                let from = from.try_clone().expect("a duplicate");
                let to = to.try_clone().expect("a duplicate");
                thread::spawn(move || carry(from, to));
            }
            state.streams.extend([client, server]);
        }
    }
}

/// Carries what comes until either end hangs up, which ends both.
fn carry(mut from: UnixStream, mut to: UnixStream) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ended = from.shutdown(Shutdown::Both);
    let _ended = to.shutdown(Shutdown::Both);
}
