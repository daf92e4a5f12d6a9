//! One MQTT connection of the gateway, from connect to its first error.
//!
//! The broker is a hint, not a store: QoS 0, clean start, no session, nothing
//! resumed; whatever did not get through is asked again from the outbox. The
//! connection is driven here and not by rumqttc's event loop: that has one
//! deadline for all phases, connects again by itself, pings beside traffic,
//! can spin on lost sessions and lets a broker fill its memory with topic
//! aliases. Its packets are used. Only this file and its folder know rumqttc.
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

mod connect;
mod error;
pub mod packet;
mod reason;

use connect::{Stream, Wire};
use packet::Heard;

use crate::carrier::Carrier;
use crate::patience::{Deadlines, at};
use crate::spending::{Meter, Purpose};
use crate::words::plain;
pub use connect::Resolver;
pub use error::{LinkError, Phase};

/// Messages waiting to be written, and messages waiting to be read.
const QUEUE_MESSAGES_MAX: usize = 64;
/// Bytes read at once.
const READ_BYTES: usize = 4 * 1024;

/// Where and as whom to connect.
#[derive(Clone)]
pub struct Target {
    /// The broker's host.
    pub host: String,
    /// The broker's port.
    pub port: u16,
    /// The client id.
    pub client: String,
    /// What is known of the carrier: when to ping.
    pub carrier: Carrier,
    /// Counts what the connection costs.
    pub meter: Meter,
    /// The broker gives a silent gateway up half as long again after this.
    pub keep_alive: Duration,
    /// The topic to listen to.
    pub listen: String,
    /// How long each phase may take.
    pub deadlines: Deadlines,
    /// TLS with this configuration; none = in the clear.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

type Sender = mpsc::Sender<Result<Vec<u8>, LinkError>>;

/// What the driver is asked to do.
enum Order {
    Publish(String, Vec<u8>),
    Probe,
}

/// An open connection that listens to its topic.
pub struct Link {
    orders: mpsc::Sender<Order>,
    incoming: mpsc::Receiver<Result<Vec<u8>, LinkError>>,
    driver: JoinHandle<()>,
    local: SocketAddr,
    broker: String,
    packet_bytes_max: usize,
    send: Duration,
}

impl Link {
    /// Connect and subscribe.
    pub async fn open(target: &Target, resolver: &mut Resolver) -> Result<Link, LinkError> {
        let wire = connect::open(target, resolver).await?;
        let (orders, ordered) = mpsc::channel(QUEUE_MESSAGES_MAX);
        let (sender, incoming) = mpsc::channel(QUEUE_MESSAGES_MAX);
        let (local, broker) = (wire.local, wire.broker.clone());
        let packet_bytes_max = wire.packet_bytes_max;
        let driver = Driver::new(wire, target);
        let driver = tokio::spawn(driver.run(ordered, sender));
        let send = target.deadlines.send;
        Ok(Link { orders, incoming, driver, local, broker, packet_bytes_max, send })
    }

    /// The broker, for people.
    pub fn broker(&self) -> &str {
        &self.broker
    }

    /// Hand messages over; all of them within the deadline for sending.
    pub async fn send(&self, topic: &str, messages: Vec<Vec<u8>>) -> Result<(), LinkError> {
        let all = async {
            for message in messages {
                let len = message.len() + topic.len() + 8;
                if len > self.packet_bytes_max {
                    let did = format!("takes at most {} bytes", self.packet_bytes_max);
                    return Err(LinkError::reason(Phase::Session, &self.broker, &did, 0x95));
                }
                // A driver that is gone says why through `next`.
                let _ = self.orders.send(Order::Publish(topic.into(), message)).await;
            }
            Ok(())
        };
        let late = || LinkError::late(Phase::Session, &self.broker, "took no message", self.send);
        timeout(self.send, all).await.unwrap_or_else(|_| Err(late()))
    }

    /// Find out soon whether the connection still carries anything: if nothing
    /// comes back it ends with an error.
    pub fn probe(&self) {
        // With a full queue something is being sent, which has its own deadline.
        let _ = self.orders.try_send(Order::Probe);
    }

    /// Whether the address that the connection uses still is one of this machine's.
    pub fn check_address(&self) -> Result<(), LinkError> {
        let mut address = self.local;
        address.set_port(0);
        UdpSocket::bind(address).map(|_| ()).map_err(|_| {
            let gone = format!("the address {} of this machine is gone", address.ip());
            LinkError::lost(Phase::Session, &self.broker, gone)
        })
    }

    /// End it, and whatever it counts.
    pub async fn close(mut self) {
        self.driver.abort();
        let _ = (&mut self.driver).await;
    }

    /// The next message, or why the connection ended.
    pub async fn next(&mut self) -> Result<Vec<u8>, LinkError> {
        match self.incoming.recv().await {
            Some(heard) => heard,
            None => Err(LinkError::lost(Phase::Session, &self.broker, "its driver ended")),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Moves bytes and minds the times of one connection.
struct Driver {
    reader: ReadHalf<Box<dyn Stream>>,
    writer: WriteHalf<Box<dyn Stream>>,
    broker: String,
    topic: String,
    deadlines: Deadlines,
    carrier: Carrier,
    meter: Meter,
    /// The broker wants to hear of us within this.
    keep_alive: Duration,
    /// When anything was said or heard last.
    last: Instant,
    buffer: BytesMut,
    /// What waits for the socket: one message at most, and pings.
    out: BytesMut,
    /// A message that waits for room in the queue; nothing is read meanwhile.
    ready: Option<Vec<u8>>,
    /// When a ping is due: nothing was sent for so long.
    ping_at: Instant,
    /// When something must have come after a ping.
    pong_by: Option<Instant>,
    /// When the socket must have taken something; none = it has taken everything.
    stuck_by: Option<Instant>,
}

impl Driver {
    fn new(wire: Wire, target: &Target) -> Driver {
        let (reader, writer) = tokio::io::split(wire.stream);
        Driver {
            reader,
            writer,
            broker: wire.broker,
            topic: target.listen.clone(),
            deadlines: target.deadlines,
            ping_at: Instant::now() + wire.keep_alive.min(target.carrier.interval()),
            carrier: target.carrier.clone(),
            meter: target.meter.clone(),
            keep_alive: wire.keep_alive,
            last: Instant::now(),
            buffer: wire.buffer,
            out: BytesMut::new(),
            ready: None,
            pong_by: None,
            stuck_by: None,
        }
    }

    async fn run(mut self, mut orders: mpsc::Receiver<Order>, sender: Sender) {
        if let Err(error) = self.drive(&mut orders, &sender).await {
            let _ = sender.send(Err(error)).await;
        }
    }

    /// Both directions at once: a broker that does not read must not keep us from
    /// reading, nor one that floods from writing.
    async fn drive(
        &mut self,
        orders: &mut mpsc::Receiver<Order>,
        sender: &Sender,
    ) -> Result<(), LinkError> {
        loop {
            self.sort()?;
            tokio::select! {
                // One at a time: what goes into one record of TLS is lost together, where
                // the link is cut before the record's last byte.
                order = orders.recv(), if self.out.is_empty() => match order {
                    Some(order) => self.obey(order),
                    None => return Ok(()),
                },
                room = sender.reserve(), if self.ready.is_some() => {
                    let (Ok(room), Some(message)) = (room, self.ready.take()) else {
                        return Ok(());
                    };
                    room.send(Ok(message));
                }
                read = self.reader.read_buf(&mut self.buffer), if self.ready.is_none() => {
                    if read.map_err(|error| self.lost(plain(&error)))? == 0 {
                        return Err(self.lost("the broker closed it"));
                    }
                    self.pong_by = None;
                    self.carrier.heard();
                    self.last = Instant::now();
                }
                flushed = push(&mut self.writer, &mut self.out), if self.stuck_by.is_some() => {
                    let flushed = flushed.map_err(|error| self.lost(plain(&error)))?;
                    self.stuck_by = (!flushed).then(|| Instant::now() + self.deadlines.send);
                }
                () = sleep_until(self.ping_at) => {
                    self.carrier.said(self.last.elapsed());
                    self.ping(self.deadlines.ping);
                }
                () = at(self.pong_by) => {
                    return Err(self.lost("nothing comes back any more, not even to a ping"));
                }
                () = at(self.stuck_by) => {
                    let waited = self.deadlines.send;
                    return Err(LinkError::late(Phase::Session, &self.broker, "took no bytes", waited));
                }
            }
        }
    }

    /// What has come, up to the first message.
    fn sort(&mut self) -> Result<(), LinkError> {
        while self.ready.is_none() {
            match packet::take(&mut self.buffer, &self.topic) {
                Ok(Some(Heard::Message(message))) => {
                    self.meter.turn(Purpose::Protocol);
                    self.ready = Some(message);
                }
                Ok(Some(Heard::Pong)) => {}
                Ok(Some(Heard::Disconnect { code })) => {
                    let did = "ended the connection";
                    return Err(LinkError::reason(Phase::Session, &self.broker, did, code));
                }
                Ok(Some(Heard::Connack { .. } | Heard::Suback { .. })) => {
                    let why = "it answers what was not asked";
                    return Err(LinkError::strange(Phase::Session, &self.broker, why));
                }
                Ok(None) => {
                    self.buffer.reserve(READ_BYTES);
                    return Ok(());
                }
                Err(why) => return Err(LinkError::strange(Phase::Session, &self.broker, why)),
            }
        }
        Ok(())
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Publish(topic, message) => {
                self.carrier.said(self.last.elapsed());
                self.meter.turn(Purpose::Protocol);
                packet::publish(&mut self.out, &topic, message);
                self.sending();
            }
            Order::Probe => self.ping(self.deadlines.probe),
        }
    }

    fn ping(&mut self, patience: Duration) {
        self.meter.turn(Purpose::Idle);
        packet::ping(&mut self.out);
        let by = Instant::now() + patience;
        self.pong_by = Some(self.pong_by.map_or(by, |other| other.min(by)));
        self.sending();
    }

    fn sending(&mut self) {
        self.last = Instant::now();
        self.ping_at = self.last + self.keep_alive.min(self.carrier.interval());
        self.stuck_by.get_or_insert(Instant::now() + self.deadlines.send);
    }

    fn lost(&self, why: impl std::fmt::Display) -> LinkError {
        LinkError::lost(Phase::Session, &self.broker, why)
    }
}

/// One stretch of bytes into the stream, or what it holds back on its way; true
/// when nothing is left of either.
async fn push(writer: &mut (impl AsyncWrite + Unpin), out: &mut BytesMut) -> io::Result<bool> {
    if out.is_empty() {
        writer.flush().await?;
        return Ok(true);
    }
    match writer.write_buf(out).await? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        _ => Ok(false),
    }
}
