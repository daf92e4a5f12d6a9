//! One MQTT connection of the hub, from connect to its first error.
//!
//! The broker is a hint, not a store: QoS 0, clean start, no session, nothing
//! resumed; gateways ask again for whatever did not get through. A new
//! client is made for every connection, since rumqttc keeps what was in flight
//! and can spin on it. This is the only file that knows rumqttc.
use std::sync::Arc;
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use rumqttc::{TlsConfiguration, Transport};
use rustls::ClientConfig;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use wadi_protocol::limits::MESSAGE_BYTES_MAX;

/// Messages waiting to be written, and events waiting to be read.
const QUEUE_MESSAGES_MAX: usize = 256;
/// A topic, its length and the fixed header beside a message.
const PACKET_OVERHEAD_BYTES: u32 = 512;

/// A connection could not be made or was lost.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LinkError(String);

/// Where and as whom to connect.
#[derive(Clone)]
pub struct Target {
    /// The broker's host.
    pub host: String,
    /// The broker's port.
    pub port: u16,
    /// The client id.
    pub client: String,
    /// Between pings.
    pub keep_alive: Duration,
    /// The topic to listen to.
    pub listen: String,
    /// How long connecting and subscribing may take, and handing over a message.
    pub deadline: Duration,
    /// What TLS to speak; none = none.
    pub tls: Option<Arc<ClientConfig>>,
    /// What the embedded broker knows the hub by.
    pub password: Option<String>,
}

/// A message and where it came from.
pub struct Heard {
    /// The topic.
    pub topic: String,
    /// The message.
    pub message: Vec<u8>,
}

/// An open connection that listens to its topic.
pub struct Link {
    client: AsyncClient,
    incoming: mpsc::Receiver<Result<Heard, LinkError>>,
    driver: JoinHandle<()>,
    deadline: Duration,
}

impl Link {
    /// Connect and subscribe.
    pub async fn open(target: &Target) -> Result<Link, LinkError> {
        let mut options = MqttOptions::new(&target.client, &target.host, target.port);
        options
            .set_keep_alive(target.keep_alive)
            .set_clean_start(true)
            .set_connection_timeout(target.deadline.as_secs().max(1))
            .set_max_packet_size(Some(MESSAGE_BYTES_MAX as u32 + PACKET_OVERHEAD_BYTES))
            .set_outgoing_inflight_upper_limit(100);
        if let Some(tls) = &target.tls {
            let tls = TlsConfiguration::Rustls(tls.clone());
            options.set_transport(Transport::tls_with_config(tls));
        }
        if let Some(password) = &target.password {
            options.set_credentials(&target.client, password);
        }
        let (client, mut events) = AsyncClient::new(options, QUEUE_MESSAGES_MAX);
        tokio::time::timeout(target.deadline, subscribe(&client, &mut events, &target.listen))
            .await
            .map_err(|_| LinkError("the broker does not answer".into()))??;
        let (sender, incoming) = mpsc::channel(QUEUE_MESSAGES_MAX);
        let driver = tokio::spawn(drive(events, sender));
        Ok(Link { client, incoming, driver, deadline: target.deadline })
    }

    /// Queue a message; waits while the queue is full, within the deadline: a socket
    /// that takes nothing blocks rumqttc's loop, and its pings with it.
    pub async fn send(&self, topic: &str, message: Vec<u8>) -> Result<(), LinkError> {
        let sending = self.client.publish(topic, QoS::AtMostOnce, false, message);
        tokio::time::timeout(self.deadline, sending)
            .await
            .map_err(|_| LinkError("the broker takes no messages".into()))?
            .map_err(|error| LinkError(error.to_string()))
    }

    /// The next message, or why the connection ended.
    pub async fn next(&mut self) -> Result<Heard, LinkError> {
        match self.incoming.recv().await {
            Some(heard) => heard,
            None => Err(LinkError("the connection ended".into())),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn subscribe(
    client: &AsyncClient,
    events: &mut EventLoop,
    topic: &str,
) -> Result<(), LinkError> {
    client.subscribe(topic, QoS::AtMostOnce).await.map_err(|error| LinkError(error.to_string()))?;
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::SubAck(ack))) => {
                return match ack.return_codes.as_slice() {
                    [SubscribeReasonCode::Success(_)] => Ok(()),
                    codes => Err(LinkError(format!("the broker refuses {topic}: {codes:?}"))),
                };
            }
            Ok(_) => {}
            Err(error) => return Err(LinkError(error.to_string())),
        }
    }
}

/// Keeps the event loop turning until the first error: rumqttc would connect
/// again by itself, without backoff and with what it held.
async fn drive(mut events: EventLoop, sender: mpsc::Sender<Result<Heard, LinkError>>) {
    loop {
        let heard = match events.poll().await {
            // We allow no aliases, and rumqttc would keep every one of them.
            Ok(Event::Incoming(Packet::Publish(publish)))
                if publish.properties.as_ref().is_some_and(|all| all.topic_alias.is_some()) =>
            {
                Err(LinkError("the broker uses topic aliases that we did not allow".into()))
            }
            Ok(Event::Incoming(Packet::Publish(publish))) => Ok(Heard {
                topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                message: publish.payload.to_vec(),
            }),
            Ok(Event::Incoming(Packet::Disconnect(disconnect))) => {
                Err(LinkError(format!("the broker ended it: {:?}", disconnect.reason_code)))
            }
            Ok(_) => continue,
            Err(error) => Err(LinkError(error.to_string())),
        };
        let ended = heard.is_err();
        if sender.send(heard).await.is_err() || ended {
            return;
        }
    }
}
