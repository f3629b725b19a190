//! The ends of processes, each seen once for all its connections.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};

use tokio::task::AbortHandle;

use super::process;
use crate::engine::{Engine, Process};
use crate::server::descriptor::readable;
use crate::server::driver::Driver;

/// The processes whose end is waited for.
///
/// Every one of them costs a descriptor and a task, however many connections it has.
#[derive(Debug)]
pub(in crate::server) struct Watches {
    driver: Rc<Driver>,
    watched: RefCell<HashMap<Process, AbortHandle>>,
}

impl Watches {
    pub(in crate::server) fn new(driver: &Rc<Driver>) -> Rc<Self> {
        Rc::new(Self {
            driver: Rc::clone(driver),
            watched: RefCell::default(),
        })
    }

    /// Reports the end of a process. To be called in a local set.
    ///
    /// # Errors
    ///
    /// When the runtime cannot wait for the descriptor.
    pub(in crate::server) fn watch(
        self: &Rc<Self>,
        process: Process,
        descriptor: OwnedFd,
    ) -> io::Result<()> {
        if self.watched.borrow().contains_key(&process) {
            return Ok(());
        }
        let descriptor = readable(descriptor)?;
        let watches = Rc::downgrade(self);
        let task = tokio::task::spawn_local(async move {
            // It becomes readable at the end, and stays so. An error comes with the end of the
            // runtime alone.
            let ended = descriptor.readable().await.is_ok();
            if let Some(watches) = Weak::upgrade(&watches)
                && ended
            {
                watches.watched.borrow_mut().remove(&process);
                tracing::debug!(pid = process.pid, "a process has ended");
                watches
                    .driver
                    .turn(|engine, now| engine.process_died(now, process));
            }
        });
        self.watched
            .borrow_mut()
            .insert(process, task.abort_handle());
        Ok(())
    }

    /// Watches the processes of the run before. Those that have ended are reported at once.
    pub(in crate::server) fn watch_earlier(self: &Rc<Self>) {
        for process in self.driver.look(Engine::processes_to_watch) {
            let watched = match process::find_again(process) {
                Ok(Some(descriptor)) => self.watch(process, descriptor),
                Ok(None) => {
                    self.driver
                        .turn(|engine, now| engine.process_died(now, process));
                    Ok(())
                }
                Err(error) => Err(error),
            };
            if let Err(error) = watched {
                tracing::warn!(
                    pid = process.pid,
                    %error,
                    "the end of a process of the run before cannot be seen; what it has ends with \
                     its leases"
                );
            }
        }
    }

    /// Stops watching the processes that have nothing here any more.
    pub(in crate::server) fn forget_idle(&self) {
        let mut watched = self.watched.borrow_mut();
        watched.retain(|process, task| {
            let needed = self.driver.look(|engine| engine.is_watched(*process));
            if !needed {
                task.abort();
            }
            needed
        });
    }
}
