//! One connection to a Redis: made, checked and subscribed.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{
    MultipleNodeRoutingInfo, ResponsePolicy, Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr,
};
use redis::{AsyncConnectionConfig, Cmd, ProtocolVersion, PushInfo, RedisResult, Value};

use super::place::{Kind, Place, tcp};
use super::tls::Tls;
use super::{check, fault};
use crate::error::BackendError;

/// A server that does not answer a request for so long is not expected to: the connection is
/// given up for another one.
pub(super) const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// Until when a connection is made, checked and subscribed.
const CONNECTS_WITHIN: Duration = Duration::from_secs(4);

/// So many requests may wait to be written. They never wait for a place, which would let one that
/// was made later overtake another.
const WAITING_TO_BE_WRITTEN: usize = 1 << 20;

/// How often a request is sent anew within a cluster whose keys have moved, or whose master has
/// just changed. Whoever asked does the rest, and can be told.
const CLUSTER_TRIES: u32 = 4;

/// What the server says by itself goes there.
pub(super) type Listener = Arc<dyn Fn(PushInfo) + Send + Sync>;

/// A connection to a server, or those to the nodes of a cluster. Clones are the same.
#[derive(Clone)]
pub(super) enum Wire {
    Cluster(Box<ClusterConnection>),
    One(MultiplexedConnection),
}

impl Wire {
    /// # Errors
    ///
    /// When no connection was made, what is there is not fit to keep locks, or it does not answer.
    pub(super) async fn open(
        place: &Place,
        channel: &str,
        listener: Listener,
    ) -> Result<Self, BackendError> {
        let opening = async {
            let mut wire = Self::connect(place, listener)
                .await
                .map_err(|error| fault::no_connection(place, &error))?;
            check::server(place, &mut wire).await?;
            wire.subscribe(channel)
                .await
                .map_err(|error| fault::no_connection(place, &error))?;
            Ok(wire)
        };
        tokio::time::timeout(CONNECTS_WITHIN, opening)
            .await
            .unwrap_or_else(|_| Err(fault::silent(place, CONNECTS_WITHIN)))
    }

    async fn connect(place: &Place, listener: Listener) -> RedisResult<Self> {
        let hear = move |said| {
            listener(said);
            Ok::<_, ()>(())
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWERS_WITHIN))
            .set_response_timeout(Some(ANSWERS_WITHIN))
            .set_pipeline_buffer_size(WAITING_TO_BE_WRITTEN);
        match &place.kind {
            Kind::One(client) => {
                let config = config.set_push_sender(hear);
                let connection = client.get_multiplexed_async_connection_with_config(&config);
                Ok(Self::One(connection.await?))
            }
            Kind::Sentinel { client } => {
                let config = config.set_push_sender(hear);
                let mut sentinels = client.lock().await;
                let connection = sentinels.get_async_connection_with_config(&config).await?;
                Ok(Self::One(connection))
            }
            Kind::Cluster { nodes, tls } => {
                let client = cluster(nodes, tls, hear)?;
                let connection = client.get_async_connection().await?;
                Ok(Self::Cluster(Box::new(connection)))
            }
        }
    }

    /// The answer to a request; what is wrong with it is an error also where it is a part of it.
    pub(super) async fn send(&mut self, request: &Cmd) -> RedisResult<Value> {
        let answer = match self {
            Self::Cluster(connection) => connection.req_packed_command(request).await,
            Self::One(connection) => connection.send_packed_command(request).await,
        };
        answer?.extract_error()
    }

    /// The answers of all servers that keep keys.
    pub(super) async fn send_everywhere(&mut self, request: &Cmd) -> RedisResult<Value> {
        match self {
            Self::Cluster(connection) => {
                let everywhere = RoutingInfo::MultiNode((
                    MultipleNodeRoutingInfo::AllMasters,
                    None::<ResponsePolicy>,
                ));
                let answer = connection.route_command(request.clone(), everywhere).await;
                answer?.extract_error()
            }
            Self::One(_) => self.send(request).await,
        }
    }

    /// The answer of the server that has this key, to a request that names none.
    pub(super) async fn send_where(&mut self, key: &str, request: &Cmd) -> RedisResult<Value> {
        match self {
            Self::Cluster(connection) => {
                let there = Route::with_key(key, SlotAddr::Master);
                let there = SingleNodeRoutingInfo::SpecificNode(there);
                let there = RoutingInfo::SingleNode(there);
                let answer = connection.route_command(request.clone(), there).await;
                answer?.extract_error()
            }
            Self::One(_) => self.send(request).await,
        }
    }

    async fn subscribe(&mut self, channel: &str) -> RedisResult<()> {
        match self {
            Self::Cluster(connection) => connection.subscribe(channel).await,
            Self::One(connection) => connection.subscribe(channel).await,
        }
    }
}

fn cluster(
    nodes: &[redis::ConnectionInfo],
    tls: &Tls,
    hear: impl Fn(PushInfo) -> Result<(), ()> + Send + Sync + 'static,
) -> RedisResult<ClusterClient> {
    let builder = ClusterClient::builder(nodes.iter().cloned())
        .use_protocol(ProtocolVersion::RESP3)
        .connection_timeout(ANSWERS_WITHIN)
        .response_timeout(ANSWERS_WITHIN)
        .retries(CLUSTER_TRIES)
        .tcp_settings(tcp())
        .push_sender(hear);
    tls.secure(builder).build()
}
