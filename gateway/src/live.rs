//! What a running gateway knows and its file does not: the link to the hub, the
//! local links, the clock, which way the backlog goes.
//!
//! Workers write into a [`Board`]; [`Observer::look`] takes one picture of all
//! for the control socket and the figures. Nothing here decides anything. How
//! long something lasts is told by a clock that no correction of the time moves.
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::links::{LinkStatus, Links};
use crate::store::thread::Handle;

/// Between two samples of the backlog.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(600);
/// Samples kept: a day of them.
const SAMPLES_MAX: usize = 144;
/// A reason is cut to so many bytes.
const REASON_BYTES_MAX: usize = 300;

/// One picture of a running gateway. The names of the fields are those of
/// `status --json`: a test keeps their list.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Live {
    /// The program's version.
    pub version: String,
    /// Seconds that it runs.
    pub up_s: u64,
    /// The link to the hub.
    pub link: LinkState,
    /// Serial ports and the local network.
    pub local: Vec<LinkStatus>,
    /// Whether the hub has confirmed this clock (within a day) since the start.
    pub clock_confirmed: bool,
    /// The hub's clock minus ours in seconds, when it told last since the start.
    pub hub_offset_s: Option<i64>,
    /// Whether records are refused, for the disk is nearly full.
    #[serde(default)]
    pub disk_scarce: bool,
    /// Which way the backlog goes; none in the first minutes.
    pub trend: Option<Trend>,
}

/// The link to the hub, by way of the broker.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LinkState {
    /// The broker, host and port.
    pub broker: String,
    /// Whether the broker is connected.
    pub connected: bool,
    /// Seconds since that is so.
    pub for_s: u64,
    /// Whether it was left because its pings cost more than to come back.
    pub left: bool,
    /// Why the budgets of data hold it back, if they do.
    pub held: Option<String>,
    /// Seconds to the next attempt; none = connected, or one is under way.
    pub next_attempt_s: Option<u64>,
    /// Attempts to connect.
    pub attempts: u64,
    /// Attempts that led to a connection.
    pub connections: u64,
    /// Why the last attempt failed or the last connection ended.
    pub last_error: Option<String>,
    /// Seconds since then.
    pub last_error_age_s: Option<u64>,
    /// Messages to the hub.
    pub sent_messages: u64,
    /// Their bytes, without those of MQTT, TLS and IP.
    pub sent_bytes: u64,
    /// Messages from the hub.
    pub received_messages: u64,
    /// Their bytes, without those of MQTT, TLS and IP.
    pub received_bytes: u64,
    /// Messages from the hub that could not be read.
    pub unreadable: u64,
    /// Answers by which the hub refused to go on.
    pub refusals: u64,
}

/// The backlog now and before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Trend {
    /// Changes that wait for the hub.
    pub waiting: u64,
    /// Changes that waited then.
    pub before: u64,
    /// Seconds between.
    pub over_s: u64,
}

/// Where the sync worker writes down how its link does.
#[derive(Clone, Debug)]
pub struct Board(Arc<Mutex<Facts>>);

#[derive(Debug)]
struct Facts {
    state: LinkState,
    since: Instant,
    next_attempt: Option<Instant>,
    failed: Option<Instant>,
}

impl Board {
    /// Of a broker (host and port), not connected yet.
    pub fn new(broker: String) -> Board {
        let state = LinkState { broker, ..LinkState::default() };
        let facts = Facts { state, since: Instant::now(), next_attempt: None, failed: None };
        Board(Arc::new(Mutex::new(facts)))
    }

    /// An attempt to connect begins.
    pub fn trying(&self) {
        let mut facts = lock(&self.0);
        facts.state.attempts += 1;
        (facts.state.left, facts.state.held) = (false, None);
        facts.next_attempt = None;
    }

    /// It led to a connection.
    pub fn connected(&self) {
        let mut facts = lock(&self.0);
        facts.state.connected = true;
        facts.state.connections += 1;
        facts.since = Instant::now();
    }

    /// The connection was left; the next one comes after `wait`, or when it is of use.
    pub fn left(&self, wait: Duration) {
        let mut facts = lock(&self.0);
        let now = Instant::now();
        if std::mem::take(&mut facts.state.connected) || facts.state.held.is_none() {
            facts.since = now;
        }
        (facts.state.left, facts.next_attempt) = (true, now.checked_add(wait));
    }

    /// The budgets of data hold the link back, for so long.
    pub fn held(&self, why: &str, wait: Duration) {
        self.left(wait);
        let mut facts = lock(&self.0);
        (facts.state.left, facts.state.held) = (false, Some(why.into()));
    }

    /// There is no connection, or no longer; the next attempt comes after `wait`.
    pub fn lost(&self, why: &str, wait: Duration) {
        let mut facts = lock(&self.0);
        let now = Instant::now();
        if facts.state.connected {
            facts.state.connected = false;
            facts.since = now;
        }
        facts.state.last_error = Some(cut(why));
        facts.failed = Some(now);
        facts.next_attempt = Some(now + wait);
    }

    /// A message of so many bytes left.
    pub fn sent(&self, bytes: usize) {
        let mut facts = lock(&self.0);
        facts.state.sent_messages += 1;
        facts.state.sent_bytes += bytes as u64;
    }

    /// A message of so many bytes came.
    pub fn received(&self, bytes: usize) {
        let mut facts = lock(&self.0);
        facts.state.received_messages += 1;
        facts.state.received_bytes += bytes as u64;
    }

    /// A message could not be read.
    pub fn unreadable(&self) {
        lock(&self.0).state.unreadable += 1;
    }

    /// The hub refused to go on.
    pub fn refused(&self) {
        lock(&self.0).state.refusals += 1;
    }

    /// How the link does now.
    pub fn state(&self) -> LinkState {
        self.state_at(Instant::now())
    }

    fn state_at(&self, now: Instant) -> LinkState {
        let facts = lock(&self.0);
        let until = |then: Instant| then.saturating_duration_since(now).as_secs();
        LinkState {
            for_s: now.duration_since(facts.since).as_secs(),
            next_attempt_s: facts.next_attempt.map(until),
            last_error_age_s: facts.failed.map(|then| now.duration_since(then).as_secs()),
            ..facts.state.clone()
        }
    }
}

/// Takes pictures of a running gateway.
#[derive(Debug)]
pub struct Observer {
    handle: Handle,
    board: Board,
    links: Arc<Links>,
    started: Instant,
    samples: Mutex<VecDeque<(Instant, u64)>>,
}

impl Observer {
    /// Of this store, the link to the hub and the local ones.
    pub fn new(handle: Handle, board: Board, links: Arc<Links>) -> Observer {
        let samples = Mutex::new(VecDeque::with_capacity(SAMPLES_MAX));
        Observer { handle, board, links, started: Instant::now(), samples }
    }

    /// One picture. Waits for the store's thread.
    pub async fn look(&self) -> Live {
        let glance = self.handle.glance().await;
        Live {
            version: env!("CARGO_PKG_VERSION").into(),
            up_s: self.started.elapsed().as_secs(),
            link: self.board.state(),
            local: self.links.snapshot(),
            clock_confirmed: glance.clock_confirmed,
            hub_offset_s: glance.hub_offset_s,
            disk_scarce: glance.scarce,
            trend: self.trend(glance.waiting),
        }
    }

    /// Sample the backlog for ever.
    pub async fn sample(&self) {
        loop {
            let waiting = self.handle.glance().await.waiting;
            self.keep(waiting);
            sleep(SAMPLE_INTERVAL).await;
        }
    }

    fn keep(&self, waiting: u64) {
        let mut samples = lock(&self.samples);
        if samples.len() == SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back((Instant::now(), waiting));
    }

    /// Against the oldest sample, once that is old enough to say anything.
    fn trend(&self, waiting: u64) -> Option<Trend> {
        let (then, before) = lock(&self.samples).front().copied()?;
        let over_s = then.elapsed().as_secs();
        (over_s >= SAMPLE_INTERVAL.as_secs()).then_some(Trend { waiting, before, over_s })
    }
}

fn cut(why: &str) -> String {
    why[..why.floor_char_boundary(REASON_BYTES_MAX)].to_string()
}

/// A thread that panicked in mid-count leaves counts that are still counts.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_tells_since_when_why_not_and_when_next() {
        let after = |seconds| Instant::now() + Duration::from_secs(seconds);
        let board = Board::new("broker.example:1883".into());
        board.trying();
        board.lost("refused", Duration::from_secs(300));
        let state = board.state_at(after(100));
        assert!(!state.connected && (100..110).contains(&state.for_s), "{state:?}");
        assert!((190..=200).contains(&state.next_attempt_s.unwrap()), "{state:?}");
        assert!((100..110).contains(&state.last_error_age_s.unwrap()), "{state:?}");
        assert_eq!(state.last_error.as_deref(), Some("refused"));
        assert_eq!(board.state_at(after(1_000)).next_attempt_s, Some(0));
        board.trying();
        assert_eq!(board.state().next_attempt_s, None);
        board.connected();
        board.sent(100);
        board.received(7);
        let state = board.state_at(after(50));
        assert!(state.connected && (50..60).contains(&state.for_s), "{state:?}");
        assert_eq!((state.attempts, state.connections), (2, 1));
        assert_eq!((state.sent_bytes, state.received_messages), (100, 1));
        assert!(state.last_error_age_s >= Some(50), "the last error is still told");
    }

    #[test]
    fn a_long_reason_is_cut_between_letters() {
        let cut = cut(&"é".repeat(REASON_BYTES_MAX));
        assert_eq!(cut.len(), REASON_BYTES_MAX);
    }
}
