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

/// A request of a cluster may take so much longer, to be sent to another node.
const CLUSTER_TAKES_LONGER: Duration = Duration::from_millis(500);

/// A node of a cluster that cannot be connected to within this time is left out for now.
const NODE_CONNECTS_WITHIN: Duration = Duration::from_secs(1);

/// How long a request waits, in ms, before it is sent anew within a cluster.
const CLUSTER_PAUSES: std::ops::Range<u64> = 10..100;

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
        is_first: bool,
    ) -> Result<Self, BackendError> {
        let opening = async {
            let mut wire = Self::connect(place, listener)
                .await
                .map_err(|error| fault::no_connection(place, &error))?;
            if place.is_cluster() && !is_first {
                wire.go_on_with_some(place, channel).await?;
                return Ok(wire);
            }
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
            .set_response_timeout(Some(answers_within(place)))
            .set_pipeline_buffer_size(WAITING_TO_BE_WRITTEN);
        match &place.kind {
            Kind::One(client) => {
                let config = config.set_push_sender(hear);
                let connection = client.get_multiplexed_async_connection_with_config(&config);
                Ok(Self::One(connection.await?))
            }
            Kind::Sentinel { client, .. } => {
                let config = config.set_push_sender(hear);
                let mut sentinels = client.lock().await;
                let connection = sentinels.get_async_connection_with_config(&config).await?;
                Ok(Self::One(connection))
            }
            Kind::Cluster { nodes, tls } => {
                let client = cluster(nodes, tls, answers_within(place), hear)?;
                let connection = client.get_async_connection().await?;
                Ok(Self::Cluster(Box::new(connection)))
            }
        }
    }

    /// Goes on with those nodes of a known cluster that answer: the others may be back, or have
    /// successors, before anybody asks for their keys.
    async fn go_on_with_some(&mut self, place: &Place, channel: &str) -> Result<(), BackendError> {
        let mut ask = Cmd::new();
        ask.arg("INFO").arg("server");
        let one = ResponsePolicy::OneSucceeded;
        self.send_to_masters(&ask, Some(one))
            .await
            .map_err(|error| fault::no_connection(place, &error))?;
        // Messages come over one node; until it is back, those who wait ask by themselves.
        self.listen(channel).await;
        Ok(())
    }

    /// Subscribes, if the node that says it answers. Whether it does.
    pub(super) async fn listen(&mut self, channel: &str) -> bool {
        let subscribed = tokio::time::timeout(NODE_CONNECTS_WITHIN, self.subscribe(channel)).await;
        matches!(subscribed, Ok(Ok(())))
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
        self.send_to_masters(request, None).await
    }

    async fn send_to_masters(
        &mut self,
        request: &Cmd,
        policy: Option<ResponsePolicy>,
    ) -> RedisResult<Value> {
        match self {
            Self::Cluster(connection) => {
                let masters = MultipleNodeRoutingInfo::AllMasters;
                let everywhere = RoutingInfo::MultiNode((masters, policy));
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

/// A request that waits for replicas holds up those behind it.
fn answers_within(place: &Place) -> Duration {
    let replicas = place.options.replicas;
    ANSWERS_WITHIN + replicas.map_or(Duration::ZERO, |(_, within)| within)
}

fn cluster(
    nodes: &[redis::ConnectionInfo],
    tls: &Tls,
    answers_within: Duration,
    hear: impl Fn(PushInfo) -> Result<(), ()> + Send + Sync + 'static,
) -> RedisResult<ClusterClient> {
    let builder = ClusterClient::builder(nodes.iter().cloned())
        .use_protocol(ProtocolVersion::RESP3)
        .connection_timeout(NODE_CONNECTS_WITHIN)
        .response_timeout(answers_within)
        .overall_response_timeout(Some(answers_within + CLUSTER_TAKES_LONGER))
        .retries(CLUSTER_TRIES)
        .min_retry_wait(CLUSTER_PAUSES.start)
        .max_retry_wait(CLUSTER_PAUSES.end)
        .tcp_settings(tcp())
        .push_sender(hear);
    tls.secure(builder).build()
}
