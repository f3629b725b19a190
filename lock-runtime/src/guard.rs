//! The owned handle of a section.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

use crate::error::LockError;
use crate::fencing::FencingToken;
use crate::name::LockName;
use crate::owner::Owner;
use crate::section::{Held, Section};

/// A lock in hand, until it is released or dropped.
///
/// It gives everything that [`Held`] gives; in passthrough it holds nothing, and
/// [`is_held`](Held::is_held) is `false`. The runtime renews its lease, unless the request said
/// `renew(false)`.
///
/// Dropping a guard releases it: at once with the embedded backend, from the manager's own thread
/// elsewhere. [`Guard::release`] also waits for that, and says when the lock had been lost.
#[derive(Debug)]
#[must_use = "the lock is released when the guard is dropped"]
pub struct Guard {
    held: Held,
    section: Section,
}

impl Guard {
    pub(crate) fn new(mut section: Section) -> Self {
        // Who has it in hand does with it what a body does, however it ends.
        section.begin();
        section.watch();
        Self {
            held: section.held(),
            section,
        }
    }

    /// Releases the lock, and waits for that for at most `release_timeout`.
    ///
    /// # Errors
    ///
    /// When the lock had been lost.
    ///
    /// # Cancel safety
    ///
    /// The release goes on in the background.
    pub async fn release(self) -> Result<(), LockError> {
        let loss = self.section.leave().finish().await;
        loss.map_or(Ok(()), Err)
    }

    /// Releases the lock from sync code. Where this thread must not wait, the release goes on in
    /// the background.
    ///
    /// # Errors
    ///
    /// When the lock had been lost.
    pub fn release_blocking(self) -> Result<(), LockError> {
        self.section.leave().finish_blocking().map_or(Ok(()), Err)
    }

    /// Gives the lock away: whoever has the ticket goes on with it, in another task or in
    /// another process, by `lock(name).adopt(ticket)`.
    ///
    /// Here the lock is no longer held. It is no longer renewed either, so that the ticket has to
    /// be used before the lease ends.
    ///
    /// In the background, a backend that frees a dead process's locks at once, as `lockd` does, is
    /// told that this one stays, and a lease that has only just come out of a queue gets its whole
    /// length: a process that ends right after this should wait for
    /// [`LockManager::shutdown`](crate::LockManager::shutdown) first.
    ///
    /// # Errors
    ///
    /// When the lock had been lost, in passthrough, and for a guard of several locks.
    pub fn into_ticket(self) -> Result<Ticket, LockError> {
        let ticket = self.ticket()?;
        match self.section.detach() {
            Some(_) => Ok(ticket),
            None => Err(LockError::lost(&ticket.name, crate::Lost::Expired)),
        }
    }

    /// The ticket of the section, without giving it away: whoever adopts it takes the section
    /// from this guard.
    ///
    /// The guard goes on as before, and so does the renewal of its lease. It is for a process
    /// that wants another one to go on, or to release the lock, should it die.
    ///
    /// # Errors
    ///
    /// When the lock had been lost, in passthrough, and for a guard of several locks.
    pub fn ticket(&self) -> Result<Ticket, LockError> {
        let Some(name) = self.held.name() else {
            return Err(LockError::not_configured(
                "and there is nothing to give away",
            ));
        };
        if self.held.names().count() > 1 {
            return Err(LockError::invalid_option(
                "a guard of several locks cannot be given away",
            ));
        }
        let lost = || LockError::lost(name, crate::Lost::Expired);
        let owner = self.section.owner().ok_or_else(lost)?;
        if !self.held.is_held() {
            return Err(lost());
        }
        Ok(Ticket {
            name: name.clone(),
            owner,
            token: self.held.fencing_token(),
        })
    }
}

impl Deref for Guard {
    type Target = Held;

    fn deref(&self) -> &Held {
        &self.held
    }
}

/// A lock that was given away and can be gone on with, in this process or another.
///
/// It carries the owner's secret: whoever has it has the lock. It is never printed, but it is
/// serialised, to be sent to the one who goes on; treat it as a password.
#[derive(Clone, Serialize, Deserialize)]
pub struct Ticket {
    name: LockName,
    owner: Owner,
    token: Option<FencingToken>,
}

impl Ticket {
    /// The lock.
    #[must_use]
    pub fn name(&self) -> &LockName {
        &self.name
    }

    /// The fencing token of the section; it stays the same.
    #[must_use]
    pub fn fencing_token(&self) -> Option<FencingToken> {
        self.token
    }

    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
