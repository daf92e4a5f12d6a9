//! From a name to an open MQTT connection: resolve, connect, TLS, CONNECT,
//! SUBSCRIBE, each phase under its own deadline and with its own error.
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rumqttc::tokio_rustls::TlsConnector;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::error::{LinkError, Phase};
use super::packet::{self, Heard};
use super::{READ_BYTES, Target};
use crate::spending::{Purpose, Tap, Traffic};
use crate::words::plain;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
/// The next address is tried beside the one before after this: an IPv6 address
/// that leads nowhere must not use up the time of an IPv4 one that works.
const STAGGER: Duration = Duration::from_secs(1);

/// A question to the DNS and its answer, for each of two kinds of addresses; an estimate.
const RESOLVE_BYTES: Traffic = Traffic { up: 140, down: 260 };
/// An attempt at TCP that nobody answers: four SYNs within ten seconds.
const ATTEMPT_BYTES: Traffic = Traffic { up: 240, down: 0 };

/// Bytes both ways, plain or through TLS.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection on which both sides have agreed.
pub struct Wire {
    /// Bytes both ways.
    pub stream: Box<dyn Stream>,
    /// What came already, beyond the agreement.
    pub buffer: BytesMut,
    /// Our end.
    pub local: SocketAddr,
    /// The broker, for people.
    pub broker: String,
    /// Between pings.
    pub keep_alive: Duration,
    /// The largest packet that the broker takes.
    pub packet_bytes_max: usize,
}

/// All phases, one after the other.
pub async fn open(target: &Target, resolver: &mut Resolver) -> Result<Wire, LinkError> {
    target.meter.turn(Purpose::Connect);
    let addresses = resolver.resolve(target).await?;
    let tcp = connect(target, &addresses).await.inspect_err(|_| {
        target.meter.guess(Purpose::Connect, ATTEMPT_BYTES);
    })?;
    let ends = tcp.local_addr().and_then(|local| Ok((local, tcp.peer_addr()?)));
    let name = format!("{}:{}", target.host, target.port);
    let (local, peer) = ends.map_err(|error| LinkError::connect(&name, error))?;
    let broker = match target.host.parse::<IpAddr>() {
        Ok(_) => peer.to_string(),
        Err(_) => format!("{name} ({})", peer.ip()),
    };
    // Small messages must not wait for each other's acknowledgement.
    let _ = tcp.set_nodelay(true);
    let tap = Tap::new(tcp, &target.meter);
    let stream: Box<dyn Stream> = match &target.tls {
        None => Box::new(tap),
        Some(config) => Box::new(handshake(target, config, tap, &broker).await?),
    };
    let keep_alive = target.keep_alive;
    let buffer = BytesMut::new();
    let packet_bytes_max = packet::PACKET_BYTES_MAX;
    let mut wire = Wire { stream, buffer, local, broker, keep_alive, packet_bytes_max };
    introduce(target, &mut wire).await?;
    target.meter.turn(Purpose::Protocol);
    Ok(wire)
}

/// TCP to whichever of the addresses answers first.
async fn connect(target: &Target, addresses: &[SocketAddr]) -> Result<TcpStream, LinkError> {
    let start = Instant::now();
    let mut attempts = JoinSet::new();
    for (place, &address) in addresses.iter().take(ADDRESSES_MAX).enumerate() {
        attempts.spawn(async move {
            sleep_until(start + STAGGER * place as u32).await;
            TcpStream::connect(address).await.map_err(|error| (address, error))
        });
    }
    let mut failed = Vec::new();
    let first = async {
        while let Some(ended) = attempts.join_next().await {
            match ended {
                Ok(Ok(tcp)) => return Some(tcp),
                Ok(Err((address, error))) => failed.push(format!("{address}: {}", plain(&error))),
                Err(_) => {}
            }
        }
        None
    };
    let deadline = target.deadlines.connect;
    let name = format!("{}:{}", target.host, target.port);
    match timeout(deadline, first).await {
        Ok(Some(tcp)) => Ok(tcp),
        Ok(None) => Err(LinkError::connect(&name, failed.join(", "))),
        Err(_) => {
            failed.push(format!("no answer within {} ms", deadline.as_millis()));
            Err(LinkError::connect(&name, failed.join(", ")))
        }
    }
}

async fn handshake(
    target: &Target,
    config: &Arc<rustls::ClientConfig>,
    tcp: Tap,
    broker: &str,
) -> Result<impl Stream + 'static, LinkError> {
    let name =
        ServerName::try_from(target.host.clone()).map_err(|error| LinkError::tls(broker, error))?;
    let deadline = target.deadlines.tls;
    match timeout(deadline, TlsConnector::from(config.clone()).connect(name, tcp)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(LinkError::tls(broker, plain(&error))),
        Err(_) => {
            let late =
                format!("it did not finish the handshake within {} ms", deadline.as_millis());
            Err(LinkError::tls(broker, late))
        }
    }
}

/// CONNECT and SUBSCRIBE. Both go at once: that is one packet and one turn less, and a
/// broker that refuses the one does not look at the other.
async fn introduce(target: &Target, wire: &mut Wire) -> Result<(), LinkError> {
    let mut out = BytesMut::new();
    packet::connect(&mut out, &target.client, target.keep_alive.as_secs() as u16);
    packet::subscribe(&mut out, &target.listen);
    let deadline = target.deadlines.connack;
    let late = "accepted the connection but gave no CONNACK";
    match answer(target, wire, Phase::Mqtt, &out, deadline, late).await? {
        Heard::Connack { code: 0, keep_alive_s, packet_bytes_max } => {
            // Zero means that the broker does not care how often we ping.
            let theirs = keep_alive_s.filter(|&seconds| seconds > 0);
            wire.keep_alive = theirs.map_or(target.keep_alive, |s| Duration::from_secs(s.into()));
            if let Some(bytes) = packet_bytes_max {
                wire.packet_bytes_max = wire.packet_bytes_max.min(bytes as usize);
            }
        }
        Heard::Connack { code, .. } => {
            return Err(LinkError::reason(Phase::Mqtt, &wire.broker, "refuses us", code));
        }
        heard => return Err(unexpected(Phase::Mqtt, &wire.broker, &heard, "CONNACK")),
    }
    let (deadline, late) = (target.deadlines.suback, "gave no SUBACK");
    match answer(target, wire, Phase::Subscribe, &[], deadline, late).await? {
        Heard::Suback { code } if code < 0x80 => Ok(()),
        Heard::Suback { code } => {
            let did = format!("refuses the topic {}", target.listen);
            Err(LinkError::reason(Phase::Subscribe, &wire.broker, &did, code))
        }
        heard => Err(unexpected(Phase::Subscribe, &wire.broker, &heard, "SUBACK")),
    }
}

fn unexpected(phase: Phase, broker: &str, heard: &Heard, wanted: &str) -> LinkError {
    match heard {
        Heard::Disconnect { code } => {
            LinkError::reason(phase, broker, "ended the connection", *code)
        }
        Heard::Message(_) => {
            LinkError::strange(phase, broker, format!("a message before {wanted}"))
        }
        _ => LinkError::strange(phase, broker, format!("another packet instead of {wanted}")),
    }
}

/// Say something, if there is anything to say, and hear the next packet that comes.
async fn answer(
    target: &Target,
    wire: &mut Wire,
    phase: Phase,
    out: &[u8],
    deadline: Duration,
    late: &str,
) -> Result<Heard, LinkError> {
    let broker = wire.broker.clone();
    let lost = |error: io::Error| LinkError::lost(phase, &broker, plain(&error));
    let exchange = async {
        wire.stream.write_all(out).await.map_err(lost)?;
        wire.stream.flush().await.map_err(lost)?;
        loop {
            match packet::take(&mut wire.buffer, &target.listen) {
                Ok(Some(heard)) => return Ok(heard),
                Ok(None) => {}
                Err(strange) => return Err(LinkError::strange(phase, &broker, strange)),
            }
            wire.buffer.reserve(READ_BYTES);
            if wire.stream.read_buf(&mut wire.buffer).await.map_err(lost)? == 0 {
                return Err(LinkError::lost(phase, &broker, "the broker closed it"));
            }
        }
    };
    let ended = timeout(deadline, exchange).await;
    ended.unwrap_or_else(|_| Err(LinkError::late(phase, &broker, late, deadline)))
}

/// Finds addresses. The system's resolver blocks and cannot be stopped, so it runs
/// on a thread of its own, never more than one: an attempt that finds the one
/// before still asking waits for its answer.
#[derive(Default)]
pub struct Resolver {
    asking: Option<oneshot::Receiver<io::Result<Vec<SocketAddr>>>>,
}

impl Resolver {
    async fn resolve(&mut self, target: &Target) -> Result<Vec<SocketAddr>, LinkError> {
        if let Ok(ip) = target.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, target.port)]);
        }
        // An answer that came after its question was given up is an old one.
        if let Some(asking) = &mut self.asking
            && !matches!(asking.try_recv(), Err(oneshot::error::TryRecvError::Empty))
        {
            self.asking = None;
        }
        let asking = match &mut self.asking {
            Some(asking) => asking,
            None => {
                if target.host != "localhost" {
                    target.meter.guess(Purpose::Connect, RESOLVE_BYTES);
                }
                let asked = ask(target.host.clone(), target.port);
                let asked = asked.map_err(|error| LinkError::resolve(&target.host, error))?;
                self.asking.insert(asked)
            }
        };
        let deadline = target.deadlines.resolve;
        let Ok(answer) = timeout(deadline, asking).await else {
            let late = format!("the DNS gave no answer within {} ms", deadline.as_millis());
            return Err(LinkError::resolve(&target.host, late));
        };
        self.asking = None;
        match answer {
            Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
            Ok(Ok(_)) => Err(LinkError::resolve(&target.host, "it has none")),
            Ok(Err(error)) => Err(LinkError::resolve(&target.host, plain(&error))),
            Err(_) => Err(LinkError::resolve(&target.host, "the resolver ended")),
        }
    }
}

/// Not tokio's blocking pool: the end of the process must not wait for a thread
/// of it that hangs.
fn ask(host: String, port: u16) -> io::Result<oneshot::Receiver<io::Result<Vec<SocketAddr>>>> {
    let (answer, asked) = oneshot::channel();
    std::thread::Builder::new().name("resolver".into()).spawn(move || {
        let found = (host.as_str(), port).to_socket_addrs();
        let _ = answer.send(found.map(Iterator::collect));
    })?;
    Ok(asked)
}
