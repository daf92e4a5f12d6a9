//! The embedded broker: so that one machine needs nothing installed.
//!
//! The mqtt5 crate is young; this is the only file that knows it. It listens on
//! loopback only, behind the TLS front where gateways are elsewhere, and stores
//! nothing: to Wadi a broker is a hint. It asks the door about everybody.
use std::future::{Future, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use mqtt5::broker::auth::{AuthProvider, AuthResult};
use mqtt5::broker::{BrokerConfig, MqttBroker};
use mqtt5::packet::connect::ConnectPacket;
use mqtt5::protocol::v5::reason_codes::ReasonCode;
use wadi_protocol::limits::MESSAGE_BYTES_MAX;

use crate::bridle::Bridle;
use crate::door::{Denied, Door};

/// Gateways, the hub itself, and whoever looks.
const CLIENTS_MAX: usize = 2_000;
/// Messages that wait for one slow client before the broker drops them; rounds ask again.
const CLIENT_QUEUE_MESSAGES_MAX: usize = 1_000;

/// What to do where an address cannot be had.
pub const ELSEWHERE: &str =
    "give another address in [embedded] listen, or end the program that has this one";

/// The embedded broker could not start or ended.
#[derive(Debug, thiserror::Error)]
#[error("embedded broker on {listen}: {reason}; {ELSEWHERE}")]
pub struct BrokerError {
    listen: SocketAddr,
    reason: String,
}

/// A running embedded broker; it ends when this is dropped.
pub struct Embedded {
    task: tokio::task::JoinHandle<Result<(), BrokerError>>,
    address: SocketAddr,
}

impl Embedded {
    /// Bind and run.
    pub async fn start(listen: SocketAddr, door: Arc<Door>) -> Result<Embedded, BrokerError> {
        let bad = move |error: mqtt5::MqttError| BrokerError { listen, reason: error.to_string() };
        let mut config = BrokerConfig {
            bind_addresses: vec![listen],
            max_clients: CLIENTS_MAX,
            max_packet_size: MESSAGE_BYTES_MAX + 512,
            maximum_qos: 1,
            retain_available: false,
            client_channel_capacity: CLIENT_QUEUE_MESSAGES_MAX,
            sys_topics_enabled: false,
            ..BrokerConfig::default()
        };
        // Nobody is anonymous to the doorkeeper below; this says only that there is no password file.
        config.auth_config.allow_anonymous = true;
        config.storage_config.enable_persistence = false;
        let broker = MqttBroker::with_config(config).await.map_err(bad)?;
        let mut broker = broker.with_auth_provider(Arc::new(Doorkeeper(door, Bridle::default())));
        let address = broker.local_addr().unwrap_or(listen);
        let task = tokio::spawn(async move { broker.run().await.map_err(bad) });
        Ok(Embedded { task, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the broker's end, which is always an error.
    pub async fn ended(&mut self) -> BrokerError {
        let listen = self.address;
        match (&mut self.task).await {
            Ok(Err(error)) => error,
            Ok(Ok(())) => BrokerError { listen, reason: "it stopped".into() },
            Err(error) => BrokerError { listen, reason: error.to_string() },
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Asks the door for the broker.
struct Doorkeeper(Arc<Door>, Bridle);

type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl AuthProvider for Doorkeeper {
    fn authenticate<'a>(
        &'a self,
        connect: &'a ConnectPacket,
        from: SocketAddr,
    ) -> Answer<'a, mqtt5::Result<AuthResult>> {
        let Doorkeeper(door, bridle) = self;
        let verdict = door.may_connect(from, &connect.client_id, connect.password.as_deref());
        // A last will would be published in our name, unasked.
        let result = match (verdict, &connect.will) {
            (Ok(()), None) => AuthResult::success_with_user(connect.client_id.clone()),
            (Ok(()), Some(_)) => AuthResult::fail(ReasonCode::NotAuthorized),
            (Err(denied), _) => {
                if let Some(unlogged) = bridle.may_log() {
                    let client = &connect.client_id;
                    tracing::warn!(phase = "link", client, peer = %from, ?denied, unlogged, "denied");
                }
                AuthResult::fail(match denied {
                    Denied::Client => ReasonCode::ClientIdentifierNotValid,
                    Denied::NotYou | Denied::NotEnrolled => ReasonCode::NotAuthorized,
                })
            }
        };
        Box::pin(ready(Ok(result)))
    }

    fn authorize_publish<'a>(
        &'a self,
        client: &str,
        _user: Option<&'a str>,
        topic: &'a str,
    ) -> Answer<'a, bool> {
        Box::pin(ready(self.0.may_publish(client, topic)))
    }

    fn authorize_subscribe<'a>(
        &'a self,
        client: &str,
        _user: Option<&'a str>,
        filter: &'a str,
    ) -> Answer<'a, bool> {
        Box::pin(ready(self.0.may_subscribe(client, filter)))
    }
}
