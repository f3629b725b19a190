//! Requests for sections, and what becomes of them when their owners come and go.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use lock_runtime::__daemon::{Acquired, Ask, Effects, Entry, LockName};
use lock_runtime::wire::{Acquire, Blocker, ErrorCode, Renewal, ToClient};
use lock_runtime::{CLAIM_WINDOW, FencingToken, Mode, Moment, Owner};

use super::Engine;
use super::messages::{Fault, Speaker};
use super::reading::{Sent, Wanted, at_least_of, name_of, ttl_of, wanted};
use super::recovery::recovering;
use super::session::{Acquisition, Belongs, Holder, Queued, Stage};

impl Engine {
    pub(super) fn acquire(&mut self, by: Speaker, asked: &Acquire<'_>) -> Result<(), Fault> {
        let name = name_of((&asked.namespace, &asked.name))?;
        let ttl = ttl_of(asked.ttl_ms)?;
        let wanted = wanted(by.now, asked)?;
        let at_least = at_least_of(asked.at_least_ms)?;
        if self.is_known_already(by, asked.id, &name, asked.owner) {
            return Ok(());
        }
        self.check_limits(by, wanted.wait_until.is_some())?;
        let site = (asked.id, asked.site);
        let holder = self.holder(by, site, name, asked.owner, |acquisition| {
            acquisition.mode = asked.mode;
            acquisition.at_least = at_least;
            acquisition.lingers = asked.linger;
            acquisition.ttl = Cell::new(ttl);
        });
        let left = self.recovery.as_ref().map(|recovery| recovery.left(by.now));
        match left {
            Some(left) if wanted.wait_until.is_none() => {
                self.say(by.connection, &recovering(asked.id, left, 0));
            }
            Some(_) => {
                self.take_in(by.session, &holder);
                self.waiting.insert(asked.owner, holder.clone());
                if let Some(recovery) = &mut self.recovery {
                    let was_deferred = true;
                    recovery.defer(
                        holder,
                        Wanted {
                            was_deferred,
                            ..wanted
                        },
                    );
                }
            }
            None => {
                self.take_in(by.session, &holder);
                let mut effects = Effects::new();
                self.ask_table(by.now, &holder, &wanted, &mut effects);
                self.tell(by.now, effects);
            }
        }
        Ok(())
    }

    /// Asks the table, and answers if it has decided.
    pub(super) fn ask_table(
        &mut self,
        now: Moment,
        holder: &Holder,
        wanted: &Wanted,
        effects: &mut Effects<Holder>,
    ) {
        let acquisition = &*holder.0;
        let ttl = if wanted.was_deferred {
            CLAIM_WINDOW
        } else {
            acquisition.ttl.get()
        };
        let ask = Ask {
            name: &acquisition.name,
            owner: acquisition.owner,
            mode: acquisition.mode,
            ttl: Some(ttl),
            wait_until: wanted.wait_until,
            entry: match &wanted.auth {
                None => Entry::Plain,
                Some((caller, must_be_assigned)) => Entry::Caller {
                    id: caller.as_ref(),
                    must_be_assigned: *must_be_assigned,
                },
            },
            at_least: acquisition.at_least,
        };
        let acquired = self.table.acquire(now, &ask, |_| holder.clone(), effects);
        let request = acquisition.request.get();
        match acquired {
            Ok(Acquired::Granted { token }) => {
                self.set_stage(
                    holder,
                    if wanted.was_deferred {
                        Stage::Granted
                    } else {
                        Stage::Held
                    },
                );
                self.keep_rest(now, holder);
                let queued = wanted.was_deferred;
                if queued {
                    let (name, owner) = (&acquisition.name, acquisition.owner);
                    self.table.await_claim(now, name, owner, now + ttl);
                }
                self.granted(now, now + ttl, holder, request, token, queued);
                if queued {
                    self.hold_for_the_disk(now, holder);
                }
            }
            Ok(Acquired::Queued(place)) => {
                acquisition.queued.set(Queued::Place(place));
                self.waiting.insert(acquisition.owner, holder.clone());
                self.remember_soon(holder, false);
            }
            Err(refusal) => {
                let connection = self.connection_of(holder);
                self.let_go(holder);
                if let Some(connection) = connection {
                    self.say_refusal(connection, request, refusal);
                }
            }
        }
    }

    /// Answers with a grant, once it is sure that a restart knows of it.
    pub(super) fn granted(
        &mut self,
        now: Moment,
        ends: Moment,
        holder: &Holder,
        id: u64,
        token: Option<FencingToken>,
        queued: bool,
    ) {
        self.cover(ends);
        self.remember(now, holder);
        if let Some(connection) = self.connection_of(holder) {
            let granted = ToClient::Granted {
                id,
                token,
                mode: holder.0.mode,
                queued,
            };
            self.say(connection, &granted);
        }
    }

    /// A request of an owner that is known already is the same request again.
    pub(super) fn is_known_already(
        &mut self,
        by: Speaker,
        id: u64,
        name: &LockName,
        owner: Owner,
    ) -> bool {
        let waiting = self
            .waiting
            .get(&owner)
            .filter(|holder| holder.0.name == *name);
        let Some(holder) = waiting.cloned().or_else(|| self.find(by.now, name, owner)) else {
            return false;
        };
        let token = self.table.find(name, owner).and_then(|found| found.token);
        holder.0.request.set(id);
        self.affirm(by, &holder);
        match holder.0.stage.get() {
            Stage::Waiting | Stage::Over => {}
            Stage::Granted => {
                let ends = by.now + CLAIM_WINDOW;
                self.granted(by.now, ends, &holder, id, token, true);
            }
            Stage::Held => {
                // Its owner counts from this request.
                let ttl = holder.0.ttl.get();
                self.start_lease_anew(by.now, &holder, ttl);
                self.granted(by.now, by.now + ttl, &holder, id, token, false);
            }
        }
        true
    }

    pub(super) fn claim(
        &mut self,
        by: Speaker,
        id: u64,
        sent: Sent<'_>,
        owner: Owner,
    ) -> Result<(), Fault> {
        let name = name_of(sent)?;
        let found = self.find(by.now, &name, owner);
        let claimed = found.filter(|holder| holder.0.stage.get() != Stage::Waiting);
        if let Some(holder) = &claimed {
            self.affirm(by, holder);
            self.set_stage(holder, Stage::Held);
            let ttl = holder.0.ttl.get();
            self.start_lease_anew(by.now, holder, ttl);
        }
        let held = claimed.is_some();
        self.say(by.connection, &ToClient::Held { id, held });
        Ok(())
    }

    pub(super) fn renew(
        &mut self,
        by: Speaker,
        id: u64,
        leases: &[Renewal<'_>],
    ) -> Result<(), Fault> {
        // All or nothing is refused; then each is renewed or lost.
        let mut wanted = Vec::with_capacity(leases.len());
        for lease in leases {
            let name = name_of((&lease.namespace, &lease.name))?;
            wanted.push((name, lease.owner, ttl_of(lease.ttl_ms)?));
        }
        let (mut lost, mut awaited) = (Vec::new(), None);
        for (name, owner, ttl) in wanted {
            let found = self.find(by.now, &name, owner);
            match found.filter(|holder| holder.0.stage.get() == Stage::Held) {
                Some(holder) => {
                    awaited = awaited.max(self.start_lease_anew(by.now, &holder, ttl));
                }
                None => lost.push(owner),
            }
        }
        // It waits for what it needs itself, and not for the changes of others: a disk that is
        // slow for a while costs nobody a lease that is covered.
        let renewed = ToClient::Renewed { id, lost };
        match awaited {
            None => self.say_now(by.connection, &renewed),
            Some(_) => self.say(by.connection, &renewed),
        }
        Ok(())
    }

    /// Says which snapshot has to be on disk before anybody is told, if one has to.
    pub(super) fn start_lease_anew(
        &mut self,
        now: Moment,
        holder: &Holder,
        ttl: Duration,
    ) -> Option<u64> {
        let acquisition = &*holder.0;
        acquisition.ttl.set(ttl);
        let mut effects = Effects::new();
        let (name, owner) = (&acquisition.name, acquisition.owner);
        let renewed = self.table.renew(now, name, owner, Some(ttl), &mut effects);
        let awaited = match renewed {
            Ok(()) => self.cover(now + ttl),
            Err(_) => None,
        };
        self.tell(now, effects);
        awaited
    }

    /// A section by its owner, after everything that is due has happened to its name.
    pub(super) fn find(&mut self, now: Moment, name: &LockName, owner: Owner) -> Option<Holder> {
        let mut effects = Effects::new();
        self.table.settle(now, name, &mut effects);
        self.tell(now, effects);
        let found = self.table.find(name, owner)?;
        Some(found.party.clone())
    }

    pub(super) fn release(
        &mut self,
        by: Speaker,
        id: u64,
        sent: Sent<'_>,
        owner: Owner,
        body_ran: bool,
    ) -> Result<(), Fault> {
        let name = name_of(sent)?;
        let waiting = self
            .waiting
            .get(&owner)
            .filter(|holder| holder.0.name == name);
        let found = waiting.cloned().or_else(|| self.find(by.now, &name, owner));
        let held = match found {
            Some(holder) => self.end_acquisition(by.now, &holder, body_ran),
            None => false,
        };
        self.say(by.connection, &ToClient::Held { id, held });
        Ok(())
    }

    /// Ends an acquisition, whatever has become of it. Says whether there was something to end.
    pub(super) fn end_acquisition(&mut self, now: Moment, holder: &Holder, body_ran: bool) -> bool {
        let acquisition = &*holder.0;
        if acquisition.stage.get() == Stage::Waiting {
            // What is due happens first: it may have been granted just now.
            self.find(now, &acquisition.name, acquisition.owner);
        }
        match acquisition.stage.get() {
            Stage::Over => return false,
            Stage::Waiting => {
                self.take_back(now, holder);
                return true;
            }
            Stage::Granted | Stage::Held => self.let_go(holder),
        }
        if !body_ran {
            self.forget_rest(holder);
        }
        let (name, owner) = (&acquisition.name, acquisition.owner);
        let mut effects = Effects::new();
        let ended = self
            .table
            .release(|| now, name, owner, body_ran, &mut effects);
        self.tell(now, effects);
        ended.is_ok()
    }

    /// Takes a request out of its queue, and answers it.
    fn take_back(&mut self, now: Moment, holder: &Holder) {
        let acquisition = &*holder.0;
        let mut effects = Effects::new();
        match acquisition.queued.get() {
            Queued::Nowhere => {}
            Queued::Deferred(_) => {
                if let Some(recovery) = &mut self.recovery {
                    recovery.withdraw(holder);
                }
            }
            Queued::Place(place) => {
                let (name, owner) = (&acquisition.name, acquisition.owner);
                self.table.cancel(now, name, place, owner, &mut effects);
            }
        }
        let connection = self.connection_of(holder);
        self.let_go(holder);
        if let Some(connection) = connection {
            let busy = ToClient::Busy {
                id: acquisition.request.get(),
                in_the_way: Blocker::Queue,
                ahead: 0,
            };
            self.say(connection, &busy);
        }
        self.tell(now, effects);
    }

    pub(super) fn force_release(
        &mut self,
        by: Speaker,
        id: u64,
        sent: Sent<'_>,
    ) -> Result<(), Fault> {
        let name = name_of(sent)?;
        let mut effects = Effects::new();
        let sections = self.table.force_release(by.now, &name, &mut effects);
        if let Some(recovery) = &mut self.recovery {
            recovery.force_out(name.clone());
        }
        let rests = self.durable.rests.len();
        self.durable
            .rests
            .retain(|(resting, _), _| *resting != name);
        if sections > 0 || self.durable.rests.len() < rests {
            self.durable.changed();
        }
        self.tell(by.now, effects);
        self.say(by.connection, &ToClient::Ended { id, sections });
        Ok(())
    }

    /// A new acquisition of this session, not taken in yet; asked for by this request, at this
    /// site.
    pub(super) fn holder(
        &self,
        by: Speaker,
        (id, site): (u64, Option<u32>),
        name: LockName,
        owner: Owner,
        fill_in: impl FnOnce(&mut Acquisition),
    ) -> Holder {
        let session = self.sessions.get(&by.session);
        let who = session.map(|session| Rc::clone(&session.who));
        let number = site.and_then(|site| usize::try_from(site).ok());
        let code = session
            .zip(number)
            .and_then(|(session, number)| session.sites.get(number));
        let mut acquisition = Acquisition {
            name,
            owner,
            mode: Mode::Exclusive,
            at_least: Duration::ZERO,
            lingers: false,
            who: who.unwrap_or_default(),
            code: Rc::clone(code.unwrap_or(&self.no_code)),
            ttl: Cell::new(Duration::ZERO),
            belongs: Cell::new(Belongs::Nobody),
            place: Cell::new(usize::MAX),
            request: Cell::new(id),
            stage: Cell::new(Stage::Waiting),
            queued: Cell::new(Queued::Nowhere),
            affirmed: Cell::new(Some(by.connection)),
        };
        fill_in(&mut acquisition);
        Holder(Rc::new(acquisition))
    }

    pub(super) fn check_limits(&self, by: Speaker, may_wait: bool) -> Result<(), Fault> {
        let Some(session) = self.sessions.get(&by.session) else {
            return Ok(());
        };
        let (locks, waiting) = (
            self.limits.locks_per_session,
            self.limits.waiting_per_session,
        );
        if session.held() >= locks {
            let message = format!("this session has {locks} locks already");
            return Err((ErrorCode::Limit, message));
        }
        if may_wait && session.waiting >= waiting {
            let message = format!("{waiting} requests of this session wait already");
            return Err((ErrorCode::Limit, message));
        }
        Ok(())
    }
}
