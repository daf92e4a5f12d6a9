//! The embedded broker: so that one machine needs nothing installed.
//!
//! The mqtt5 crate is young; this is the only file that knows it. It listens on
//! loopback only (the configuration sees to that) and stores nothing: to Wadi a
//! broker is a hint.
use std::net::SocketAddr;

use mqtt5::broker::{BrokerConfig, MqttBroker};
use wadi_protocol::limits::MESSAGE_BYTES_MAX;

/// Gateways, the hub itself, and whoever looks.
const CLIENTS_MAX: usize = 2_000;
/// Messages that wait for one slow client before the broker drops them; rounds ask again.
const CLIENT_QUEUE_MESSAGES_MAX: usize = 1_000;

/// The embedded broker could not start or ended.
#[derive(Debug, thiserror::Error)]
#[error("embedded broker on {listen}: {reason}")]
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
    pub async fn start(listen: SocketAddr) -> Result<Embedded, BrokerError> {
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
        config.auth_config.allow_anonymous = true;
        config.storage_config.enable_persistence = false;
        let mut broker = MqttBroker::with_config(config).await.map_err(bad)?;
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
