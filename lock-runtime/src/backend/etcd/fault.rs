//! What goes wrong with etcd, and what to do about it, in words.

use std::error::Error as _;
use std::time::Duration;

use etcd_client::Error;

use crate::backend::waiting::Failure;
use crate::error::BackendError;
use crate::info::Shown;

/// Why a request has failed.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// The lease that it wanted to use has ended.
    LeaseGone,
    /// It may be answered when it is sent again.
    Passing(BackendError),
    /// It would fail again.
    Lasting(BackendError),
}

impl Trouble {
    /// Whether nobody knows if the request took effect.
    pub(super) fn is_effect_unknown(&self) -> bool {
        match self {
            Self::LeaseGone => false,
            Self::Passing(error) | Self::Lasting(error) => error.is_effect_unknown(),
        }
    }

    pub(super) fn into_error(self) -> BackendError {
        match self {
            // Whoever uses a lease looks for this one first.
            Self::LeaseGone => BackendError::new("etcd has ended a lease before its time"),
            Self::Passing(error) | Self::Lasting(error) => error,
        }
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Lasting(error) => Self::Lasting(error),
            passing => Self::Passing(passing.into_error()),
        }
    }
}

/// The server that a request was sent to, and as whom: to be shown.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) host: String,
    pub(super) user: Option<String>,
    pub(super) prefix: String,
}

/// What a failed request says, and whether the connection that it went over is to be replaced.
pub(super) fn of(place: &Place, error: Error) -> (Trouble, bool) {
    match error {
        Error::GRpcStatus(status) => match status.source() {
            // Of this program's own connection. What the status shows of itself is for whoever
            // looks into the client.
            Some(cause) => of_connection(place, &chain(cause)),
            None => of_status(place, i32::from(status.code()), status.message()),
        },
        Error::LeaseKeepAliveError(text) if text == "lease not found" => {
            (Trouble::LeaseGone, false)
        }
        Error::TransportError(error) => {
            let text = chain(&error);
            (Trouble::Passing(unreachable(place, &text)), true)
        }
        Error::InvalidUri(_) | Error::InvalidArgs(_) | Error::InvalidMetadataValue(_) => {
            let error = BackendError::new(format!("{} cannot be asked: {error}", at(place)));
            (Trouble::Lasting(error), false)
        }
        error => {
            let error =
                BackendError::new(format!("the connection to {} broke: {error}", at(place)));
            (Trouble::Passing(error.effect_unknown()), true)
        }
    }
}

/// The same of the first question over a connection, which has no effect.
pub(super) fn of_first(place: &Place, error: Error) -> Trouble {
    match of(place, error).0 {
        Trouble::Passing(error) if error.is_effect_unknown() => {
            Trouble::Passing(BackendError::new(format!(
                "{error}; a server that hangs up at once may want TLS where this program does not \
                 speak it, or the other way round, or a certificate of this program: see \
                 `?tls=true&ca_file=…&cert_file=…&key_file=…`"
            )))
        }
        trouble => trouble,
    }
}

/// The codes of gRPC, as etcd uses them. They are numbers here, because the crate that names them
/// is not a dependency.
mod code {
    pub(super) const UNKNOWN: i32 = 2;
    pub(super) const INVALID_ARGUMENT: i32 = 3;
    pub(super) const NOT_FOUND: i32 = 5;
    pub(super) const PERMISSION_DENIED: i32 = 7;
    pub(super) const RESOURCE_EXHAUSTED: i32 = 8;
    pub(super) const FAILED_PRECONDITION: i32 = 9;
    pub(super) const OUT_OF_RANGE: i32 = 11;
    pub(super) const UNIMPLEMENTED: i32 = 12;
    pub(super) const UNAUTHENTICATED: i32 = 16;
}

/// What broke on the way: only here it is known whether a request was sent at all.
fn of_connection(place: &Place, causes: &str) -> (Trouble, bool) {
    let error = if was_not_sent(causes) {
        unreachable(place, causes)
    } else {
        not_answered(place, causes)
    };
    (Trouble::Passing(error), true)
}

/// What a server says, or somebody between it and this program.
fn of_status(place: &Place, code: i32, text: &str) -> (Trouble, bool) {
    let lasting = |what: String| (Trouble::Lasting(BackendError::new(what)), false);
    let here = at(place);
    match code {
        code::NOT_FOUND if text.contains("lease not found") => (Trouble::LeaseGone, false),
        code::RESOURCE_EXHAUSTED if text.contains("space exceeded") => lasting(format!(
            "{here} is full and takes nothing more: compact and defragment it or raise its \
             `--quota-backend-bytes`, then `etcdctl alarm disarm`"
        )),
        code::PERMISSION_DENIED => lasting(format!(
            "{here} does not let {} use the keys of locks: its role needs `readwrite` on the \
             prefix `{}`",
            user(place),
            place.prefix.escape_debug()
        )),
        code::INVALID_ARGUMENT if text.contains("authentication failed") => lasting(format!(
            "{here} does not take the password of {}",
            user(place)
        )),
        code::INVALID_ARGUMENT if text.contains("user name is empty") => lasting(format!(
            "{here} wants to know who asks: write `etcd://user:password@…`"
        )),
        code::FAILED_PRECONDITION if text.contains("authentication is not enabled") => {
            lasting(format!(
                "{here} knows no users, and the URL names one: leave it out, or `etcdctl auth \
                 enable`"
            ))
        }
        code::INVALID_ARGUMENT if text.contains("revision of auth store is old") => {
            // The token is older than the last change of users. Nothing was done, and a new
            // connection gets a new token.
            let error = BackendError::new(format!(
                "the users of {here} have changed: {} has to give its password anew",
                user(place)
            ));
            (Trouble::Passing(error), true)
        }
        code::INVALID_ARGUMENT | code::FAILED_PRECONDITION => lasting(format!(
            "{here} refused the request: {}",
            text.escape_debug()
        )),
        code::OUT_OF_RANGE => {
            // An answer that is too long for this program is refused here, after the fact.
            let error = BackendError::new(format!(
                "{here} has no usable answer: {}",
                text.escape_debug()
            ));
            (Trouble::Lasting(error.effect_unknown()), false)
        }
        code::UNIMPLEMENTED => lasting(format!(
            "{here} does not speak version 3 of etcd's protocol: it is something else, or too old"
        )),
        code::UNAUTHENTICATED => {
            // The token was refused twice, before anything was done.
            let error = BackendError::new(format!(
                "{here} does not know {} any more: {}",
                user(place),
                text.escape_debug()
            ));
            (Trouble::Passing(error), true)
        }
        code::RESOURCE_EXHAUSTED if text.contains("too many requests") => {
            let error = BackendError::new(format!("{here} has too much to do"));
            (Trouble::Passing(error), false)
        }
        code::UNKNOWN if text.contains("permission denied") => {
            let error = BackendError::new(format!(
                "{here} does not let {} use the keys of locks",
                user(place)
            ));
            (Trouble::Lasting(error.effect_unknown()), false)
        }
        // It may say whatever it likes: the request may have taken effect.
        _ => (Trouble::Passing(not_answered(place, text)), true),
    }
}

/// Everything that an error says, from the outside to its first cause.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let says = error.to_string();
        if !text.contains(&says) {
            text.push_str(": ");
            text.push_str(&says);
        }
        cause = error.source();
    }
    text
}

/// Whether a connection was never made.
fn was_not_sent(causes: &str) -> bool {
    const NEVER_MADE: [&str; 5] = [
        "connect error",
        "dns error",
        "invalid peer certificate",
        "received fatal alert",
        "Connection refused",
    ];
    NEVER_MADE.iter().any(|what| causes.contains(what))
}

fn not_answered(place: &Place, causes: &str) -> BackendError {
    let causes = causes.escape_debug();
    BackendError::new(format!("{} did not answer: {causes}", at(place))).effect_unknown()
}

fn unreachable(place: &Place, causes: &str) -> BackendError {
    let here = at(place);
    BackendError::new(
        if causes.contains("ertificate") || causes.contains("UnknownCA") {
            format!(
                "{here} and this program do not trust each other: {}; check `ca_file`, `cert_file` \
             and the name in the server's certificate",
                causes.escape_debug()
            )
        } else if causes.contains("InvalidContentType")
            || causes.contains("frame with invalid size")
        {
            format!(
                "{here} does not speak as it is spoken to ({}): one of the two uses TLS and the other \
             does not; write `?tls=true&ca_file=…`, or leave it out",
                causes.escape_debug()
            )
        } else {
            format!("{here} cannot be reached: {}", causes.escape_debug())
        },
    )
}

fn at(place: &Place) -> String {
    format!("etcd at {}", place.host.escape_debug())
}

fn user(place: &Place) -> String {
    match &place.user {
        Some(user) => format!("the user `{}`", user.escape_debug()),
        None => "who gives no name".to_owned(),
    }
}

pub(super) fn silent(place: &Place, limit: Duration) -> BackendError {
    BackendError::new(format!(
        "{} has not answered within {}: it is stopped, cut off, or without a quorum",
        at(place),
        Shown(limit)
    ))
}

pub(super) fn not_connected() -> BackendError {
    BackendError::new("etcd has not been connected to: call `connect` first")
}

pub(super) fn connected_already() -> BackendError {
    BackendError::new("etcd is connected to already")
}

pub(super) fn no_runtime() -> BackendError {
    BackendError::new("etcd has to be connected to on a tokio runtime")
}

pub(super) fn ended() -> BackendError {
    BackendError::new("the connection to etcd has ended, with the lock manager that it belonged to")
        .effect_unknown()
}

/// A key holds what none of these programs writes.
pub(super) fn unreadable(key: &str) -> BackendError {
    BackendError::new(format!(
        "the key `{}` in etcd holds what this version cannot read: a newer version wrote it, or \
         something else; until it is deleted nothing is decided about this lock",
        key.escape_debug()
    ))
}

pub(super) fn queue_full(waiting: usize) -> BackendError {
    BackendError::new(format!("{waiting} wait for this lock already"))
}

/// Others were always a little faster.
pub(super) fn too_busy(rounds: u32) -> BackendError {
    BackendError::new(format!(
        "the lock changed in etcd {rounds} times while it was asked for; it is asked for again"
    ))
}

/// A change whose answer was lost, after which the lock changed again.
pub(super) fn unknown_change() -> BackendError {
    BackendError::new(
        "the answer of etcd to a change of the holder was lost, and the lock has changed hands \
         since",
    )
    .effect_unknown()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place {
            host: "127.0.0.1:2379".to_owned(),
            user: Some("kanban".to_owned()),
            prefix: "locks/".to_owned(),
        }
    }

    #[test]
    fn what_somebody_says_of_a_connection_is_no_proof_that_nothing_was_done() {
        for code in [2, 13, 14] {
            let (trouble, is_broken) = of_status(&place(), code, "connect error: refused");
            assert!(trouble.is_effect_unknown(), "{code}: {trouble:?}");
            assert!(is_broken);
        }
        let (trouble, is_broken) = of_connection(&place(), "connect error: Connection refused");
        assert!(!trouble.is_effect_unknown() && is_broken, "{trouble:?}");
        let (trouble, _) = of_connection(&place(), "connection reset");
        assert!(trouble.is_effect_unknown(), "{trouble:?}");
        for code in [code::OUT_OF_RANGE, code::RESOURCE_EXHAUSTED] {
            let (trouble, _) = of_status(&place(), code, "received message larger than max");
            assert!(trouble.is_effect_unknown(), "{trouble:?}");
        }
        let text = "etcdserver: too many requests";
        let (trouble, is_broken) = of_status(&place(), code::RESOURCE_EXHAUSTED, text);
        assert!(!trouble.is_effect_unknown() && !is_broken, "{trouble:?}");
    }

    #[test]
    fn a_token_that_is_too_old_is_a_reason_to_connect_anew() {
        let refusals = [
            (
                code::INVALID_ARGUMENT,
                "etcdserver: revision of auth store is old",
            ),
            (code::UNAUTHENTICATED, "etcdserver: invalid auth token"),
        ];
        for (code, text) in refusals {
            let (trouble, is_broken) = of_status(&place(), code, text);
            let is_passing = matches!(trouble, Trouble::Passing(_));
            assert!(is_passing && is_broken, "{trouble:?}");
            assert!(!trouble.is_effect_unknown(), "{trouble:?}");
        }
    }
}
