//! What the carrier of the link to the hub is like, as far as this gateway has found out:
//! how long it bears silence, and whether staying costs more than leaving.
//!
//! Shared by the driver of each connection, which tells what came of silences, and the sync
//! worker. Kept in memory: to learn it anew costs a handful of pings.
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use wadi_protocol::keepalive::KeepAlive;

/// A ping with its answer, bytes of IP; measured by `tests/end_to_end/bytes.rs`.
const PING_BYTES: u64 = 204;
/// A connection with TLS resumed, and its end; measured in the same way.
const CONNECT_BYTES: u64 = 2_000;
/// Of the time between uses, the last one counts for this part.
const NEWEST_PART: u32 = 4;

/// What is known of the carrier.
#[derive(Clone, Debug)]
pub struct Carrier(Arc<Mutex<Facts>>);

#[derive(Debug)]
struct Facts {
    keep: KeepAlive,
    /// The silence behind which something was said that nothing has answered yet.
    asked_after: Option<Duration>,
    used: Option<Instant>,
    /// The time from one use of the link to the next, on the whole.
    between: Duration,
}

impl Carrier {
    /// Of which nothing is known; uses are expected so far apart.
    pub fn new(least_s: u16, greatest_s: u16, between: Duration) -> Carrier {
        let keep = KeepAlive::new(least_s.into(), greatest_s.into());
        Carrier(Arc::new(Mutex::new(Facts { keep, asked_after: None, used: None, between })))
    }

    /// How long to be silent before a ping.
    pub fn interval(&self) -> Duration {
        Duration::from_secs(self.facts().keep.interval_s().into())
    }

    /// Something is said behind so long a silence.
    pub fn said(&self, silent: Duration) {
        self.facts().asked_after.get_or_insert(silent);
    }

    /// Something comes: the silence was borne.
    pub fn heard(&self) {
        let mut facts = self.facts();
        if let Some(silent) = facts.asked_after.take() {
            facts.keep.survived(silent.as_secs() as u32);
        }
    }

    /// The connection has ended, or brings nothing.
    pub fn lost(&self) {
        let mut facts = self.facts();
        if let Some(silent) = facts.asked_after.take() {
            facts.keep.died(silent.as_secs() as u32);
        }
    }

    /// Something was to be sent, or to be fetched.
    pub fn used(&self, now: Instant) {
        let mut facts = self.facts();
        if let Some(before) = facts.used.replace(now) {
            let gap = now.duration_since(before);
            facts.between = (facts.between * (NEWEST_PART - 1) + gap) / NEWEST_PART;
        }
    }

    /// Whether the pings until the link is of use again cost more than to leave it and to
    /// come back: at the latest after `interval`. Only once it is known how many it takes.
    pub fn is_to_be_left(&self, interval: Duration) -> bool {
        let facts = self.facts();
        let every_s = u64::from(facts.keep.interval_s());
        let pings = facts.between.min(interval).as_secs() / every_s;
        facts.keep.is_settled() && pings * PING_BYTES > CONNECT_BYTES
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_secs(3_600);

    /// A carrier that forgets connections after so many seconds, tried for a while.
    fn carrier(forgets_s: u64, between: Duration) -> Carrier {
        let carrier = Carrier::new(60, 1_200, between);
        for _ in 0..30 {
            let silent = carrier.interval();
            carrier.said(silent);
            // A round that begins meanwhile is no other question.
            carrier.said(S);
            if silent.as_secs() < forgets_s { carrier.heard() } else { carrier.lost() }
        }
        carrier
    }

    #[test]
    fn answers_teach_what_is_borne_and_their_absence_what_is_not() {
        assert_eq!(carrier(2_000, HOUR).interval(), S * 1_200);
        assert!((240..300).contains(&carrier(300, HOUR).interval().as_secs()));
        // What comes unasked says nothing.
        let carrier = Carrier::new(60, 1_200, HOUR);
        carrier.heard();
        carrier.lost();
        assert_eq!(carrier.interval(), S * 60);
    }

    #[test]
    fn a_link_is_left_where_its_pings_cost_more_than_to_come_back() {
        assert!(!Carrier::new(60, 1_200, HOUR).is_to_be_left(HOUR), "nothing is known yet");
        let patient = carrier(2_000, HOUR);
        assert!(!patient.is_to_be_left(HOUR), "three pings an hour");
        assert!(patient.is_to_be_left(HOUR * 24) == patient.is_to_be_left(HOUR), "it is used");
        let hasty = carrier(100, HOUR);
        assert!(hasty.is_to_be_left(HOUR));
        assert!(!hasty.is_to_be_left(S * 600), "it is of use again before that");
        // Somebody records every minute now.
        let start = Instant::now();
        (0..20).for_each(|minute| hasty.used(start + S * 60 * minute));
        assert!(!hasty.is_to_be_left(HOUR));
    }
}
