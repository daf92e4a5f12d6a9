//! The links of this gateway, and what became of each: for status and metrics.
//!
//! One entry for each configured serial port and one for the local network,
//! made when the gateway starts; sessions count into the entry of their link
//! while they last. Only counts and plain words are kept here: it opens nothing
//! and decides nothing, except which lines a noisy link may still write to the log.
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use tracing::{Span, error_span};
use wadi_protocol::link::frame::Noise;

use crate::pace::{Bucket, Pace, Rest};

/// Links of one gateway: the configuration holds no more ports.
pub const LINKS_MAX: usize = 65;
/// Lines that one link may write to the log at once, and every so often.
const LOG_BURST_LINES: u64 = 40;
const LOG_LINES_S: u64 = 1;

/// All links.
#[derive(Debug, Default)]
pub struct Links {
    links: Mutex<Vec<Arc<Link>>>,
}

/// What one link is, does and did since the gateway started.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LinkStatus {
    /// The device file of a port, or the address that is listened on.
    pub name: String,
    /// What it is.
    pub kind: LinkKind,
    /// Whether handhelds can reach the gateway by it now.
    pub open: bool,
    /// Why not, for people.
    pub why: Option<String>,
    /// Seconds since it opened or was lost.
    pub for_s: u64,
    /// How often it was opened.
    pub opened: u64,
    /// How often it was lost: unplugged, or failed.
    pub lost: u64,
    /// Sessions now: of a port, whether it is served.
    pub sessions: u64,
    /// Questions answered.
    pub answered: u64,
    /// Questions answered with a refusal.
    pub refused: u64,
    /// Garbled frames: noise, wrong speed, cuts.
    pub garbled_frames: u64,
    /// Their bytes.
    pub garbled_bytes: u64,
    /// How often a babbling peer was not read for a while.
    pub babbling_stops: u64,
    /// How often a peer that asked too fast was made to wait.
    pub slowed: u64,
    /// Peers that were told to come back later, or hung up on.
    pub turned_away: u64,
    /// Peers that lost their place: silent, or slow to read.
    pub too_slow: u64,
}

/// The kind of a link.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkKind {
    /// A serial port.
    #[default]
    Serial,
    /// The local network.
    Lan,
}

impl LinkKind {
    /// Its name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            LinkKind::Serial => "serial",
            LinkKind::Lan => "lan",
        }
    }
}

impl Links {
    /// None yet.
    pub fn new() -> Arc<Links> {
        Arc::default()
    }

    /// The entry of a serial port.
    pub fn serial(&self, path: &Path) -> Arc<Link> {
        self.entry(LinkKind::Serial, path.display().to_string())
    }

    /// The entry of the local network.
    pub fn lan(&self, address: &str) -> Arc<Link> {
        self.entry(LinkKind::Lan, address.into())
    }

    /// Every link, ports before the network, each by name.
    pub fn snapshot(&self) -> Vec<LinkStatus> {
        let mut all: Vec<_> = lock(&self.links).iter().map(|link| link.status()).collect();
        all.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        all
    }

    fn entry(&self, kind: LinkKind, name: String) -> Arc<Link> {
        let mut links = lock(&self.links);
        if let Some(link) = links.iter().find(|link| link.kind == kind && link.name == name) {
            return Arc::clone(link);
        }
        assert!(links.len() < LINKS_MAX, "the configuration bounds the links");
        let link = Arc::new(Link::new(kind, name));
        links.push(Arc::clone(&link));
        link
    }
}

/// One link.
#[derive(Debug)]
pub struct Link {
    kind: LinkKind,
    name: String,
    facts: Mutex<Facts>,
}

#[derive(Debug)]
struct Facts {
    status: LinkStatus,
    since: Instant,
    log: Bucket,
    /// Lines that the log was spared since its last one.
    unlogged: u64,
}

impl Link {
    fn new(kind: LinkKind, name: String) -> Link {
        let status = LinkStatus {
            name: name.clone(),
            kind,
            open: false,
            why: Some("not opened yet".into()),
            for_s: 0,
            opened: 0,
            lost: 0,
            sessions: 0,
            answered: 0,
            refused: 0,
            garbled_frames: 0,
            garbled_bytes: 0,
            babbling_stops: 0,
            slowed: 0,
            turned_away: 0,
            too_slow: 0,
        };
        let since = Instant::now();
        let log = Bucket::new(LOG_BURST_LINES, LOG_LINES_S, since);
        Link { kind, name, facts: Mutex::new(Facts { status, since, log, unlogged: 0 }) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is, does and did.
    pub fn status(&self) -> LinkStatus {
        let facts = lock(&self.facts);
        LinkStatus { for_s: facts.since.elapsed().as_secs(), ..facts.status.clone() }
    }

    /// It is open.
    pub fn opened(&self) {
        let mut facts = lock(&self.facts);
        facts.since = Instant::now();
        facts.status.open = true;
        facts.status.why = None;
        facts.status.opened += 1;
    }

    /// It is not open, or no longer. Whether that is news: the same reason as
    /// before is none.
    pub fn closed(&self, why: &str) -> bool {
        let mut facts = lock(&self.facts);
        if facts.status.why.as_deref() == Some(why) {
            return false;
        }
        if facts.status.open {
            facts.since = Instant::now();
            facts.status.open = false;
            facts.status.lost += 1;
        }
        facts.status.why = Some(why.into());
        true
    }

    /// Somebody was turned away.
    pub fn turned_away(&self) {
        self.count(|status| status.turned_away += 1);
    }

    /// Whether a line may go to the log; of a link that has written much, few may.
    /// The answer is how many lines the log was spared before this one.
    pub fn may_log(&self) -> Option<u64> {
        self.may_log_at(Instant::now())
    }

    fn may_log_at(&self, now: Instant) -> Option<u64> {
        let mut facts = lock(&self.facts);
        if facts.log.take(now) {
            return Some(std::mem::take(&mut facts.unlogged));
        }
        facts.unlogged += 1;
        None
    }

    /// A session begins.
    pub fn sit(self: &Arc<Self>, peer: &str) -> Sitting {
        self.count(|status| status.sessions += 1);
        let pace = Pace::new(Instant::now());
        Sitting { link: Arc::clone(self), peer: peer.into(), pace, noise: Noise::default() }
    }

    fn count(&self, what: impl FnOnce(&mut LinkStatus)) {
        what(&mut lock(&self.facts).status);
    }
}

/// A session on a link: its counts, live, and its pace. Ends when dropped.
#[derive(Debug)]
pub struct Sitting {
    link: Arc<Link>,
    peer: String,
    pace: Pace,
    noise: Noise,
}

impl Sitting {
    /// Who sits there, for the log.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// What the log says of everything in this session: the port, or the peer on
    /// the network. At every level, so that no line goes without.
    pub fn span(&self) -> Span {
        match self.link.kind {
            LinkKind::Serial => error_span!("session", port = self.peer),
            LinkKind::Lan => error_span!("session", peer = self.peer),
        }
    }

    /// See [`Link::may_log`].
    pub fn may_log(&self) -> Option<u64> {
        self.link.may_log()
    }

    /// Bytes came.
    pub fn read(&mut self, bytes: usize) {
        self.pace.read(bytes, Instant::now());
    }

    /// A body of so many bytes was a question that is answered, by a refusal or otherwise.
    pub fn question(&mut self, body_bytes: usize) {
        self.pace.question(body_bytes, Instant::now());
    }

    /// An answer was taken by the peer.
    pub fn answered(&self) {
        self.link.count(|status| status.answered += 1);
    }

    /// A question was refused.
    pub fn refused(&self) {
        self.link.count(|status| status.refused += 1);
    }

    /// The peer was too slow, and loses its place.
    pub fn too_slow(&self) {
        self.link.count(|status| status.too_slow += 1);
    }

    /// What the line garbled in this session so far.
    pub fn noise(&mut self, noise: Noise) {
        let Noise { frames, bytes } = noise;
        let (frames, bytes) = (frames - self.noise.frames, bytes - self.noise.bytes);
        self.noise = noise;
        if bytes > 0 {
            self.link.count(|status| {
                status.garbled_frames += frames;
                status.garbled_bytes += bytes;
            });
        }
    }

    /// Wait until the peer may be read again: at once, unless it babbles or hurries.
    pub async fn rest(&self) {
        let Some(rest) = self.pace.rest(Instant::now()) else {
            return;
        };
        let pause = match rest {
            Rest::Babbling(pause) => {
                self.link.count(|status| status.babbling_stops += 1);
                self.log_babbling(pause);
                pause
            }
            Rest::Slowed(pause) => {
                self.link.count(|status| status.slowed += 1);
                pause
            }
        };
        sleep(pause).await;
    }

    fn log_babbling(&self, pause: Duration) {
        if let Some(unlogged) = self.may_log() {
            let pause_ms = pause.as_millis() as u64;
            tracing::warn!(
                phase = "link",
                pause_ms,
                unlogged,
                "babbling: endless bytes that are no questions (a wrong speed, a console, \
                 a device that is no handheld?); not read for a while"
            );
        }
    }
}

impl Drop for Sitting {
    fn drop(&mut self) {
        self.link.count(|status| status.sessions -= 1);
    }
}

/// A thread that panicked in mid-count leaves counts that are still counts.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pace::BABBLE_REST;

    #[test]
    fn a_snapshot_is_sorted_and_tells_the_present_state() {
        let links = Links::new();
        let lan = links.lan("0.0.0.0:7420");
        let usb = links.serial(Path::new("/dev/serial/by-id/b"));
        links.serial(Path::new("/dev/serial/by-id/a"));
        usb.opened();
        assert!(usb.status().open && usb.status().why.is_none());
        assert!(usb.closed("unplugged"));
        assert!(!usb.closed("unplugged"), "no news");
        lan.opened();
        let (one, two) = (lan.sit("one"), lan.sit("two"));
        one.answered();
        drop(two);
        let snapshot = links.snapshot();
        let names: Vec<_> = snapshot.iter().map(|link| link.name.as_str()).collect();
        assert_eq!(names, ["/dev/serial/by-id/a", "/dev/serial/by-id/b", "0.0.0.0:7420"]);
        assert_eq!((snapshot[1].opened, snapshot[1].lost, snapshot[1].open), (1, 1, false));
        assert_eq!(snapshot[1].why.as_deref(), Some("unplugged"));
        assert_eq!((snapshot[2].sessions, snapshot[2].answered), (1, 1));
        assert_eq!(links.serial(Path::new("/dev/serial/by-id/b")).status().opened, 1);
        let json = serde_json::to_value(&snapshot[2]).unwrap();
        assert_eq!((&json["kind"], &json["open"]), (&"lan".into(), &true.into()));
    }

    #[test]
    fn a_link_that_writes_much_to_the_log_is_bridled() {
        let link = Links::new().lan("x");
        let now = Instant::now();
        let lines = (0..10_000).filter(|_| link.may_log_at(now).is_some()).count() as u64;
        assert_eq!(lines, LOG_BURST_LINES);
        let later = now + Duration::from_secs(1);
        assert_eq!(link.may_log_at(later), Some(10_000 - LOG_BURST_LINES));
        assert_eq!(link.may_log_at(later), None);
    }

    #[tokio::test]
    async fn noise_counts_once_and_babbling_rests() {
        let link = Links::new().serial(Path::new("/dev/x"));
        let mut sitting = link.sit("x");
        sitting.noise(Noise { frames: 2, bytes: 90 });
        sitting.noise(Noise { frames: 3, bytes: 100 });
        let status = link.status();
        assert_eq!((status.garbled_frames, status.garbled_bytes), (3, 100));
        let start = Instant::now();
        let mut reads = 0;
        while link.status().babbling_stops == 0 {
            sitting.read(4_096);
            sitting.rest().await;
            reads += 1;
        }
        assert!((64..80).contains(&reads), "{reads} reads of a page");
        assert!(start.elapsed() >= BABBLE_REST, "it was not read meanwhile");
    }
}
