//! Entering: taking every name of a section, or going on inside one that runs.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use smallvec::{SmallVec, smallvec};

use super::current::{self, Outer};
use super::{InHand, Section};
use crate::backend::Patience;
use crate::caller::CallerId;
use crate::clock::Moment;
use crate::error::LockError;
use crate::info::InTheWay;
use crate::lease::{Lease, SharedTerms};
use crate::manager::{Acquiring, Hold, ManagerRef};
use crate::name::{LockName, NameWriter};
use crate::options::{Mode, Wait, check_ttl, check_wait};

/// A section to be entered.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) manager: ManagerRef,
    pub(crate) names: SmallVec<[LockName; 1]>,
    pub(crate) terms: SharedTerms,
    pub(crate) caller: Option<CallerId>,
}

/// What is left of the way into a section. Dropping it takes every request back, and everything
/// that was granted.
pub(super) enum Way {
    /// It ends here.
    Refused(LockError),
    One(Acquiring, LockName),
    Many(
        Pin<Box<dyn Future<Output = Result<Section, LockError>> + Send>>,
        LockName,
    ),
}

impl Section {
    /// Enters a section of the one name that `write` writes, where nothing but that name decides:
    /// its terms are plain. A free name in memory is had on return.
    #[inline]
    pub(crate) fn enter_plain(
        manager: &ManagerRef,
        terms: &SharedTerms,
        write: impl FnOnce(&mut NameWriter<'_>),
    ) -> Self {
        let mut in_hand = InHand::empty();
        let lease = manager.lease(in_hand.kept.take(), terms, None, |name| {
            name.write_anew(&manager.namespace, write)
        });
        match lease {
            Ok(lease) if current::find(manager.id, lease.name()).is_some() => {
                in_hand.put_away();
                return Plan::of_one(manager, terms, lease.name().clone()).enter();
            }
            Ok(lease) => in_hand.enter(manager, lease, terms),
            Err(error) => in_hand.way = Some(Way::Refused(error.into())),
        }
        Self(Some(in_hand))
    }

    /// Enters a section of one name that the code here does not run inside.
    fn enter_one(
        manager: &ManagerRef,
        terms: &SharedTerms,
        caller: Option<&CallerId>,
        name: LockName,
    ) -> Self {
        let mut in_hand = InHand::empty();
        match manager.lease_of(in_hand.kept.take(), terms, caller, name) {
            Ok(lease) => in_hand.enter(manager, lease, terms),
            Err(error) => in_hand.way = Some(Way::Refused(error.into())),
        }
        Self(Some(in_hand))
    }

    /// A section that was refused: the body learns of it when it should begin.
    pub(crate) fn refused(error: LockError) -> Self {
        Self::on_its_way(Way::Refused(error))
    }

    fn on_its_way(way: Way) -> Self {
        let mut in_hand = InHand::empty();
        in_hand.way = Some(way);
        Self(Some(in_hand))
    }

    /// Goes the rest of the way in.
    #[inline]
    pub(super) fn poll_enter(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LockError>> {
        match &self.0 {
            Some(in_hand) if in_hand.way.is_some() => self.poll_way(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_way(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LockError>> {
        let Some(in_hand) = &mut self.0 else {
            return Poll::Ready(Ok(()));
        };
        let entered = match &mut in_hand.way {
            None => return Poll::Ready(Ok(())),
            Some(Way::One(acquiring, _)) => {
                let hold = ready!(Pin::new(acquiring).poll(cx));
                hold.map(|hold| in_hand.first = Some(hold))
            }
            Some(Way::Many(entering, _)) => match ready!(entering.as_mut().poll(cx)) {
                Ok(section) => {
                    *self = section;
                    return Poll::Ready(Ok(()));
                }
                Err(error) => Err(error),
            },
            Some(Way::Refused(error)) => Err(error.clone()),
        };
        // Whoever asks once more after a refusal is refused again.
        in_hand.way = entered.as_ref().err().cloned().map(Way::Refused);
        Poll::Ready(entered)
    }

    /// The section or the refusal, if it is decided; the rest of the way otherwise.
    pub(crate) fn ready(mut self) -> Result<Result<Self, LockError>, Entering> {
        let way = self.0.as_mut().and_then(|in_hand| in_hand.way.take());
        match way {
            None => Ok(Ok(self)),
            Some(Way::Refused(error)) => Ok(Err(error)),
            way => {
                if let Some(in_hand) = &mut self.0 {
                    in_hand.way = way;
                }
                Err(Entering::new(self))
            }
        }
    }
}

impl InHand {
    #[inline]
    fn enter(&mut self, manager: &ManagerRef, lease: Arc<Lease>, terms: &SharedTerms) {
        self.on_lost = terms.on_lost;
        match manager.take_free(lease) {
            Ok(hold) => self.first = Some(hold),
            Err(lease) => self.ask(manager, lease, terms),
        }
    }

    /// Asks for a name that is not simply free.
    fn ask(&mut self, manager: &ManagerRef, lease: Arc<Lease>, terms: &SharedTerms) {
        let name = lease.name().clone();
        match manager.ask(lease, Patience::Wait(terms.wait)) {
            Acquiring::Decided(Some(Ok(hold))) => self.first = Some(hold),
            Acquiring::Decided(Some(Err(error))) => self.way = Some(Way::Refused(error)),
            acquiring => self.way = Some(Way::One(acquiring, name)),
        }
    }
}

/// A section that is being entered. Dropping it takes every request back, and everything that
/// was granted.
#[derive(Debug)]
pub struct Entering(Option<Section>);

impl Entering {
    pub(crate) fn new(section: Section) -> Self {
        Self(Some(section))
    }

    /// What is waited for, for the error of somebody who must not wait.
    pub(crate) fn name(&self) -> Option<LockName> {
        match self.0.as_ref()?.0.as_ref()?.way.as_ref()? {
            Way::One(_, name) | Way::Many(_, name) => Some(name.clone()),
            Way::Refused(_) => None,
        }
    }
}

impl Future for Entering {
    type Output = Result<Section, LockError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // As with every future, polling it after its end is a fault of the caller.
        let mut section = self.0.take().expect("polled after completion");
        match section.poll_enter(cx) {
            Poll::Ready(entered) => Poll::Ready(entered.map(|()| section)),
            Poll::Pending => {
                self.0 = Some(section);
                Poll::Pending
            }
        }
    }
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused(_) => "Way::Refused",
            Self::One(..) => "Way::One",
            Self::Many(..) => "Way::Many",
        })
    }
}

impl Plan {
    /// To be entered without a caller.
    pub(crate) fn of_one(manager: &ManagerRef, terms: &SharedTerms, name: LockName) -> Self {
        Self {
            manager: manager.clone(),
            names: smallvec![name],
            terms: terms.clone(),
            caller: None,
        }
    }

    /// Starts to enter. Where every name can be had at once, it is had on return.
    pub(crate) fn enter(mut self) -> Section {
        if let Err(error) = self.check() {
            return Section::refused(error);
        }
        if let [name] = self.names.as_slice()
            && current::find(self.manager.id, name).is_none()
            && let Some(name) = self.names.pop()
        {
            return Section::enter_one(&self.manager, &self.terms, self.caller.as_ref(), name);
        }
        self.names.sort();
        self.names.dedup();
        let inside = self
            .names
            .iter()
            .map(|name| current::find(self.manager.id, name))
            .collect();
        let Some(first) = self.names.first().cloned() else {
            let nothing = LockError::invalid_option("no lock is named: at least one has to be");
            return Section::refused(nothing);
        };
        Section::on_its_way(Way::Many(Box::pin(self.enter_many(inside)), first))
    }

    /// One name after the other, in sorted order, under one deadline. What was taken before is
    /// renewed meanwhile, and given back when a later one cannot be had.
    async fn enter_many(self, inside: SmallVec<[Option<Outer>; 1]>) -> Result<Section, LockError> {
        let patience = self.one_deadline();
        let mut section = Section::none();
        for (name, outer) in self.names.iter().zip(inside) {
            let hold = self.take(name, outer, patience);
            let (mut hold, taken) = (pin!(hold), &mut section);
            let hold = poll_fn(move |cx| {
                let hold = hold.as_mut().poll(cx);
                if hold.is_pending() {
                    // One that nobody polls any more must not keep what it has taken.
                    taken.wait(cx);
                }
                hold
            });
            let hold = hold.await?;
            section.add(hold, self.terms.on_lost);
            // The wait for a later name may have cost an earlier one.
            if let Some(error) = section.loss() {
                return Err(error);
            }
        }
        Ok(section)
    }

    /// Takes one name, from inside or from outside.
    async fn take(
        &self,
        name: &LockName,
        outer: Option<Outer>,
        patience: Patience,
    ) -> Result<Hold, LockError> {
        if let Some(outer) = outer
            && let Some(hold) = self.enter_again(name, outer, patience).await?
        {
            return Ok(hold);
        }
        let caller = self.caller.as_ref();
        let lease = self
            .manager
            .lease_of(None, &self.terms, caller, name.clone())?;
        match self.manager.take_free(lease) {
            Ok(hold) => Ok(hold),
            Err(lease) => self.manager.ask(lease, patience).await,
        }
    }

    fn one_deadline(&self) -> Patience {
        match self.terms.wait {
            Wait::For(wait) if !wait.is_zero() => Patience::Until(self.manager.clock.now() + wait),
            wait => Patience::Wait(wait),
        }
    }

    /// Enters a section from inside it, in turn with others inside. `None` when it has ended
    /// meanwhile: then this is an entry like any other.
    async fn enter_again(
        &self,
        name: &LockName,
        outer: Outer,
        patience: Patience,
    ) -> Result<Option<Hold>, LockError> {
        self.check_again(name, &outer).await?;
        let turn = match Arc::clone(outer.gate()).try_acquire_owned() {
            Ok(turn) => turn,
            Err(_) => {
                let turn = self.wait_for_turn(name, &outer, patience).await?;
                // Who may enter is decided again when the turn has come.
                self.check_again(name, &outer).await?;
                turn
            }
        };
        let Outer { lease, reentry } = outer;
        Ok(Hold::again(self.manager.clone(), &lease, turn, reentry))
    }

    async fn wait_for_turn(
        &self,
        name: &LockName,
        outer: &Outer,
        patience: Patience,
    ) -> Result<tokio::sync::OwnedSemaphorePermit, LockError> {
        use crate::race::{First, first};
        let started = self.manager.clock.now();
        let deadline = patience.deadline(started).unwrap_or(Moment::from_nanos(0));
        let turn = Arc::clone(outer.gate()).acquire_owned();
        if let First::Left(Ok(turn)) = first(turn, self.manager.clock.sleep_until(deadline)).await {
            return Ok(turn);
        }
        let waited = match patience.deadline(started) {
            None => Duration::ZERO,
            Some(_) => self.manager.clock.now() - started,
        };
        Err(LockError::busy(name, waited, Some(InTheWay::Queue), 0))
    }

    /// Whether the section may be entered from inside, in this mode, by this caller.
    async fn check_again(&self, name: &LockName, outer: &Outer) -> Result<(), LockError> {
        let outer = outer.lease.terms();
        let refuse = |what: &str| Err(LockError::reentered(name, outer.origin, what));
        if !outer.reentrant {
            return refuse(
                "entering it again would wait for itself; add `reentrant` there if that is meant, \
                 or call an unlocked inner function",
            );
        }
        match (outer.mode, self.terms.mode) {
            (Mode::Exclusive, _) | (Mode::Shared, Mode::Shared) => {}
            (outer, inner) if outer == inner => {}
            (outer, inner) => {
                return refuse(&format!(
                    "an {inner} entry does not fit inside a section that is {outer}; end that one \
                     first, or enter it with the stronger mode"
                ));
            }
        }
        let Some(policy) = self.terms.auth else {
            return Ok(());
        };
        let caller = self.caller.clone();
        let asked = name.clone();
        let info = self
            .manager
            .call(move |backend| Box::pin(async move { backend.inspect(&asked).await }))
            .await
            .map_err(|error| error.about(name))?;
        let allowed = match (&info.holder, &caller) {
            (Some(holder), Some(caller)) => holder == caller,
            (Some(_), None) => false,
            (None, _) => policy != crate::AuthPolicy::Assigned,
        };
        if allowed {
            Ok(())
        } else {
            Err(LockError::not_your_turn(name, info.holder, caller))
        }
    }

    fn check(&self) -> Result<(), LockError> {
        let terms = &self.terms;
        check_ttl(terms.ttl).map_err(|what| self.refuse(what))?;
        check_wait(terms.wait).map_err(|what| self.refuse(what))?;
        if terms.max_hold.is_some_and(|limit| limit.is_zero()) {
            return Err(self.refuse("max_hold is zero; give it a time, or leave it out".to_owned()));
        }
        if let Some(policy) = terms.auth {
            crate::caller::require(policy, self.caller.as_ref())
                .map_err(|error| self.about(error))?;
        }
        let can = self.manager.capabilities;
        let needs = [
            (terms.mode == Mode::Shared && !can.shared, "`shared`"),
            (
                matches!(terms.mode, Mode::Permits(_)) && !can.permits,
                "`permits`",
            ),
            (terms.auth.is_some() && !can.identity, "`auth`"),
            (!terms.at_least.is_zero() && !can.at_least, "`at_least`"),
        ];
        for (lacking, what) in needs {
            self.manager
                .check_capability(!lacking, what)
                .map_err(|error| self.about(error))?;
        }
        Ok(())
    }

    fn refuse(&self, what: String) -> LockError {
        self.about(LockError::invalid_option(what))
    }

    fn about(&self, error: LockError) -> LockError {
        match self.names.first() {
            Some(name) => error.about(name),
            None => error,
        }
    }
}
