//! Who is at the other end of a connection, and whether it may be there.

mod process;
mod watch;

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::unistd::{Gid, Uid, User, getgrouplist};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;

pub(super) use process::pid_namespace;
pub(super) use watch::Watches;

use crate::engine::Peer;

/// For how long it is remembered whether a user is a member of the groups.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Users whose membership is remembered.
const MOST_REMEMBERED: usize = 1024;

/// Connections whose user's groups are being looked up.
const MOST_LOOKED_UP: usize = 64;

/// Who may connect, besides the daemon's own user and root.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Allowed {
    /// These users.
    pub uids: Vec<u32>,
    /// The members of these groups.
    pub gids: Vec<u32>,
}

/// Who is at the other end, by the socket's word: who it was when it connected.
#[derive(Debug)]
pub(super) struct Credentials {
    pub(super) uid: u32,
    gid: u32,
    pid: u32,
}

impl Credentials {
    pub(super) fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        Ok(Self {
            uid: credentials.uid(),
            gid: credentials.gid(),
            // Zero for a process that this one cannot see, in another pid namespace.
            pid: credentials
                .pid()
                .and_then(|pid| u32::try_from(pid).ok())
                .unwrap_or(0),
        })
    }

    /// The peer for the engine, and the descriptor that its process is watched through.
    pub(super) fn peer(&self, stream: &UnixStream) -> (Peer, Option<OwnedFd>) {
        let (process, descriptor) = process::of_connection(stream, self.pid).unzip();
        let peer = Peer {
            uid: self.uid,
            pid: self.pid,
            process,
        };
        (peer, descriptor)
    }
}

/// Decides who may connect.
#[derive(Debug)]
pub(super) struct Gate {
    own: u32,
    allowed: Allowed,
    members: RefCell<HashMap<u32, (bool, Instant)>>,
    look_ups: Semaphore,
}

impl Gate {
    pub(super) fn new(allowed: Allowed) -> Self {
        Self {
            own: rustix::process::geteuid().as_raw(),
            allowed,
            members: RefCell::default(),
            look_ups: Semaphore::new(MOST_LOOKED_UP),
        }
    }

    /// Whether a peer may connect. `None` when its groups have to be looked up.
    pub(super) fn admits_at_once(&self, peer: &Credentials) -> Option<bool> {
        if peer.uid == self.own
            || peer.uid == 0
            || self.allowed.uids.contains(&peer.uid)
            || self.allowed.gids.contains(&peer.gid)
        {
            return Some(true);
        }
        if self.allowed.gids.is_empty() {
            return Some(false);
        }
        match self.members.borrow().get(&peer.uid) {
            Some((member, since)) if since.elapsed() < REMEMBERED => Some(*member),
            _ => None,
        }
    }

    /// Looks up whether a peer's user is a member of one of the groups, on another thread:
    /// where users come from a directory service, it may take its time.
    pub(super) async fn admits_after_look_up(self: Rc<Self>, peer: &Credentials) -> bool {
        let Ok(_permit) = self.look_ups.try_acquire() else {
            tracing::warn!(
                uid = peer.uid,
                "too many connections wait for a look at their groups"
            );
            return false;
        };
        let (uid, gids) = (peer.uid, self.allowed.gids.clone());
        let looked_up = tokio::task::spawn_blocking(move || is_member(uid, &gids)).await;
        let member = match looked_up {
            Ok(Ok(member)) => member,
            Ok(Err(error)) => {
                tracing::warn!(uid, %error, "the groups of a user could not be looked up");
                return false;
            }
            Err(error) => {
                tracing::error!(uid, %error, "the groups of a user could not be looked up");
                return false;
            }
        };
        let mut members = self.members.borrow_mut();
        if members.len() >= MOST_REMEMBERED {
            members.clear();
        }
        members.insert(uid, (member, Instant::now()));
        member
    }
}

/// Whether one of the groups is the user's own, or has the user as a member.
fn is_member(uid: u32, gids: &[u32]) -> io::Result<bool> {
    let Some(user) = User::from_uid(Uid::from_raw(uid))? else {
        // A number without an account is in no group.
        return Ok(false);
    };
    let name = CString::new(user.name)?;
    let groups = getgrouplist(&name, user.gid)?;
    Ok(groups
        .into_iter()
        .map(Gid::as_raw)
        .any(|gid| gids.contains(&gid)))
}

#[cfg(test)]
mod tests;
