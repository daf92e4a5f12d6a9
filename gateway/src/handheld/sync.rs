//! Driving a sync: the link's collector over a serial port or TCP, and the store.
//!
//! What is heard is committed before the next question goes out. A link that is
//! cut is made again a few times, as long as each brings something; whatever
//! was taken or pulled before stays so.
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::time::{sleep, timeout};
use wadi_protocol::id::Dot;
use wadi_protocol::link::collector::{
    Collector, Failure, Heard, Opening, Phase, Supplied, Timing, Turn,
};
use wadi_protocol::link::message::Fate;

use super::link::{Broken, Link};
use super::store::{Offer, Pin, SITES_MAX, Store, StoreError};
use super::synced::{SyncError, Synced};
use crate::noise::key::PublicKey;
use crate::serial;
use crate::words::plain;

/// Links that may end without having brought anything before a sync gives up.
const FRUITLESS_LINKS_MAX: u32 = 4;
/// Before the second link, in milliseconds; it doubles from one to the next.
const RELINK_MS: u64 = 250;
/// Changes refused one by one before a sync ends: then it is not about them.
const REFUSED_MAX: usize = 256;
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
    store: &'a mut Store,
    place: Place,
    schema_only: bool,
    now_s: fn() -> u64,
    tell: &'a mut dyn FnMut(&Synced),
    synced: Synced,
    offer: Option<Offer>,
    /// Groups to be offered one by one, to find the one that is refused.
    suspects: usize,
    skipped: BTreeSet<i64>,
    /// How far fates were asked.
    asked: Option<Dot>,
    /// Fates were told in this round of questions that send changes out again.
    again: bool,
    /// How often unknown changes were offered again.
    rounds: u32,
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
        let synced = Synced::default();
        Sync {
            store,
            place,
            schema_only,
            now_s,
            tell,
            synced,
            offer: None,
            suspects: 0,
            skipped: BTreeSet::new(),
            asked: None,
            again: false,
            rounds: 0,
        }
    }

    /// Run to the end.
    pub async fn run(mut self) -> (Synced, Result<(), SyncError>) {
        let outcome = self.links().await;
        (self.synced, outcome)
    }

    async fn links(&mut self) -> Result<(), SyncError> {
        let mut fruitless = 0;
        loop {
            let before = self.fruit();
            self.synced.links += 1;
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
            fruitless = if self.fruit() > before { 0 } else { fruitless + 1 };
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

    /// What grows only when a link brings something.
    fn fruit(&self) -> (u64, u64, u64, usize) {
        (self.synced.offered, self.synced.durable, self.synced.pulled, self.skipped.len())
    }

    /// Whether a failure may be got over by another link; if so, prepare it.
    fn failed(&mut self, failure: Failure, patience: bool) -> Result<(), SyncError> {
        match failure {
            Failure::Silent { phase: Phase::Hello, tries } => {
                let why = format!("nobody answers ({tries} tries)");
                Err(SyncError::NoLink(self.advice(&why)))
            }
            Failure::Refused { phase: Phase::Hello, reason } => Err(SyncError::Refused(reason)),
            Failure::Refused { phase: Phase::Offers, reason } => self.offer_refused(reason),
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

    /// The groups of a refused offer are offered one by one; the one that is
    /// refused alone stays here, and the others go on.
    fn offer_refused(&mut self, reason: String) -> Result<(), SyncError> {
        let Some(offer) = self.offer.take() else {
            return Ok(());
        };
        if offer.groups > 1 {
            self.suspects = offer.groups;
        } else if self.skipped.len() >= REFUSED_MAX {
            return Err(SyncError::Refused(reason));
        } else {
            let now_s = (self.now_s)();
            self.store.write(now_s, |work| work.refused(&offer.places, &reason))?;
            self.synced.refused += offer.places.len() as u64;
            self.synced.refusal = reason;
            self.skipped.extend(offer.places);
            self.suspects = self.suspects.saturating_sub(1);
        }
        Ok(())
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
        self.store.refresh()?;
        let mut link = Link::new(stream, &self.store.keys(), timing).map_err(StoreError::Io)?;
        let outcome = self.talk(&mut link, timing).await;
        self.synced.noise += link.noise();
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
        let mut collector = Collector::new(self.opening(), timing, number);
        (self.asked, self.again, self.offer) = (None, false, None);
        loop {
            match collector.turn(link.now_ms()) {
                Turn::Send { bytes, doubtful } => link.say(&bytes, doubtful).await?,
                Turn::Wait { until_ms } => {
                    for message in link.hear(until_ms).await? {
                        collector.hear(&message, link.now_ms());
                    }
                    if link.is_amid() {
                        collector.stirred(link.now_ms());
                    }
                }
                Turn::Heard(heard) => {
                    if let Heard::Welcome(welcome) = &heard {
                        self.know(&welcome.site, gateway)?;
                    }
                    self.heard(heard)?;
                }
                Turn::Supply(Phase::Offers) if self.schema_only => return Ok(Ended::Done),
                Turn::Supply(phase) => {
                    let next = self.supply(phase)?;
                    if let Err(error) = collector.supply(next) {
                        let reason = error.to_string();
                        return Ok(Ended::Failed(Failure::Refused { phase, reason }));
                    }
                }
                Turn::Done => {
                    self.store.write((self.now_s)(), |work| work.synced())?;
                    return Ok(Ended::Done);
                }
                Turn::Failed(failure) => return Ok(Ended::Failed(failure)),
            }
        }
    }

    fn opening(&self) -> Opening {
        let device = self.store.device();
        Opening {
            device: device.id,
            label: device.label.clone(),
            schema: self.store.schema().map_or(0, |schema| schema.version),
            feed: self.store.feed(),
        }
    }

    /// Whether the gateway is the one that we know of its site; a new one is believed.
    fn know(&mut self, site: &str, found: PublicKey) -> Result<(), SyncError> {
        match self.store.write((self.now_s)(), |work| work.pin(site, found))? {
            Pin::Same => Ok(()),
            Pin::First => {
                self.synced.met = Some((site.to_owned(), found));
                Ok(())
            }
            Pin::Other(known) => Err(SyncError::OtherKey { site: site.to_owned(), known, found }),
            Pin::Full => Err(SyncError::Unclear(format!(
                "site {site:?} is new, and this file knows {SITES_MAX} sites: \
                 make room with `wadi-handheld forget SITE`"
            ))),
        }
    }

    /// Make durable what a gateway said.
    fn heard(&mut self, heard: Heard) -> Result<(), StoreError> {
        let now_s = (self.now_s)();
        match heard {
            Heard::Welcome(welcome) => {
                self.store.write(now_s, |work| work.welcome(&welcome))?;
                self.synced.site = welcome.site;
            }
            Heard::Schema(bytes) => {
                self.store.write(now_s, |work| work.install_schema(&bytes))?;
                self.synced.schema = self.store.schema().map(|schema| schema.version);
            }
            Heard::Taken => {
                let offer = self.offer.take().expect("only an offer is taken");
                self.store.write(now_s, |work| work.taken(&offer.places))?;
                self.synced.offered += offer.places.len() as u64;
                self.suspects = self.suspects.saturating_sub(1);
            }
            Heard::Fates(fates) => {
                let (durable, unknown) = self.store.write(now_s, |work| work.fates(&fates))?;
                self.again |= unknown > 0;
                self.synced.durable += durable;
                let held = |fate: &Fate| matches!(fate, Fate::Parked | Fate::Quarantined { .. });
                let spans = fates.iter().filter(|(.., fate)| held(fate));
                self.synced.held_back += spans
                    .map(|(_, _, first, last, _)| last.saturating_sub(*first) + 1)
                    .sum::<u64>();
            }
            Heard::Page(page) => {
                self.synced.pulled += self.store.write(now_s, |work| work.page(&page))?.rows;
            }
        }
        (self.tell)(&self.synced);
        Ok(())
    }

    fn supply(&mut self, phase: Phase) -> Result<Supplied, StoreError> {
        Ok(match phase {
            Phase::Offers => self.next_offer()?,
            Phase::Fates => {
                let (spans, last) = self.store.undecided(self.asked)?;
                if !spans.is_empty() {
                    self.asked = last;
                    return Ok(Supplied::Fates(spans));
                }
                // What this gateway does not know is offered again, once.
                if std::mem::take(&mut self.again) && self.rounds == 0 {
                    self.rounds += 1;
                    return self.next_offer();
                }
                Supplied::Nothing
            }
            Phase::Pulls => Supplied::Pull(self.store.feed()),
            Phase::Hello | Phase::Schema => unreachable!("the collector asks these by itself"),
        })
    }

    fn next_offer(&mut self) -> Result<Supplied, StoreError> {
        let groups_max = if self.suspects > 0 { 1 } else { usize::MAX };
        let offer = self.store.offer(groups_max, &self.skipped)?;
        Ok(match offer {
            Some(offer) => {
                let batch = offer.batch.clone();
                self.offer = Some(offer);
                Supplied::Offer(batch)
            }
            None => Supplied::Nothing,
        })
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
