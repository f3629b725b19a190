//! Who calls: the identity that `#[auth]` checks, and the scope it comes from.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ambient::{self, Carry, Present};
use crate::error::LockError;
use crate::options::AuthPolicy;

thread_local! {
    static CALLER: RefCell<Option<Arc<Caller>>> = const { RefCell::new(None) };
}

/// The identity of a caller, as the service knows it: a user's id, say.
///
/// Any text; an empty one is nobody's identity and is treated as no caller at all.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct CallerId(Arc<str>);

impl CallerId {
    /// The identity with this text.
    #[must_use]
    pub fn new(id: impl AsRef<str>) -> Self {
        Self(id.as_ref().into())
    }

    /// The identity's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CallerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().escape_debug().fmt(f)
    }
}

impl fmt::Debug for CallerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl<T: AsRef<str> + ?Sized> From<&T> for CallerId {
    fn from(id: &T) -> Self {
        Self::new(id)
    }
}

impl From<String> for CallerId {
    fn from(id: String) -> Self {
        Self::new(id)
    }
}

impl From<CallerId> for String {
    fn from(id: CallerId) -> Self {
        id.as_str().to_owned()
    }
}

impl From<&Self> for CallerId {
    fn from(id: &Self) -> Self {
        id.clone()
    }
}

impl Borrow<str> for CallerId {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

/// Somebody who calls a service.
///
/// A service's middleware makes one per request and runs the request inside
/// [`Caller::scope`]; everything below it, however deep, then knows who calls.
///
/// ```
/// use lock_runtime::Caller;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let alice = Caller::new("user_1").named("Alice");
/// let seen = alice.scope(async { Caller::current().map(|caller| caller.id().clone()) }).await;
/// assert_eq!(seen.unwrap().as_str(), "user_1");
/// assert!(Caller::current().is_none());
/// # });
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Caller {
    id: CallerId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default)]
    anonymous: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    claims: BTreeMap<String, String>,
}

impl Caller {
    /// A known caller.
    #[must_use]
    pub fn new(id: impl Into<CallerId>) -> Self {
        Self {
            id: id.into(),
            name: None,
            anonymous: false,
            claims: BTreeMap::new(),
        }
    }

    /// A caller who has not said who it is. Required callers are not anonymous.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            anonymous: true,
            ..Self::new("")
        }
    }

    /// The same caller with a name for people to read.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The same caller with one more claim, as an identity provider makes them.
    #[must_use]
    pub fn with_claim(mut self, claim: impl Into<String>, value: impl Into<String>) -> Self {
        self.claims.insert(claim.into(), value.into());
        self
    }

    /// Who it is. Empty for an anonymous caller.
    #[must_use]
    pub fn id(&self) -> &CallerId {
        &self.id
    }

    /// The name for people to read.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether it has not said who it is.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.anonymous || self.id.as_str().is_empty()
    }

    /// What an identity provider says of it.
    #[must_use]
    pub fn claims(&self) -> &BTreeMap<String, String> {
        &self.claims
    }

    /// Whoever calls here and now, if anybody is known to.
    #[must_use]
    pub fn current() -> Option<Arc<Self>> {
        ambient::current(&CALLER)
    }

    /// Runs a future, or what can be awaited, as called by this caller.
    ///
    /// A task that the future spawns is not inside, unless it is carried along with
    /// [`in_current_caller`](crate::LockFutureExt::in_current_caller).
    pub fn scope<F: IntoFuture>(self, future: F) -> impl Future<Output = F::Output> {
        // What makes the future is inside already.
        let future = async move { future.into_future().await };
        Carry::new(&CALLER, Some(Arc::new(self)), future)
    }

    /// Runs a function as called by this caller.
    pub fn scope_sync<R>(self, function: impl FnOnce() -> R) -> R {
        let _present = Present::set(&CALLER, Some(Arc::new(self)));
        function()
    }

    /// The same future with the current caller, wherever it is polled.
    pub(crate) fn carry<F: Future>(future: F) -> impl Future<Output = F::Output> {
        Carry::new(&CALLER, Self::current(), future)
    }

    /// The identity of the current caller, unless it is anonymous.
    pub(crate) fn current_id() -> Option<CallerId> {
        CALLER
            .try_with(|caller| {
                let caller = caller.borrow();
                let caller = caller.as_ref().filter(|caller| !caller.is_anonymous())?;
                Some(caller.id.clone())
            })
            .ok()
            .flatten()
    }
}

/// What may name a caller: an id, a [`Caller`], or nobody.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not name a caller",
    label = "this must be the caller's id as text, a `CallerId` or a `Caller`",
    note = "a number or another `Display` type names one with `.to_string()`"
)]
pub trait IntoCaller {
    /// The identity, or `None` for nobody or an anonymous caller.
    fn into_caller(self) -> Option<CallerId>;
}

fn known(id: CallerId) -> Option<CallerId> {
    Some(id).filter(|id| !id.as_str().is_empty())
}

impl IntoCaller for CallerId {
    fn into_caller(self) -> Option<CallerId> {
        known(self)
    }
}

impl IntoCaller for &str {
    fn into_caller(self) -> Option<CallerId> {
        known(self.into())
    }
}

impl IntoCaller for String {
    fn into_caller(self) -> Option<CallerId> {
        known(self.into())
    }
}

impl IntoCaller for Caller {
    fn into_caller(self) -> Option<CallerId> {
        (!self.is_anonymous()).then_some(self.id)
    }
}

impl IntoCaller for Arc<Caller> {
    fn into_caller(self) -> Option<CallerId> {
        (!self.is_anonymous()).then(|| self.id.clone())
    }
}

impl<T: IntoCaller + Clone> IntoCaller for &T {
    fn into_caller(self) -> Option<CallerId> {
        self.clone().into_caller()
    }
}

impl<T: IntoCaller> IntoCaller for Option<T> {
    fn into_caller(self) -> Option<CallerId> {
        self.and_then(T::into_caller)
    }
}

/// Refuses a call without a caller where the policy needs one.
pub(crate) fn require(policy: AuthPolicy, caller: Option<&CallerId>) -> Result<(), LockError> {
    match (policy, caller) {
        (AuthPolicy::Optional, _) | (_, Some(_)) => Ok(()),
        (AuthPolicy::Required | AuthPolicy::Assigned, None) => Err(LockError::unauthenticated()),
    }
}
