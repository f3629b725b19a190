//! One run of the daemon, from the socket to the last snapshot.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::Settings;
use super::accept::Doorkeeper;
use super::driver::Driver;
use super::error::ServerError;
use super::lock_file::LockFile;
use super::peer::{Gate, Watches};
use super::socket::SocketPlace;
use super::start::Prepared;
use super::store::Store;
use super::time::Time;
use crate::engine::Engine;

/// How long clients may take for the daemon's last words.
const GOODBYES: Duration = Duration::from_secs(2);

/// How long the last snapshot may take.
const LAST_SNAPSHOT: Duration = Duration::from_secs(5);

/// How often watches that nobody needs are looked for.
const TIDY_UP: Duration = Duration::from_secs(10);

/// Runs the daemon until `stop` is done, then ends it in order: nobody new is let in, everybody
/// is told, what they had stays theirs, the last changes are saved.
///
/// `ready` is called once, with the path of the socket, when it listens.
///
/// To be called in a current-thread runtime of tokio with time and I/O.
///
/// # Errors
///
/// When it cannot be started, when time or the store fails, or when the last changes could not be
/// saved.
///
/// # Cancel safety
///
/// Dropped, it ends as a killed daemon does: what is on disk is right, the socket is removed, and
/// clients see their connections end.
pub async fn run(
    settings: Settings,
    ready: impl FnOnce(&Path),
    stop: impl Future<Output = ()>,
) -> Result<(), ServerError> {
    // Its tasks end with it, whatever happens below.
    let tasks = LocalSet::new();
    tasks
        .run_until(async {
            let (running, listener) = Running::start(settings)?;
            ready(&running.path);
            running.serve(listener, stop).await
        })
        .await
}

/// What has to stay while the daemon runs. What is first here goes first at the end.
struct Running {
    door: Doorkeeper,
    _place: SocketPlace,
    numbers: UnboundedReceiver<u64>,
    store: Store,
    path: PathBuf,
    state_path: PathBuf,
    /// Until everything else has ended: the next daemon begins when it is free.
    _lock: LockFile,
}

impl Running {
    fn start(settings: Settings) -> Result<(Self, UnixListener), ServerError> {
        let time = Time::system();
        let (prepared, allowed) = settings.prepare(&time)?;
        let Prepared {
            socket,
            mut state,
            engine,
            run,
            state_is_there,
            processes_are_known,
        } = prepared;
        let path = socket.path().to_path_buf();
        let state_path = state.path().to_path_buf();
        let (listener, place, mut lock) = socket.listen()?;
        let failed = |error| ServerError::io("serve", &path, error);

        // From when on the state may be missed: when it is there, or as soon as it is. Before
        // that nothing has been given away, and a start that is cut short leaves no trace.
        let mut to_note = Some(run);
        if state_is_there {
            note_run(&mut to_note, &mut state, &mut lock)
                .map_err(|error| ServerError::io("write to", lock.path(), error))?;
        }
        let mut noting = lock.handle().map_err(failed)?;
        let (store, numbers) = Store::start(move |text| {
            state.write(text)?;
            note_run(&mut to_note, &mut state, &mut noting)
        })
        .map_err(failed)?;
        let saver = store.saver();
        let save = Box::new(move |snapshot| saver.save(snapshot));
        let driver = Driver::new(engine, time, save).map_err(failed)?;
        let watches = Watches::new(&driver);
        if processes_are_known {
            watches.watch_earlier();
        } else if !driver.look(Engine::processes_to_watch).is_empty() {
            driver.turn(|engine, _| engine.forget_processes());
            tracing::warn!(
                "the run before was in another pid namespace: the ends of its processes are not \
                 seen, and what they have ends with its leases"
            );
        }
        let listener = UnixListener::from_std(listener).map_err(failed)?;
        let door = Doorkeeper {
            driver,
            gate: Rc::new(Gate::new(allowed)),
            watches,
        };
        let running = Self {
            door,
            _place: place,
            numbers,
            store,
            path,
            state_path,
            _lock: lock,
        };
        Ok((running, listener))
    }

    async fn serve(
        mut self,
        listener: UnixListener,
        stop: impl Future<Output = ()>,
    ) -> Result<(), ServerError> {
        let served = tokio::select! {
            () = stop => Ok(()),
            () = self.door.serve(listener) => unreachable!("it has no end"),
            error = keep_going(&self.door, &mut self.numbers) => Err(error),
        };
        match served {
            Ok(()) => self.end().await,
            Err(error) => Err(ServerError::io("serve", &self.path, error)),
        }
    }

    async fn end(mut self) -> Result<(), ServerError> {
        let driver = Rc::clone(&self.door.driver);
        driver.turn(Engine::shut_down);
        // Before the goodbyes: they may depend on what is being saved.
        let goodbyes = async {
            tokio::select! {
                gone = timeout(GOODBYES, driver.all_gone()) => gone.is_ok(),
                _ = keep_going(&self.door, &mut self.numbers) => false,
            }
        };
        if !goodbyes.await {
            tracing::warn!("some clients did not take the daemon's last words");
        }
        let saved = async {
            tokio::select! {
                saved = timeout(LAST_SNAPSHOT, driver.all_saved()) => saved.is_ok(),
                _ = keep_going(&self.door, &mut self.numbers) => false,
            }
        };
        let saved = saved.await;
        self.store.end();
        // The thread may hang in a write to a broken disk; then it is left behind.
        let ended = timeout(LAST_SNAPSHOT, async {
            while self.numbers.recv().await.is_some() {}
        });
        if ended.await.is_ok() {
            self.store.join();
        }
        if saved {
            Ok(())
        } else {
            Err(ServerError::StateNotSaved {
                path: self.state_path,
            })
        }
    }
}

/// Everything that goes on beside the connections. Ends with an error alone.
async fn keep_going(door: &Doorkeeper, numbers: &mut UnboundedReceiver<u64>) -> io::Error {
    let tidy_up = async {
        loop {
            tokio::time::sleep(TIDY_UP).await;
            door.watches.forget_idle();
        }
    };
    tokio::select! {
        error = door.driver.let_time_pass() => error,
        () = report_saved(&door.driver, numbers) => {
            io::Error::other("the thread that saves has ended")
        }
        error = tidy_up => error,
    }
}

async fn report_saved(driver: &Driver, numbers: &mut UnboundedReceiver<u64>) {
    while let Some(number) = numbers.recv().await {
        driver.saved(number);
    }
}

/// Notes in both locks that this run may have given something away, once.
fn note_run(
    run: &mut Option<super::lock_file::Ran>,
    state: &mut super::state_file::StateFile,
    socket: &mut LockFile,
) -> io::Result<()> {
    if let Some(noted) = run {
        state.note_run(noted.clone())?;
        socket.note_run(noted.clone())?;
        *run = None;
    }
    Ok(())
}
