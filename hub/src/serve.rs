//! The serving loop: messages in, answers out, and hints that there is news.
//!
//! The store has a thread of its own and takes one message at a time; answers
//! leave only after its commit. The hub keeps no timers about rounds. On a
//! store error the process ends and recovers from disk.
use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tracing::{debug, info, warn};
use wadi_protocol::backoff;
use wadi_protocol::id::{GatewayId, RunId};
use wadi_protocol::wire::message::{self, Down, DownBody, Up};

use crate::broker::{BrokerError, Embedded};
use crate::config::{Broker, Config};
use crate::mqtt::{Heard, Link, LinkError, Target};
use crate::store::{Store, StoreError};

/// Messages from gateways that wait for the store; beyond it the broker waits.
const INBOX_MESSAGES_MAX: usize = 256;
/// Answers that wait for the link.
const OUTBOX_MESSAGES_MAX: usize = 1_024;
/// How often the store looks for what other processes (the command line) wrote.
const LOOK: Duration = Duration::from_millis(500);
/// A gateway that has been told of news and has not come is told again after this.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// How long connecting to the broker may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
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
    /// The store's thread.
    #[error("the store's thread ended without a word")]
    Thread,
}

/// A message to a gateway.
type Outgoing = (GatewayId, Vec<u8>);

/// Serve until `stop` completes.
pub async fn serve(
    config: &Config,
    store: Store,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let mut embedded = match &config.broker {
        Some(_) => None,
        None => Some(Embedded::start(config.embedded.listen).await?),
    };
    let broker = config.broker.clone().unwrap_or_else(|| {
        let address = embedded.as_ref().expect("started above").address();
        Broker { host: address.ip().to_string(), port: address.port(), ..Broker::default() }
    });
    let (inbox, messages) = sync_channel(INBOX_MESSAGES_MAX);
    let (answers, mut outbox) = mpsc::channel(OUTBOX_MESSAGES_MAX);
    let thread = std::thread::Builder::new().name("store".into());
    let mut store_end = {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let run = move || drop(sender.send(work(store, &messages, &answers)));
        thread.spawn(run).map_err(|_| ServeError::Thread)?;
        receiver
    };
    tokio::select! {
        () = stop => info!("stopping"),
        () = link_loop(&broker, &inbox, &mut outbox) => {}
        end = &mut store_end => return end.map_err(|_| ServeError::Thread)?.map_err(Into::into),
        error = embedded_end(embedded.as_mut()) => return Err(error.into()),
    }
    // The thread finishes what it is at, and ends with its inbox.
    drop((inbox, outbox));
    match tokio::time::timeout(Duration::from_secs(2), store_end).await {
        Ok(Ok(end)) => end.map_err(Into::into),
        _ => Ok(()),
    }
}

async fn embedded_end(embedded: Option<&mut Embedded>) -> BrokerError {
    match embedded {
        Some(embedded) => embedded.ended().await,
        None => std::future::pending().await,
    }
}

async fn link_loop(
    broker: &Broker,
    inbox: &SyncSender<(GatewayId, Vec<u8>)>,
    outbox: &mut mpsc::Receiver<Outgoing>,
) {
    let target = Target {
        host: broker.host.clone(),
        port: broker.port,
        client: "wadi-hub".into(),
        keep_alive: Duration::from_secs(broker.keep_alive_s.into()),
        listen: "wadi/+/up".into(),
        deadline: CONNECT_DEADLINE,
    };
    let mut wait_ms = 0;
    loop {
        match Link::open(&target).await {
            Ok(mut link) => {
                info!(phase = "link", host = target.host, port = target.port, "serving");
                wait_ms = 0;
                let Err(error) = relay(&mut link, inbox, outbox).await;
                warn!(phase = "link", "lost the broker: {error}");
            }
            Err(error) => {
                warn!(phase = "link", host = target.host, port = target.port, "no broker: {error}")
            }
        }
        let random = getrandom::u64().unwrap_or(0);
        wait_ms = backoff::next_ms(wait_ms, RETRY_MS.0, RETRY_MS.1, random);
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    }
}

async fn relay(
    link: &mut Link,
    inbox: &SyncSender<(GatewayId, Vec<u8>)>,
    outbox: &mut mpsc::Receiver<Outgoing>,
) -> Result<std::convert::Infallible, LinkError> {
    loop {
        tokio::select! {
            heard = link.next() => {
                let Heard { topic, message } = heard?;
                let Some(gateway) = sender(&topic) else {
                    warn!(phase = "link", topic, "not a gateway's topic");
                    continue;
                };
                // Full: the message is dropped, and the gateway asks again.
                if inbox.try_send((gateway, message)).is_err() {
                    debug!(phase = "round", gateway = gateway.0, "inbox full");
                }
            }
            Some((gateway, message)) = outbox.recv() => {
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

/// The store's thread.
fn work(
    mut store: Store,
    inbox: &Receiver<(GatewayId, Vec<u8>)>,
    outbox: &mpsc::Sender<Outgoing>,
) -> Result<(), StoreError> {
    let mut told = HashMap::new();
    let mut version = store.data_version()?;
    tell(&store, &mut told, outbox)?;
    let mut looked = Instant::now();
    loop {
        match inbox.recv_timeout(LOOK) {
            Ok((gateway, bytes)) => {
                let head = store.head()?;
                let heard = hear(&mut store, gateway, &bytes)?;
                if heard.is_some() {
                    told.remove(&gateway);
                }
                for down in heard.into_iter().flatten() {
                    let _ = outbox.blocking_send((gateway, message::encode(&down)));
                }
                if store.head()? != head {
                    told.insert(gateway, Instant::now());
                    tell(&store, &mut told, outbox)?;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        // By the clock, not by silence: many busy gateways must not keep an operator's
        // word from the others.
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            told.retain(|_, when: &mut Instant| when.elapsed() < TELL_AGAIN);
            let now = store.data_version()?;
            if now != version {
                version = now;
                store.refresh()?;
                told.clear();
            }
            tell(&store, &mut told, outbox)?;
        }
    }
}

/// One message of a gateway; none if it cannot be read.
fn hear(
    store: &mut Store,
    gateway: GatewayId,
    bytes: &[u8],
) -> Result<Option<Vec<Down>>, StoreError> {
    let up: Up = match message::decode(bytes) {
        Ok(up) => up,
        Err(error) => {
            warn!(phase = "round", gateway = gateway.0, bytes = bytes.len(), "{error}");
            return Ok(None);
        }
    };
    let answers = store.hear(gateway, &up, now_s())?;
    for answer in &answers {
        if let DownBody::Refused(refused) = &answer.body {
            warn!(phase = "round", gateway = gateway.0, round = up.round, "refused: {refused}");
        }
    }
    Ok(Some(answers))
}

/// Hint to every gateway that has something to fetch and was not told lately.
fn tell(
    store: &Store,
    told: &mut HashMap<GatewayId, Instant>,
    outbox: &mpsc::Sender<Outgoing>,
) -> Result<(), StoreError> {
    let head = store.head()?;
    for gateway in store.behind()? {
        if told.contains_key(&gateway) {
            continue;
        }
        let body = DownBody::News { head };
        let news = Down { hub: store.run(), known: RunId::NONE, round: 0, body };
        // A full outbox loses only a hint.
        let _ = outbox.try_send((gateway, message::encode(&news)));
        told.insert(gateway, Instant::now());
    }
    Ok(())
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
