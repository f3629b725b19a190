//! The calls of the functions in the database, as SQL.
//!
//! They are sent as texts and not as prepared statements: a pooler in between gives each
//! transaction to another session.

use std::sync::Arc;
use std::time::Duration;

use super::arguments::Arguments;
use crate::backend::waiting::{Question, may_be_handed};
use crate::backend::{Change, OnWhoseWord, Release, Request};
use crate::clock::Moment;
use crate::lease::Lease;
use crate::name::LockName;
use crate::options::{AuthPolicy, Mode};
use crate::owner::{Owner, OwnerId};

/// One call of a function.
#[derive(Clone)]
pub(super) enum Call {
    Enter {
        request: Request,
        question: Question,
        /// When it is asked.
        asked: Moment,
        /// The place in the queue that it had.
        place: Option<u64>,
    },
    Renew {
        name: LockName,
        owner: Owner,
        ttl: Duration,
    },
    Release {
        name: LockName,
        owner: Owner,
        how: Release,
    },
    Adopt {
        giver: Owner,
        request: Request,
    },
    ForceRelease(LockName),
    Change {
        change: Arc<Change>,
        /// The same change again is known by it.
        attempt: u128,
        /// Whether it was sent before, and may still arrive.
        is_again: bool,
    },
    Inspect(LockName),
    List {
        namespace: String,
        prefix: String,
        after: String,
        limit: usize,
    },
    /// Clears away what ended by itself.
    Sweep,
    /// Sends a message to a channel.
    Notify {
        channel: String,
        payload: String,
    },
}

/// What calls have in common.
pub(super) struct Sender<'a> {
    pub(super) schema: &'a str,
    /// Where this process is told of things.
    pub(super) channel: &'a str,
    /// Larger for every call than for those before it.
    pub(super) number: u64,
}

impl Call {
    /// The lock that it takes. Calls in one transaction are sorted by it, so that no two
    /// transactions ever wait for each other.
    pub(super) fn lock(&self) -> &str {
        match self {
            Self::Enter { request, .. } | Self::Adopt { request, .. } => request.name().key(),
            Self::Renew { name, .. } | Self::Release { name, .. } | Self::ForceRelease(name) => {
                name.key()
            }
            Self::Change { change, .. } => change.name().key(),
            // They take none, and need not wait for those who do.
            Self::Inspect(_) | Self::List { .. } | Self::Notify { .. } => "",
            // It takes many without waiting for any, and whoever has some must not wait after it.
            Self::Sweep => "\u{10ffff}",
        }
    }

    /// The owner that may have a section or a place afterwards.
    pub(super) fn enters(&self) -> Option<OwnerId> {
        match self {
            Self::Enter { request, .. } | Self::Adopt { request, .. } => Some(request.owner().id()),
            _ => None,
        }
    }

    /// The owner that has nothing any more afterwards.
    pub(super) fn leaves(&self) -> Option<OwnerId> {
        match self {
            Self::Release { owner, .. } => Some(owner.id()),
            _ => None,
        }
    }

    /// Whether its answer is the same when it is asked again after it took effect.
    pub(super) fn may_be_repeated(&self) -> bool {
        !matches!(self, Self::ForceRelease(_))
    }

    /// It is asked again, and may have arrived or arrive yet.
    pub(super) fn set_again(&mut self) {
        if let Self::Change { is_again, .. } = self {
            *is_again = true;
        }
    }

    /// Writes the call. `is_unsure` says that a request of the owner that is released may still
    /// arrive.
    pub(super) fn write(&self, sql: &mut String, sender: &Sender<'_>, is_unsure: bool) {
        let mut call = Arguments::new(sql, sender.schema);
        match self {
            Self::Enter {
                request,
                question,
                asked,
                place,
            } => {
                let (auth, caller) = auth(request);
                call.function("enter")
                    .name(request.name())
                    .text(&request.owner().spelled())
                    .number(mode(request.mode()))
                    .number(ms(request.ttl()))
                    .number(ms(request.lease().at_least()))
                    .text(match question {
                        Question::Try => "try",
                        Question::Queue => "queue",
                        Question::Last => "last",
                    })
                    .raw(auth)
                    .optional(caller)
                    .text(sender.channel)
                    .text(&info(request.lease()))
                    .optional_number(may_be_handed(request).then(|| asked.as_nanos()))
                    .optional_number(*place);
            }
            Self::Renew { name, owner, ttl } => {
                let call = call.function("renew").name(name);
                call.text(&owner.spelled())
                    .number(ms(*ttl))
                    .number(sender.number);
            }
            Self::Release { name, owner, how } => {
                call.function("release")
                    .name(name)
                    .text(&owner.spelled())
                    .flag(*how == Release::Finished)
                    .flag(is_unsure)
                    .text(sender.channel);
            }
            Self::Adopt { giver, request } => {
                call.function("adopt")
                    .name(request.name())
                    .text(&giver.spelled())
                    .text(&request.owner().spelled())
                    .number(ms(request.ttl()))
                    .text(sender.channel)
                    .text(&info(request.lease()));
            }
            Self::ForceRelease(name) => {
                call.function("force_release")
                    .name(name)
                    .text(sender.channel);
            }
            Self::Change {
                change,
                attempt,
                is_again,
            } => {
                write_change(&mut call, change);
                call.text(&format!("{attempt:032x}"))
                    .flag(*is_again)
                    .text(sender.channel);
            }
            Self::Inspect(name) => {
                call.function("inspect").name(name).flag(true);
            }
            Self::List {
                namespace,
                prefix,
                after,
                limit,
            } => {
                let call = call.function("list").text(namespace).text(prefix);
                call.text(after).number(*limit as u64);
            }
            Self::Sweep => {
                call.function("sweep");
            }
            Self::Notify { channel, payload } => {
                call.foreign("pg_catalog.pg_notify")
                    .text(channel)
                    .text(payload);
            }
        }
        call.end();
    }
}

fn write_change(call: &mut Arguments<'_>, change: &Change) {
    let call = call.function("change").name(change.name());
    let (to, ttl, giver, within) = match change {
        Change::Assign {
            to,
            ttl,
            giver,
            within,
            ..
        } => {
            call.text("assign");
            (Some(to), *ttl, giver, within)
        }
        Change::Transfer {
            to, giver, within, ..
        } => {
            call.text("transfer");
            (Some(to), None, giver, within)
        }
        Change::Unassign { giver, within, .. } => {
            call.text("unassign");
            (None, None, giver, within)
        }
    };
    call.optional(to.map(|to| to.as_str()));
    match ttl {
        Some(ttl) => call.number(ms(ttl)),
        None => call.raw("NULL"),
    };
    match giver {
        OnWhoseWord::Caller(caller) => call.text("caller").text(caller.as_str()),
        OnWhoseWord::Holder(caller) => call.text("holder").text(caller.as_str()),
        OnWhoseWord::Operator => call.text("operator").raw("NULL"),
    };
    call.optional(within.map(Owner::spelled).as_deref());
}

/// A statement of the user's transaction. Owners are named by their public numbers: it shows what
/// is held, and takes nothing.
pub(super) fn verification<'a>(schema: &str, leases: impl Iterator<Item = &'a Lease>) -> String {
    let mut sql = String::from("SELECT ");
    for (index, lease) in leases.enumerate() {
        if index > 0 {
            sql.push(',');
        }
        let mut call = Arguments::new(&mut sql, schema);
        call.push(&format!("{schema}.verify("))
            .name(lease.name())
            .text(&lease.owner().id().to_string())
            .push(")");
    }
    sql
}

/// Who may be in at the same time, as a number: none, so many permits, or all who read.
fn mode(mode: Mode) -> i64 {
    match mode {
        Mode::Exclusive => 0,
        Mode::Permits(number) => i64::from(number.get()),
        Mode::Shared => -1,
    }
}

fn auth(request: &Request) -> (&'static str, Option<&str>) {
    let caller = request.caller().map(|caller| caller.as_str());
    match request.auth() {
        None => ("0::int2", None),
        Some(AuthPolicy::Assigned) => ("2::int2", caller),
        Some(AuthPolicy::Optional | AuthPolicy::Required) => ("1::int2", caller),
    }
}

/// Longer than anything lasts, and within what PostgreSQL can count.
const CENTURY_MS: u128 = 100 * 365 * 24 * 60 * 60 * 1_000;

/// Whole milliseconds, rounded up: a lease or a rest is never shorter than asked for.
fn ms(duration: Duration) -> u64 {
    let ms = duration.as_nanos().div_ceil(1_000_000);
    u64::try_from(ms.min(CENTURY_MS)).unwrap_or(u64::MAX)
}

/// Who the owner is, for people. Zero bytes, which PostgreSQL does not store, are left out.
fn info(lease: &Lease) -> String {
    let mut info = lease.describe();
    for text in [&mut info.application, &mut info.host, &mut info.file] {
        text.retain(|c| c != '\0');
    }
    // Strings and numbers have a JSON form.
    serde_json::to_string(&info).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::CallerId;

    fn written(call: &Call) -> String {
        let mut sql = String::new();
        let sender = Sender {
            schema: "locks",
            channel: "here",
            number: 7,
        };
        call.write(&mut sql, &sender, true);
        sql
    }

    #[test]
    fn calls_are_written_in_full() {
        let name = LockName::new("a'b").unwrap().in_namespace("shop");
        assert_eq!(
            written(&Call::ForceRelease(name.clone())),
            "SELECT locks.force_release(E'shop',E'a''b',E'here');"
        );
        let owner = Owner::random();
        let [high, low] = owner.secret();
        let release = Call::Release {
            name: name.clone(),
            owner,
            how: Release::Finished,
        };
        assert_eq!(
            written(&release),
            format!(
                "SELECT locks.release(E'shop',E'a''b',E'{}{high:016x}{low:016x}',true,true,\
                 E'here');",
                owner.id()
            )
        );
        let change = Change::Transfer {
            name,
            to: CallerId::new("bob"),
            giver: OnWhoseWord::Holder(CallerId::new("anna")),
            within: None,
        };
        let change = Call::Change {
            change: Arc::new(change),
            attempt: 10,
            is_again: false,
        };
        assert_eq!(
            written(&change),
            "SELECT locks.change(E'shop',E'a''b',E'transfer',E'bob',NULL,E'holder',E'anna',NULL,\
             E'0000000000000000000000000000000a',false,E'here');"
        );
    }

    #[test]
    fn times_are_rounded_up() {
        assert_eq!(ms(Duration::from_nanos(1)), 1);
        assert_eq!(ms(Duration::from_millis(5)), 5);
        assert_eq!(u128::from(ms(Duration::MAX)), CENTURY_MS);
    }
}
