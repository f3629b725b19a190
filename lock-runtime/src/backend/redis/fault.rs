//! What goes wrong with a Redis, and what to do about it, in words.

use std::fmt::{self, Display};
use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::place::Place;
use crate::backend::waiting::Failure;
use crate::error::BackendError;
use crate::info::Shown;
use crate::name::LockName;

/// A connection was not made.
pub(super) fn no_connection(place: &Place, error: &RedisError) -> BackendError {
    let said = said(error);
    let who = Somebody(place);
    let what = match error.kind() {
        ErrorKind::AuthenticationFailed => {
            format!("{}; it said: {said}", wrong_login(place))
        }
        ErrorKind::MasterNameNotFoundBySentinel => format!(
            "{place} cannot be found: no Sentinel knows a master `{}`; check that name, which \
             follows the hosts in the URL",
            place.service().unwrap_or_default().escape_debug()
        ),
        ErrorKind::RESP3NotSupported => no_hello(place),
        _ if said
            .to_lowercase()
            .starts_with("err unknown command 'hello'") =>
        {
            no_hello(place)
        }
        _ if said.contains("cluster support disabled") => return is_no_cluster(place),
        _ if said.contains("max number of clients") => format!(
            "{place} has as many clients as its `maxclients` allows: raise it, or close others"
        ),
        _ if is_about_our_certificate(&said) => format!(
            "{who} wants a certificate of this program that it trusts: {said}; name its file, and \
             that of its key, with the options `cert_file` and `key_file`"
        ),
        _ if said.contains("not valid for name") => format!(
            "{who} has a certificate that is not for the name or address under which it was \
             looked for, and so is not trusted: {said}"
        ),
        _ if said.contains("certificate") => format!(
            "{who} has a certificate that is not trusted: {said}; where an authority of your own \
             has signed it, name the file of that with the option `ca_file`"
        ),
        _ if error.is_connection_refusal() => {
            format!("nobody listens where {place} was looked for: start it, or check the URL")
        }
        _ if error.is_timeout() => match place.encryption {
            Some(true) => format!(
                "{place} did not answer while it was connected to: it is stopped, or out of \
                 reach, or speaks no TLS, which the URL asks for"
            ),
            _ => format!(
                "{place} did not answer while it was connected to: it is stopped, or out of reach"
            ),
        },
        _ if place.encryption == Some(false) && error.is_connection_dropped() => {
            format!("{place} cannot be connected to: {said}; if it speaks TLS, write `tls=true`")
        }
        _ => match of_server(place, error) {
            Some(failure) => return of_failure(failure),
            None => format!("{place} cannot be connected to: {said}"),
        },
    };
    BackendError::new(what)
}

/// Who may have said it: behind Sentinels there is more than one.
struct Somebody<'a>(&'a Place);

impl Display for Somebody<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        if self.0.service().is_some() {
            f.write_str(": a Sentinel, or the server that it names,")?;
        }
        Ok(())
    }
}

/// Whether a server has ended a handshake because of what this program has shown of itself.
fn is_about_our_certificate(said: &str) -> bool {
    said.contains("received fatal alert")
        && ["Certificate", "UnknownCA"]
            .iter()
            .any(|what| said.contains(what))
}

/// No connection was made in time.
pub(super) fn silent(place: &Place, limit: Duration) -> BackendError {
    BackendError::new(format!(
        "{place} could not be connected to within {}: it is stopped, or out of reach",
        Shown(limit)
    ))
}

/// A request was not answered as it should be.
pub(super) fn of_request(place: &Place, error: &RedisError) -> Failure {
    if let Some(failure) = of_server(place, error) {
        return failure;
    }
    let what = if error.is_timeout() {
        format!("{place} has not answered in time")
    } else {
        format!("the connection to {place} broke: {}", said(error))
    };
    Failure::Passing(BackendError::new(what).effect_unknown())
}

/// The connection ended by itself.
pub(super) fn hung_up(place: &Place) -> BackendError {
    BackendError::new(format!("{place} closed the connection"))
}

/// The server answered that it will not; `None` when it did not answer.
fn of_server(place: &Place, error: &RedisError) -> Option<Failure> {
    let said = said(error);
    let code = error.code().unwrap_or_default();
    let passing = |what: &str| Failure::Passing(BackendError::new(format!("{place} {what}")));
    let lasting = |what: &str| Failure::Lasting(BackendError::new(format!("{place} {what}")));
    Some(match code {
        "LOADING" => passing("is starting, and still reads its data"),
        "READONLY" => passing(
            "is a replica and takes no writes; locks need the master, and \
             `redis+sentinel:` follows it",
        ),
        "MASTERDOWN" => passing("is a replica that has lost its master"),
        "CLUSTERDOWN" | "TRYAGAIN" => passing(&format!("cannot serve all keys now: {said}")),
        "NOREPLICAS" => passing(
            "takes no writes, because fewer replicas follow it than its `min-replicas-to-write` \
             asks for",
        ),
        "BUSY" => passing("is busy with a script of somebody's that does not end"),
        "OOM" => lasting(
            "is full: its `maxmemory` is reached; raise it, or give the locks a server of their own",
        ),
        "MISCONF" => passing(&format!(
            "takes no writes, because it could not save its data: {said}"
        )),
        "NOAUTH" => Failure::Lasting(BackendError::new(no_login(place))),
        "WRONGPASS" => Failure::Lasting(BackendError::new(wrong_login(place))),
        "NOPERM" => lasting(&format!(
            "gives this user no permission: {said}; the documentation of `RedisBackend` lists \
             what is needed"
        )),
        "MOVED" | "ASK" | "CROSSSLOT" => {
            lasting("is a node of a cluster: write `redis+cluster:` in the URL")
        }
        _ if error.kind() == ErrorKind::Server(ServerErrorKind::ResponseError)
            || !code.is_empty() =>
        {
            lasting(&format!("refused the request: {said}"))
        }
        _ => return None,
    })
}

/// Somebody asks for a password who was told none.
fn no_login(place: &Place) -> String {
    let way_out = match place.service() {
        None => "put it into the URL, `redis://:password@host`",
        Some(_) => PASSWORDS_OF_SENTINELS,
    };
    format!("{} asks for a password: {way_out}", Somebody(place))
}

fn wrong_login(place: &Place) -> String {
    let way_out = match place.service() {
        None => "check user and password in the URL",
        Some(_) => PASSWORDS_OF_SENTINELS,
    };
    format!("{} refused the login: {way_out}", Somebody(place))
}

const PASSWORDS_OF_SENTINELS: &str = "the Sentinels' is the option `sentinel_password` of the \
    URL, and the server's stands before the `@`";

/// What an error says. It comes from elsewhere, and may hold anything; what it repeats of a request,
/// which may be a password, is left out.
fn said(error: &RedisError) -> String {
    let detail = error
        .detail()
        .map_or_else(|| error.to_string(), str::to_owned);
    let text = match error.code() {
        Some(code) => format!("{code} {detail}"),
        None => detail,
    };
    let text = text
        .split_once(", with args beginning with")
        .map_or(text.as_str(), |(text, _arguments)| text);
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\'' | '"' => shown.push(character),
            other => shown.extend(other.escape_debug()),
        }
    }
    shown
}

/// A failure, whether it passes or not.
pub(super) fn of_failure(failure: Failure) -> BackendError {
    match failure {
        Failure::Passing(error) | Failure::Lasting(error) => error,
    }
}

/// It does not know the command that a connection begins with.
fn no_hello(place: &Place) -> String {
    format!(
        "{place} does not know the command `HELLO`: it is too old, or the command was renamed in \
         its configuration; {NEEDED}"
    )
}

const NEEDED: &str = "Redis 7.0 or newer, or Valkey, is needed";

pub(super) fn too_old(place: &Place, version: &str) -> BackendError {
    let version = version.escape_debug();
    BackendError::new(format!("{place} has version {version}: {NEEDED}"))
}

pub(super) fn unreadable_information(place: &Place) -> BackendError {
    BackendError::new(format!(
        "{place} did not say its version: is it a Redis? {NEEDED}"
    ))
}

pub(super) fn unknown_mode(place: &Place) -> BackendError {
    BackendError::new(format!(
        "{place} did not say whether it is a server of its own or a node of a cluster: {NEEDED}"
    ))
}

/// The connection over which something was granted was replaced before its replicas had answered.
pub(super) fn replicas_unasked(place: &Place) -> BackendError {
    let what = format!("the connection to {place} broke before its replicas had answered");
    BackendError::new(what).effect_unknown()
}

pub(super) fn is_replica(place: &Place) -> BackendError {
    BackendError::new(format!(
        "{place} is a replica and takes no writes: name the master, or let `redis+sentinel:` or \
         `redis+cluster:` find it"
    ))
}

pub(super) fn is_node_of_cluster(place: &Place) -> BackendError {
    BackendError::new(format!(
        "{place} is a node of a cluster: write `redis+cluster:` in the URL"
    ))
}

pub(super) fn is_no_cluster(place: &Place) -> BackendError {
    BackendError::new(format!(
        "{place} is a server of its own and no cluster: write `redis:` in the URL"
    ))
}

pub(super) fn is_sentinel(place: &Place) -> BackendError {
    BackendError::new(format!(
        "{place} is a Sentinel, which keeps no keys: write `redis+sentinel:` in the URL"
    ))
}

pub(super) fn evicts(place: &Place, policy: &str) -> BackendError {
    let policy = policy.escape_debug();
    BackendError::new(format!(
        "{place} may throw locks away when its memory is full, and then two would hold one: its \
         `maxmemory-policy` is `{policy}`; set it to `noeviction`, or accept that with the option \
         `allow_eviction=true`"
    ))
}

pub(super) fn not_connected(place: &Place) -> BackendError {
    BackendError::new(format!(
        "{place} has not been connected to: call `connect` first"
    ))
}

pub(super) fn connected_already(place: &Place) -> BackendError {
    BackendError::new(format!("{place} is connected already"))
}

pub(super) fn no_runtime(place: &Place) -> BackendError {
    BackendError::new(format!("{place} has to be connected on a tokio runtime"))
}

pub(super) fn out_of_reach(place: &Place, trouble: &BackendError) -> BackendError {
    BackendError::new(format!("{place} is out of reach: {trouble}"))
}

pub(super) fn nonsense(place: &Place, what: impl Display) -> BackendError {
    BackendError::new(format!("{place} said what makes no sense: {what}"))
}

/// One of many locks that were asked about cannot be told of.
pub(super) fn in_a_list(name: &LockName, error: &BackendError) -> BackendError {
    BackendError::new(format!("of `{name}`: {error}"))
}

pub(super) fn queue_is_full(place: &Place, waiting: u64) -> BackendError {
    BackendError::new(format!(
        "{waiting} wait for this name in {place}, which is as many as may"
    ))
}

/// An owner that was released, or forced out, asked once more.
pub(super) fn is_over(place: &Place) -> BackendError {
    BackendError::new(format!(
        "the section was released, or forced out, in {place} before its grant arrived"
    ))
}

pub(super) fn too_few_replicas(
    place: &Place,
    known: u64,
    wanted: u32,
    within: Duration,
) -> BackendError {
    BackendError::new(format!(
        "{place} granted it, but only {known} of {wanted} replicas knew of it within {}; it was \
         given back",
        Shown(within)
    ))
}

#[cfg(test)]
mod tests {
    use redis::make_extension_error;

    use super::*;

    fn place() -> Place {
        Place::parse("redis://:hunter2@localhost").unwrap()
    }

    /// What a server's answer comes to, and whether it passes.
    fn answered(code: &str, detail: &str) -> (String, bool) {
        let error = make_extension_error(code.to_owned(), Some(detail.to_owned()));
        let failure = of_request(&place(), &error);
        let passes = matches!(failure, Failure::Passing(_));
        let error = of_failure(failure);
        assert!(
            !error.is_effect_unknown(),
            "the server said that it did nothing"
        );
        (error.to_string(), passes)
    }

    #[test]
    fn an_answer_says_what_to_do() {
        for (code, detail, passes, says) in [
            ("LOADING", "", true, "is starting"),
            ("READONLY", "", true, "`redis+sentinel:`"),
            ("MASTERDOWN", "", true, "lost its master"),
            (
                "CLUSTERDOWN",
                "Hash slot not served",
                true,
                "Hash slot not served",
            ),
            ("TRYAGAIN", "", true, "cannot serve all keys"),
            ("NOREPLICAS", "", true, "`min-replicas-to-write`"),
            ("BUSY", "", true, "a script"),
            ("OOM", "", false, "`maxmemory`"),
            ("MISCONF", "errors writing", true, "errors writing"),
            ("NOAUTH", "", false, "`redis://:password@host`"),
            ("WRONGPASS", "", false, "check user and password"),
            ("NOPERM", "the 'get' command", false, "the 'get' command"),
            ("MOVED", "1 host:1", false, "`redis+cluster:`"),
            ("WRONGTYPE", "not a string", false, "not a string"),
        ] {
            let (text, does_pass) = answered(code, detail);
            assert!(text.contains(says), "{code}: {text}");
            assert!(text.contains("`localhost:6379`"), "{code}: {text}");
            assert_eq!(does_pass, passes, "{code}: {text}");
        }
    }

    #[test]
    fn behind_sentinels_there_are_two_passwords() {
        let url = "redis+sentinel://:hunter2@one,two:7/other?sentinel_password=hunter3";
        let place = Place::parse(url).unwrap();
        for (code, says) in [
            ("NOAUTH", "asks for a password"),
            ("WRONGPASS", "refused the login"),
        ] {
            let error = make_extension_error(code.to_owned(), None);
            let text = no_connection(&place, &error).to_string();
            for part in [
                says,
                "a Sentinel, or the server that it names",
                "`sentinel_password`",
                "before the `@`",
            ] {
                assert!(text.contains(part), "{code}: {text}");
            }
            assert!(!text.contains("hunter"), "{text}");
        }
        let error = RedisError::from((ErrorKind::AuthenticationFailed, "Password"));
        let text = no_connection(&place, &error).to_string();
        assert!(text.contains("`sentinel_password`"), "{text}");
    }

    #[test]
    fn what_a_server_repeats_of_a_request_is_left_out() {
        let detail = "unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'hunter2'";
        let error = make_extension_error("ERR".to_owned(), Some(detail.to_owned()));
        let failure = of_failure(of_request(&place(), &error)).to_string();
        for text in [failure, no_connection(&place(), &error).to_string()] {
            assert!(!text.contains("hunter2"), "{text}");
            assert!(text.to_lowercase().contains("hello"), "{text}");
        }
    }

    #[test]
    fn what_a_server_says_cannot_write_to_the_terminal() {
        let (text, _) = answered("ERR", "\u{1b}[31m\n");
        assert!(!text.contains(['\u{1b}', '\n']), "{text:?}");
    }

    #[test]
    fn nobody_knows_what_became_of_a_request_without_an_answer() {
        for kind in [std::io::ErrorKind::TimedOut, std::io::ErrorKind::BrokenPipe] {
            let error = RedisError::from(std::io::Error::from(kind));
            let failure = of_request(&place(), &error);
            assert!(matches!(failure, Failure::Passing(_)));
            assert!(of_failure(failure).is_effect_unknown());
        }
    }
}
