//! Entering a section: what is known decides, and a transaction that compares it makes it so.

mod ends;

use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::attempts::{Attempt, Left};
use super::decide::{Ask, Basis, Entered, Step};
use super::fault::{self, Trouble};
use super::keys::{Keys, QUEUE, Slot};
use super::leases::{ServerLease, whole_seconds};
use super::leave::Leaving;
use super::presence;
use super::record::Record;
use super::stored::{Millis, SectionValue, WaiterValue, write_owned};
use super::transaction::{self, Committed, Put};
use crate::backend::waiting::{Failure, Question, may_be_handed};
use crate::backend::{Answer, Busy, Grant, Release, Request, token};
use crate::info::InTheWay;
use crate::options::{AuthPolicy, Mode};

/// How often in a row a request may find that the name has changed under its hands.
const MOST_ROUNDS: u32 = 64;

/// After so many of them it makes way for the others for a moment.
const PATIENT_ROUNDS: u32 = 8;

/// One question of an acquisition.
struct Asking<'a> {
    shared: &'a Arc<Shared>,
    request: &'a Request,
    question: Question,
    keys: Keys,
    ask: Ask,
    left: &'a mut Left,
}

/// What a step led to.
enum Next {
    Answer(Answer),
    Step(Step),
}

impl Shared {
    pub(super) async fn ask(
        self: Arc<Self>,
        attempt: Arc<Attempt>,
        request: Request,
        question: Question,
    ) -> Result<Answer, Failure> {
        let mut left = attempt.gate.lock().await;
        if left.is_over {
            return Ok(Answer::Busy(Busy::new()));
        }
        let mut asking = Asking {
            shared: &self,
            keys: self.keys(request.name()),
            ask: Ask::of(&request),
            request: &request,
            question,
            left: &mut left,
        };
        let answer = asking.run().await?;
        match answer {
            Answer::Granted(_) => {
                let owner = request.owner().id();
                self.names.waits_no_more(request.name(), owner);
                attempt.hold(request.lease(), self.clock.now());
            }
            Answer::Busy(_) if question == Question::Queue => {}
            _ => {
                // Nobody gives back what was refused.
                drop(left);
                let leaving = Leaving::of(request.lease(), Release::Abandoned);
                drop(tokio::spawn(self.leave(leaving)));
            }
        }
        Ok(answer)
    }
}

impl Asking<'_> {
    async fn run(&mut self) -> Result<Answer, Trouble> {
        let mut step = self.first_step().await?;
        for round in 0..MOST_ROUNDS {
            if round >= PATIENT_ROUNDS {
                let pause = rand::random_range(0..20);
                self.shared.clock.sleep(Duration::from_millis(pause)).await;
            }
            let next = match step {
                Step::Enter(basis) => self.enter(basis).await?,
                Step::Busy {
                    is_queued: false, ..
                } if self.question == Question::Queue => self.queue().await?,
                Step::Held(entered) => self.held(entered).await?,
                step => self.refuse(step).await?,
            };
            match next {
                Next::Answer(answer) => return Ok(answer),
                Next::Step(changed) => step = changed,
            }
        }
        Err(Trouble::Passing(fault::too_busy(MOST_ROUNDS)))
    }

    /// What is known of the name already, or what the store says.
    async fn first_step(&mut self) -> Result<Step, Trouble> {
        if self.question == Question::Queue
            && let Some(step) = self.shared.names.decide(self.request.name(), &self.ask)
        {
            return Ok(step);
        }
        let is_new = self.question != Question::Last && !self.left.may_wait;
        let is_plain = self.ask.auth != Some(AuthPolicy::Assigned)
            && self.request.lease().at_least().is_zero();
        if is_new && is_plain {
            // A name of which nothing is known is entered in one step. Most are.
            return Ok(Step::Enter(Basis::Nothing));
        }
        self.read().await
    }

    async fn read(&mut self) -> Result<Step, Trouble> {
        let record = self.shared.link.read(&self.keys).await?;
        self.step(record)
    }

    /// What is to be done by what was read. Whoever has a place in the queue is one of those who
    /// wait here, however it came to it: the answer that would have said so may have been lost.
    fn step(&self, record: Record) -> Result<Step, Trouble> {
        if let Some(part) = record.unreadable() {
            return Err(Trouble::Lasting(fault::unreadable(&self.keys.of(part))));
        }
        let (name, step) = (self.request.name(), record.decide(&self.ask));
        let has_a_place = matches!(
            step,
            Step::Busy {
                is_queued: true,
                ..
            }
        );
        if has_a_place && self.question == Question::Queue {
            let owner = self.ask.owner.id();
            self.shared
                .tell(self.shared.names.wait(name, owner, record));
        } else {
            self.shared.learn(name, record);
        }
        Ok(step)
    }

    async fn enter(&mut self, basis: Basis) -> Result<Next, Trouble> {
        let (lease, rest) = match self.leases().await {
            Err(Trouble::LeaseGone) => {
                self.drop_leases().await?;
                return Ok(Next::Step(Step::Enter(basis)));
            }
            leases => leases?,
        };
        let section = self.section(lease);
        let txn = transaction::enter(&self.keys, &self.ask, basis, section, rest);
        // Set before it is sent: who is dropped meanwhile does not know what became of it. Once a
        // request was not answered, it may come at any time.
        let was_unsure = std::mem::replace(&mut self.left.lease_is_unsure, true);
        let answer = match self.shared.link.commit(txn).await {
            Ok(answer) => answer,
            Err(Trouble::LeaseGone) => {
                self.drop_leases().await?;
                return Ok(Next::Step(Step::Enter(basis)));
            }
            Err(trouble) => {
                self.left.lease_is_unsure = was_unsure || trouble.is_effect_unknown();
                return Err(trouble);
            }
        };
        self.left.lease_is_unsure = was_unsure;
        match transaction::committed(&self.keys, &answer) {
            Committed::Done(revision) => {
                // Its place was given up in the same step.
                self.left.may_wait = self.left.place_is_unsure;
                self.left.slot = Slot::default();
                let grant = self.granted(revision)?;
                self.prolong_rest().await;
                Ok(Next::Answer(Answer::Granted(grant)))
            }
            Committed::Refused(record) => Ok(Next::Step(self.step(*record)?)),
        }
    }

    fn section(&self, lease: ServerLease) -> Put {
        let (owner, mode) = (self.ask.owner, self.ask.mode);
        let value = SectionValue {
            owner: self.request.lease().describe(),
            mode,
            since: Millis::now(),
            is_handed: false,
        };
        Put {
            key: self.keys.of_section(mode, owner.id(), Slot::default()),
            value: write_owned(owner, &value),
            lease: lease.id,
        }
    }

    /// It is there already: a try before this one made it, whose answer was lost, or the one who
    /// had the name before.
    async fn held(&mut self, entered: Entered) -> Result<Next, Trouble> {
        self.left.slot = entered.slot;
        if let Some(lease) = entered.handed {
            return self.take_over(entered, lease).await;
        }
        if let Some(lease) = self.left.lease {
            match self.shared.leases.freshen(lease, self.oldest()).await {
                Err(Trouble::LeaseGone) => {
                    self.drop_leases().await?;
                    return Ok(Next::Step(self.read().await?));
                }
                lease => self.left.lease = Some(lease?),
            }
        }
        let grant = self.granted(entered.created)?;
        Ok(Next::Answer(Answer::Granted(grant)))
    }

    /// What was handed over ends with a lease of this process, and lasts for the little time that is
    /// certain of that one. It gets a lease of its own when it is renewed: most are over by then.
    async fn take_over(&mut self, entered: Entered, lease: i64) -> Result<Next, Trouble> {
        let length = self.request.ttl().min(presence::LENGTH);
        let Shared {
            leases, presence, ..
        } = &**self.shared;
        let Some(lease) = presence.keep(leases, lease, length).await? else {
            return Ok(Next::Step(self.read().await?));
        };
        // Its place was given up in the same step.
        self.left.may_wait = self.left.place_is_unsure;
        self.left.handed = Some(lease.id);
        self.give_up_lease().await?;
        let grant = self.granted(entered.created)?;
        let grant = grant.counted_from(lease.counted_from).lasting(length);
        Ok(Next::Answer(Answer::Granted(grant)))
    }

    fn granted(&mut self, created: i64) -> Result<Grant, Trouble> {
        self.left.entered.get_or_insert(self.shared.clock.now());
        let number = u64::try_from(created).unwrap_or(0);
        let token = match self.ask.mode {
            Mode::Exclusive => Some(token(number).map_err(Trouble::Lasting)?),
            Mode::Shared | Mode::Permits(_) => None,
        };
        let grant = Grant::new(token);
        Ok(match self.left.lease {
            Some(lease) => grant.counted_from(lease.counted_from),
            None => grant,
        })
    }

    async fn queue(&mut self) -> Result<Next, Trouble> {
        let (owner, request) = (self.ask.owner, self.request);
        let value = WaiterValue {
            owner: request.lease().describe(),
            mode: self.ask.mode,
            auth: self.ask.auth,
            caller: self.ask.caller.clone(),
            since: Millis::now(),
            may_be_handed: may_be_handed(request),
        };
        let presence = self.shared.presence.lease(&self.shared.leases).await?;
        let place = Put {
            key: self.keys.of_owner(QUEUE, owner.id()),
            value: write_owned(owner, &value),
            lease: presence,
        };
        let txn = transaction::queue(&self.keys, owner, place);
        self.left.may_wait = true;
        let was_unsure = std::mem::replace(&mut self.left.place_is_unsure, true);
        let answer = match self.shared.link.commit(txn).await {
            Ok(answer) => answer,
            Err(Trouble::LeaseGone) => {
                self.shared.presence.has_ended(presence);
                self.left.place_is_unsure = was_unsure;
                return Ok(Next::Step(self.not_queued()));
            }
            Err(trouble) => {
                self.left.place_is_unsure = was_unsure || trouble.is_effect_unknown();
                return Err(trouble);
            }
        };
        self.left.place_is_unsure = was_unsure;
        let step = self.step(transaction::record_in(&self.keys, &answer))?;
        // A lease that nobody uses does not last until its turn.
        if !self.left.lease_is_unsure && self.left.entered.is_none() {
            self.give_up_lease().await?;
        }
        let seconds = whole_seconds(request.ttl());
        self.shared.leases.prepare(seconds);
        Ok(Next::Step(step))
    }

    fn not_queued(&self) -> Step {
        Step::Busy {
            is_queued: false,
            ahead: 0,
            in_the_way: InTheWay::Queue,
            resting: None,
        }
    }

    /// The answer to who does not enter now.
    async fn refuse(&mut self, step: Step) -> Result<Next, Trouble> {
        let (is_queued, answer) = match step {
            Step::Enter(_) | Step::Held(_) | Step::Withdrawn => (false, Answer::Busy(Busy::new())),
            Step::Full { waiting } => return Err(Trouble::Lasting(fault::queue_full(waiting))),
            Step::Conflict { in_use, is_queued } => (is_queued, Answer::Conflict { in_use }),
            Step::NotYourTurn { holder, is_queued } => (is_queued, Answer::NotYourTurn { holder }),
            Step::Busy {
                is_queued,
                ahead,
                mut in_the_way,
                resting,
            } => {
                let stays = self.question == Question::Queue;
                if !stays && let (Some(lease), InTheWay::Resting(left)) = (resting, &mut in_the_way)
                {
                    *left = self.shared.leases.left(lease).await?.unwrap_or_default();
                }
                let busy = Busy::new().ahead(ahead).because_of(in_the_way);
                if stays {
                    return Ok(Next::Answer(Answer::Busy(busy)));
                }
                (is_queued, Answer::Busy(busy))
            }
        };
        if is_queued && !self.leave().await? {
            // It may have been handed the name meanwhile.
            return Ok(Next::Step(self.read().await?));
        }
        let (name, owner) = (self.request.name(), self.ask.owner.id());
        self.shared.names.waits_no_more(name, owner);
        Ok(Next::Answer(answer))
    }

    /// Gives the place in the queue back. `false` when it is not there any more.
    async fn leave(&mut self) -> Result<bool, Trouble> {
        let key = self.keys.of_owner(QUEUE, self.ask.owner.id());
        let delete = transaction::delete_own(key, self.ask.owner);
        let txn = etcd_client::Txn::new().and_then([delete]);
        let answer = self.shared.link.commit(txn).await?;
        let was_there = transaction::found(&answer) == [true];
        if was_there {
            self.left.may_wait = false;
        }
        Ok(was_there)
    }
}
