//! The store's thread: one message at a time, whose it is first.
//!
//! It also looks by the clock at what operators wrote: news for the gateways,
//! who is enrolled, whose certificate is to be renewed.
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tracing::{debug, error_span, info, warn};
use wadi_protocol::id::{GatewayId, RunId};
use wadi_protocol::tag::{TagKey, Way};
use wadi_protocol::wire::message::{self, Down, DownBody, Refused, Up, UpBody};

use super::Outgoing;
use super::tags::{self, Opened};
use crate::bridle::Bridle;
use crate::command::subject;
use crate::door::{Door, Entry};
use crate::identity::Identity;
use crate::live::Counts;
use crate::store::enrolment::Due;
use crate::store::{Said, Store, StoreError, write_down};

/// How often the store looks for what other processes (the command line) wrote.
const LOOK: Duration = Duration::from_millis(500);
/// A gateway that has been told of news and has not come is told again after this.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// How often certificates are looked through for those to be renewed.
const RENEW: Duration = Duration::from_secs(3_600);
/// How long an answer waits for room in the outbox before it looks again.
const ROOM: Duration = Duration::from_millis(20);

/// What the store's thread works with besides the store.
pub(super) struct Desk {
    pub identity: Identity,
    /// The door of the embedded broker, if that is the one in use.
    pub door: Option<Arc<Door>>,
    /// How long a certificate lasts, in seconds.
    pub certificate_s: u64,
    pub counts: Arc<Counts>,
}

struct Work<'a> {
    store: Store,
    desk: &'a Desk,
    outbox: &'a mpsc::Sender<Outgoing>,
    /// Counts what was ended: the thread is not hung.
    beat: &'a watch::Sender<u64>,
    /// When which gateway was told of news.
    told: HashMap<GatewayId, Instant>,
    version: i64,
    renewed: Option<Instant>,
    /// Sites by number, for the log.
    sites: HashMap<GatewayId, String>,
    bridles: Bridles,
}

/// What any peer can make the log say again and again.
#[derive(Default)]
struct Bridles {
    forged: Bridle,
    unreadable: Bridle,
    refused: Bridle,
}

/// Work until the inbox is closed.
pub(super) fn work(
    store: Store,
    desk: &Desk,
    inbox: &Receiver<(GatewayId, Vec<u8>)>,
    outbox: &mpsc::Sender<Outgoing>,
    beat: &watch::Sender<u64>,
) -> Result<(), StoreError> {
    let version = store.data_version()?;
    let mut work = Work {
        store,
        desk,
        outbox,
        beat,
        told: HashMap::new(),
        version,
        renewed: None,
        sites: HashMap::new(),
        bridles: Bridles::default(),
    };
    work.admit()?;
    work.renew()?;
    work.tell()?;
    let mut looked = Instant::now();
    loop {
        beat.send_modify(|count| *count += 1);
        match inbox.recv_timeout(LOOK) {
            Ok((gateway, sealed)) => work.take(gateway, &sealed)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        // By the clock, not by silence: many busy gateways must not keep an operator's
        // word from the others.
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            work.look()?;
        }
    }
}

impl Work<'_> {
    /// Put an answer into the outbox; while the link takes none, the thread waits but lives.
    fn send(&self, mut answer: Outgoing) {
        while let Err(TrySendError::Full(back)) = self.outbox.try_send(answer) {
            answer = back;
            self.beat.send_modify(|count| *count += 1);
            std::thread::sleep(ROOM);
        }
    }

    fn look(&mut self) -> Result<(), StoreError> {
        self.told.retain(|_, when| when.elapsed() < TELL_AGAIN);
        let now = self.store.data_version()?;
        if now != self.version {
            self.version = now;
            self.store.refresh()?;
            self.told.clear();
            self.admit()?;
        }
        if self.renewed.is_none_or(|when| when.elapsed() >= RENEW) {
            self.renew()?;
        }
        self.tell()
    }

    /// One sealed message of a gateway's topic.
    fn take(&mut self, gateway: GatewayId, sealed: &[u8]) -> Result<(), StoreError> {
        // At every level, so that no line goes without.
        let site = self.sites.get(&gateway).map(String::as_str);
        let _span = error_span!("gateway", gateway = gateway.0, site).entered();
        let (bytes, key, refused) =
            match tags::open(&self.store, &self.desk.identity, gateway, sealed)? {
                Opened::Message(bytes, key) => (bytes, key, None),
                Opened::Refused(bytes, key, refused) => (bytes, key, Some(refused)),
                Opened::Forged => {
                    self.desk.counts.forged.add(1);
                    self.note_forged(sealed.len());
                    return Ok(());
                }
            };
        let (up, in_brief) = match self.store.read_up(gateway, bytes)? {
            Ok(Said::Whole(up)) => (up, false),
            Ok(Said::Brief(up)) => (up, true),
            Ok(Said::Unclear(down)) => {
                debug!(phase = "prepare", round = down.round, "unclear: asked for the whole");
                self.send((gateway, key.seal(gateway, Way::Down, message::encode(&down))));
                return Ok(());
            }
            Err(error) => {
                self.desk.counts.unreadable.add(1);
                if let Some(unlogged) = self.bridles.unreadable.may_log() {
                    warn!(phase = "session", bytes = bytes.len(), unlogged, "{error}");
                }
                return Ok(());
            }
        };
        if let Some(refused) = refused {
            self.refuse(gateway, &up, &key, refused);
            return Ok(());
        }
        self.answer(gateway, &up, in_brief, &key)
    }

    fn answer(
        &mut self,
        gateway: GatewayId,
        up: &Up,
        in_brief: bool,
        key: &TagKey,
    ) -> Result<(), StoreError> {
        let head = self.store.head()?;
        debug!(phase = stage(&up.body), round = up.round, "heard");
        let answers = self.store.hear(gateway, up, now_s())?;
        self.told.remove(&gateway);
        for answer in &answers {
            if let DownBody::Refused(refused) = &answer.body {
                self.note_refused(up, refused);
            }
            let sealed = key.seal(gateway, Way::Down, write_down(answer, in_brief));
            self.send((gateway, sealed));
        }
        if self.store.head()? != head {
            self.told.insert(gateway, Instant::now());
            self.tell()?;
        }
        Ok(())
    }

    fn refuse(&self, gateway: GatewayId, up: &Up, key: &TagKey, refused: Refused) {
        self.note_refused(up, &refused);
        let body = DownBody::Refused(refused);
        let down = Down { hub: self.store.run(), known: up.hub, round: up.round, body };
        // A full outbox loses only a refusal; the gateway asks again.
        let sealed = key.seal(gateway, Way::Down, message::encode(&down));
        let _ = self.outbox.try_send((gateway, sealed));
    }

    fn note_refused(&self, up: &Up, refused: &Refused) {
        self.desk.counts.refused.add(1);
        // What only sets a round right is no fault of anybody.
        let fault = !matches!(refused, Refused::NotPrepared | Refused::BelowFloor { .. });
        let (phase, round) = (stage(&up.body), up.round);
        if !fault {
            debug!(phase, round, "refused: {refused}");
        } else if let Some(unlogged) = self.bridles.refused.may_log() {
            warn!(phase, round, unlogged, "refused: {refused}");
        }
    }

    fn note_forged(&self, bytes: usize) {
        if let Some(unlogged) = self.bridles.forged.may_log() {
            warn!(
                phase = "session",
                bytes,
                unlogged,
                "a message without the tag of the gateway whose topic it came by was dropped"
            );
        }
    }

    /// Hint to every gateway that has something to fetch and was not told lately.
    fn tell(&mut self) -> Result<(), StoreError> {
        let head = self.store.head()?;
        for gateway in self.store.behind()? {
            if self.told.contains_key(&gateway) {
                continue;
            }
            let Some(key) = tags::seal_of(&self.store, &self.desk.identity, gateway)? else {
                continue;
            };
            let body = DownBody::News { head };
            let news = Down { hub: self.store.run(), known: RunId::NONE, round: 0, body };
            // A full outbox loses only a hint.
            let sealed = key.seal(gateway, Way::Down, message::encode(&news));
            let _ = self.outbox.try_send((gateway, sealed));
            self.told.insert(gateway, Instant::now());
        }
        Ok(())
    }

    /// Tell the door who is enrolled, and learn who is who.
    fn admit(&mut self) -> Result<(), StoreError> {
        let gateways = self.store.gateways()?;
        self.sites = gateways.into_iter().map(|it| (it.number, it.site)).collect();
        let Some(door) = &self.desk.door else {
            return Ok(());
        };
        let roster = self.store.roster()?.into_iter().map(|(gateway, standing)| {
            let entry = Entry { enrolment: standing.enrolment, revoked: standing.revoked };
            (gateway, entry)
        });
        door.set_roster(roster.collect());
        Ok(())
    }

    /// Renew certificates that have less than half of their life left: a site that is
    /// silent for years still comes back in time.
    fn renew(&mut self) -> Result<(), StoreError> {
        self.renewed = Some(Instant::now());
        let now_s = now_s();
        for Due { mut next, public_key } in
            self.store.renewals_due(now_s + self.desk.certificate_s / 2)?
        {
            next.until_s = now_s + self.desk.certificate_s;
            match self.desk.identity.renew(&subject(next), &public_key) {
                Ok(certificate) => self.store.put_renewal(next, &certificate)?,
                Err(error) => {
                    let (gateway, site) = (next.gateway.0, self.sites.get(&next.gateway));
                    warn!(phase = "certificate", gateway, site, "renewal: {error}");
                    continue;
                }
            }
            let (gateway, site) = (next.gateway.0, self.sites.get(&next.gateway));
            info!(
                phase = "certificate",
                gateway, site, "a new certificate waits for its next round"
            );
        }
        Ok(())
    }
}

/// The stage of a round that a message is about, as the log's `phase`.
fn stage(body: &UpBody) -> &'static str {
    match body {
        UpBody::Prepare(_) | UpBody::Part(_) => "prepare",
        UpBody::Fetch { .. } => "fetch",
        UpBody::Commit => "commit",
        UpBody::Abort => "abort",
    }
}

pub(super) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
