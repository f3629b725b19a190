//! The session: what is asked, what is held, and what is said about it. It has no task and no
//! clock, and does no I/O but for a last goodbye: [`super::connection`] carries what goes in and
//! out, and everybody who asks brings the time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;

use super::fault::{self, Place};
use super::held::Held;
use super::news::News;
use super::pending::{Asking, How, Pending, Renewing, Stage, Waiter, What};
use super::sites::{self, Sites};
use crate::backend::{Answer, Busy};
use crate::clock::Moment;
use crate::error::BackendError;
use crate::lease::Lease;
use crate::owner::Owner;
use crate::wire::{Encoding, MAX_REQUEST, ToDaemon};

/// So many requests may wait for an answer, beside the releases and renewals of what is held. The
/// daemon lets as many of one session wait for locks.
pub(super) const MAX_UNANSWERED: usize = 16_384;

/// One message renews leases of so many bytes, as JSON at most, so that it stays below the limit.
const MAX_RENEWALS: usize = MAX_REQUEST - 1024;

/// What a backend has asked of the daemon, and what it has been given.
pub(super) struct Session {
    pub(super) place: Place,
    pub(super) phase: Phase,
    /// What is to be sent on this connection, and whether its task knows that there is something.
    pub(super) out: Vec<u8>,
    pub(super) is_woken: bool,
    /// Whether the task has something in hand that is not sent in whole yet.
    pub(super) is_sending: bool,
    pub(super) last_id: u64,
    pub(super) pending: BTreeMap<u64, Pending>,
    /// The pending request for a section of each owner.
    pub(super) asking: HashMap<Owner, u64>,
    /// Renewals that go out together, in the task's next turn.
    pub(super) renewals: Vec<Renewing>,
    pub(super) held: Held,
    pub(super) sites: Sites,
    /// Whether everything is as it was before the connection was cut.
    pub(super) is_settled: bool,
    /// Why the daemon is out of reach, while it is.
    pub(super) trouble: Option<String>,
}

/// Where a session is with its connection.
pub(super) enum Phase {
    /// Nobody has called `connect`.
    New,
    Down,
    Up {
        stream: Arc<UnixStream>,
        encoding: Encoding,
    },
    Closed,
}

impl Session {
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            phase: Phase::New,
            out: Vec::new(),
            is_woken: false,
            is_sending: false,
            last_id: 0,
            pending: BTreeMap::new(),
            asking: HashMap::new(),
            renewals: Vec::new(),
            held: Held::default(),
            sites: Sites::default(),
            is_settled: false,
            trouble: None,
        }
    }

    pub(super) fn is_new(&self) -> bool {
        matches!(self.phase, Phase::New)
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up { .. })
    }

    /// Whether a number was given to a request at some time.
    pub(super) fn knows(&self, id: u64) -> bool {
        (1..=self.last_id).contains(&id)
    }

    /// Whether something can be asked now.
    fn check_open(&self) -> Result<(), BackendError> {
        match self.phase {
            Phase::New => Err(fault::not_connected(&self.place)),
            Phase::Closed => Err(fault::ended(&self.place)),
            Phase::Down | Phase::Up { .. } => Ok(()),
        }
    }

    // What is asked.

    /// Asks for a section.
    pub(super) fn ask(
        &mut self,
        now: Moment,
        lease: &Arc<Lease>,
        how: How,
        waiter: Waiter<Answer>,
    ) -> Result<(), BackendError> {
        self.check_room()?;
        let site = self.site_of(lease);
        let asking = Asking {
            mode: lease.mode(),
            lease: Arc::clone(lease),
            how,
            site,
            stage: Stage::Asked,
            is_wanted: true,
            waiter: Some(waiter),
        };
        self.submit(now, What::Ask(asking));
        Ok(())
    }

    /// Asks for anything but a section, a renewal or an end.
    pub(super) fn put(&mut self, now: Moment, what: What) -> Result<(), BackendError> {
        self.check_room()?;
        self.submit(now, what);
        Ok(())
    }

    fn check_room(&self) -> Result<(), BackendError> {
        self.check_open()?;
        if self.pending.len() < MAX_UNANSWERED {
            return Ok(());
        }
        let trouble = self.trouble.as_deref();
        Err(fault::too_many(&self.place, MAX_UNANSWERED, trouble))
    }

    /// Asks for a lease to be started anew, together with others.
    pub(super) fn renew(&mut self, renewing: Renewing) -> Result<(), BackendError> {
        self.check_open()?;
        if !self.held.renewing(renewing.owner) {
            let trouble = self.trouble.as_deref();
            return Err(fault::renewing_already(&self.place, trouble));
        }
        self.renewals.push(renewing);
        Ok(())
    }

    /// Ends a section, or takes a request for one back. There is always room for that: it is
    /// asked once for each section.
    pub(super) fn release(
        &mut self,
        now: Moment,
        lease: &Lease,
        body_ran: bool,
        waiter: Option<Waiter<bool>>,
        news: &mut Vec<News>,
    ) -> Result<(), BackendError> {
        self.check_open()?;
        let owner = lease.owner();
        self.send_renewals(now);
        let asked = self.asking.get(&owner).copied();
        if let Some(id) = asked
            && self.take_back(id, news)
        {
            // The daemon has never heard of it.
            news.extend(waiter.map(|waiter| News::Held(waiter, Ok(false))));
            return Ok(());
        }
        self.held.releasing(owner);
        let what = What::Release {
            name: lease.name().clone(),
            owner,
            body_ran,
            until: now + lease.ttl() + Duration::from_secs(1),
            waiter,
        };
        self.submit(now, what);
        Ok(())
    }

    /// A section is given away. There is always room for that, as for a release.
    pub(super) fn detach(
        &mut self,
        now: Moment,
        lease: &Lease,
        waiter: Waiter<bool>,
    ) -> Result<(), BackendError> {
        self.check_open()?;
        self.send_renewals(now);
        let what = What::Detach {
            name: lease.name().clone(),
            owner: lease.owner(),
            until: now + lease.ttl(),
            waiter,
        };
        self.submit(now, what);
        Ok(())
    }

    /// A request for a section is not wanted any more. Without a connection it is not sent again.
    /// Says whether it was never sent.
    fn take_back(&mut self, id: u64, news: &mut Vec<News>) -> bool {
        if let Some(Pending {
            what: What::Ask(asking),
            ..
        }) = self.pending.get_mut(&id)
        {
            asking.is_wanted = false;
        }
        if self.is_up() {
            return false;
        }
        let Some(pending) = self.remove(id) else {
            return false;
        };
        if let What::Ask(asking) = pending.what {
            asking.end(Ok(Answer::Busy(Busy::new())), news);
        }
        pending.times_sent == 0
    }

    /// Whoever asked for a section has gone: what comes of it is given back.
    pub(super) fn give_up(&mut self, now: Moment, lease: &Lease, news: &mut Vec<News>) {
        if let Some(id) = self.asking.get(&lease.owner())
            && let Some(Pending {
                what: What::Ask(asking),
                ..
            }) = self.pending.get_mut(id)
        {
            asking.waiter = None;
            // On a session that is closed nothing is granted any more.
            let _closed = self.release(now, lease, false, None, news);
        }
    }

    // What is said.

    /// Asks, and says so at once where there is a connection.
    pub(super) fn submit(&mut self, now: Moment, what: What) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        if let What::Ask(asking) = &what {
            self.asking.insert(asking.lease.owner(), id);
        }
        self.pending.insert(id, Pending::new(what));
        self.say(id, now);
        id
    }

    /// Takes a request out, because it is answered.
    pub(super) fn remove(&mut self, id: u64) -> Option<Pending> {
        let pending = self.pending.remove(&id)?;
        match &pending.what {
            What::Ask(asking) => {
                let owner = asking.lease.owner();
                if self.asking.get(&owner) == Some(&id) {
                    self.asking.remove(&owner);
                }
            }
            What::Renew(leases) => {
                for lease in leases {
                    self.held.renewed(lease.owner);
                }
            }
            _ => {}
        }
        Some(pending)
    }

    /// The request for a section of an owner, if one is pending that was made before `id`.
    pub(super) fn asked_before(&mut self, owner: Owner, id: u64) -> Option<Pending> {
        let earlier = self.asking.get(&owner).copied();
        self.remove(earlier.filter(|earlier| *earlier < id)?)
    }

    pub(super) fn say(&mut self, id: u64, now: Moment) {
        let Phase::Up { encoding, .. } = &self.phase else {
            return;
        };
        let Some(pending) = self.pending.get_mut(&id) else {
            return;
        };
        let message = match &pending.what {
            What::Reclaim { owner, ttl } => {
                let section = self.held.get(*owner);
                section.map(|section| section.reclaim(id, *ttl, now))
            }
            what => what.message(id, now),
        };
        if let Some(message) = message {
            encoding.write(&message, &mut self.out);
        }
        pending.times_sent = pending.times_sent.saturating_add(1);
        pending.sent_at = now;
    }

    /// Says all renewals that wait, in as few messages as may be.
    pub(super) fn send_renewals(&mut self, now: Moment) {
        if !self.is_up() {
            return;
        }
        let mut waiting = std::mem::take(&mut self.renewals).into_iter().peekable();
        while waiting.peek().is_some() {
            let mut room = MAX_RENEWALS;
            let mut leases = Vec::new();
            while let Some(lease) = waiting.next_if(|lease| {
                // A quote or a backslash of a name takes two bytes in JSON; the rest of the
                // message is the owner, two numbers and the fields' names.
                let bytes = 2 * lease.name.key().len() + 160;
                let fits = leases.is_empty() || bytes <= room;
                room = room.saturating_sub(bytes);
                fits
            }) {
                leases.push(lease);
            }
            self.submit(now, What::Renew(leases));
        }
    }

    /// The number of the place where a section was asked for, which the daemon is told of first.
    fn site_of(&mut self, lease: &Lease) -> Option<u32> {
        let (number, is_new) = self.sites.number(lease.origin())?;
        if is_new && let Phase::Up { encoding, .. } = &self.phase {
            let site = ToDaemon::Site(sites::info(number, lease.origin()));
            encoding.write(&site, &mut self.out);
        }
        Some(number)
    }
}
