//! The serving loop: messages in, answers out, and hints that there is news.
//!
//! The store has a thread of its own and takes one message at a time; answers
//! leave only after its commit. The hub keeps no timers about rounds. On a
//! store error the process ends and recovers from disk.
mod desk;
mod figures;
mod tags;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};
use wadi_protocol::backoff;
use wadi_protocol::id::GatewayId;
use wadi_protocol::tag::hex;

use self::desk::{Desk, now_s, work};
use crate::bridle::Bridle;
use crate::broker::{BrokerError, ELSEWHERE, Embedded};
use crate::config::{Broker, Config};
use crate::door::Door;
use crate::front::Front;
use crate::identity::{HUB_CLIENT, Identity};
use crate::live::{self, Counts, Sign};
use crate::mqtt::{Heard, Link, LinkError, Target};
use crate::service;
use crate::store::{Store, StoreError};
use crate::tls;

/// Messages from gateways that wait for the store; beyond it the broker waits.
const INBOX_MESSAGES_MAX: usize = 256;
/// Answers that wait for the link.
const OUTBOX_MESSAGES_MAX: usize = 1_024;
/// How long connecting to the broker may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// How long the store has to finish what it is at.
const STOP_PATIENCE: Duration = Duration::from_millis(1_500);
/// Milliseconds between attempts to reach the broker, least and most.
const RETRY_MS: (u64, u64) = (500, 15_000);

/// Serving ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The embedded broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The TLS listener.
    #[error("[embedded] listen {listen}: {error}; {ELSEWHERE}")]
    Listen {
        /// Where.
        listen: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// TLS could not be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The page of figures.
    #[error(transparent)]
    Figures(#[from] std::io::Error),
    /// The store's thread.
    #[error("the store's thread ended without a word")]
    Thread,
}

const DAY_S: u64 = 86_400;

/// A message to a gateway.
type Outgoing = (GatewayId, Vec<u8>);

/// The embedded broker and what stands before it.
struct OwnBroker {
    embedded: Embedded,
    door: Arc<Door>,
    /// Where gateways come in, if they come by TLS.
    _front: Option<Front>,
}

impl OwnBroker {
    async fn start(config: &Config, identity: &Identity) -> Result<OwnBroker, ServeError> {
        let listen = config.embedded.listen;
        let mut secret = [0; 16];
        getrandom::fill(&mut secret).map_err(|error| StoreError::Random(error.to_string()))?;
        let door = Arc::new(Door::new(hex(&secret), config.embedded.tls()));
        if !config.embedded.tls() {
            let embedded = Embedded::start(listen, door.clone()).await?;
            return Ok(OwnBroker { embedded, door, _front: None });
        }
        let inner = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let embedded = Embedded::start(inner, door.clone()).await?;
        let tls = tls::server(identity)?;
        let front = Front::start(listen, tls, embedded.address(), door.clone()).await;
        let front = front.map_err(|error| ServeError::Listen { listen, error })?;
        info!(phase = "link", listen = %front.address(), "gateways come in by TLS");
        Ok(OwnBroker { embedded, door, _front: Some(front) })
    }
}

/// How the hub itself reaches the broker.
fn target(
    config: &Config,
    identity: &Identity,
    own: Option<&OwnBroker>,
) -> Result<Target, ServeError> {
    let broker = match (&config.broker, own) {
        (Some(broker), _) => broker.clone(),
        (None, Some(own)) => {
            let address = own.embedded.address();
            Broker { host: address.ip().to_string(), port: address.port(), ..Broker::default() }
        }
        (None, None) => unreachable!("without a broker of one's own there is the embedded one"),
    };
    Ok(Target {
        tls: if broker.tls() { Some(tls::client(identity)?) } else { None },
        host: broker.host,
        port: broker.port,
        client: HUB_CLIENT.into(),
        keep_alive: Duration::from_secs(broker.keep_alive_s.into()),
        listen: "wadi/+/up".into(),
        deadline: CONNECT_DEADLINE,
        password: own.map(|own| own.door.hub_secret().to_owned()),
    })
}

/// Serve until `stop` completes.
pub async fn serve(
    config: &Config,
    store: Store,
    identity: Identity,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let served = live::hold(&config.database);
    if let Err(error) = &served {
        let file = config.database.display();
        warn!(phase = "start", %file, "lock file beside {file}: {error}");
    }
    let counts = Arc::new(Counts::default());
    let figures = figures::page(config, &counts).await?;
    let mut own = match &config.broker {
        Some(_) => None,
        None => Some(OwnBroker::start(config, &identity).await?),
    };
    let target = target(config, &identity, own.as_ref())?;
    let broker = match &own {
        Some(_) => format!("{} (its own)", config.embedded.listen),
        None => format!("{}:{}", target.host, target.port),
    };
    let mut sign = Sign::new(served.ok(), broker);
    let desk = Desk {
        identity,
        door: own.as_ref().map(|own| own.door.clone()),
        certificate_s: u64::from(config.certificate_days) * DAY_S,
        counts: Arc::clone(&counts),
    };
    let (inbox, messages) = sync_channel(INBOX_MESSAGES_MAX);
    let (answers, mut outbox) = mpsc::channel(OUTBOX_MESSAGES_MAX);
    let thread = std::thread::Builder::new().name("store".into());
    let (beat, beats) = watch::channel(0);
    let mut store_end = {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let run = move || drop(sender.send(work(store, &desk, &messages, &answers, &beat)));
        thread.spawn(run).map_err(|_| ServeError::Thread)?;
        receiver
    };
    let version = env!("CARGO_PKG_VERSION");
    info!(phase = "start", file = %config.database.display(), version, "running");
    service::ready("serving gateways");
    tokio::select! {
        () = stop => info!(phase = "stop", "stopping"),
        end = service::watchdog(async || lives(beats.clone()).await) => match end {},
        () = link_loop(&target, &inbox, &mut outbox, &counts, &mut sign) => {}
        () = figures => {}
        end = &mut store_end => return end.map_err(|_| ServeError::Thread)?.map_err(Into::into),
        error = embedded_end(own.as_mut()) => return Err(error.into()),
    }
    service::stopping();
    // The thread finishes what it is at, and ends with its inbox.
    drop((inbox, outbox));
    match tokio::time::timeout(STOP_PATIENCE, store_end).await {
        Ok(Ok(end)) => end.map_err(Into::into),
        _ => Ok(()),
    }
}

/// Returns when the store's thread has ended something: it looks around twice a
/// second, so it is not hung.
async fn lives(mut beats: watch::Receiver<u64>) {
    beats.mark_unchanged();
    if beats.changed().await.is_err() {
        // It ended; serving ends with it.
        std::future::pending().await
    }
}

async fn embedded_end(own: Option<&mut OwnBroker>) -> BrokerError {
    match own {
        Some(own) => own.embedded.ended().await,
        None => std::future::pending().await,
    }
}

async fn link_loop(
    target: &Target,
    inbox: &SyncSender<(GatewayId, Vec<u8>)>,
    outbox: &mut mpsc::Receiver<Outgoing>,
    counts: &Counts,
    sign: &mut Sign,
) {
    let mut wait_ms = 0;
    let broker = format!("{}:{}", target.host, target.port);
    let (away, stray) = (Bridle::default(), Bridle::default());
    loop {
        match Link::open(target).await {
            Ok(mut link) => {
                info!(phase = "link", broker, "serving");
                counts.connections.add(1);
                sign.connected(now_s());
                let wait_ms = &mut wait_ms;
                let Err(error) = relay(&mut link, inbox, outbox, counts, wait_ms, &stray).await;
                counts.disconnections.add(1);
                sign.disconnected(&error.to_string(), now_s());
                if let Some(unlogged) = away.may_log() {
                    warn!(phase = "link", broker, unlogged, "lost the broker: {error}");
                }
            }
            Err(error) => {
                let why = format!("{error}; {}", advice(target));
                sign.disconnected(&why, now_s());
                if let Some(unlogged) = away.may_log() {
                    warn!(phase = "link", broker, unlogged, "no broker: {why}");
                }
            }
        }
        let random = getrandom::u64().unwrap_or(0);
        wait_ms = backoff::next_ms(wait_ms, RETRY_MS.0, RETRY_MS.1, random);
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    }
}

/// What to look at where there is no connection.
fn advice(target: &Target) -> &'static str {
    match target.tls {
        Some(_) => "check that it runs and speaks TLS there, and host and port of [broker]",
        None => "check that it runs, and [broker]: if it speaks TLS, set tls = true there",
    }
}

async fn relay(
    link: &mut Link,
    inbox: &SyncSender<(GatewayId, Vec<u8>)>,
    outbox: &mut mpsc::Receiver<Outgoing>,
    counts: &Counts,
    wait_ms: &mut u64,
    bridle: &Bridle,
) -> Result<std::convert::Infallible, LinkError> {
    loop {
        tokio::select! {
            heard = link.next() => {
                let Heard { topic, message } = heard?;
                // Only now: a broker that lets us in and throws us out is to be tried calmly.
                *wait_ms = 0;
                counts.heard.add(1);
                counts.heard_bytes.add(message.len());
                let Some(gateway) = sender(&topic) else {
                    counts.stray.add(1);
                    if let Some(unlogged) = bridle.may_log() {
                        warn!(phase = "link", topic, unlogged, "not a gateway's topic");
                    }
                    continue;
                };
                // Full: the message is dropped, and the gateway asks again.
                if inbox.try_send((gateway, message)).is_err() {
                    counts.dropped.add(1);
                    debug!(phase = "session", gateway = gateway.0, "inbox full");
                }
            }
            Some((gateway, message)) = outbox.recv() => {
                counts.sent.add(1);
                counts.sent_bytes.add(message.len());
                link.send(&format!("wadi/{gateway}/down"), message).await?;
            }
        }
    }
}

/// The gateway of a topic `wadi/<number>/up`.
fn sender(topic: &str) -> Option<GatewayId> {
    let number = topic.strip_prefix("wadi/")?.strip_suffix("/up")?;
    number.parse().ok().map(GatewayId)
}
