//! Driving a sync: links over a serial port or TCP for what [`Exchange`] says.
//!
//! A link that is cut is made again a few times, as long as each brings something;
//! whatever was taken or pulled before stays so.
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::time::{sleep, timeout};
use wadi_protocol::link::collector::{Failure, Phase, Timing};

use super::exchange::{Exchange, Next};
use super::link::{Broken, Link};
use super::store::{Store, StoreError};
use super::synced::{SyncError, Synced};
use crate::serial;
use crate::words::plain;

/// Links that may end without having brought anything before a sync gives up.
const FRUITLESS_LINKS_MAX: u32 = 4;
/// Before the second link, in milliseconds; it doubles from one to the next.
const RELINK_MS: u64 = 250;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);

/// Where the gateway is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// On a serial port.
    Serial {
        /// The device file.
        path: PathBuf,
        /// Bits a second.
        baud: u32,
    },
    /// On the local network: host and port.
    Tcp(String),
    /// On the local network, where it was announced: each address is tried.
    Lan {
        /// The site.
        site: String,
        /// Where, best first.
        addresses: Vec<SocketAddr>,
    },
}

/// How one link ended.
enum Ended {
    Done,
    Cut(io::Error),
    Failed(Failure),
}

/// What ends a conversation before its end.
enum Interrupted {
    Broken(Broken),
    Stopped(SyncError),
}

impl From<Broken> for Interrupted {
    fn from(broken: Broken) -> Interrupted {
        Interrupted::Broken(broken)
    }
}

impl From<SyncError> for Interrupted {
    fn from(error: SyncError) -> Interrupted {
        Interrupted::Stopped(error)
    }
}

impl From<StoreError> for Interrupted {
    fn from(error: StoreError) -> Interrupted {
        Interrupted::Stopped(error.into())
    }
}

/// A sync in progress.
pub struct Sync<'a> {
    exchange: Exchange<'a>,
    place: Place,
    now_s: fn() -> u64,
    tell: &'a mut dyn FnMut(&Synced),
}

impl<'a> Sync<'a> {
    /// A sync of a store with a gateway. `tell` hears of every step.
    pub fn new(
        store: &'a mut Store,
        place: Place,
        schema_only: bool,
        now_s: fn() -> u64,
        tell: &'a mut dyn FnMut(&Synced),
    ) -> Sync<'a> {
        Sync { exchange: Exchange::new(store, schema_only), place, now_s, tell }
    }

    /// Run to the end.
    pub async fn run(mut self) -> (Synced, Result<(), SyncError>) {
        let outcome = self.links().await;
        (std::mem::take(self.exchange.synced()), outcome)
    }

    async fn links(&mut self) -> Result<(), SyncError> {
        let mut fruitless = 0;
        loop {
            let before = self.exchange.fruit();
            self.exchange.synced().links += 1;
            let (outcome, linked) = match &self.place {
                Place::Serial { path, baud } => match serial::open(path, *baud) {
                    Ok(port) => (self.session(port, Timing::serial(*baud)).await?, true),
                    Err(error) => (Ended::Cut(error), false),
                },
                Place::Tcp(address) => match connect(address).await {
                    Ok(stream) => (self.session(stream, Timing::lan()).await?, true),
                    Err(error) => (Ended::Cut(error), false),
                },
                Place::Lan { addresses, .. } => match connect_any(addresses).await {
                    Ok(stream) => (self.session(stream, Timing::lan()).await?, true),
                    Err(error) => (Ended::Cut(error), false),
                },
            };
            fruitless = if self.exchange.fruit() > before { 0 } else { fruitless + 1 };
            let patience = fruitless < FRUITLESS_LINKS_MAX;
            match outcome {
                Ended::Done => return Ok(()),
                Ended::Cut(_) if patience => {}
                Ended::Cut(error) if linked => {
                    let why = format!("the link is cut again and again ({})", plain(&error));
                    return Err(SyncError::Later(self.advice(&why)));
                }
                Ended::Cut(error) => {
                    return Err(SyncError::NoLink(self.advice(&plain(&error))));
                }
                Ended::Failed(failure) => self.failed(failure, patience)?,
            }
            sleep(Duration::from_millis(RELINK_MS << fruitless.min(6))).await;
        }
    }

    /// Whether a failure may be got over by another link; if so, prepare it.
    fn failed(&mut self, failure: Failure, patience: bool) -> Result<(), SyncError> {
        match failure {
            Failure::Silent { phase: Phase::Hello, tries } => {
                let why = format!("nobody answers ({tries} tries)");
                Err(SyncError::NoLink(self.advice(&why)))
            }
            Failure::Refused { phase: Phase::Hello, reason } => Err(SyncError::Refused(reason)),
            Failure::Refused { phase: Phase::Offers, reason } => {
                self.exchange.offer_refused(reason, (self.now_s)())
            }
            Failure::Busy { reason } => {
                Err(SyncError::Later(format!("the gateway is busy ({reason})")))
            }
            Failure::Refused { reason, .. } if !patience => Err(SyncError::Refused(reason)),
            failure if !patience => Err(SyncError::Later(failure.to_string())),
            Failure::Refused { .. }
            | Failure::Silent { .. }
            | Failure::Forgotten
            | Failure::Breach(_) => Ok(()),
        }
    }

    fn advice(&self, why: &str) -> String {
        match &self.place {
            Place::Serial { path, baud } => format!(
                "{}: {why}; check the cable, the path, the {baud} baud, and that the gateway runs and has this port in [[serial]]",
                path.display()
            ),
            Place::Tcp(address) => {
                format!(
                    "{address}: {why}; check the network, the address, and that the gateway runs and listens there ([lan])"
                )
            }
            Place::Lan { site, addresses } => {
                let shown: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                format!(
                    "site {site} at {}: {why}; check that this device is still on the gateway's network and that the gateway runs",
                    shown.join(", ")
                )
            }
        }
    }

    async fn session(
        &mut self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        timing: Timing,
    ) -> Result<Ended, SyncError> {
        self.exchange.link()?;
        let mut link =
            Link::new(stream, &self.exchange.store().keys(), timing).map_err(StoreError::Io)?;
        let outcome = self.talk(&mut link, timing).await;
        self.exchange.synced().noise += link.noise();
        match outcome {
            Ok(ended) => Ok(ended),
            Err(Interrupted::Broken(Broken::Cut(error))) => Ok(Ended::Cut(error)),
            Err(Interrupted::Broken(Broken::Failed(failure))) => Ok(Ended::Failed(failure)),
            Err(Interrupted::Stopped(error)) => Err(error),
        }
    }

    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        link: &mut Link<S>,
        timing: Timing,
    ) -> Result<Ended, Interrupted> {
        let gateway = link.open().await?;
        let number = getrandom::u32()
            .map_err(|error| StoreError::Io(io::Error::other(error.to_string())))?;
        let mut collector = self.exchange.collector(timing, number);
        loop {
            let now = (link.now_ms(), (self.now_s)());
            match self.exchange.turn(&mut collector, gateway, now, self.tell)? {
                Next::Send { bytes, doubtful } => link.say(&bytes, doubtful).await?,
                Next::Wait { until_ms } => {
                    for message in link.hear(until_ms).await? {
                        collector.hear(&message, link.now_ms());
                    }
                    if link.is_amid() {
                        collector.stirred(link.now_ms());
                    }
                }
                Next::Done => return Ok(Ended::Done),
                Next::Failed(failure) => return Ok(Ended::Failed(failure)),
            }
        }
    }
}

/// The first of several addresses that answers.
async fn connect_any(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        match connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

async fn connect(address: impl ToSocketAddrs) -> io::Result<TcpStream> {
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    Ok(stream)
}
