//! What is checked of a server before locks are kept in it.

use redis::{Cmd, FromRedisValue, Value};

use super::connection::Wire;
use super::fault;
use super::place::Place;
use crate::error::BackendError;

/// Checks the server, or every master of the cluster.
///
/// # Errors
///
/// When a server is too old, takes no writes, may throw locks away, or cannot be asked.
pub(super) async fn server(place: &Place, wire: &mut Wire) -> Result<(), BackendError> {
    for section in ["server", "replication", "memory"] {
        let mut ask = Cmd::new();
        ask.arg("INFO").arg(section);
        let answer = wire
            .send_everywhere(&ask)
            .await
            .map_err(|error| fault::no_connection(place, &error))?;
        for text in texts(place, answer)? {
            check(place, section, &text)?;
        }
    }
    Ok(())
}

/// The answer of each server that was asked.
fn texts(place: &Place, answer: Value) -> Result<Vec<String>, BackendError> {
    let answers = match answer {
        Value::Map(of_nodes) => of_nodes.into_iter().map(|(_, answer)| answer).collect(),
        answer => vec![answer],
    };
    let read =
        |answer| String::from_redis_value(answer).map_err(|_| fault::unreadable_information(place));
    answers.into_iter().map(read).collect()
}

fn check(place: &Place, section: &str, text: &str) -> Result<(), BackendError> {
    let field = |key: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
    };
    match section {
        "server" => {
            let version = field("redis_version");
            let version = version.ok_or_else(|| fault::unreadable_information(place))?;
            if !is_new_enough(version) {
                return Err(fault::too_old(place, version));
            }
            // Valkey calls it otherwise.
            match (
                field("redis_mode").or(field("server_mode")),
                place.is_cluster(),
            ) {
                (None, _) => Err(fault::unknown_mode(place)),
                (Some("sentinel"), _) => Err(fault::is_sentinel(place)),
                (Some("cluster"), false) => Err(fault::is_node_of_cluster(place)),
                (Some("standalone"), true) => Err(fault::is_no_cluster(place)),
                _ => Ok(()),
            }
        }
        "replication" if field("role") == Some("slave") => Err(fault::is_replica(place)),
        "memory" if !place.options.allow_eviction => {
            let has_limit = field("maxmemory").is_some_and(|limit| limit != "0");
            match field("maxmemory_policy") {
                Some(policy) if has_limit && policy != "noeviction" => {
                    Err(fault::evicts(place, policy))
                }
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// Version 7.0 has all that the scripts need; errors in them have codes from then on.
fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version >= (7, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str, section: &str, text: &str) -> Option<String> {
        let place = Place::parse(url).unwrap();
        check(&place, section, text)
            .err()
            .map(|error| error.to_string())
    }

    #[test]
    fn old_servers_are_refused() {
        for (version, is_old) in [
            ("6.0.16", true),
            ("5.9.9", true),
            ("6.2.17", true),
            ("7.0.0", false),
            ("7.0.15", false),
            ("8.0", false),
            ("255.255.255", false),
        ] {
            let text = format!("# Server\r\nredis_version:{version}\r\nredis_mode:standalone\r\n");
            let refusal = refusal("redis://host", "server", &text);
            assert_eq!(refusal.is_some(), is_old, "{refusal:?}");
        }
        let refusal = refusal("redis://host", "server", "# Server").unwrap();
        assert!(refusal.contains("is it a Redis?"), "{refusal}");
    }

    #[test]
    fn servers_of_another_kind_are_refused() {
        for (url, mode, says) in [
            ("redis://host", "cluster", "`redis+cluster:`"),
            ("redis://host", "sentinel", "`redis+sentinel:`"),
            ("redis+cluster://host", "standalone", "`redis:`"),
        ] {
            for field in ["redis_mode", "server_mode"] {
                let text = format!("redis_version:7.2.4\r\n{field}:{mode}\r\n");
                let refusal = refusal(url, "server", &text).unwrap();
                assert!(refusal.contains(says), "{refusal}");
            }
        }
        let refusal = refusal("redis://host", "server", "redis_version:7.2.4\r\n").unwrap();
        assert!(refusal.contains("did not say whether"), "{refusal}");
    }

    #[test]
    fn a_server_that_may_forget_is_refused_unless_that_is_accepted() {
        let text = "maxmemory:1000\r\nmaxmemory_policy:volatile-lru\r\n";
        let said = refusal("redis://host", "memory", text).unwrap();
        assert!(
            said.contains("`volatile-lru`") && said.contains("`allow_eviction=true`"),
            "{said}"
        );
        assert_eq!(
            refusal("redis://host?allow_eviction=true", "memory", text),
            None
        );
        for text in [
            "maxmemory:0\r\nmaxmemory_policy:volatile-lru\r\n",
            "maxmemory:1000\r\nmaxmemory_policy:noeviction\r\n",
        ] {
            assert_eq!(refusal("redis://host", "memory", text), None);
        }
    }
}
