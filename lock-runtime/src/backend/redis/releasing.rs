//! The end of sections: given back by their owners, or taken from them.

use std::sync::Arc;
use std::time::Duration;

use super::asking::ms;
use super::line::MAY_ARRIVE_FOR;
use super::{Shared, answers};
use crate::backend::Release;
use crate::backend::waiting::Failure;
use crate::error::BackendError;
use crate::lease::Lease;
use crate::name::LockName;
use crate::sync::atomic::{AtomicBool, Ordering};

/// What is given back, and how.
struct GivenBack {
    name: LockName,
    owner: String,
    how: Release,
    asked: Asked,
    /// A question for it is still under way.
    is_asking: bool,
    refused_for: Duration,
}

/// Whether a section was asked for.
enum Asked {
    /// The backend has not come to it.
    Never,
    /// Over this connection first.
    Over(u64),
    /// It was given up, given away or lost before.
    Unknown,
}

impl GivenBack {
    /// Nobody asks for it any more from now on, or it would queue anew.
    fn new(shared: &Shared, lease: &Lease, how: Release) -> Self {
        let (owner, ears) = (lease.owner(), shared.line.ears());
        ears.waiters.give_up(owner.id());
        let section = ears.sections.forget(owner.id());
        Self {
            name: lease.name().clone(),
            owner: owner.spelled(),
            how,
            asked: match &section {
                Some(section) => section.asked_over.map_or(Asked::Never, Asked::Over),
                None => Asked::Unknown,
            },
            is_asking: section.is_some_and(|section| section.is_asking),
            refused_for: MAY_ARRIVE_FOR + lease.ttl(),
        }
    }

    /// Whether a question of the owner may still arrive, and must not be granted then.
    fn may_be_asked_for(&self, shared: &Shared) -> bool {
        match self.asked {
            Asked::Never => false,
            Asked::Over(number) => self.is_asking || number != shared.line.number(),
            Asked::Unknown => shared.line.has_sent_astray(),
        }
    }
}

impl Shared {
    /// Gives back what an owner has of a name. Whether it had anything.
    pub(super) fn release(
        self: Arc<Self>,
        lease: &Lease,
        how: Release,
    ) -> impl Future<Output = Result<bool, BackendError>> + Send + use<> {
        let given_back = GivenBack::new(&self, lease, how);
        async move {
            // Whether an earlier request may have done it, whose answer was lost.
            let may_be_done = AtomicBool::new(false);
            let release = || self.release_once(&given_back, &may_be_done);
            self.until(None, release).await
        }
    }

    async fn release_once(
        &self,
        section: &GivenBack,
        may_be_done: &AtomicBool,
    ) -> Result<bool, Failure> {
        let was_tried = may_be_done.load(Ordering::Relaxed);
        let keys = self.keys(&section.name);
        let refused_for = if was_tried || section.may_be_asked_for(self) {
            ms(section.refused_for)
        } else {
            "0".to_owned()
        };
        let body_ran = match section.how {
            Release::Abandoned => "0",
            Release::Finished => "1",
        };
        let answer = self
            .run(
                &self.scripts.release,
                &[
                    &keys.lock,
                    &keys.queue,
                    &keys.waiters,
                    &keys.token,
                    &keys.refusal(&section.owner),
                ],
                &[&section.owner, body_ran, &refused_for],
            )
            .await;
        if let Err(Failure::Passing(error)) = &answer {
            may_be_done.fetch_or(error.is_effect_unknown(), Ordering::Relaxed);
        }
        let had = answers::count(&answer?).map_err(|what| self.nonsense(what))? == 1;
        Ok(had || was_tried)
    }

    /// Ends every section of a name. Says how many ended.
    pub(super) async fn force_release(
        self: Arc<Self>,
        name: LockName,
    ) -> Result<usize, BackendError> {
        let keys = self.keys(&name);
        let refusal = keys.refusal("");
        let refused_for = ms(MAY_ARRIVE_FOR);
        let ended = self
            .patiently(|| async {
                let answer = self
                    .run(
                        &self.scripts.force_release,
                        &[&keys.lock, &keys.queue, &keys.waiters],
                        &[&refusal, &refused_for],
                    )
                    .await;
                let answer = answer.map_err(|failure| match failure {
                    // Asked again, it would count less than it ended.
                    Failure::Passing(error) if error.is_effect_unknown() => Failure::Lasting(error),
                    failure => failure,
                })?;
                answers::count(&answer).map_err(|what| self.nonsense(what))
            })
            .await?;
        Ok(usize::try_from(ended).unwrap_or(usize::MAX))
    }
}
