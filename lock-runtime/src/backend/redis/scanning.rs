//! All keys of a pattern, on a server or on every master of a cluster.

use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, Value};

use super::connection::Wire;

/// How many keys a server looks at before it answers others again.
const AT_ONCE: u32 = 1_000;

impl Wire {
    pub(super) async fn scan(&mut self, pattern: &str) -> RedisResult<Vec<String>> {
        let mut keys = Vec::new();
        let began = self.send_everywhere(&page("0", pattern)).await?;
        let began = match began {
            Value::Map(of_nodes) => of_nodes
                .into_iter()
                .map(|(node, page)| Ok((Some(String::from_redis_value(node)?), page)))
                .collect::<RedisResult<Vec<_>>>()?,
            page => vec![(None, page)],
        };
        for (node, first) in began {
            let mut cursor = take(first, &mut keys)?;
            while cursor != "0" {
                let next = self
                    .send_to(node.as_deref(), page(&cursor, pattern))
                    .await?;
                cursor = take(next, &mut keys)?;
            }
        }
        // A key may be seen more than once.
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    /// Sends a request to one node of a cluster.
    async fn send_to(&mut self, node: Option<&str>, request: Cmd) -> RedisResult<Value> {
        let address = node.and_then(|node| node.rsplit_once(':'));
        match (self, address) {
            (Self::Cluster(connection), Some((host, port))) => {
                let port = port.parse().map_err(|_| unreadable())?;
                let host = host.to_owned();
                let there = SingleNodeRoutingInfo::ByAddress { host, port };
                let there = RoutingInfo::SingleNode(there);
                connection
                    .route_command(request, there)
                    .await?
                    .extract_error()
            }
            (wire, _) => wire.send(&request).await,
        }
    }
}

fn page(cursor: &str, pattern: &str) -> Cmd {
    let mut page = Cmd::new();
    page.arg("SCAN")
        .arg(cursor)
        .arg("MATCH")
        .arg(pattern)
        .arg("COUNT")
        .arg(AT_ONCE);
    page
}

/// Takes the keys of a page, and says where the next one begins.
fn take(page: Value, keys: &mut Vec<String>) -> RedisResult<String> {
    let Value::Array(parts) = page else {
        return Err(unreadable());
    };
    let [cursor, found] = <[Value; 2]>::try_from(parts).map_err(|_| unreadable())?;
    let found = Vec::<Vec<u8>>::from_redis_value(found)?;
    // What is no text is no key of ours.
    keys.extend(found.into_iter().flat_map(String::from_utf8));
    Ok(String::from_redis_value(cursor)?)
}

fn unreadable() -> RedisError {
    RedisError::from((ErrorKind::UnexpectedReturnType, "not a page of keys"))
}
