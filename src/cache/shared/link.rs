//! How is Redis reached? Four kinds of place, one kind of connection.
//!
//! A connection carries everything, hints included: RESP3 lets messages arrive beside answers, so that a subscription
//! lives and dies with the connection that everything else uses. A connection of its own for hints lost: it could be
//! half open for hours while lookups go well.
//!
//! TLS believes the certificates that the system believes, as everywhere in this program.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, IntoConnectionInfo as _, ProtocolVersion, PushInfo, PushKind,
    RedisError, RedisResult, TlsMode,
    aio::MultiplexedConnection,
    cluster::{ClusterClient, ClusterConfig},
    cluster_async::ClusterConnection,
    cluster_routing::{RoutingInfo, SingleNodeRoutingInfo},
    sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType},
};
use tokio::time::timeout;

use crate::config::Place;

/// For one command, from before it is sent to its whole answer: 20 ms.
pub const COMMAND: Duration = Duration::from_millis(20);
/// For one connection, TLS and sign-in included: 250 ms.
pub const CONNECT: Duration = Duration::from_millis(250);
/// For a connection by way of others, Sentinels or nodes of a cluster, of which some may be away: 3 s.
const CONNECT_BY_OTHERS: Duration = Duration::from_secs(3);
/// How often a cluster's node may send a command on to another.
const REDIRECTS: u32 = 3;

/// Gets what arrives unasked.
pub type Pushed = Arc<dyn Fn(PushInfo) + Send + Sync>;

/// Makes connections.
pub enum Dialer {
    Single(Box<Client>),
    Sentinel(Box<SentinelClient>),
    Cluster(Box<ClusterClient>),
}

/// A connection, cheap to clone; all clones share one socket for each server.
#[derive(Clone)]
pub enum Connection {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Dialer {
    /// Of the settings.
    pub fn new(place: &Place) -> RedisResult<Self> {
        match place {
            Place::Single(url) => Client::open(resp3(url)?).map(|client| Self::Single(Box::new(client))),
            Place::Sentinel { sentinels, name, server } => sentinel(sentinels, name, server),
            Place::Cluster(nodes) => cluster(nodes),
        }
    }

    /// Connects. What is pushed goes to `pushed`, but for the end of a connection to one node of a cluster.
    pub async fn dial(&mut self, pushed: &Pushed) -> RedisResult<Connection> {
        let config = config(pushed);
        match self {
            Self::Single(client) => {
                let dialed = client.get_multiplexed_async_connection_with_config(&config);
                within(CONNECT, dialed).await.map(Connection::Server)
            }
            Self::Sentinel(client) => {
                let dialed = client.get_async_connection_with_config(&config);
                within(CONNECT_BY_OTHERS, dialed).await.map(Connection::Server)
            }
            Self::Cluster(client) => {
                let dialed = client.get_async_connection_with_config(nodes(pushed));
                within(CONNECT_BY_OTHERS, dialed).await.map(Connection::Cluster)
            }
        }
    }
}

fn config(pushed: &Pushed) -> AsyncConnectionConfig {
    let pushed = Arc::clone(pushed);
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT))
        // A backstop: `Connection::ask` waits for less.
        .set_response_timeout(Some(CONNECT))
        .set_push_sender(move |info: PushInfo| {
            pushed(info);
            Ok::<(), Infallible>(())
        })
}

fn nodes(pushed: &Pushed) -> ClusterConfig {
    let pushed = Arc::clone(pushed);
    let config = ClusterConfig::new().set_connection_timeout(CONNECT).set_response_timeout(CONNECT);
    config.set_push_sender(move |info: PushInfo| {
        if info.kind != PushKind::Disconnection {
            pushed(info);
        }
        Ok::<(), Infallible>(())
    })
}

fn resp3(url: &str) -> RedisResult<redis::ConnectionInfo> {
    let info = url.into_connection_info()?;
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Ok(info.set_redis_settings(settings))
}

fn sentinel(sentinels: &[String], name: &str, server: &str) -> RedisResult<Dialer> {
    let info = resp3(server)?;
    let mut node = SentinelNodeConnectionInfo::default().set_redis_connection_info(info.redis_settings().clone());
    if server.starts_with("rediss://") {
        node = node.set_tls_mode(TlsMode::Secure);
    }
    let sentinels = sentinels.iter().map(String::as_str).collect();
    SentinelClient::build(sentinels, name, Some(node), SentinelServerType::Master)
        .map(|client| Dialer::Sentinel(Box::new(client)))
}

fn cluster(nodes: &[String]) -> RedisResult<Dialer> {
    let builder = ClusterClient::builder(nodes.iter().map(String::as_str));
    let client = builder.use_protocol(ProtocolVersion::RESP3).retries(REDIRECTS).build()?;
    Ok(Dialer::Cluster(Box::new(client)))
}

async fn within<T>(limit: Duration, work: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(too_late()))
}

fn too_late() -> RedisError {
    io::Error::from(io::ErrorKind::TimedOut).into()
}

/// How a command went, as far as the connection is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Went {
    Well,
    /// Late, or refused.
    Badly,
    /// The connection is of no more use.
    Gone,
}

impl Connection {
    /// What an error means for the connection.
    pub fn went(&self, error: &RedisError) -> Went {
        // A server that became a replica takes no writes: Sentinel knows another one.
        let gone = error.is_connection_dropped() || error.code() == Some("READONLY");
        match self {
            Self::Server(_) if gone => Went::Gone,
            // A cluster mends the connection to one of its nodes itself, and the others are of use meanwhile.
            Self::Server(_) | Self::Cluster(_) => Went::Badly,
        }
    }
    /// One command and its answer, within the deadline. A late answer goes nowhere.
    pub async fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        match self {
            Self::Server(connection) => within(COMMAND, command.query_async(connection)).await,
            Self::Cluster(connection) => within(COMMAND, command.query_async(connection)).await,
        }
    }
    /// Asks whether anybody is there. Of a cluster any node will do: the others may have troubles of their own.
    pub async fn ping(&mut self) -> RedisResult<()> {
        let ping = redis::cmd("PING");
        match self {
            Self::Server(_) => self.ask(&ping).await,
            Self::Cluster(connection) => {
                let anybody = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
                within(COMMAND, connection.route_command(ping, anybody)).await.map(drop)
            }
        }
    }
    /// The same, when nobody else asked anything for a while: a server that does not answer then is connected to anew,
    /// because hints would not arrive either.
    pub async fn is_alive(&mut self) -> Went {
        match (self.ping().await, self) {
            (Ok(()), _) => Went::Well,
            (Err(_), Self::Server(_)) => Went::Gone,
            (Err(_), Self::Cluster(_)) => Went::Badly,
        }
    }
    /// Asks for what is published.
    pub async fn subscribe(&mut self, channel: &str) -> RedisResult<()> {
        match self {
            Self::Server(connection) => within(CONNECT, connection.subscribe(channel)).await,
            Self::Cluster(connection) => within(CONNECT, connection.subscribe(channel)).await,
        }
    }
}
